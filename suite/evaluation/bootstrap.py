"""COCO AP on resampled images, from one matching pass.

Drawing images anew changes neither a match nor a rank: only how often each detection and object counts. So
the AP of a bootstrap replicate is the AP of the matched detections with a weight on each image. Precision can
only peak where a detection is right, and the number of detections ranked above is the same for all IoU
thresholds but for the few that are ignored at some: a replicate costs one running sum over all detections and
a few operations on the right ones.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from suite.evaluation.matches import Array, Matches
from suite.machine import cpu_count

RECALLS: Array = np.linspace(0, 1, 101)
_NEXT_RECALL = np.r_[RECALLS, np.inf, np.inf]
_TINY = np.spacing(1)
_NUMBERS_AT_ONCE = 1 << 20


def resample(n_images: int, replicates: int, seed: int) -> Array:
    """How often each image is drawn in each replicate.

    Returns:
        ``(replicates, n_images)`` uint16; each row sums to ``n_images``.
    """
    rng = np.random.default_rng(seed)
    even = np.full(n_images, 1 / n_images)
    return rng.multinomial(n_images, even, size=replicates).astype(np.uint16)


@dataclass(frozen=True, eq=False)
class _Block:
    """The events of S pairs of category and IoU threshold, each pair's padded to the same number W.

    An event is a detection that is right, one that counts although it is out of the area range, or one that
    is ignored although it is in the range.

    Attributes:
        segment: ``(S,)`` category * T + threshold.
        right: ``(S, W)`` image of the event where the detection is right, else I, an image of weight 0.
        place: ``(S, W)`` detections in the area range up to the event, from the first category on.
        start: ``(S, 1)`` the same before the category's first.
        odd: ``(S, W)`` image of the event where the detection counts although out of range or is ignored
            although in range; else I. None where there is none in the block.
        sign: ``(S, W)`` +1 for the first, -1 for the second.
    """

    segment: Array
    right: Array
    place: Array
    start: Array
    odd: Array | None
    sign: Array | None


class WeightedAP:
    """AP of matched detections on weighted images.

    Args:
        matches: Matched detections.
        area: Area range, one that was matched.

    Raises:
        SuiteError: The area range was not matched.
    """

    def __init__(self, matches: Matches, area: str = "all") -> None:
        found = matches.area(area)
        self._matches = matches
        self._objects = found.objects.astype(np.float64)
        self._in_range = matches.image[found.in_range]
        self._blocks = _blocks(matches, area)
        self._cost = len(self._in_range) + sum(block.right.size for block in self._blocks) + 1

    def __call__(self, weights: Array) -> Array:
        """Compute AP for each row of weights.

        Args:
            weights: ``(B, I)``, integers from 0, how often each image counts.

        Returns:
            ``(B, K, T)`` float64 in [0, 1] by category and IoU threshold; NaN where a category has no object
            on images of positive weight.
        """
        matches = self._matches
        result = np.zeros((len(weights), len(matches.category_ids), matches.n_thresholds))
        size = max(1, _NUMBERS_AT_ONCE // self._cost)
        parts = [slice(start, start + size) for start in range(0, len(weights), size)]

        def compute(part: slice) -> None:
            result[part] = self._batch(weights[part])

        with ThreadPoolExecutor(int(cpu_count())) as pool:
            list(pool.map(compute, parts))
        return result

    def _batch(self, weights: Array) -> Array:
        n = len(weights)
        padded = np.zeros((n, weights.shape[1] + 1), dtype=np.int32)
        padded[:, :-1] = weights
        above = np.zeros((n, len(self._in_range) + 1), dtype=np.int32)
        for row in range(n):
            np.cumsum(padded[row].take(self._in_range), out=above[row, 1:])
        objects = padded[:, :-1].astype(np.float64) @ self._objects
        n_thresholds = self._matches.n_thresholds
        flat = np.zeros((n, objects.shape[1] * n_thresholds))
        for block in self._blocks:
            of_category = objects[:, block.segment // n_thresholds, None]
            flat[:, block.segment] = _block_ap(block, padded, above, of_category)
        result = flat.reshape(n, objects.shape[1], n_thresholds)
        result[objects == 0] = np.nan
        return result


def _block_ap(block: _Block, weights: Array, above: Array, objects: Array) -> Array:
    """AP ``(B, S)`` of the segments of a block: mean over 101 recalls of the best precision from there on."""
    right = np.cumsum(weights.take(block.right, axis=1), axis=-1, dtype=np.int32)
    counted = above.take(block.place, axis=1)
    counted -= above.take(block.start, axis=1)
    if block.odd is not None:
        counted += np.cumsum(weights.take(block.odd, axis=1) * block.sign, axis=-1, dtype=np.int32)
    best = right / (counted + _TINY)
    reverse = best[..., ::-1]
    np.maximum.accumulate(reverse, axis=-1, out=reverse)
    # How many of the recalls 0, 0.01, ..., 1 are reached; counted exactly in spite of the rounding of 100 x.
    recall = right / np.maximum(objects, 1)
    below = (recall * (len(RECALLS) - 1)).astype(np.int32)
    reached = below + (_NEXT_RECALL.take(below) <= recall) + (_NEXT_RECALL.take(below + 1) <= recall)
    best[..., 1:] *= np.diff(reached, axis=-1)
    best[..., 0] *= reached[..., 0]
    return best.sum(axis=-1) / len(RECALLS)


def _blocks(matches: Matches, area: str) -> list[_Block]:
    """Group the segments by their number of events, so that padding at most doubles it."""
    found = matches.area(area)
    nobody = len(matches.image_ids)
    place = np.cumsum(found.in_range)
    before = np.searchsorted(matches.category[found.in_range], np.arange(len(matches.category_ids)))
    by_width: dict[int, list[tuple[int, Array, Array, Array]]] = {}
    for threshold in range(matches.n_thresholds):
        right = (found.true >> threshold & 1).astype(bool)
        counts = (found.ignored >> threshold & 1) == 0
        rows = np.flatnonzero(right | (counts != found.in_range))
        for category, members in _groups(matches.category[rows], rows):
            width = 1 << int(len(members) - 1).bit_length()
            sign = counts[members].astype(np.int8) - found.in_range[members]
            segment = category * matches.n_thresholds + threshold
            by_width.setdefault(width, []).append((segment, members, right[members], sign))
    blocks = []
    for width, segments in sorted(by_width.items()):
        shape = (len(segments), width)
        rights, odds = np.full(shape, nobody, dtype=np.int32), np.full(shape, nobody, dtype=np.int32)
        places, signs = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.int8)
        for row, (_, members, right, sign) in enumerate(segments):
            size, image = len(members), matches.image[members]
            rights[row, :size] = np.where(right, image, nobody)
            odds[row, :size] = np.where(sign != 0, image, nobody)
            signs[row, :size] = sign
            # Behind the last event nothing changes any more: its precision stands in the padding too.
            places[row, :size], places[row, size:] = place[members], place[members[-1]]
        index = np.array([segment for segment, *_ in segments])
        start = before[index // matches.n_thresholds].astype(np.int32)[:, None]
        any_odd = bool(signs.any())
        blocks.append(
            _Block(index, rights, places, start, odds if any_odd else None, signs if any_odd else None)
        )
    return blocks


def _groups(key: Array, values: Array) -> Iterator[tuple[int, Array]]:
    """Each value of the sorted ``key`` with its part of ``values``."""
    bounds = np.flatnonzero(np.diff(key, prepend=-1, append=-1))
    for start, stop in pairwise(bounds):
        yield int(key[start]), values[start:stop]


def recall(matches: Matches, weights: Array, area: str = "all", limit: int = 100) -> Array:
    """Recall of the ``limit`` best detections of each image and category, averaged over the IoU thresholds.

    Args:
        matches: Matched detections.
        weights: ``(B, I)``, how often each image counts.
        area: Area range, one that was matched.
        limit: At most 100.

    Returns:
        ``(B, K)`` float64 in [0, 1]; NaN where a category has no object on images of positive weight.
    """
    found = matches.area(area)
    rows = matches.rank < limit
    hits = np.zeros(found.objects.shape)
    n_hits = np.bitwise_count(found.true[rows])
    np.add.at(hits, (matches.image[rows], matches.category[rows]), n_hits)
    weights = weights.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return weights @ hits / (weights @ found.objects.astype(np.float64)) / matches.n_thresholds
