"""Which kinds of errors cost AP: TIDE (Bolya et al., ECCV 2020), as hotcoco computes it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from suite.evaluation.detections import check_detections
from suite.evaluation.ground_truth import GroundTruth

ERROR_TYPES = {
    "Cls": "right place, wrong category",
    "Loc": "right category, box too loose",
    "Both": "wrong category and box too loose",
    "Dupe": "object already found by a better scored detection",
    "Bkg": "no object there",
    "Miss": "object that no detection and no other error accounts for",
    "FP": "all false detections",
    "FN": "all objects not found",
}
"""Name -> what it is. The first six are apart from each other; FP and FN gather them in another way."""


@dataclass(frozen=True)
class ErrorTypes:
    """What each kind of error costs one detector.

    Attributes:
        delta_ap: Each of :data:`ERROR_TYPES` -> gain in AP, in [0, 1], if only these errors were mended. The
            gains do not add up: mending one kind changes the ranking of the others.
        counts: The first six -> number of detections, or of objects for ``Miss``.
        ap: AP at the IoU of ``foreground`` that the gains are on top of, in [0, 1].
        foreground: IoU from which on a detection is in the right place.
        background: IoU up to which there is no object.
    """

    delta_ap: dict[str, float]
    counts: dict[str, int]
    ap: float
    foreground: float
    background: float


def error_types(
    ground_truth: GroundTruth, detections: pd.DataFrame, foreground: float = 0.5, background: float = 0.1
) -> ErrorTypes:
    """Attribute lost AP to kinds of errors.

    Args:
        ground_truth: What is there.
        detections: As for :func:`suite.evaluation.coco_ap.evaluate`.
        foreground, background: The IoU thresholds of TIDE, Sec. 3.1.

    Raises:
        SuiteError: As :func:`suite.evaluation.coco_ap.evaluate`.
    """
    import hotcoco

    check_detections(ground_truth, detections)
    annotations = ground_truth.annotations
    expected = hotcoco.COCO.from_arrays(
        _records(ground_truth.images),
        _records(ground_truth.categories),
        annotations["image_id"].to_numpy(),
        annotations["category_id"].to_numpy(),
        annotations[["x", "y", "w", "h"]].to_numpy(dtype=np.float64),
        ids=annotations["id"].to_numpy(),
        area=annotations["area"].to_numpy(dtype=np.float64),
        iscrowd=annotations["iscrowd"].to_numpy(dtype=np.int64),
    )
    columns = ["image_id", "x", "y", "w", "h", "score", "category_id"]
    found = expected.load_res(np.ascontiguousarray(detections[columns].to_numpy(dtype=np.float64)))
    evaluation = hotcoco.COCOeval(expected, found, "bbox")
    evaluation.evaluate()
    result = evaluation.tide_errors(pos_thr=foreground, bg_thr=background)
    return ErrorTypes(
        delta_ap={name: float(result["delta_ap"][name]) for name in ERROR_TYPES},
        counts={name: int(result["counts"][name]) for name in ERROR_TYPES if name in result["counts"]},
        ap=float(result["ap_base"]),
        foreground=foreground,
        background=background,
    )


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in record.items()} for record in frame.to_dict("records")]
