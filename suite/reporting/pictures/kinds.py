"""The kinds of pictures and their settings: what an experiment's file may ask for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from suite.errors import SuiteError, nearest
from suite.limits import NEGATIVE_MATCHING, Number, OneOf


@dataclass(frozen=True)
class Setting:
    """A setting of a kind of picture.

    Attributes:
        default: Its value where none is set.
        limit: What it may be.
    """

    default: Any
    limit: Number | OneOf


WATCHED_OBJECT = Setting(0, Number(0, 3, whole=True))
"""The object that a picture follows, from 0. A training writes down the bags of four objects."""

KINDS: dict[str, dict[str, Setting]] = {
    "saturated_linear": {},
    "mean_max_surface": {},
    "matching_functions": {
        "negative_matching": Setting("eq25", OneOf(tuple(one for one in NEGATIVE_MATCHING if one != "none"))),
    },
    "point_bag": {},
    "separation_schemes": {},
    "bag_evolution": {
        "object": WATCHED_OBJECT,
        "iterations": Setting(4, Number(1, 5, whole=True)),
        "anchors": Setting(None, Number(2, 50, whole=True, optional=True)),
        "beta": Setting(0.75, Number(0, 10)),
        "heat_map": Setting("none", OneOf(("none", "predicted", "anchors"))),
    },
    "assignment_evolution": {
        "object": WATCHED_OBJECT,
        "iterations": Setting(3, Number(1, 5, whole=True)),
    },
    "mixture": {
        "object": WATCHED_OBJECT,
        "iterations": Setting(1, Number(1, 4, whole=True)),
    },
    "positives_over_time": {"highest": Setting(40, Number(1, 1000, whole=True))},
    "quality_over_time": {},
    "detections": {
        "score_threshold": Setting(0.7, Number(0, 1)),
        "images": Setting(4, Number(1, 12, whole=True)),
        "most_objects": Setting(12, Number(1, 1000, whole=True)),
    },
}
"""Name of a kind -> its settings. What draws each is in :mod:`suite.reporting.pictures.draw`."""

ANALYTIC = ("saturated_linear", "mean_max_surface", "matching_functions", "point_bag", "separation_schemes")
"""Kinds drawn from a formula: they need no run."""


def check(kind: str, settings: Mapping[str, Any]) -> None:
    """Check what an experiment's file asks for.

    Raises:
        SuiteError: The kind or a setting is unknown, or a value is out of range; it names what is known.
    """
    if kind not in KINDS:
        raise SuiteError(
            f"picture.kind: found {kind!r}, expected one of {', '.join(KINDS)}.{nearest(str(kind), KINDS)}"
        )
    known = KINDS[kind]
    for name, value in settings.items():
        if name not in known:
            expected = f"one of {', '.join(known)}" if known else "none: this kind has no settings"
            raise SuiteError(
                f"picture.settings.{name}: unknown for kind {kind!r}, expected {expected}."
                f"{nearest(str(name), known)}"
            )
        if not known[name].limit.holds(value):
            raise SuiteError(f"picture.settings.{name}: expected {known[name].limit}, found {value!r}.")
