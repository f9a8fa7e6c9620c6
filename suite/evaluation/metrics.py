"""The registry of metrics: what a number is called, where it is read from and in which unit it is printed."""

from dataclasses import dataclass
from typing import Literal

from suite.errors import SuiteError, nearest


@dataclass(frozen=True)
class Metric:
    """How a metric is read and printed.

    Attributes:
        unit: ``%``, ``IoU``, ``h``, ``s``, ``images/s``, ``M`` (millions), ``MiB`` or ``value`` (as it is);
            numbers are printed in it.
        source: File of the run that holds it.
        scale: Factor from the file's number to the unit.
    """

    unit: str
    source: Literal["detections", "coverage", "result", "spec"]
    scale: float

    @property
    def timed(self) -> bool:
        """Whether it is a time or a speed, which the machine changes more than methods do."""
        return self.unit in ("h", "s", "images/s")


_AP = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100", "ARS", "ARM", "ARL")
_THRESHOLDS, _ENDINGS = range(50, 95, 5), ("", "_deployed")  # those of suite.evaluation.nms_recall
_RECALL = [f"{name}{tau}" for name in ("NR", "recall_before", "recall_after") for tau in ("", *_THRESHOLDS)]
IOU_ERRORS = ("IoU_error", "IoU_error_all")
METRICS: dict[str, Metric] = {
    **{name: Metric("%", "detections", 100) for name in _AP},
    **{f"{name}{end}": Metric("%", "coverage", 100) for end in _ENDINGS for name in _RECALL},
    **{name: Metric("IoU", "detections", 1) for name in IOU_ERRORS},
    "train_hours": Metric("h", "result", 1 / 3600),
    "step_seconds": Metric("s", "result", 1),
    "fps": Metric("images/s", "result", 1),
    "parameters": Metric("M", "result", 1e-6),
    "peak_memory_mb": Metric("MiB", "result", 1),
}

OPTION = "option:"
"""Prefix of a metric that is the value of one of the method's options: ``option:K``."""


def metric(name: str) -> Metric:
    """The metric called ``name``.

    Raises:
        SuiteError: There is none.
    """
    if name.startswith(OPTION):
        return Metric("value", "spec", 1)
    if name not in METRICS:
        raise SuiteError(
            f"metric {name!r} is unknown.{nearest(name, METRICS)}", f"Known: {', '.join(METRICS)}."
        )
    return METRICS[name]


def resamples(name: str) -> bool:
    """Whether a metric can be computed on resampled images: COCO's six APs, and NMS recall."""
    return name in _AP[:6] or metric(name).source == "coverage"
