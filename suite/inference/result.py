"""The numbers of ``result.json``, computed from the files that an evaluation has left."""

from pathlib import Path

import pandas as pd

from suite.evaluation.coco_ap import detection_limit, evaluate
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.nms_recall import nms_recall
from suite.runs.directory import RunDirectory


def metrics_of(run: RunDirectory, annotations: Path) -> dict[str, float | None]:
    """COCO's twelve numbers of a run on all images, and NMS recall, in [0, 1]; None where undefined.

    Args:
        run: A run that has been evaluated.
        annotations: The COCO annotation file that it was evaluated on.

    Raises:
        SuiteError: A file is unreadable or does not fit the annotations.
    """
    truth = GroundTruth.load(annotations)
    detections = pd.read_parquet(run.detections_file)
    found: dict[str, float | None] = dict(evaluate(truth, detections, limit=detection_limit(run)).metrics)
    found["NR"] = None
    if run.coverage_file.exists():
        found["NR"] = nms_recall(pd.read_parquet(run.coverage_file))["NR"]
    return found
