"""How well a detector predicts the IoU of its own boxes (PAA, ECCV 2020, Table 2 right)."""

import numpy as np
import pandas as pd

from suite.data.boxes import pairwise_iou
from suite.errors import SuiteError
from suite.evaluation.ground_truth import GroundTruth

ON_AN_OBJECT = 0.5
"""Smallest IoU with an object of its class at which a detection counts as lying on one."""


def iou_prediction_error(truth: GroundTruth, detections: pd.DataFrame) -> dict[str, float | None]:
    """Mean absolute difference between the predicted and the true IoU of detections.

    The true IoU is that with the object of the detection's class that it overlaps most, crowds left out. The
    paper does not define its number, and its authors released no code for it; here detections are taken as
    the detector gives them, after NMS (with score voting: the voted boxes).

    Args:
        truth: What is there.
        detections: Columns ``image_id``, ``category_id``, ``x``, ``y``, ``w``, ``h`` and ``predicted_iou``
            (in [0, 1]).

    Returns:
        ``IoU_error`` of the detections that lie on an object (true IoU at least 0.5) and ``IoU_error_all`` of
        all detections; in [0, 1], None without such a detection.

    Raises:
        SuiteError: The detections have no ``predicted_iou``: the detector predicts none.
    """
    if "predicted_iou" not in detections.columns:
        raise SuiteError("detections: no column predicted_iou; the detector does not predict the IoU.")
    there, found = (one[["x", "y", "w", "h"]].to_numpy(np.float64) for one in (truth.objects, detections))
    objects = truth.objects.groupby(["image_id", "category_id"], sort=False).indices
    true = np.zeros(len(detections))
    for key, rows in detections.groupby(["image_id", "category_id"], sort=False).indices.items():
        if key in objects:
            true[rows] = pairwise_iou(found[rows], there[objects[key]]).max(axis=1)
    error = np.abs(detections["predicted_iou"].to_numpy(dtype=np.float64) - true)
    on_object = error[true >= ON_AN_OBJECT]
    return {
        "IoU_error": float(on_object.mean()) if len(on_object) else None,
        "IoU_error_all": float(error.mean()) if len(error) else None,
    }
