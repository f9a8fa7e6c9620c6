"""AP against pycocotools, on random problems and on COCO's own example."""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from suite.errors import SuiteError
from suite.evaluation.coco_ap import Evaluator, evaluate, evaluate_slices
from suite.evaluation.detections import DETECTION_COLUMNS, load_detections
from suite.evaluation.ground_truth import GroundTruth

SAMPLE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "cocoapi_sample"
NAMES = ["AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100", "ARS", "ARM", "ARL"]


def reference(content: dict[str, Any], detections: pd.DataFrame) -> list[float]:
    """The twelve numbers of stock pycocotools, through loadRes and summarize."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = content
        truth.createIndex()
        columns = ["image_id", "x", "y", "w", "h", "score", "category_id"]
        found = truth.loadRes(detections[columns].to_numpy(dtype=np.float64))
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return list(evaluation.stats)


def problem(seed: int, images: int = 12, crowded: bool = False) -> tuple[dict[str, Any], pd.DataFrame]:
    """Random boxes with crowds, images and categories without objects, jittered and false detections."""
    rng = np.random.default_rng(seed)
    used = [1, 3, 7]
    annotations, rows = [], []
    for image in range(1, images + 1):
        for _ in range(0 if image % 4 == 0 else rng.integers(1, 12)):
            size = np.exp(rng.uniform(np.log(8), np.log(200), 2))
            corner = rng.uniform(0, 300, 2)
            box = [*corner.tolist(), *size.tolist()]
            category = int(rng.choice(used))
            crowd = int(rng.random() < 0.1)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": category,
                    "bbox": box,
                    "area": float(np.prod(size) * rng.uniform(0.5, 1)),
                    "iscrowd": crowd,
                }
            )
            for _ in range(rng.integers(0, 4)):
                noisy = np.array(box) + rng.normal(0, 0.12, 4) * np.tile(size, 2)
                noisy[2:] = np.maximum(noisy[2:], 1)
                rows.append((image, int(rng.choice([category, category, 9])), round(rng.random(), 2), *noisy))
        for _ in range(130 if crowded and image < 3 else 3):
            rows.append((image, int(rng.choice([*used, 9])), round(rng.random(), 2), *rng.uniform(5, 200, 4)))
    content = {
        "images": [{"id": image, "width": 640, "height": 480} for image in range(1, images + 1)],
        "categories": [{"id": one, "name": f"c{one}"} for one in (7, 1, 3, 9, 12)],
        "annotations": annotations,
    }
    return content, pd.DataFrame(rows, columns=list(DETECTION_COLUMNS))


def values(metrics: dict[str, float | None]) -> list[float]:
    return [-1.0 if metrics[name] is None else metrics[name] for name in NAMES]


SIDE = st.sampled_from([8, 32, 40, 96, 130])
BOX = st.tuples(st.sampled_from([0, 4, 20]), st.sampled_from([0, 10]), SIDE, SIDE)
CATEGORY = st.sampled_from([1, 3, 7])
OBJECT = st.tuples(st.sampled_from([11, 4, 8, 2]), CATEGORY, BOX, st.sampled_from([0, 0, 0, 1]))
DETECTION = st.tuples(
    st.sampled_from([11, 4, 8, 2, 5]), st.sampled_from([1, 3, 7, 9]), st.sampled_from([0.2, 0.5, 0.9]), BOX
)
"""Few places, sizes and scores, so that overlaps and scores tie often and areas lie on COCO's edges; image 5
never has an object, category 9 neither, and nothing ever finds 12."""


def generated(objects, detections, many: int) -> tuple[dict[str, Any], pd.DataFrame]:
    """A problem of the five images; ``many`` more detections of category 1 on image 4."""
    annotations = [
        {
            "id": number, "image_id": image, "category_id": category, "bbox": list(map(float, box)),
            "area": float(box[2] * box[3]), "iscrowd": crowd,
        }
        for number, (image, category, box, crowd) in enumerate(objects, start=1)
    ]  # fmt: skip
    rows = [(image, category, score, *map(float, box)) for image, category, score, box in detections]
    rng = np.random.default_rng(many)
    rows += [
        (4, 1, score, x, 0.0, 40.0, 32.0)
        for score, x in zip(rng.integers(1, 9, many) / 10, rng.integers(0, 30, many) * 1.0, strict=True)
    ]
    content = {
        "images": [{"id": image, "width": 640, "height": 480} for image in (11, 4, 5, 8, 2)],
        "categories": [{"id": one, "name": f"c{one}"} for one in (7, 1, 3, 9, 12)],
        "annotations": annotations,
    }
    frame = pd.DataFrame(rows, columns=list(DETECTION_COLUMNS))
    return content, frame.astype({"image_id": np.int64, "category_id": np.int64})


def filtered(content: dict[str, Any], keep: set[int]) -> dict[str, Any]:
    return {
        **content,
        "images": [image for image in content["images"] if image["id"] in keep],
        "annotations": [box for box in content["annotations"] if box["image_id"] in keep],
    }


def fresh(content: dict[str, Any], detections: pd.DataFrame) -> tuple[list[float], dict[int, list[float]]]:
    """Stock pycocotools on these files: the twelve numbers, and AP, AP50, AP75 by category with objects."""
    boxes = [
        {
            "id": number, "image_id": row.image_id, "category_id": row.category_id, "score": row.score,
            "bbox": [row.x, row.y, row.w, row.h], "area": row.w * row.h, "iscrowd": 0,
        }
        for number, row in enumerate(detections.itertuples(), start=1)
    ]  # fmt: skip
    truth, found = COCO(), COCO()
    with contextlib.redirect_stdout(io.StringIO()):
        for coco, annotations in ((truth, content["annotations"]), (found, boxes)):
            coco.dataset = {**content, "annotations": annotations}
            coco.createIndex()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]
    with_objects = {box["category_id"] for box in content["annotations"] if not box["iscrowd"]}
    by_category = {
        category: [part[..., number].mean() for part in (precision, precision[:1], precision[5:6])]
        for number, category in enumerate(evaluation.params.catIds)
        if category in with_objects
    }
    return list(evaluation.stats), by_category


SLICES: dict[str, list[int]] = {
    "all": [11, 4, 5, 8, 2], "one": [4], "another": [8], "without objects": [5], "two": [2, 11],
    "overlapping": [11, 5, 4], "none": [],
}  # fmt: skip


def check_slices(problem: tuple[dict[str, Any], pd.DataFrame], evaluator: Evaluator) -> None:
    content, detections = problem
    found = evaluate_slices(GroundTruth.from_coco(content), detections, SLICES, evaluator)
    assert list(found) == list(SLICES)
    for name, images in SLICES.items():
        part = filtered(content, set(images))
        result = found[name]
        if images:
            twelve, by_category = fresh(part, detections[detections["image_id"].isin(images)])
        else:
            twelve, by_category = [-1.0] * 12, {}
        np.testing.assert_allclose(values(result.metrics), twelve, atol=1e-12, rtol=0, err_msg=name)
        assert result.categories["id"].tolist() == sorted(by_category)
        for row in result.categories.itertuples():
            np.testing.assert_allclose([row.AP, row.AP50, row.AP75], by_category[row.id], atol=1e-12, rtol=0)
        objects = [box for box in part["annotations"] if not box["iscrowd"]]
        assert (result.n_images, result.n_objects) == (len(images), len(objects))
        assert result.n_categories == len(by_category) == len({box["category_id"] for box in objects})
        small = [box for box in objects if box["area"] <= 1024]
        assert result.by_size["S"] == (len(small), len({box["category_id"] for box in small}))


def dense(seed: int) -> tuple[dict[str, Any], pd.DataFrame]:
    """A problem with several detections of one score on each object: whose turn is first decides."""
    rng = np.random.default_rng(seed)
    objects = [
        (int(rng.choice([11, 4, 8, 2])), int(rng.choice([1, 3, 7])), box, int(rng.random() < 0.1))
        for box in np.c_[rng.integers(0, 200, (25, 2)), rng.integers(8, 130, (25, 2))].tolist()
    ]
    detections = []
    for image, category, box, _ in objects:
        for _ in range(rng.integers(0, 8)):
            found = np.maximum(np.array(box) + rng.normal(0, 0.15, 4) * np.tile(box[2:], 2), 1)
            detections.append((image, category, float(rng.choice([0.2, 0.5])), found.tolist()))
    order = rng.permutation(len(detections))
    return generated(objects, [detections[number] for number in order], 0)


PROBLEM = st.one_of(
    st.builds(
        generated,
        st.lists(OBJECT, max_size=14),
        st.lists(DETECTION, max_size=40),
        st.sampled_from([0, 0, 0, 130]),
    ),
    st.builds(dense, st.integers(0, 10**6)),
)
QUICK = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(PROBLEM)
def test_every_slice_equals_pycocotools_on_filtered_files(problem) -> None:
    check_slices(problem, "hotcoco")


@settings(QUICK, max_examples=8)
@given(PROBLEM)
def test_the_reference_evaluator_gives_the_same_slices(problem) -> None:
    check_slices(problem, "pycocotools")


def test_an_image_is_matched_once_however_many_slices_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import hotcoco

    matched: list[int] = []

    class Counting:
        stock = hotcoco.StreamingEval

        def __init__(self, categories: list[dict[str, Any]], params: Any) -> None:
            self.inner = self.stock(categories, params=params)

        def update(self, images: list[dict[str, Any]], *rest: Any) -> None:
            matched.extend(image["id"] for image in images)
            self.inner.update(images, *rest)

        @classmethod
        def merge(cls, parts: list["Counting"]) -> Any:
            return cls.stock.merge([part.inner for part in parts])

    monkeypatch.setattr(hotcoco, "StreamingEval", Counting)
    content, detections = problem(2)
    slices = {"all": range(1, 13), "low": range(1, 7), "even": range(2, 13, 2), "seven": [7]}
    evaluate_slices(GroundTruth.from_coco(content), detections, slices)
    assert sorted(matched) == list(range(1, 13))


def test_unknown_images_of_a_slice_and_no_slices() -> None:
    content, detections = problem(2)
    truth = GroundTruth.from_coco(content)
    assert evaluate_slices(truth, detections, {}) == {}
    with pytest.raises(SuiteError, match="image ids of the slice: 2 not in the ground truth: 90, 91"):
        evaluate_slices(truth, detections, {"a": [1, 90, 91]})


@pytest.mark.parametrize("evaluator", ["hotcoco", "pycocotools"])
@pytest.mark.parametrize("seed", range(8))
def test_equals_pycocotools(seed: int, evaluator: str) -> None:
    content, detections = problem(seed, crowded=seed % 2 == 0)
    result = evaluate(GroundTruth.from_coco(content), detections, evaluator=evaluator)
    np.testing.assert_allclose(values(result.metrics), reference(content, detections), atol=1e-12, rtol=0)


@pytest.mark.parametrize("evaluator", ["hotcoco", "pycocotools"])
def test_more_than_cocos_100_detections_count_where_a_higher_limit_says_so(evaluator: Evaluator) -> None:
    """150 objects in one image: the 101st to 150th detection is right, and counts with a limit of 400."""
    boxes = [[20.0 * (n % 15), 20.0 * (n // 15), 15.0, 15.0] for n in range(150)]
    things = [
        {"id": n + 1, "image_id": 1, "category_id": 1, "bbox": box, "area": 225.0, "iscrowd": 0}
        for n, box in enumerate(boxes)
    ]
    images = [{"id": 1, "width": 320, "height": 240}]
    truth = GroundTruth.from_coco(
        {"images": images, "categories": [{"id": 1, "name": "object"}], "annotations": things}
    )
    found = pd.DataFrame(
        [(1, 1, 1 - n / 200, *box) for n, box in enumerate(boxes)], columns=list(DETECTION_COLUMNS)
    )
    few, many = (evaluate(truth, found, evaluator=evaluator, limit=limit).metrics for limit in (100, 400))
    assert few["AR100"] == many["AR100"] == pytest.approx(100 / 150)
    assert few["ARS"] == pytest.approx(100 / 150) and many["ARS"] == 1
    assert few["AP"] == pytest.approx(67 / 101)  # recall up to 0.66 is reached with precision 1
    assert many["AP"] == many["AP50"] == many["APS"] == pytest.approx(1)


@pytest.mark.parametrize("seed", range(4))
def test_subset_equals_pycocotools_on_filtered_files(seed: int) -> None:
    content, detections = problem(seed)
    keep = {2, 3, 4, 9}
    filtered = {
        **content,
        "images": [image for image in content["images"] if image["id"] in keep],
        "annotations": [box for box in content["annotations"] if box["image_id"] in keep],
    }
    expected = reference(filtered, detections[detections["image_id"].isin(keep)])
    result = evaluate(GroundTruth.from_coco(content), detections, image_ids=keep)
    np.testing.assert_allclose(values(result.metrics), expected, atol=1e-12, rtol=0)
    assert result.n_images == 4
    assert result.n_objects == sum(1 - box["iscrowd"] for box in filtered["annotations"])


def test_per_category_numbers_agree_between_evaluators_and_average_to_ap() -> None:
    content, detections = problem(3)
    truth = GroundTruth.from_coco(content)
    ours, theirs = (evaluate(truth, detections, evaluator=name) for name in ("hotcoco", "pycocotools"))
    pd.testing.assert_frame_equal(ours.categories, theirs.categories, check_exact=False, rtol=0, atol=1e-12)
    assert ours.categories["id"].tolist() == [1, 3, 7]  # 9 has false positives only, 12 nothing
    assert ours.n_categories == 3
    for name in ("AP", "AP50", "AP75"):
        assert ours.categories[name].mean() == pytest.approx(ours.metrics[name], abs=1e-12)
    assert (ours.version, theirs.version) != ("", "")


@pytest.mark.parametrize("evaluator", ["hotcoco", "pycocotools"])
def test_no_detections_is_zero_and_no_objects_is_none(evaluator: str) -> None:
    content, detections = problem(1)
    truth = GroundTruth.from_coco(content)
    nothing = evaluate(truth, detections.head(0), evaluator=evaluator)
    assert nothing.metrics["AP"] == 0.0
    assert (nothing.categories["AP"] == 0).all()
    empty_images = evaluate(truth, detections, image_ids=[4, 8], evaluator=evaluator)
    assert empty_images.metrics["AP"] is None
    assert (empty_images.n_images, empty_images.n_objects, empty_images.n_categories) == (2, 0, 0)


def test_false_positives_on_images_without_objects_count() -> None:
    content, detections = problem(5)
    truth = GroundTruth.from_coco(content)
    spoiled = pd.concat([detections, detections.assign(image_id=4, score=1.0)], ignore_index=True)
    assert evaluate(truth, spoiled).metrics["AP"] < evaluate(truth, detections).metrics["AP"]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("image_id", 77, r"image_id not in the ground truth: 1 \(1 distinct: 77\)"),
        ("category_id", 2, r"category_id not in the ground truth: 1 \(1 distinct: 2\)"),
        ("score", np.nan, r"score is not finite: 1 \(first is record 3: nan\)"),
        ("w", 0.0, "bbox has no area, width and height must be above 0: 1"),
        ("x", np.inf, r"bbox is not finite: 1 \(first is record 3: \[inf"),
    ],
)
def test_bad_detections_are_refused(column: str, value: float, message: str) -> None:
    content, detections = problem(0)
    detections.loc[3, column] = value
    with pytest.raises(SuiteError, match=message):
        evaluate(GroundTruth.from_coco(content), detections)


def test_unknown_evaluator_and_missing_column_are_refused() -> None:
    content, detections = problem(0)
    truth = GroundTruth.from_coco(content)
    with pytest.raises(SuiteError, match="evaluator is 'coco'"):
        evaluate(truth, detections, evaluator="coco")
    with pytest.raises(SuiteError, match="no column score"):
        evaluate(truth, detections.drop(columns="score"))


@pytest.mark.skipif(not SAMPLE.is_dir(), reason=f"COCO's example detections are not at {SAMPLE}")
@pytest.mark.parametrize("evaluator", ["hotcoco", "pycocotools"])
def test_official_numbers_of_cocos_example(evaluator: Evaluator) -> None:
    truth = GroundTruth.load(SAMPLE / "instances_val2014_100.json")
    found = load_detections(SAMPLE / "instances_val2014_fakebbox100_results.json", truth)
    result = evaluate(truth, found.frame, evaluator=evaluator)
    box_part = (SAMPLE / "val2014_fake_eval_res.txt").read_text().split("type=bbox")[1].split("type=")[0]
    published = [
        float(line.rsplit("=", 1)[1]) for line in box_part.splitlines() if line.startswith(" Average")
    ]
    assert len(published) == 12
    assert [round(value, 3) for value in values(result.metrics)] == published
