"""COCO average precision behind one interface: hotcoco, or pycocotools as the reference."""

import contextlib
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from suite.data.boxes import LARGE_FROM, SMALL_BELOW
from suite.errors import SuiteError
from suite.evaluation.detections import DETECTION_COLUMNS, check_detections
from suite.evaluation.ground_truth import GroundTruth
from suite.runs.directory import RunDirectory

Evaluator = Literal["hotcoco", "pycocotools"]
MAX_DETECTIONS = 100
"""Of an image and category, in COCO's protocol."""
_IOU_50, _IOU_75 = 0, 5
SIZE_RANGES = {"S": (0.0, SMALL_BELOW), "M": (SMALL_BELOW, LARGE_FROM), "L": (LARGE_FROM, 1e10)}
"""COCO's area ranges in square pixels; both ends belong to them."""

PARAMETERS: dict[str, Any] = {
    "iou_type": "bbox",
    "iou_thresholds": [round(0.5 + 0.05 * step, 2) for step in range(10)],
    "recall_thresholds": "0, 0.01, ..., 1",
    "detections_per_image_and_category": [1, 10, MAX_DETECTIONS],
    "areas": {size: list(edges) for size, edges in SIZE_RANGES.items()},
}
"""What both evaluators are run with: COCO's own protocol."""

_Arrays = tuple[npt.NDArray[Any], npt.NDArray[Any]]
"""Precision (T, R, K, A, M) and recall (T, K, A, M), as pycocotools lays them out; -1 where undefined."""

_Found = tuple[str, _Arrays]


@dataclass(frozen=True)
class Evaluation:
    """COCO's numbers of one set of detections on one set of images.

    Attributes:
        metrics: COCO's twelve: ``AP AP50 AP75 APS APM APL AR1 AR10 AR100 ARS ARM ARL``, each in [0, 1], or
            None where no object of that kind exists. With a higher limit all but AR1, AR10 and AR100 rest on
            more detections than COCO's.
        categories: Columns ``id``, ``name``, ``AP``, ``AP50``, ``AP75`` (in [0, 1]) and ``objects``
            (non-crowd boxes), one row for each category that has an object; the others have no AP and are
            left out.
        n_images: Images evaluated, also those without objects.
        n_objects: Non-crowd boxes on these images.
        n_categories: Categories that AP is a mean of.
        by_size: For ``S``, ``M`` and ``L`` the non-crowd boxes of that size and their categories, which
            APS to APL and ARS to ARL rest on. An area on an edge counts on both sides, as in COCO.
        evaluator: ``hotcoco`` or ``pycocotools``.
        version: Version of the evaluator.
        ground_truth: Fingerprint of the annotation file.
    """

    metrics: dict[str, float | None]
    categories: pd.DataFrame = field(repr=False)
    n_images: int
    n_objects: int
    n_categories: int
    by_size: dict[str, tuple[int, int]]
    evaluator: Evaluator
    version: str
    ground_truth: str


def detection_limit(run: RunDirectory) -> int:
    """Most detections of an image and category that count in a run's numbers.

    COCO's 100, or as many as its detector returns where these are more (option ``detections``).

    Raises:
        SuiteError: ``spec.json`` is damaged.
    """
    if not run.spec_file.exists():
        return MAX_DETECTIONS
    settings = run.spec()["identity"].get("config", {}).get("model", {}).get("test_cfg") or {}
    return max(MAX_DETECTIONS, settings.get("max_per_img", MAX_DETECTIONS))


def evaluate(
    ground_truth: GroundTruth,
    detections: pd.DataFrame,
    image_ids: Iterable[int] | None = None,
    evaluator: Evaluator = "hotcoco",
    limit: int = MAX_DETECTIONS,
) -> Evaluation:
    """Compute COCO's box metrics on all images, or on some: :func:`evaluate_slices` with one slice."""
    images = ground_truth.images["id"] if image_ids is None else image_ids
    return evaluate_slices(ground_truth, detections, {"": images}, evaluator, limit)[""]


def evaluate_slices(
    ground_truth: GroundTruth,
    detections: pd.DataFrame,
    slices: Mapping[str, Iterable[int]],
    evaluator: Evaluator = "hotcoco",
    limit: int = MAX_DETECTIONS,
) -> dict[str, Evaluation]:
    """Compute COCO's box metrics on sets of images, with one matching for all sets.

    A detection is matched within its image, so the matches of an image are the same in every set that has the
    image. hotcoco matches each group of images that are in the same sets once, and joins groups to sets.

    Args:
        ground_truth: What is there.
        detections: Columns ``image_id``, ``category_id``, ``score``, ``x``, ``y``, ``w``, ``h`` (pixels),
            rows in any order. Equal scores are ranked by image id, then by row order. No rows: AP is 0.
        slices: Name -> ids of the images to evaluate, their objects and their detections. Sets may overlap.
        evaluator: ``pycocotools`` gives the same numbers by evaluating each set on its own, about fifty
            times slower.
        limit: Most detections of an image and category that count, at least 100, which is COCO's number:
            detectors of densely packed objects are allowed more.

    Returns:
        Name -> the numbers of its set, equal to an evaluation of files with these images alone.

    Raises:
        SuiteError: A column is missing, an image or category is unknown, a score is not finite, or a box is
            not finite or has no area.
    """
    check_detections(ground_truth, detections)
    run = {"hotcoco": _hotcoco, "pycocotools": _pycocotools}.get(evaluator)
    if run is None:
        raise SuiteError(f"evaluator is {evaluator!r}; expected 'hotcoco' or 'pycocotools'.")
    parts = {name: ground_truth.subset(images) for name, images in slices.items()}
    if not parts:
        return {}
    found, installed = {}, version(evaluator)
    limits = sorted({1, 10, MAX_DETECTIONS, limit})
    for name, (precision, recall) in run(ground_truth, detections, parts, limits):
        part = parts[name]
        by_category = _by_category(precision, recall)
        per_category = _per_category(part, by_category)
        found[name] = Evaluation(
            metrics={metric: _mean(values) for metric, values in by_category.items()},
            categories=per_category,
            n_images=len(part.images),
            n_objects=len(part.objects),
            n_categories=len(per_category),
            by_size=_by_size(part),
            evaluator=evaluator,
            version=installed,
            ground_truth=part.fingerprint,
        )
    return {name: found[name] for name in parts}


def _hotcoco(
    truth: GroundTruth, detections: pd.DataFrame, parts: Mapping[str, GroundTruth], limits: list[int]
) -> Iterator[_Found]:
    """Precision and recall of each part.

    The per-image results (``evalImgs``) are never asked for: they take gigabytes of memory on val2017.
    """
    import hotcoco

    image_ids = truth.images["id"].to_numpy()
    inside = np.stack([np.isin(image_ids, part.images["id"].to_numpy()) for part in parts.values()], axis=1)
    kinds, kind_of_image = np.unique(inside, axis=0, return_inverse=True)
    kind_of = pd.Series(kind_of_image.reshape(-1), index=image_ids)
    columns = ["image_id", "x", "y", "w", "h", "score", "category_id"]
    rows = detections[columns].to_numpy(dtype=np.float64)
    images, objects = _records(truth.images), _boxes(truth.annotations)
    categories = _records(truth.categories)
    parameters = hotcoco.Params("bbox")
    parameters.max_dets = limits
    members = [
        _groups(kind_of[ids].to_numpy(), len(kinds))
        for ids in (image_ids, truth.annotations["image_id"], detections["image_id"])
    ]
    matched = []
    for kind, of_images, of_objects, of_rows in zip(kinds, *members, strict=True):
        matches = hotcoco.StreamingEval(categories, params=parameters)
        if kind.any():
            matches.update([images[i] for i in of_images], [objects[i] for i in of_objects], rows[of_rows])
        matched.append(matches)
    for number, (name, part) in enumerate(parts.items()):
        if not len(part.images):
            yield name, _nothing(len(categories), len(limits))
            continue
        joined = hotcoco.StreamingEval.merge([matched[kind] for kind in np.flatnonzero(kinds[:, number])])
        evaluation = joined.finalize()
        evaluation.accumulate()
        arrays: Any = evaluation.eval
        yield name, (np.asarray(arrays["precision"]), np.asarray(arrays["recall"]))


def _groups(codes: npt.NDArray[Any], n: int) -> list[npt.NDArray[Any]]:
    """Where each of 0 to ``n - 1`` stands in ``codes``, in order."""
    order = np.argsort(codes, kind="stable")
    return [order[start:end] for start, end in pairwise(np.searchsorted(codes[order], np.arange(n + 1)))]


def _pycocotools(
    truth: GroundTruth, detections: pd.DataFrame, parts: Mapping[str, GroundTruth], limits: list[int]
) -> Iterator[_Found]:
    """The same from the reference implementation."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def dataset(images: pd.DataFrame, annotations: list[dict[str, Any]]) -> COCO:
        coco = COCO()
        coco.dataset = {
            "images": _records(images),
            "categories": _records(truth.categories),
            "annotations": annotations,
        }
        coco.createIndex()
        return coco

    for name, part in parts.items():
        if not len(part.images):
            yield name, _nothing(len(truth.categories), len(limits))
            continue
        # Built by hand because COCO.loadRes fails on an empty list; these are the fields that it would add.
        boxes = detections.loc[detections["image_id"].isin(part.images["id"]), list(DETECTION_COLUMNS)]
        boxes = boxes.astype({key: np.float64 for key in ("score", *"xywh")})
        boxes = boxes.assign(id=range(1, len(boxes) + 1), area=boxes["w"] * boxes["h"], iscrowd=0)
        with contextlib.redirect_stdout(io.StringIO()):
            expected = dataset(part.images, _boxes(part.annotations))
            evaluation = COCOeval(expected, dataset(part.images, _boxes(boxes)), "bbox")
            evaluation.params.maxDets = limits
            evaluation.evaluate()
            evaluation.accumulate()
        yield name, (evaluation.eval["precision"], evaluation.eval["recall"])


def _nothing(n_categories: int, n_limits: int) -> _Arrays:
    """What both evaluators would say about no images."""
    shape = (n_categories, 4, n_limits)
    return np.full((10, 101, *shape), -1.0), np.full((10, *shape), -1.0)


def _boxes(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Annotations or detections as COCO has them."""
    names = [name for name in frame.columns if name not in ("iscrowd", *"xywh")]
    columns = [frame[name].tolist() for name in names]
    columns += [frame[["x", "y", "w", "h"]].to_numpy(dtype=np.float64).tolist()]
    columns += [frame["iscrowd"].astype(int).tolist()]
    names += ["bbox", "iscrowd"]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    names = list(frame.columns)
    columns = [frame[name].tolist() for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _by_size(truth: GroundTruth) -> dict[str, tuple[int, int]]:
    boxes = truth.objects
    found = {}
    for size, (low, high) in SIZE_RANGES.items():
        inside = boxes[(boxes["area"] >= low) & (boxes["area"] <= high)]
        found[size] = (len(inside), inside["category_id"].nunique())
    return found


def _by_category(precision: npt.NDArray[Any], recall: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """The twelve numbers of each category, by ascending id; -1 where it has no object of that kind.

    The evaluators mark all of a category or nothing with -1, so its mean is -1 exactly then. The mean of the
    categories' means is COCO's mean over everything, as every category has as many entries.
    """
    over_ious = precision[..., -1].mean(axis=(0, 1))
    values = {
        "AP": over_ious[:, 0],
        "AP50": precision[_IOU_50, :, :, 0, -1].mean(axis=0),
        "AP75": precision[_IOU_75, :, :, 0, -1].mean(axis=0),
    }
    values |= {f"AP{size}": over_ious[:, area] for area, size in enumerate(SIZE_RANGES, start=1)}
    recalls = recall.mean(axis=0)
    values |= {f"AR{limit}": recalls[:, 0, index] for index, limit in enumerate((1, 10, MAX_DETECTIONS))}
    return values | {f"AR{size}": recalls[:, area, -1] for area, size in enumerate(SIZE_RANGES, start=1)}


def _mean(values: npt.NDArray[Any]) -> float | None:
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else None


def _per_category(truth: GroundTruth, values: Mapping[str, npt.NDArray[Any]]) -> pd.DataFrame:
    """AP of each category that has an object."""
    counts = truth.objects["category_id"].value_counts()
    frame = truth.categories.assign(objects=truth.categories["id"].map(counts).fillna(0).astype(np.int64))
    for name in ("AP", "AP50", "AP75"):
        frame[name] = np.where(values[name] > -1, values[name], np.nan)
    return frame[frame["objects"] > 0].reset_index(drop=True)
