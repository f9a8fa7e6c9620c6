"""The numbers of finished runs that a study looks at."""

import statistics
from collections.abc import Sequence

import pandas as pd

from suite.errors import SuiteError
from suite.evaluation.coco_ap import evaluate
from suite.evaluation.detections import DETECTION_COLUMNS
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.measurements import Measurements
from suite.evaluation.metrics import METRICS
from suite.runs.directory import RunDirectory


def is_recall(metric: str) -> bool:
    """Whether a metric rests on the candidates of a dense head."""
    return METRICS[metric].source == "coverage"


def undefined(truth: GroundTruth, metric: str) -> bool:
    """Whether no detections could give this metric a value on a split: it has no such objects."""
    if METRICS[metric].source != "detections" or metric.startswith("IoU_"):
        return False
    nothing = pd.DataFrame({name: pd.Series(dtype="float64") for name in DETECTION_COLUMNS})
    return evaluate(truth, nothing).metrics[metric] is None


def measure(truth: GroundTruth, runs: Sequence[RunDirectory], metrics: Sequence[str]) -> dict[str, float]:
    """Metrics of finished runs, each the mean over the runs, in their printed units.

    Raises:
        SuiteError: A metric is undefined, or a run's files cannot be read.
    """
    measurements = Measurements(truth)
    return {metric: statistics.fmean(_value(measurements, run, metric) for run in runs) for metric in metrics}


def _value(measurements: Measurements, run: RunDirectory, metric: str) -> float:
    value = measurements.value(run, metric)
    if value is None:
        raise SuiteError(f"{run.path}: {metric} is undefined.")
    return value
