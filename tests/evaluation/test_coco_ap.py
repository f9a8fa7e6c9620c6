"""AP against pycocotools, on random problems and on COCO's own example."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from suite.errors import SuiteError
from suite.evaluation.coco_ap import DETECTION_COLUMNS, evaluate
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


@pytest.mark.parametrize("evaluator", ["hotcoco", "pycocotools"])
@pytest.mark.parametrize("seed", range(8))
def test_equals_pycocotools(seed: int, evaluator: str) -> None:
    content, detections = problem(seed, crowded=seed % 2 == 0)
    result = evaluate(GroundTruth.from_coco(content), detections, evaluator=evaluator)
    np.testing.assert_allclose(values(result.metrics), reference(content, detections), atol=1e-12, rtol=0)


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
        ("image_id", 77, "image_id: 1 not in the ground truth: 77"),
        ("category_id", 2, "category_id: 1 not in the ground truth: 2"),
        ("score", np.nan, "score is not finite"),
        ("w", 0.0, "has no area"),
        ("x", np.inf, "box is not finite"),
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
def test_official_numbers_of_cocos_example() -> None:
    found = json.loads((SAMPLE / "instances_val2014_fakebbox100_results.json").read_text())
    detections = pd.DataFrame(found)
    detections[list("xywh")] = detections["bbox"].tolist()
    result = evaluate(GroundTruth.load(SAMPLE / "instances_val2014_100.json"), detections)
    box_part = (SAMPLE / "val2014_fake_eval_res.txt").read_text().split("type=bbox")[1].split("type=")[0]
    published = [
        float(line.rsplit("=", 1)[1]) for line in box_part.splitlines() if line.startswith(" Average")
    ]
    assert len(published) == 12
    assert [round(value, 3) for value in values(result.metrics)] == published
