"""Which detection is matched to an object, by COCO's rules: all that AP on any weights of images needs.

A numpy version of pycocotools' greedy matching that keeps two bits for each detection and IoU threshold in
place of the per-image results, so that AP can be computed again and again on resampled images.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from suite.data.boxes import LARGE_FROM, SMALL_BELOW, iou
from suite.errors import SuiteError, nearest
from suite.evaluation.coco_ap import MAX_DETECTIONS
from suite.evaluation.detections import check_detections
from suite.evaluation.ground_truth import GroundTruth

Array = npt.NDArray[Any]

IOU_THRESHOLDS: Array = np.linspace(0.5, 0.95, 10)
AREAS = {
    "all": (0.0, 1e5**2),
    "small": (0.0, SMALL_BELOW),
    "medium": (SMALL_BELOW, LARGE_FROM),
    "large": (LARGE_FROM, 1e5**2),
}
"""COCO's area ranges in square pixels, both ends included."""

_PAIRS_AT_ONCE = 1 << 19


@dataclass(frozen=True, eq=False)
class AreaMatches:
    """Matches within one area range. N detections, I images, K categories.

    Attributes:
        true: ``(N,)`` uint16; bit t is set where the detection is matched at threshold t to an object that
            counts.
        ignored: ``(N,)`` uint16; bit t is set where the detection is neither right nor wrong: matched to a
            crowd or to an object out of the range, or unmatched and out of the range itself.
        in_range: ``(N,)`` bool, whether the detection's own area is in the range.
        objects: ``(I, K)`` uint16, objects that count: in the range, no crowds.
    """

    true: Array
    ignored: Array
    in_range: Array
    objects: Array


@dataclass(frozen=True, eq=False)
class Matches:
    """Matched detections of a data set, by category, then by falling score.

    Equal scores of a category are ranked by image id, then by row, as in pycocotools.

    Attributes:
        image_ids: ``(I,)`` ascending.
        category_ids: ``(K,)`` ascending.
        image: ``(N,)`` int32 index into ``image_ids``.
        category: ``(N,)`` int32 index into ``category_ids``, ascending.
        rank: ``(N,)`` uint16, place by score among the detections of the same image and category, from 0.
        areas: Area range -> its matches.
        n_thresholds: Number of IoU thresholds, at most 16.
    """

    image_ids: Array
    category_ids: Array
    image: Array
    category: Array
    rank: Array
    areas: dict[str, AreaMatches]
    n_thresholds: int = len(IOU_THRESHOLDS)

    def area(self, name: str) -> AreaMatches:
        """Matches of an area range.

        Raises:
            SuiteError: The range was not matched.
        """
        if name not in self.areas:
            raise SuiteError(
                f"area range {name!r} was not matched.{nearest(name, self.areas)}",
                f"Matched: {', '.join(self.areas)}.",
            )
        return self.areas[name]

    def subset(self, keep: Array) -> "Matches":
        """Matches on some images only: matching never looks beyond an image, so nothing is matched again.

        Args:
            keep: ``(I,)`` bool.
        """
        rows = keep[self.image]
        areas = {
            name: AreaMatches(one.true[rows], one.ignored[rows], one.in_range[rows], one.objects[keep])
            for name, one in self.areas.items()
        }
        return replace(
            self,
            image_ids=self.image_ids[keep],
            image=(np.cumsum(keep) - 1).astype(np.int32)[self.image[rows]],
            category=self.category[rows],
            rank=self.rank[rows],
            areas=areas,
        )


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Pairs of detection and object with IoU above the lowest threshold: rows of both, IoU, and the round.

    Round r holds, for each image and category, the r-th best detection that has such a pair. The detections
    of one round compete for no object, so a round is matched in one go.
    """

    detection: Array
    annotation: Array
    iou: Array
    round: Array


def match(
    ground_truth: GroundTruth,
    detections: pd.DataFrame,
    areas: tuple[str, ...] = ("all",),
    limit: int = MAX_DETECTIONS,
) -> Matches:
    """Match detections to objects at COCO's ten IoU thresholds, as pycocotools' ``evaluateImg`` does.

    Args:
        ground_truth: What is there.
        detections: As for :func:`suite.evaluation.coco_ap.evaluate`.
        areas: Names out of :data:`AREAS`.
        limit: This many of the best detections of each image and category count.

    Raises:
        SuiteError: As :func:`suite.evaluation.coco_ap.evaluate`.
    """
    check_detections(ground_truth, detections)
    image_ids = np.sort(ground_truth.images["id"].to_numpy())
    category_ids = ground_truth.categories["id"].to_numpy()
    shape = (len(image_ids), len(category_ids))

    image = np.searchsorted(image_ids, detections["image_id"].to_numpy(dtype=np.int64))
    category = np.searchsorted(category_ids, detections["category_id"].to_numpy(dtype=np.int64))
    score = detections["score"].to_numpy(dtype=np.float64)
    order = np.lexsort((-score, image, category))
    rank = _position_in_group(category[order] * shape[0] + image[order])
    order, rank = order[rank < limit], rank[rank < limit]
    image, category, score = image[order], category[order], score[order]
    boxes = detections[["x", "y", "w", "h"]].to_numpy(dtype=np.float64)[order]

    annotations = ground_truth.annotations
    object_image = np.searchsorted(image_ids, annotations["image_id"].to_numpy())
    object_category = np.searchsorted(category_ids, annotations["category_id"].to_numpy())
    object_key = object_category * shape[0] + object_image
    by_key = np.argsort(object_key, kind="stable")
    object_boxes = annotations[["x", "y", "w", "h"]].to_numpy(dtype=np.float64)[by_key]
    crowd = annotations["iscrowd"].to_numpy(dtype=bool)[by_key]
    object_area = annotations["area"].to_numpy(dtype=np.float64)[by_key]
    candidates = _candidates(boxes, category * shape[0] + image, object_boxes, object_key[by_key], crowd)

    by_score = np.lexsort((-score, category))
    area = boxes[:, 2] * boxes[:, 3]
    found: dict[str, AreaMatches] = {}
    for name in areas:
        low, high = AREAS[name]
        ignored_object = crowd | (object_area < low) | (object_area > high)
        in_range = (area >= low) & (area <= high)
        true, ignored = _match_area(candidates, crowd, ignored_object, len(boxes))
        ignored |= np.where(in_range[:, None], False, ~(true | ignored))
        counts = np.zeros(shape, dtype=np.uint16)
        counted = by_key[~ignored_object]
        np.add.at(counts, (object_image[counted], object_category[counted]), 1)
        found[name] = AreaMatches(_bits(true)[by_score], _bits(ignored)[by_score], in_range[by_score], counts)
    return Matches(
        image_ids=image_ids,
        category_ids=category_ids,
        image=image[by_score].astype(np.int32),
        category=category[by_score].astype(np.int32),
        rank=rank[by_score].astype(np.uint16),
        areas=found,
    )


def _bits(flags: Array) -> Array:
    """``(N, T)`` bool to ``(N,)`` uint16."""
    return (flags.astype(np.uint16) << np.arange(flags.shape[1], dtype=np.uint16)).sum(1, dtype=np.uint16)


def _position_in_group(key: Array) -> Array:
    """Place of each element within its run of equal keys, from 0."""
    index = np.arange(len(key))
    starts = np.r_[True, key[1:] != key[:-1]][: len(key)]
    return index - np.maximum.accumulate(np.where(starts, index, 0))


def _candidates(
    boxes: Array, key: Array, object_boxes: Array, object_key: Array, crowd: Array
) -> _Candidates:
    """Compare each detection with the objects of its image and category; both are sorted by ``key``."""
    first = np.searchsorted(object_key, key, side="left")
    count = np.searchsorted(object_key, key, side="right") - first
    ends = np.cumsum(count)
    parts: list[tuple[Array, Array, Array]] = [
        (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float64))
    ]
    start = 0
    while start < len(key):
        done = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _PAIRS_AT_ONCE, side="right")))
        n = count[start:stop]
        row = np.repeat(np.arange(start, stop), n)
        offset = np.arange(len(row)) - np.repeat(np.cumsum(n) - n, n)
        column = first[row] + offset
        overlap = iou(boxes[row], object_boxes[column], crowd=crowd[column])
        near = overlap >= IOU_THRESHOLDS[0]
        parts.append((row[near], column[near], overlap[near]))
        start = stop
    row, column, overlap = (np.concatenate(part) for part in zip(*parts, strict=True))
    kept, inverse = np.unique(row, return_inverse=True)
    return _Candidates(row, column, overlap, _position_in_group(key[kept])[inverse])


def _match_area(candidates: _Candidates, crowd: Array, ignored: Array, n: int) -> tuple[Array, Array]:
    """Match greedily; ``(N, T)`` bool: matched to an object that counts, matched to an ignored one.

    A detection takes the object of largest IoU that is still free, an ignored one only if no other is left;
    of equal IoU the later one. A crowd is never used up.
    """
    thresholds = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)
    true, on_ignored = (np.zeros((n, len(thresholds)), dtype=bool) for _ in range(2))
    taken = np.zeros((len(crowd), len(thresholds)), dtype=bool)
    order = np.lexsort(
        (
            candidates.annotation,
            candidates.iou,
            ~ignored[candidates.annotation],
            candidates.detection,
            candidates.round,
        )
    )
    detection, annotation = candidates.detection[order], candidates.annotation[order]
    reaches = candidates.iou[order, None] >= thresholds
    bounds = np.flatnonzero(np.diff(candidates.round[order], prepend=-1, append=-1))
    for start, stop in pairwise(bounds):
        objects = annotation[start:stop]
        free = reaches[start:stop] & ~taken[objects]
        place = np.where(free, np.arange(1, stop - start + 1)[:, None], 0)
        firsts = np.flatnonzero(np.diff(detection[start:stop], prepend=-1))
        best = np.maximum.reduceat(place, firsts, axis=0)
        row, threshold = np.nonzero(best)
        chosen = objects[best[row, threshold] - 1]
        rows = detection[start:stop][firsts][row]
        skipped = ignored[chosen]
        true[rows[~skipped], threshold[~skipped]] = True
        on_ignored[rows[skipped], threshold[skipped]] = True
        used = ~crowd[chosen]
        taken[chosen[used], threshold[used]] = True
    return true, on_ignored
