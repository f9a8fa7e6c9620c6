"""A run's numbers on resampled images: how much they depend on the images that happened to be evaluated."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from suite.evaluation.bootstrap import WeightedAP, resample
from suite.evaluation.coco_ap import detection_limit
from suite.evaluation.matches import Array, Matches, match
from suite.evaluation.measurements import Measurements, read_coverage, read_detections
from suite.evaluation.metrics import metric
from suite.evaluation.nms_recall import PROTOCOLS, THRESHOLDS
from suite.runs.directory import RunDirectory

REPLICATES = 200
"""The variance of a number over images is known to a tenth (standard error) from so many."""

_THRESHOLD_OF = {"AP50": 0, "AP75": 5}
_AREA_OF = {"APS": "small", "APM": "medium", "APL": "large"}


@dataclass(frozen=True)
class Measure:
    """A number of a run, in percent.

    Attributes:
        metric: Name in the metric registry, one that :func:`suite.evaluation.metrics.resamples`.
        slice: A slice of images; None for all.
        categories: Names of the categories whose AP is averaged; empty for all.
    """

    metric: str
    slice: str | None = None
    categories: tuple[str, ...] = ()


def image_weights(n_images: int, replicates: int) -> Array:
    """How often each image counts, the same for every run: ``(1 + replicates, n_images)``, at first once."""
    once = np.ones((1, n_images), dtype=np.uint16)
    return np.concatenate([once, resample(n_images, replicates, seed=0)]) if replicates else once


def replicates(
    measurements: Measurements, run: RunDirectory, measures: Mapping[Measure, int]
) -> dict[Measure, Array]:
    """Numbers of a run on the evaluated images, and on drawings of them, in one matching pass.

    All images are drawn anew, so that the number of images of a slice varies as it does between datasets.
    Every run gets the same drawings: what makes an image hard for all runs cancels in their differences.

    Args:
        measurements: Knows the annotations and the slices.
        run: A finished run.
        measures: What is asked for -> number of drawings.

    Returns:
        Measure -> ``(1 + drawings,)`` in percent, on the images themselves first; NaN where no object was
        drawn.

    Raises:
        SuiteError: A file of the run is missing, damaged, or does not fit.
    """
    truth = measurements.truth
    ids = np.sort(truth.images["id"].to_numpy())
    weights_of = {drawings: image_weights(len(ids), drawings) for drawings in set(measures.values())}
    of_coverage = [one for one in measures if metric(one.metric).source == "coverage"]
    of_detections = [one for one in measures if one not in of_coverage]
    found = {}
    if of_coverage:
        coverage = read_coverage(run, truth)
        for one in of_coverage:
            measurements.value(run, one.metric, one.slice)  # checks the columns, and that they are IoUs
            rows = coverage
            if one.slice:
                rows = coverage[coverage["image_id"].isin(measurements.images(one.slice))]
            image = np.searchsorted(ids, rows["image_id"].to_numpy())
            found[one] = 100 * _recall(one.metric, image, rows, weights_of[measures[one]])
    if of_detections:
        areas = tuple(dict.fromkeys(_AREA_OF.get(one.metric, "all") for one in of_detections))
        whole = match(truth, read_detections(run, truth), areas, detection_limit(run))
        names = truth.categories["name"].tolist()
        groups: dict[tuple[str | None, str, int], list[Measure]] = {}
        for one in of_detections:
            key = (one.slice, _AREA_OF.get(one.metric, "all"), measures[one])
            groups.setdefault(key, []).append(one)
        for (selection, area, drawings), members in groups.items():
            values = _by_category(whole, measurements, selection, area, weights_of[drawings])
            found |= {one: 100 * _mean_ap(one, values, names) for one in members}
    return found


def _by_category(
    matches: Matches, measurements: Measurements, selection: str | None, area: str, weights: Array
) -> Array:
    """``(B, K, T)`` AP by category and IoU threshold."""
    if selection is None:
        return WeightedAP(matches, area)(weights)
    keep = np.isin(matches.image_ids, list(measurements.images(selection)))
    return WeightedAP(matches.subset(keep), area)(weights[:, keep])


def _mean_ap(measure: Measure, values: Array, names: list[str]) -> Array:
    """``(B,)`` AP in [0, 1], averaged over the categories that have objects in a replicate."""
    if measure.categories:
        values = values[:, [names.index(name) for name in measure.categories]]
    threshold = _THRESHOLD_OF.get(measure.metric)
    by_category = values.mean(axis=2) if threshold is None else values[..., threshold]
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nansum(by_category, axis=1) / np.isfinite(by_category).sum(axis=1))


def _recall(name: str, image: Array, coverage: pd.DataFrame, weights: Array) -> Array:
    """``(B,)`` of a metric of NMS recall, in [0, 1]."""
    end = next(end for end in reversed(PROTOCOLS.values()) if name.endswith(end))
    kind = name.removesuffix(end)
    stem = kind.rstrip("0123456789")
    thresholds = [int(kind.removeprefix(stem))] if kind != stem else list(THRESHOLDS)
    by_image = weights.astype(np.float64)

    def found(when: str) -> Array:
        """``(B, T)`` objects found."""
        iou = coverage[f"iou_{when}{end}"].to_numpy(dtype=np.float32)
        counts = np.zeros((weights.shape[1], len(thresholds)))
        np.add.at(counts, image, iou[:, None] > np.array([tau / 100 for tau in thresholds], np.float32))
        return np.asarray(by_image @ counts)

    objects = by_image @ np.bincount(image, minlength=weights.shape[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        if stem == "NR":
            shares = found("after") / found("before")
        else:
            shares = found(stem.removeprefix("recall_")) / objects[:, None]
    return np.asarray(shares.mean(axis=1))
