"""What the options of the heads may be: one rule a field, for a run's plan and for a head that is built."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from suite.errors import SuiteError, nearest

NEGATIVE_MATCHING = (
    "eq25", "none", "meanmax2", "one_minus_meanmax", "max", "noisy_or", "eq25_detached", "eq11_literal",
)  # fmt: skip
SEPARATIONS = ("a", "b", "c", "d", "e", "fixed_number", "fixed_score")
AUXILIARIES = ("iou", "centerness", "none")
LARGEST_LOCALISATION_LOSS = {"GIoULoss": 2.0, "DIoULoss": 2.0, "IoULoss": 1.0}
"""Localisation losses that aLRP Loss can use -> their largest value."""


@dataclass(frozen=True)
class Number:
    """A finite number within bounds.

    Attributes:
        least: Lower bound.
        most: Upper bound.
        above: Whether the lower bound itself is left out.
        below: Whether the upper bound itself is left out.
        whole: Whether it has to be an integer.
        optional: Whether None is a value too.
    """

    least: float
    most: float = float("inf")
    above: bool = False
    below: bool = False
    whole: bool = False
    optional: bool = False

    def holds(self, value: Any) -> bool:
        """Whether ``value`` is such a number."""
        if value is None:
            return self.optional
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        return (
            (value > self.least if self.above else value >= self.least)
            and (value < self.most if self.below else value <= self.most)
            and value < float("inf")
        )

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        kind += f" {'above' if self.above else 'of at least'} {self.least:g}"
        if self.most < float("inf"):
            kind += f" and {'below' if self.below else 'at most'} {self.most:g}"
        return kind + (", or none" if self.optional else "")


@dataclass(frozen=True)
class OneOf:
    """One of some names."""

    names: tuple[str, ...]

    def holds(self, value: Any) -> bool:
        """Whether ``value`` is one of them."""
        return value in self.names

    def __str__(self) -> str:
        return f"one of {', '.join(self.names)}"


@dataclass(frozen=True)
class NumberOrRange:
    """A number within bounds, or a tuple of two of them: from the first on, up to the second.

    Attributes:
        bounds: What each number may be.
    """

    bounds: Number

    def holds(self, value: Any) -> bool:
        """Whether ``value`` is such a number or range; a list is none: mmdet's MaxIoUAssigner ignores it."""
        if not isinstance(value, tuple):
            return self.bounds.holds(value)
        return len(value) == 2 and all(map(self.bounds.holds, value)) and value[0] < value[1]

    def __str__(self) -> str:
        return f"{self.bounds}, or a tuple of two such numbers, the lower one first"


Limit = Number | OneOf | NumberOrRange

LIMITS: dict[str, Limit] = {
    "bag_size": Number(1, whole=True),
    "sample_size": Number(1, whole=True, optional=True),
    "window": Number(0, 1, above=True),
    "points": OneOf(("released", "in_box")),
    "iou_threshold": Number(0, 1),
    "negative_matching": OneOf(NEGATIVE_MATCHING),
    "neg_iou": OneOf(("relative", "absolute")),
    "topk": Number(1, whole=True),
    "scoring_weight": Number(0),
    "separation": OneOf(SEPARATIONS),
    "fixed_number": Number(1, whole=True),
    "fixed_score": Number(0, 1),
    "auxiliary": OneOf(AUXILIARIES),
    "alpha": Number(0),
    "gamma": Number(0),
    "loss_weight": Number(0),
    "bias_prob": Number(0, 1, above=True, below=True),
    "lr": Number(0, above=True),
    "max_per_img": Number(1, whole=True),
    "pos_iou_thr": Number(0, 1),
    "neg_iou_thr": NumberOrRange(Number(0, 1)),
}
"""Field of a config -> what it may be."""

LIMITS_OF_TYPES: dict[str, dict[str, Limit]] = {
    "FocalLoss": {"alpha": Number(0, 1)},
    "FocalCustomLoss": {"alpha": Number(0, 1)},
    "ALRPLoss": {
        "delta": Number(0, above=True),
        "tau": Number(0, 1, above=True, below=True),
        "w_r": Number(0, above=True, optional=True),
    },
    "APLoss": {"delta": Number(0, above=True)},
    "ATSSAssigner": {"alpha": Number(0, 1, optional=True)},
    "CentredIoUAssigner": {"neg_iou_thr": Number(0, 1)},
    "MarkLoop": {"mark": Number(0, 1, above=True, below=True, optional=True)},
    "FreeAnchorHead": {"iou_threshold": Number(0, 1, above=True, below=True)},
}
"""Type in a config -> what its fields may be, where that differs from :data:`LIMITS`.

Other losses have an ``alpha`` that is a factor or an exponent, and NMS an ``iou_threshold`` that may be 1.
"""


def problem_of(name: str, value: Any, kind: Any = None) -> str | None:
    """What is wrong with the value of a field.

    Args:
        name: The field.
        value: Its value.
        kind: The ``type`` of the part of the config that holds it.

    Returns:
        ``expected ..., found ...``; None if nothing is wrong.
    """
    limit = LIMITS_OF_TYPES.get(kind, {}).get(name) or LIMITS.get(name)
    if limit is None or limit.holds(value):
        return None
    hint = nearest(value, limit.names) if isinstance(limit, OneOf) and isinstance(value, str) else ""
    return f"expected {limit}, found {value!r}.{hint}"


def check_fields(fields: Mapping[str, Any], where: str) -> None:
    """Check the fields that have a limit, and those of the mappings within.

    Args:
        fields: A part of a config; its ``type`` decides about some limits.
        where: Its path in the config, for the message: ``model.bbox_head``.

    Raises:
        SuiteError: A field is out of range; it names field, value and what is allowed.
    """
    for name, value in fields.items():
        if isinstance(value, Mapping):
            check_fields(value, f"{where}.{name}")
        elif problem := problem_of(name, value, fields.get("type")):
            raise SuiteError(f"{where}.{name}: {problem}")
    low, high = fields.get("neg_iou_thr"), fields.get("pos_iou_thr")
    if low is not None and high is not None and (low[1] if isinstance(low, tuple) else low) > high:
        raise SuiteError(f"{where}.neg_iou_thr: expected at most pos_iou_thr, {high:g}, found {low}.")
    box_loss = fields.get("loss_bbox")
    if "scoring_weight" in fields and isinstance(box_loss, Mapping) and box_loss.get("loss_weight") == 0:
        raise SuiteError(
            f"{where}.loss_bbox.loss_weight: expected a number above 0, as PAA scores its candidates by this "
            "loss, found 0."
        )
    _check_alrp(fields, where)
    drawn, size = fields.get("sample_size"), fields.get("bag_size")
    if drawn is not None and size is not None and drawn > size:
        raise SuiteError(
            f"{where}.sample_size: expected at most bag_size, the {size} anchors it is drawn from, "
            f"found {drawn}."
        )


def _check_alrp(fields: Mapping[str, Any], where: str) -> None:
    """Check what aLRP Loss cannot be trained with."""
    if fields.get("type") == "ALRPLoss":
        balanced, fixed = fields.get("self_balance", True), fields.get("w_r")
        if balanced and fixed is not None:
            raise SuiteError(
                f"{where}.w_r: found {fixed:g}, but self_balance sets the weight itself.",
                "Give w_r with self_balance (option SB) false, or leave it out.",
            )
        if not balanced and fixed is None:
            raise SuiteError(
                f"{where}.w_r: expected a number above 0, as self_balance (option SB) is off, found none."
            )
    loss, box_loss = fields.get("loss_cls"), fields.get("loss_bbox")
    if isinstance(loss, Mapping) and loss.get("type") == "ALRPLoss" and isinstance(box_loss, Mapping):
        name = box_loss.get("type")
        if name not in LARGEST_LOCALISATION_LOSS:
            raise SuiteError(
                f"{where}.loss_bbox.type: expected a loss with a largest value for aLRP Loss, one of "
                f"{', '.join(LARGEST_LOCALISATION_LOSS)}, found {name!r}."
            )
