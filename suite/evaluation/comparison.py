"""Two or more detectors on the same images: every difference with its uncertainty over images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from suite.errors import SuiteError
from suite.evaluation.bootstrap import WeightedAP, recall, resample
from suite.evaluation.detections import Detections, load_detections
from suite.evaluation.error_types import ErrorTypes, error_types
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.matches import AREAS, Array, Matches, match
from suite.evaluation.slices import DIMENSIONS, category_groups, chosen_dimensions, image_slices
from suite.evaluation.uncertainty import ImageInterval, bootstrap_p, reflected

LEAST_IMAGES = 10
"""With fewer images (for a category: with objects of it) no interval is given."""

_SIZES = {"S": "small", "M": "medium", "L": "large"}
_METRICS = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100", "ARS", "ARM", "ARL")


@dataclass(frozen=True)
class Compared:
    """One number of the baseline and of another detector, in [0, 1].

    Attributes:
        group: ``metric``, a dimension of slices such as ``crowdedness`` or ``shape``, or ``category``.
        name: Name of the metric (``AP50``), bin or category. Bins and categories are compared by AP.
        images, objects, categories: What the number rests on.
        baseline, other: The two numbers; None where undefined.
        baseline_interval, other_interval: Their own intervals over images; None with fewer images than
            :data:`LEAST_IMAGES`, which say nothing about how much images differ.
        difference: ``other - baseline`` with its interval over the same resampled images.
        p: Two-sided bootstrap p of no difference over images.
    """

    group: str
    name: str
    images: int
    objects: int
    categories: int
    baseline: float | None
    other: float | None
    baseline_interval: ImageInterval | None
    other_interval: ImageInterval | None
    difference: ImageInterval | None
    p: float | None

    @property
    def gain(self) -> float | None:
        """``other - baseline``; None where one of them is undefined."""
        return None if self.baseline is None or self.other is None else self.other - self.baseline


@dataclass(frozen=True)
class Detector:
    """One file of detections.

    Attributes:
        label: File name, with as many folders as tell the files apart.
        path: The file.
        found: Its detections.
        errors: What its kinds of errors cost it.
    """

    label: str
    path: Path
    found: Detections
    errors: ErrorTypes


@dataclass(frozen=True)
class Comparison:
    """A baseline against other detectors.

    Attributes:
        truth: The annotations.
        dimensions: The dimensions of slices asked for.
        detectors: The baseline, then the others.
        rows: Label of each other detector -> its numbers beside the baseline's.
        replicates: Number of bootstrap replicates.
        seed: Seed of their drawing.
    """

    truth: GroundTruth
    dimensions: list[str]
    detectors: list[Detector]
    rows: dict[str, list[Compared]]
    replicates: int
    seed: int

    @property
    def baseline(self) -> Detector:
        """What the others are compared with."""
        return self.detectors[0]


@dataclass(frozen=True)
class _Number:
    """A number on all images and then on each replicate, and what it rests on."""

    group: str
    name: str
    counts: tuple[int, int, int]
    values: Array


def compare_files(
    annotations: Path,
    files: Sequence[Path],
    slices: str = "objects,crowdedness",
    replicates: int = 1000,
    seed: int = 0,
    lenient: bool = False,
    progress: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Compare files of detections with the first of them.

    The same images are drawn for all detectors, so that what makes an image hard for all of them cancels in
    the differences.

    Args:
        annotations: A COCO ``instances`` file.
        files: At least two: COCO results as JSON, or the ``detections.parquet`` of runs.
        slices: See :func:`suite.evaluation.slices.chosen_dimensions`. ``size`` adds nothing: COCO's numbers
            have it.
        replicates: Bootstrap replicates, at least 100.
        seed: Of the drawing of images.
        lenient: Leave out or complete what cannot be evaluated as it is, and count it.
        progress: Called with a few words before each long step.

    Raises:
        SuiteError: Fewer than two files, too few replicates, an unknown slice, or a file is not as
            it should be.
    """
    if len(files) < 2:
        raise SuiteError(f"{len(files)} file of detections to compare; expected a baseline and another.")
    if replicates < 100:
        raise SuiteError(f"--replicates {replicates}: expected at least 100; an interval rests on the tails.")
    dimensions = chosen_dimensions(slices)
    truth = GroundTruth.load(annotations, lenient)
    n_images = len(truth.images)
    all_once = np.ones((1, n_images), dtype=np.uint16)
    weights = np.concatenate([all_once, resample(n_images, replicates, seed)])
    detectors, numbers = [], []
    for label, path in zip(_labels(files), files, strict=True):
        progress(f"reading and matching {label}")
        found = load_detections(path, truth, lenient)
        matches = match(truth, found.frame, tuple(AREAS))
        progress(f"{replicates:,} replicates of {label}")
        numbers.append(_numbers(truth, matches, dimensions, weights))
        progress(f"kinds of errors of {label}")
        detectors.append(Detector(label, path, found, error_types(truth, found.frame)))
    rows = {
        detector.label: [_compared(a, b) for a, b in zip(numbers[0], other, strict=True)]
        for detector, other in zip(detectors[1:], numbers[1:], strict=True)
    }
    return Comparison(truth, dimensions, detectors, rows, replicates, seed)


def _labels(files: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell the files apart; numbered where a file is there twice.

    Runs' files all have the same name: their labels are the folders.
    """
    if all(path.name == "detections.parquet" for path in files):
        files = [path.resolve().parent for path in files]
    for depth in range(1, max(len(path.parts) for path in files) + 1):
        labels = [str(Path(*path.parts[-depth:])) for path in files]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{number}: {path.name}" for number, path in enumerate(files, start=1)]


def _compared(baseline: _Number, other: _Number) -> Compared:
    def estimate(values: Array) -> float | None:
        return float(values[0]) if np.isfinite(values[0]) else None

    def interval(values: Array) -> ImageInterval | None:
        if baseline.counts[0] < LEAST_IMAGES:
            return None
        return reflected(float(values[0]), values[1:])

    difference = other.values - baseline.values
    over_images = interval(difference)
    return Compared(
        baseline.group,
        baseline.name,
        *baseline.counts,
        baseline=estimate(baseline.values),
        other=estimate(other.values),
        baseline_interval=interval(baseline.values),
        other_interval=interval(other.values),
        difference=over_images,
        p=bootstrap_p(float(difference[0]), difference[1:]) if over_images else None,
    )


def _mean(values: Array, axis: int | tuple[int, ...]) -> Array:
    """Mean of the defined entries; NaN without any."""
    with np.errstate(invalid="ignore"):
        return np.nansum(values, axis=axis) / np.isfinite(values).sum(axis=axis)


def _counts(matches: Matches, area: str = "all") -> tuple[int, int, int]:
    objects = matches.area(area).objects
    return len(matches.image_ids), int(objects.sum(dtype=np.int64)), int(objects.any(axis=0).sum())


def _numbers(truth: GroundTruth, matches: Matches, dimensions: list[str], weights: Array) -> list[_Number]:
    """Every number of one detector on each row of weights."""
    by_threshold = WeightedAP(matches)(weights)
    by_category = by_threshold.mean(axis=2)
    metrics = {"AP": by_category, "AP50": by_threshold[..., 0], "AP75": by_threshold[..., 5]}
    for size, area in _SIZES.items():
        metrics[f"AP{size}"] = WeightedAP(matches, area)(weights).mean(axis=2)
        metrics[f"AR{size}"] = recall(matches, weights, area)
    for limit in (1, 10, 100):
        metrics[f"AR{limit}"] = recall(matches, weights, limit=limit)
    found = [
        _Number("metric", name, _counts(matches, _SIZES.get(name[-1], "all")), _mean(metrics[name], 1))
        for name in _METRICS
    ]
    for dimension in dimensions:
        if dimension == "shape":
            found += _shapes(truth, matches, by_category)
        elif dimension in DIMENSIONS:
            found += _bins(dimension, image_slices(truth, dimension), matches, weights)
    objects = matches.area("all").objects
    for index, name in enumerate(truth.categories["name"]):
        if n := int(objects[:, index].sum(dtype=np.int64)):
            on_images = int((objects[:, index] > 0).sum())
            found.append(_Number("category", str(name), (on_images, n, 1), by_category[:, index]))
    return found


def _bins(
    dimension: str, bins: Mapping[str, frozenset[int]], matches: Matches, weights: Array
) -> list[_Number]:
    """AP of each bin. All images are drawn, so the size of a bin varies between replicates as it should."""
    found = []
    for label, ids in bins.items():
        keep = np.isin(matches.image_ids, list(ids))
        part = matches.subset(keep)
        values = _mean(WeightedAP(part)(weights[:, keep]), (1, 2))
        found.append(_Number(dimension, label, _counts(part), values))
    return found


def _shapes(truth: GroundTruth, matches: Matches, by_category: Array) -> list[_Number]:
    """Mean AP of the groups of square and slender categories."""
    found = []
    objects = matches.area("all").objects
    for label, names in category_groups(truth).items():
        rows = np.flatnonzero(truth.categories["name"].isin(names).to_numpy())
        counts = (len(matches.image_ids), int(objects[:, rows].sum(dtype=np.int64)), len(rows))
        found.append(_Number("shape", label, counts, _mean(by_category[:, rows], 1)))
    return found


def conclusion(baseline: str, other: str, ap: Compared) -> str:
    """What may be concluded from the difference in AP, in plain words."""
    difference = ap.difference
    if difference is None:
        return f"Nothing can be concluded about {other} and {baseline}: no interval from {ap.images} images."
    gain, low, high = (100 * one for one in (difference.estimate, difference.low, difference.high))
    numbers = f"{gain:+.1f} AP [{low:.1f}, {high:.1f}] over images".replace("-", "−")
    if low == high == 0:
        return f"{other} and {baseline} have the same AP, whichever images are drawn."
    if low > 0 or high < 0:
        text = f"{other} detects {'better' if low > 0 else 'worse'} than {baseline}: {numbers}."
    else:
        text = f"These images do not tell {other} and {baseline} apart: {numbers}."
    return (
        f"{text} Training seeds are not part of this interval: it is about these two trained detectors, "
        "not about their methods."
    )
