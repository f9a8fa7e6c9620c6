"""AP with weights on images against evaluating the data set that the weights stand for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from detection_cases import draw, problems, repeated
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.evaluation.bootstrap import WeightedAP, recall, resample
from suite.evaluation.coco_ap import evaluate
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.matches import AREAS, AreaMatches, Matches, match

SAMPLE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "cocoapi_sample"
SIZES = {"small": "S", "medium": "M", "large": "L"}


def mean(values: Any) -> float | None:
    return float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else None


def numbers(truth: GroundTruth, detections: pd.DataFrame, weights: Any) -> dict[str, float | None]:
    """COCO's twelve and AP by category, on one row of weights."""
    matches = match(truth, detections, tuple(AREAS))
    rows = np.asarray(weights)[None]
    ap = WeightedAP(matches)(rows)[0]
    found = {"AP": mean(ap), "AP50": mean(ap[:, 0]), "AP75": mean(ap[:, 5])}
    for area, size in SIZES.items():
        found[f"AP{size}"] = mean(WeightedAP(matches, area)(rows))
        found[f"AR{size}"] = mean(recall(matches, rows, area))
    found |= {f"AR{limit}": mean(recall(matches, rows, limit=limit)) for limit in (1, 10, 100)}
    found |= {f"category {one}": mean(ap[k]) for k, one in enumerate(matches.category_ids)}
    return found


def expected(truth: GroundTruth, detections: pd.DataFrame, evaluator: str = "hotcoco") -> dict[str, Any]:
    result = evaluate(truth, detections, evaluator=evaluator)
    rows = result.categories.set_index("id")["AP"]
    by_category = {f"category {one}": rows.get(one) for one in truth.categories["id"]}
    return {**result.metrics, **by_category}


def assert_equal(found: dict[str, float | None], wanted: dict[str, float | None]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert (found[name] is None) == (value is None), name
        if value is not None:
            assert found[name] == pytest.approx(value, abs=1e-12, rel=0), name


@settings(max_examples=40, deadline=None)
@given(problems)
def test_with_each_image_once_it_is_cocos_evaluation(problem: tuple[dict[str, Any], pd.DataFrame]) -> None:
    content, detections = problem
    truth = GroundTruth.from_coco(content)
    found = numbers(truth, detections, np.ones(len(truth.images), dtype=int))
    for evaluator in ("hotcoco", "pycocotools"):
        assert_equal(found, expected(truth, detections, evaluator))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.booleans(), st.lists(st.integers(0, 4), min_size=7))
def test_weights_are_repeated_images(seed: int, images: int, crowded: bool, weights: list[int]) -> None:
    """Equal scores in different images are ranked by image id, and so are the copies."""
    content, detections = draw(seed, images, crowded=crowded, distinct=True)
    truth = GroundTruth.from_coco(content)
    ids = sorted(truth.images["id"])
    weights = weights[: len(ids)]
    weights[0] = max(weights[0], 1)  # a data set has an image
    found = numbers(truth, detections, weights)
    wanted = expected(*repeated(content, detections, dict(zip(ids, weights, strict=True))))
    assert_equal(found, wanted)


def test_equal_scores_within_an_image_keep_the_order_of_their_data_set() -> None:
    """The copies of a detection stand together, as if its score were a trifle above that of the next."""
    content, detections = draw(8, decimals=1)
    truth = GroundTruth.from_coco(content)
    ids = sorted(truth.images["id"])
    assert detections.duplicated(["image_id", "category_id", "score"]).any()
    order = np.lexsort((np.arange(len(detections)), detections["image_id"], -detections["score"]))
    untied = detections.copy()
    untied.loc[order, "score"] = np.linspace(1, 0, len(order))
    weights = [index % 3 for index in range(len(ids))]
    wanted = expected(*repeated(content, untied, dict(zip(ids, weights, strict=True))))
    assert_equal(numbers(truth, detections, weights), wanted)


@pytest.mark.parametrize("seed", range(4))
def test_a_subset_is_cocos_evaluation_of_the_slice(seed: int) -> None:
    content, detections = draw(seed, images=7)
    truth = GroundTruth.from_coco(content)
    ids = np.sort(truth.images["id"])
    keep = ids % 2 == 0
    wanted = expected(truth.subset(ids[keep]), detections[detections["image_id"] % 2 == 0])
    assert_equal(numbers(truth, detections, keep.astype(int)), wanted)
    part = match(truth, detections).subset(keep)
    assert part.image_ids.tolist() == ids[keep].tolist()
    assert mean(WeightedAP(part)(np.ones((1, keep.sum()), dtype=int))) == pytest.approx(
        wanted["AP"], abs=1e-12
    )


@pytest.mark.skipif(not SAMPLE.is_dir(), reason=f"COCO's example detections are not at {SAMPLE}")
def test_cocos_example() -> None:
    detections = pd.DataFrame(json.loads((SAMPLE / "instances_val2014_fakebbox100_results.json").read_text()))
    detections[list("xywh")] = detections["bbox"].tolist()
    truth = GroundTruth.load(SAMPLE / "instances_val2014_100.json")
    found = numbers(truth, detections, np.ones(len(truth.images), dtype=int))
    assert_equal(found, expected(truth, detections))
    assert round(found["AP"], 3) == 0.505  # as COCO prints it
    weights = np.arange(len(truth.images)) % 3
    content = json.loads((SAMPLE / "instances_val2014_100.json").read_text())
    content["images"].sort(key=lambda image: image["id"])
    times = {image["id"]: int(n) for image, n in zip(content["images"], weights, strict=True)}
    assert_equal(numbers(truth, detections, weights), expected(*repeated(content, detections, times)))


def test_many_rows_are_computed_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    content, detections = draw(11, images=7)
    ap = WeightedAP(match(GroundTruth.from_coco(content), detections, ("medium",)), "medium")
    weights = resample(7, 50, seed=1)
    together = ap(weights)
    monkeypatch.setattr("suite.evaluation.bootstrap._NUMBERS_AT_ONCE", 1)
    np.testing.assert_array_equal(together, np.concatenate([ap(row[None]) for row in weights]))
    assert len(np.unique(together[np.isfinite(together)])) > 20


def test_no_detections_are_0_and_no_objects_are_undefined() -> None:
    content, detections = draw(4)
    truth = GroundTruth.from_coco(content)
    objects = match(truth, detections).areas["all"].objects.any(axis=0)
    nothing = WeightedAP(match(truth, detections.head(0)))(np.ones((1, len(truth.images)), dtype=int))[0]
    assert (nothing[objects] == 0).all()
    assert np.isnan(nothing[~objects]).all()
    nowhere = np.zeros((2, len(truth.images)), dtype=int)
    assert np.isnan(WeightedAP(match(truth, detections))(nowhere)).all()
    assert np.isnan(recall(match(truth, detections), nowhere)).all()
    empty = GroundTruth.from_coco({**content, "annotations": []})
    assert np.isnan(WeightedAP(match(empty, detections))(nowhere + 1)).all()


@pytest.mark.parametrize("n_objects", [1, 7, 25, 29, 100, 143, 300])
def test_the_recalls_reached_are_counted_exactly(n_objects: int) -> None:
    """k of n objects found without a false detection: AP is the share of the recalls up to k / n."""
    once = np.ones((1, 1), dtype=int)
    for k in range(n_objects + 1):
        none = np.zeros(k, np.uint16)
        area = AreaMatches(none + 1, none, np.ones(k, bool), np.array([[n_objects]], np.uint16))
        image = np.zeros(k, np.int32)
        found = Matches(np.array([1]), np.array([1]), image, image, image.astype(np.uint8), {"all": area}, 1)
        reached = np.searchsorted(np.linspace(0, 1, 101), k / n_objects, side="right") if k else 0
        assert WeightedAP(found)(once).item() == pytest.approx(reached / 101, abs=1e-12), k


def test_perfect_detections_are_1_on_any_images() -> None:
    content, _ = draw(6, images=7)
    truth = GroundTruth.from_coco(content)
    perfect = truth.objects.assign(score=0.5)
    values = WeightedAP(match(truth, perfect))(resample(7, 20, seed=0))
    assert values[np.isfinite(values)] == pytest.approx(1)


def test_resampling_draws_as_many_images_as_there_are() -> None:
    weights = resample(30, 400, seed=3)
    assert (weights.sum(axis=1) == 30).all()
    np.testing.assert_array_equal(weights, resample(30, 400, seed=3))
    assert (weights != resample(30, 400, seed=4)).any()
    assert weights.mean(axis=0) == pytest.approx(1, abs=0.25)
    assert weights.var() == pytest.approx(29 / 30, rel=0.05)  # multinomial: n p (1 - p)
