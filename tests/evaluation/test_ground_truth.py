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
        ("id", 0, r"annotations\[\]\.id below 1: 1 \(id 0\)"),
        ("id", 2, r"annotations\[\]\.id used more than once: 1 \(id 2\)"),
        ("id", "1", r"annotations\[\]\.id is not a whole number: 1 \(annotations\[0\] \(id 1\)\.id is \"1\""),
        ("image_id", 3, r"annotations\[\]\.image_id not in the ground truth: 1 \(image_id 3\)"),
        ("category_id", 3, r"annotations\[\]\.category_id not in the ground truth: 1 \(category_id 3\)"),
        ("bbox", [0, 0, -1, 2], r"bbox is not finite or of negative size: 1 \(id 1\)"),
        ("bbox", [0, 0, float("nan"), 2], "not finite"),
        ("bbox", [0, 0, 1], r"annotations\[0\] \(id 1\)\.bbox is \[0, 0, 1\]"),
        ("bbox", None, "has no bbox: 1"),
        ("area", float("inf"), "area is not a finite number from 0: 1"),
        ("area", None, r"has no area: 1 \(first is annotations\[0\] \(id 1\)\)"),
        ("iscrowd", 2, r"iscrowd is not 0 or 1: 1 .*\.iscrowd is 2"),
        ("iscrowd", None, "has no iscrowd: 1"),
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


def test_every_fault_is_in_one_message_with_its_count_and_a_remedy() -> None:
    bad = content()
    bad["images"].append({"id": 5, "width": 64, "height": 48})
    for number in range(12):
        bad["annotations"].append({**bad["annotations"][0], "id": 10 + number, "image_id": 100 + number})
        del bad["annotations"][-1]["area"]
    with pytest.raises(SuiteError) as caught:
        GroundTruth.from_coco(bad, source="val.json")
    assert str(caught.value).splitlines() == [
        "val.json: not as COCO's instances files are:",
        "  annotations[] has no area: 12 (first is annotations[2] (id 10))",
        "  images[].id used more than once: 1 (id 5)",
        "  annotations[].image_id not in the ground truth: 12 "
        "(image_id 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, ...)",
        "  -> Mend the file, or use --lenient, which leaves out or completes such entries and prints how "
        "many.",
    ]


def test_lenient_reading_completes_numbers_anew_and_leaves_out_and_counts_each() -> None:
    bad = content()
    first = bad["annotations"][0]
    bad["annotations"] += [
        {**first, "id": 0},
        {**first, "id": 2},
        {key: value for key, value in first.items() if key not in ("iscrowd", "area")} | {"id": 7},
        {**first, "id": 8, "bbox": [0, 0, -3, 2]},
        {**first, "id": 9, "image_id": 77},
    ]
    truth = GroundTruth.from_coco(bad, lenient=True)
    assert truth.mended == {
        "annotations[] has no area: taken as w * h": 1,
        "annotations[] has no iscrowd: taken as 0": 1,
        "annotations[].bbox is not finite or of negative size: left out": 1,
        "annotations[].image_id not in the ground truth: left out": 1,
        "annotations[].id below 1: numbered anew": 1,
        "annotations[].id used more than once: numbered anew": 1,
    }
    assert truth.annotations["id"].is_unique and truth.annotations["id"].min() == 1
    assert truth.annotations["area"].tolist() == [10.5, 120, 10.5, 10.5, 12]
    assert truth.annotations["iscrowd"].tolist() == [False, True, False, False, False]
    assert truth.subset([5]).mended == truth.mended
    assert GroundTruth.from_coco(content(), lenient=True).mended == {}


@pytest.mark.parametrize("name", ["images", "categories"])
def test_no_images_or_categories_is_refused_leniently_too(name: str) -> None:
    for lenient in (False, True):
        with pytest.raises(SuiteError, match=f"val.json: {name} is empty; expected at least one"):
            GroundTruth.from_coco({**content(), name: []}, source="val.json", lenient=lenient)


def test_strict_and_lenient_readings_of_one_file_are_kept_apart(tmp_path: Path) -> None:
    bad = content()
    del bad["annotations"][0]["iscrowd"]
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(bad))
    assert len(GroundTruth.load(path, lenient=True).objects) == 1
    with pytest.raises(SuiteError, match="has no iscrowd"):
        GroundTruth.load(path)
