"""Matching against pycocotools, detection by detection."""

import contextlib
import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from detection_cases import COLUMNS, draw, problems
from hypothesis import given, settings
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from suite.errors import SuiteError
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.matches import AREAS, IOU_THRESHOLDS, Matches, match


def reference(content: dict[str, Any], detections: pd.DataFrame) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = content
        truth.createIndex()
        columns = ["image_id", "x", "y", "w", "h", "score", "category_id"]
        found = truth.loadRes(detections[columns].to_numpy(dtype=np.float64))
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
    return evaluation


def flags(bits: Any) -> Any:
    """``(N,)`` bits to ``(T, N)`` bool."""
    return bits >> np.arange(len(IOU_THRESHOLDS))[:, None] & 1 == 1


@settings(max_examples=25, deadline=None)
@given(problems)
def test_every_match_is_pycocotools(problem: tuple[dict[str, Any], pd.DataFrame]) -> None:
    if len(problem[1]):
        assert_matches_are_pycocotools(*problem)


def test_of_two_objects_with_equal_iou_the_later_one_is_taken() -> None:
    boxes = [[0, 0, 100, 100], [20, 0, 100, 100]]
    content = {
        "images": [{"id": 1, "width": 640, "height": 480}],
        "categories": [{"id": 1, "name": "one"}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 1, "bbox": box, "area": 1e4, "iscrowd": 0}
            for i, box in enumerate(boxes, start=1)
        ],
    }
    rows = [(1, 1, 0.9, 10, 0, 100, 100), (1, 1, 0.8, 22, 0, 100, 100)]
    detections = pd.DataFrame(rows, columns=COLUMNS)
    assert_matches_are_pycocotools(content, detections)
    # The first has IoU 0.82 with both. Up to 0.8 it takes the later object, and the second, which fits that
    # one best, is left with the other and IoU 0.64; from 0.85 on the later object is free.
    assert match(GroundTruth.from_coco(content), detections).areas["all"].true.tolist() == [
        0b1111111,
        0b1110000111,
    ]


def assert_matches_are_pycocotools(content: dict[str, Any], detections: pd.DataFrame) -> None:
    matches = match(GroundTruth.from_coco(content), detections, tuple(AREAS))
    evaluation = reference(content, detections)
    found = {}
    for one in filter(None, evaluation.evalImgs):
        found[one["image_id"], one["category_id"], tuple(one["aRng"])] = one
    for name, limits in AREAS.items():
        area = matches.area(name)
        true, ignored = flags(area.true), flags(area.ignored)
        for i, image in enumerate(matches.image_ids):
            for k, category in enumerate(matches.category_ids):
                mine = np.flatnonzero((matches.image == i) & (matches.category == k))
                one = found.get((image, category, limits))
                if one is None:
                    assert not len(mine) and not area.objects[i, k]
                    continue
                assert matches.rank[mine].tolist() == list(range(len(one["dtIds"])))
                np.testing.assert_array_equal(ignored[:, mine], one["dtIgnore"])
                np.testing.assert_array_equal(true[:, mine], (one["dtMatches"] > 0) & ~one["dtIgnore"])
                assert area.objects[i, k] == np.sum(np.asarray(one["gtIgnore"]) == 0)


def ranking(matches: Matches) -> list[tuple[int, int, int]]:
    image, category = matches.image_ids[matches.image], matches.category_ids[matches.category]
    return list(zip(image.tolist(), category.tolist(), matches.areas["all"].true.tolist(), strict=True))


def test_the_order_of_images_and_of_rows_does_not_matter_without_ties() -> None:
    content, detections = draw(3, images=7, distinct=True)
    detections["score"] += np.random.default_rng(0).random(len(detections)) / 1000
    once = match(GroundTruth.from_coco(content), detections)
    turned = {**content, "images": content["images"][::-1]}
    again = match(GroundTruth.from_coco(turned), detections.sample(frac=1, random_state=1))
    assert ranking(once) == ranking(again)


def test_pairs_in_many_portions_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    content, detections = draw(5, crowded=True)
    truth = GroundTruth.from_coco(content)
    whole = match(truth, detections)
    monkeypatch.setattr("suite.evaluation.matches._PAIRS_AT_ONCE", 3)
    assert ranking(match(truth, detections)) == ranking(whole)


def test_no_more_than_100_detections_of_an_image_and_category_count() -> None:
    content, detections = draw(1, crowded=True)
    counts = detections.groupby(["image_id", "category_id"]).size().clip(upper=100)
    matches = match(GroundTruth.from_coco(content), detections)
    assert detections.groupby(["image_id", "category_id"]).size().max() < 100 or len(matches.image) < len(
        detections
    )
    assert len(matches.image) == counts.sum()
    many = pd.concat([detections] * 5, ignore_index=True)
    assert np.bincount(match(GroundTruth.from_coco(content), many).rank).size == 100


def test_unmatched_areas_and_bad_detections_are_refused() -> None:
    content, detections = draw(2)
    truth = GroundTruth.from_coco(content)
    with pytest.raises(SuiteError, match="'large' was not matched"):
        match(truth, detections).area("large")
    with pytest.raises(SuiteError, match="not in the ground truth"):
        match(truth, detections.assign(image_id=999))
