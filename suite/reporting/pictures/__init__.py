"""The papers' pictures: functions, bags and assignments over a training, detections side by side."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from suite.errors import SuiteError, nearest
from suite.reporting.pictures import (
    assignment_evolution,
    bag_evolution,
    detections,
    functions,
    mixture,
    point_bag,
    positives_over_time,
    quality_over_time,
    separation_schemes,
)
from suite.reporting.pictures.canvas import style
from suite.reporting.pictures.model import PictureInput, PictureRow, Pictures, Setting
from suite.reporting.reasons import in_one_line

__all__ = ["ANALYTIC", "KINDS", "PictureInput", "PictureRow", "Pictures", "check", "draw"]

KINDS: dict[str, Callable[[PictureInput], Pictures]] = {
    "saturated_linear": functions.draw_saturated_linear,
    "mean_max_surface": functions.draw_mean_max,
    "matching_functions": functions.draw_matching,
    "point_bag": point_bag.draw,
    "separation_schemes": separation_schemes.draw,
    "bag_evolution": bag_evolution.draw,
    "assignment_evolution": assignment_evolution.draw,
    "mixture": mixture.draw,
    "positives_over_time": positives_over_time.draw,
    "quality_over_time": quality_over_time.draw,
    "detections": detections.draw,
}
"""Name of a kind -> what draws it."""
ANALYTIC = ("saturated_linear", "mean_max_surface", "matching_functions", "point_bag", "separation_schemes")
"""Kinds drawn from a formula: they need no run."""
_SETTINGS: dict[str, dict[str, Setting]] = {
    "matching_functions": functions.MATCHING_SETTINGS,
    "bag_evolution": bag_evolution.SETTINGS,
    "assignment_evolution": assignment_evolution.SETTINGS,
    "mixture": mixture.SETTINGS,
    "positives_over_time": positives_over_time.SETTINGS,
    "detections": detections.SETTINGS,
}
"""Settings of the kinds that have any."""


def check(kind: str, settings: Mapping[str, Any]) -> None:
    """Check what an experiment's file asks for.

    Raises:
        SuiteError: The kind or a setting is unknown, or a value is out of range; it names what is known.
    """
    if kind not in KINDS:
        raise SuiteError(
            f"picture.kind: found {kind!r}, expected one of {', '.join(KINDS)}.{nearest(str(kind), KINDS)}"
        )
    known = _SETTINGS.get(kind, {})
    for name, value in settings.items():
        if name not in known:
            expected = f"one of {', '.join(known)}" if known else "none: this kind has no settings"
            raise SuiteError(
                f"picture.settings.{name}: unknown for kind {kind!r}, expected {expected}."
                f"{nearest(str(name), known)}"
            )
        if not known[name].limit.holds(value):
            raise SuiteError(f"picture.settings.{name}: expected {known[name].limit}, found {value!r}.")


def draw(kind: str, given: PictureInput) -> Pictures:
    """Draw a picture.

    Args:
        kind: One of :data:`KINDS`.
        given: What it is drawn from.

    Returns:
        PNG and SVG of each of its figures, the same bytes for the same input; or why there are none, such as
        a dataset whose images are not there.

    Raises:
        SuiteError: See :func:`check`.
    """
    check(kind, given.settings)
    defaults = {name: setting.default for name, setting in _SETTINGS.get(kind, {}).items()}
    with style():
        try:
            return KINDS[kind](replace(given, settings={**defaults, **given.settings}))
        except SuiteError as error:
            return Pictures(reason=in_one_line(error))
