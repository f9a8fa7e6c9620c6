"""COCO average precision behind one interface: hotcoco, or pycocotools as the reference."""

import contextlib
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from suite.errors import SuiteError
from suite.evaluation.ground_truth import GroundTruth, check_known

Evaluator = Literal["hotcoco", "pycocotools"]
DETECTION_COLUMNS = ("image_id", "category_id", "score", "x", "y", "w", "h")
_IOU_50, _IOU_75 = 0, 5
_AREAS = {"": 0, "S": 1, "M": 2, "L": 3}


@dataclass(frozen=True)
class Evaluation:
    """COCO's numbers of one set of detections on one set of images.

    Attributes:
        metrics: COCO's twelve: ``AP AP50 AP75 APS APM APL AR1 AR10 AR100 ARS ARM ARL``, each in [0, 1], or
            None where no object of that kind exists.
        categories: Columns ``id``, ``name``, ``AP``, ``AP50``, ``AP75`` (in [0, 1]) and ``objects``
            (non-crowd boxes), one row for each category that has an object; the others have no AP and are
            left out.
        n_images: Images evaluated, also those without objects.
        n_objects: Non-crowd boxes on these images.
        n_categories: Categories that AP is a mean of.
        evaluator: ``hotcoco`` or ``pycocotools``.
        version: Version of the evaluator.
        ground_truth: Fingerprint of the annotation file.
    """

    metrics: dict[str, float | None]
    categories: pd.DataFrame = field(repr=False)
    n_images: int
    n_objects: int
    n_categories: int
    evaluator: Evaluator
    version: str
    ground_truth: str


def evaluate(
    ground_truth: GroundTruth,
    detections: pd.DataFrame,
    image_ids: Iterable[int] | None = None,
    evaluator: Evaluator = "hotcoco",
) -> Evaluation:
    """Compute COCO's box metrics.

    Args:
        ground_truth: What is there.
        detections: Columns ``image_id``, ``category_id``, ``score``, ``x``, ``y``, ``w``, ``h`` (pixels),
            rows in any order. Equal scores are ranked by row order. No rows: AP is 0.
        image_ids: Evaluate these images only: their objects and their detections. All images by default.
        evaluator: ``pycocotools`` gives the same numbers, about fifty times slower.

    Raises:
        SuiteError: A column is missing, an image or category is unknown, a score is not finite, or a box is
            not finite or has no area.
    """
    check_detections(ground_truth, detections)
    if image_ids is not None:
        ground_truth = ground_truth.subset(image_ids)
        detections = detections[detections["image_id"].isin(ground_truth.images["id"])]
    run = {"hotcoco": _hotcoco, "pycocotools": _pycocotools}.get(evaluator)
    if run is None:
        raise SuiteError(f"evaluator is {evaluator!r}; expected 'hotcoco' or 'pycocotools'.")
    precision, recall = run(ground_truth, detections)
    per_category = _per_category(ground_truth, precision)
    return Evaluation(
        metrics=_summary(precision, recall),
        categories=per_category,
        n_images=len(ground_truth.images),
        n_objects=len(ground_truth.objects),
        n_categories=len(per_category),
        evaluator=evaluator,
        version=version(evaluator),
        ground_truth=ground_truth.fingerprint,
    )


def check_detections(ground_truth: GroundTruth, detections: pd.DataFrame) -> None:
    """Raise a SuiteError for detections that cannot be evaluated; see :func:`evaluate`."""
    missing = [column for column in DETECTION_COLUMNS if column not in detections.columns]
    if missing:
        raise SuiteError(
            f"detections: no column {', '.join(missing)}; found {', '.join(map(str, detections.columns))}."
        )
    check_known(detections["image_id"], ground_truth.images["id"], "detections: image_id")
    check_known(detections["category_id"], ground_truth.categories["id"], "detections: category_id")
    scores = np.isfinite(detections["score"].to_numpy(dtype=np.float64))
    boxes = detections[["x", "y", "w", "h"]].to_numpy(dtype=np.float64)
    sound = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    for good, fault in ((scores, "score is not finite"), (sound, "box is not finite or has no area")):
        if not good.all():
            first = int(np.argmin(good))
            row = detections.iloc[first][list(DETECTION_COLUMNS)].to_dict()
            raise SuiteError(
                f"detections: {int((~good).sum())} rows whose {fault}; first is row {first}: {row}."
            )


def _hotcoco(truth: GroundTruth, detections: pd.DataFrame) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Precision (T, R, K, A, M) and recall (T, K, A, M), as pycocotools lays them out.

    The per-image results (``evalImgs``) are never asked for: they take gigabytes of memory on val2017.
    """
    import hotcoco

    annotations = truth.annotations
    expected = hotcoco.COCO.from_arrays(
        _records(truth.images),
        _records(truth.categories),
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
    evaluation.accumulate()
    arrays: Any = evaluation.eval
    return np.asarray(arrays["precision"]), np.asarray(arrays["recall"])


def _pycocotools(truth: GroundTruth, detections: pd.DataFrame) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The same arrays from the reference implementation."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def dataset(annotations: list[dict[str, Any]]) -> COCO:
        coco = COCO()
        coco.dataset = {
            "images": _records(truth.images),
            "categories": _records(truth.categories),
            "annotations": annotations,
        }
        coco.createIndex()
        return coco

    expected = [
        {**record, "bbox": [record[key] for key in "xywh"], "iscrowd": int(record["iscrowd"])}
        for record in _records(truth.annotations)
    ]
    # Built by hand because COCO.loadRes fails on an empty list; these are the fields that it would add.
    boxes = detections[list(DETECTION_COLUMNS)].astype({key: np.float64 for key in ("score", *"xywh")})
    boxes = boxes.assign(id=range(1, len(boxes) + 1), area=boxes["w"] * boxes["h"], iscrowd=0)
    found = [{**record, "bbox": [record[key] for key in "xywh"]} for record in _records(boxes)]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(dataset(expected), dataset(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"], evaluation.eval["recall"]


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [dict(zip(frame.columns, row, strict=True)) for row in frame.itertuples(index=False)]


def _mean(values: npt.NDArray[Any]) -> float | None:
    """Mean of the defined entries; the evaluators mark the undefined ones with -1."""
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else None


def _summary(precision: npt.NDArray[Any], recall: npt.NDArray[Any]) -> dict[str, float | None]:
    metrics = {
        "AP": _mean(precision[:, :, :, 0, 2]),
        "AP50": _mean(precision[_IOU_50, :, :, 0, 2]),
        "AP75": _mean(precision[_IOU_75, :, :, 0, 2]),
    }
    metrics |= {f"AP{size}": _mean(precision[:, :, :, area, 2]) for size, area in _AREAS.items() if size}
    metrics |= {f"AR{limit}": _mean(recall[:, :, 0, index]) for index, limit in enumerate((1, 10, 100))}
    metrics |= {f"AR{size}": _mean(recall[:, :, area, 2]) for size, area in _AREAS.items() if size}
    return metrics


def _per_category(truth: GroundTruth, precision: npt.NDArray[Any]) -> pd.DataFrame:
    """AP of each category that has an object; axis 2 of ``precision`` follows the ascending category ids."""
    counts = truth.objects["category_id"].value_counts()
    frame = truth.categories.assign(objects=truth.categories["id"].map(counts).fillna(0).astype(np.int64))
    for name, thresholds in (("AP", slice(None)), ("AP50", slice(_IOU_50, 1)), ("AP75", slice(_IOU_75, 6))):
        frame[name] = [_mean(precision[thresholds, :, index, 0, 2]) for index in range(len(frame))]
    frame = frame[frame["objects"] > 0].reset_index(drop=True)
    return frame.astype({"AP": np.float64, "AP50": np.float64, "AP75": np.float64})
