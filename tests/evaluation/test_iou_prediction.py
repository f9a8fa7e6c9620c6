import pandas as pd
import pytest

from suite.errors import SuiteError
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.iou_prediction import iou_prediction_error


def truth_of(*objects):
    """Objects as (image, category, box, crowd)."""
    return GroundTruth.from_coco(
        {
            "images": [{"id": image, "width": 100, "height": 100} for image in (1, 2)],
            "categories": [{"id": 3, "name": "a"}, {"id": 5, "name": "b"}],
            "annotations": [
                {"id": index + 1, "image_id": image, "category_id": category, "bbox": box,
                 "area": box[2] * box[3], "iscrowd": crowd}
                for index, (image, category, box, crowd) in enumerate(objects)
            ],
        }
    )  # fmt: skip


def detections_of(*rows):
    names = ["image_id", "category_id", "x", "y", "w", "h", "predicted_iou"]
    return pd.DataFrame(rows, columns=names).assign(score=0.5)


def test_error_against_the_object_of_its_class_that_a_box_overlaps_most():
    truth = truth_of(
        (1, 3, [0, 0, 10, 10], 0), (1, 3, [0, 0, 10, 8], 0), (1, 5, [50, 50, 10, 10], 0),
        (2, 3, [0, 0, 10, 10], 1),
    )  # fmt: skip
    found = detections_of(
        (1, 3, 0, 0, 10, 10, 0.7),  # IoU 1 with the first, 0.8 with the second
        (1, 3, 0, 0, 10, 7, 0.6),  # IoU 7 / 8 with the second
        (1, 5, 0, 0, 10, 10, 0.4),  # nothing of its class there
        (1, 5, 50, 50, 10, 4, 0.5),  # IoU 0.4: on no object
        (2, 3, 0, 0, 10, 10, 0.9),  # only a crowd
    )
    errors = [0.3, 7 / 8 - 0.6, 0.4, 0.1, 0.9]
    result = iou_prediction_error(truth, found)
    assert result["IoU_error"] == pytest.approx(sum(errors[:2]) / 2)
    assert result["IoU_error_all"] == pytest.approx(sum(errors) / 5)


def test_without_detections_there_is_no_error():
    found = detections_of((1, 3, 0, 0, 1, 1, 0.5)).iloc[:0]
    assert iou_prediction_error(truth_of(), found) == {"IoU_error": None, "IoU_error_all": None}


def test_a_detector_without_iou_prediction_is_named():
    found = detections_of((1, 3, 0, 0, 1, 1, 0.5)).drop(columns="predicted_iou")
    with pytest.raises(SuiteError, match="no column predicted_iou"):
        iou_prediction_error(truth_of(), found)
