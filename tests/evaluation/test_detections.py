"""Reading detections, and refusing or leaving out what cannot be evaluated."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from suite.errors import SuiteError
from suite.evaluation.coco_ap import evaluate
from suite.evaluation.detections import DETECTION_COLUMNS, load_detections
from suite.evaluation.ground_truth import GroundTruth

TRUTH = GroundTruth.from_coco(
    {
        "images": [{"id": 3, "width": 64, "height": 48}, {"id": 4, "width": 64, "height": 48}],
        "categories": [{"id": 9, "name": "b"}],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 9, "bbox": [1, 2, 30, 40], "area": 1200, "iscrowd": 0},
        ],
    }
)
NAN, INF = float("nan"), float("inf")


def record(**changes: Any) -> dict[str, Any]:
    return {"image_id": 3, "category_id": 9, "bbox": [1, 2, 30, 40], "score": 0.5, **changes}


def write(folder: Path, content: Any) -> Path:
    path = folder / "results.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_records_are_read_in_order_with_their_types(tmp_path: Path) -> None:
    records = [record(score=1, segmentation=[]), record(image_id=4.0, bbox=[0, 0, 0.5, 1e3], score=-2.5)]
    found = load_detections(write(tmp_path, records), TRUTH)
    assert found.dropped == {}
    assert found.frame.to_numpy().tolist() == [[3, 9, 1, 1, 2, 30, 40], [4, 9, -2.5, 0, 0, 0.5, 1000]]
    assert found.frame.columns.tolist() == list(DETECTION_COLUMNS)
    assert [str(kind) for kind in found.frame.dtypes] == ["int64"] * 2 + ["float64"] * 5
    assert evaluate(TRUTH, found.frame).metrics["AP"] == pytest.approx(1)


def test_an_empty_list_is_an_ap_of_zero_and_an_empty_file_an_error(tmp_path: Path) -> None:
    found = load_detections(write(tmp_path, []), TRUTH)
    assert evaluate(TRUTH, found.frame).metrics["AP"] == 0.0
    with pytest.raises(SuiteError, match=r"results\.json: the file is empty; expected a list\."):
        load_detections(write(tmp_path, ""), TRUTH, lenient=True)


def test_a_truncated_file_is_told_with_line_and_place(tmp_path: Path) -> None:
    text = json.dumps([record(), record()], indent=1)
    with pytest.raises(
        SuiteError, match=r"results\.json:16: not valid.*at column 3, character 145 of 150.*truncated"
    ):
        load_detections(write(tmp_path, text[:150]), TRUTH, lenient=True)


def test_other_content_than_a_list_is_named(tmp_path: Path) -> None:
    content = {"info": {}, "images": 3, "annotations": [record()]}
    with pytest.raises(SuiteError) as caught:
        load_detections(write(tmp_path, content), TRUTH, lenient=True)
    assert caught.value.message.endswith(
        "results.json: expected a list of detections, found an object with the keys "
        "'info', 'images', 'annotations'."
    )
    assert caught.value.remedy == (
        "The list may be under 'annotations' (1 entries): write that list alone into the file."
    )
    with pytest.raises(SuiteError, match=r"found an object with the keys \(none\).*\n.*a list of \{image_id"):
        load_detections(write(tmp_path, {}), TRUTH)
    with pytest.raises(SuiteError, match=r"expected a list of detections, found 3\."):
        load_detections(write(tmp_path, 3), TRUTH)
    with pytest.raises(SuiteError, match=r"absent\.json: cannot read"):
        load_detections(tmp_path / "absent.json", TRUTH)


BAD = [
    (record(image_id=7), "image_id not in the ground truth", "1 distinct: 7"),
    (record(category_id=1), "category_id not in the ground truth", "1 distinct: 1"),
    (record(score=NAN), "score is not finite", "first is record 1: nan"),
    (record(score=-INF), "score is not finite", "first is record 1: -inf"),
    (record(bbox=[0, NAN, 1, 1]), "bbox is not finite", "first is record 1: [0.0, nan, 1.0, 1.0]"),
    (record(bbox=[0, 0, -1, 2]), "bbox has no area, width and height must be above 0",
     "first is record 1: [0.0, 0.0, -1.0, 2.0]"),
    (record(bbox=[0, 0, 1, 0]), "bbox has no area, width and height must be above 0",
     "first is record 1: [0.0, 0.0, 1.0, 0.0]"),
    (record(bbox=[0, 0, 1]), "bbox is not a list of 4 numbers", None),
    (record(bbox="1234"), "bbox is not a list of 4 numbers", None),
    (record(bbox=[0, 0, 1, "2"]), "bbox is not a list of 4 numbers", None),
    (record(bbox=None), "bbox is not a list of 4 numbers", None),
    (record(score=None), "score is not a number", None),
    (record(score=True), "score is not a number", None),
    (record(score=10**400), "score is not a number", None),
    (record(image_id="3"), "image_id is not a whole number", None),
    (record(image_id=3.5), "image_id is not a whole number", None),
    (record(category_id=2**70), "category_id is not a whole number", None),
    ({"image_id": 3, "category_id": 9}, "record has no score, bbox", None),
    ([3, 9], "record is not an object", "first is record 1: [3, 9]"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "reason", "example"), BAD)
def test_each_fault_is_named_and_left_out_leniently(
    tmp_path: Path, bad: Any, reason: str, example: str | None
) -> None:
    path = write(tmp_path, [record(), bad, record(score=0.25)])
    with pytest.raises(SuiteError) as caught:
        load_detections(path, TRUTH)
    first, second = caught.value.message.splitlines()
    assert first == f"{path}: 1 of 3 detections cannot be evaluated:"
    assert second.startswith(f"  {reason}: 1 (")
    if example is not None:
        assert second == f"  {reason}: 1 ({example})"
    assert "--lenient" in (caught.value.remedy or "")
    found = load_detections(path, TRUTH, lenient=True)
    assert found.dropped == {reason: 1}
    assert found.frame["score"].tolist() == [0.5, 0.25]


def test_all_faults_come_in_one_message_each_detection_counted_once(tmp_path: Path) -> None:
    records = [record(image_id=100 + number // 2) for number in range(24)]
    records += [record(image_id=100, score=NAN), record(), record(score=NAN, bbox=[0, 0, -1, 1]), {}]
    path = write(tmp_path, records)
    with pytest.raises(SuiteError) as caught:
        load_detections(path, TRUTH)
    assert caught.value.message.splitlines()[1:] == [
        "  record has no image_id, category_id, score, bbox: 1 (first is record 27: {})",
        "  image_id not in the ground truth: 25 "
        "(12 distinct: 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, ...)",
        "  score is not finite: 1 (first is record 26: nan)",
    ]
    assert "27 of 28 detections" in caught.value.message
    found = load_detections(path, TRUTH, lenient=True)
    assert len(found.frame) + sum(found.dropped.values()) == len(records)


def test_a_parquet_file_of_a_run_is_read_too(tmp_path: Path) -> None:
    frame = pd.DataFrame([(3, 9, 0.5, 1, 2, 30, 40), (3, 9, 0.25, 1, 2, 30, 40)], columns=DETECTION_COLUMNS)
    path = tmp_path / "detections.parquet"
    frame.astype({name: np.float32 for name in ("score", *"xywh")}).to_parquet(path)
    pd.testing.assert_frame_equal(
        load_detections(path, TRUTH).frame, frame.astype({name: np.float64 for name in ("score", *"xywh")})
    )
    frame.assign(score=[0.5, NAN]).to_parquet(path)
    with pytest.raises(
        SuiteError, match=r"detections\.parquet: 1 of 2 detections.*\n  score is not finite: 1"
    ):
        load_detections(path, TRUTH)
    assert load_detections(path, TRUTH, lenient=True).dropped == {"score is not finite": 1}
    frame.drop(columns="w").to_parquet(path)
    with pytest.raises(SuiteError, match=r"detections\.parquet: no column w; found image_id"):
        load_detections(path, TRUTH)
    frame.astype({"image_id": str}).to_parquet(path)
    with pytest.raises(SuiteError, match=r"column image_id is of type .*; expected whole numbers"):
        load_detections(path, TRUTH)
    path.write_bytes(b"PAR1 cut short")
    with pytest.raises(SuiteError, match=r"detections\.parquet: cannot read"):
        load_detections(path, TRUTH)
