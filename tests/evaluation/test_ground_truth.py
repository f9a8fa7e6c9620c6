"""Reading and refusing annotation files."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from suite.errors import SuiteError
from suite.evaluation.ground_truth import GroundTruth


def content() -> dict[str, Any]:
    return {
        "images": [{"id": 5, "width": 64, "height": 48}, {"id": 2, "width": 64, "height": 48}],
        "categories": [{"id": 9, "name": "b"}, {"id": 4, "name": "a"}],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 9, "bbox": [1, 2, 3, 4], "area": 10.5, "iscrowd": 0},
            {"id": 2, "image_id": 2, "category_id": 4, "bbox": [1, 2, 30, 4], "area": 120, "iscrowd": 1},
        ],
    }


def test_load_reads_columns_and_caches_until_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content()))
    truth = GroundTruth.load(path)
    assert truth.categories["name"].tolist() == ["a", "b"]
    assert truth.annotations[["x", "y", "w", "h", "area"]].to_numpy().tolist()[0] == [1, 2, 3, 4, 10.5]
    assert truth.objects["id"].tolist() == [1]
    assert len(truth.fingerprint) == 64
    assert GroundTruth.load(path) is truth
    changed = content()
    changed["annotations"].pop()
    path.write_text(json.dumps(changed))
    os.utime(path, ns=(1, 1))
    again = GroundTruth.load(path)
    assert len(again.annotations) == 1
    assert again.fingerprint != truth.fingerprint


def test_subset_keeps_images_boxes_and_all_categories() -> None:
    part = GroundTruth.from_coco(content()).subset([2])
    assert part.images["id"].tolist() == [2]
    assert part.annotations["id"].tolist() == [2]
    assert len(part.categories) == 2
    with pytest.raises(SuiteError, match="not in the ground truth: 6"):
        part.subset([6])


def test_no_annotations_at_all() -> None:
    assert len(GroundTruth.from_coco({**content(), "annotations": []}).annotations) == 0


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("id", 0, "below 1: 0"),
        ("id", 2, "more than once: 2"),
        ("image_id", 3, "image_id: 1 not in the ground truth: 3"),
        ("category_id", 3, "category_id: 1 not in the ground truth: 3"),
        ("bbox", [0, 0, -1, 2], "negative size: 1"),
        ("bbox", [0, 0, float("nan"), 2], "not finite"),
        ("bbox", [0, 0, 1], r"annotations\[0\].bbox is \[0, 0, 1\]"),
        ("iscrowd", None, "has no iscrowd"),
    ],
)
def test_bad_annotations_are_refused(field: str, value: Any, message: str) -> None:
    bad = content()
    if value is None:
        del bad["annotations"][0][field]
    else:
        bad["annotations"][0][field] = value
    with pytest.raises(SuiteError, match=message):
        GroundTruth.from_coco(bad, source="val.json")


def test_missing_file_and_wrong_content_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"absent\.json"):
        GroundTruth.load(tmp_path / "absent.json")
    wrong = tmp_path / "wrong.json"
    wrong.write_text("[]")
    with pytest.raises(SuiteError, match=r"wrong\.json: expected an object with a list 'images'"):
        GroundTruth.load(wrong)
