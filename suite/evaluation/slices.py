"""Groups of images and of categories on which a method is measured separately.

A slice of images keeps those images' objects and detections: false positives on images without objects count.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from suite.data.boxes import aspect_ratio_of_categories, crowdedness_of_images, objects_per_image
from suite.errors import SuiteError, nearest
from suite.evaluation.ground_truth import GroundTruth

OBJECTS = {"0-10": (0.0, 11.0), "11-20": (11.0, 21.0), "21-30": (21.0, 31.0), "31+": (31.0, math.inf)}
"""Objects in an image (FreeAnchor Fig. 6, LTM Fig. 5): bin -> [low, high)."""

CROWDEDNESS = {"sparse": (0.0, 0.2), "medium": (0.2, 0.5), "dense": (0.5, math.inf)}
"""Crowdedness of an image (LTM Table 2): bin -> [low, high). The published bins share their edges."""

SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, math.inf)}
"""Area of an object in square pixels, by COCO: bin -> [low, high)."""

SQUARE = ("clock", "traffic light", "sports ball")
SLENDER = ("toothbrush", "skis", "couch", "tie")
"""FreeAnchor Fig. 5's own lists of COCO categories, which no statistic of the boxes reproduces."""


def _sized(truth: GroundTruth) -> pd.DataFrame:
    """Boxes with an area; COCO's few boxes of zero width or height have no shape and no overlap."""
    boxes = truth.annotations
    return boxes[(boxes["w"] > 0) & (boxes["h"] > 0)]


def _objects_per_image(truth: GroundTruth) -> pd.Series:
    return objects_per_image(truth.annotations, truth.images["id"].tolist())


def _crowdedness(truth: GroundTruth) -> pd.Series:
    return crowdedness_of_images(_sized(truth), truth.images["id"].tolist())


_DIMENSIONS: dict[str, tuple[Callable[[GroundTruth], pd.Series], dict[str, tuple[float, float]]]] = {
    "objects": (_objects_per_image, OBJECTS),
    "crowdedness": (_crowdedness, CROWDEDNESS),
}


def image_slices(truth: GroundTruth, dimension: str) -> dict[str, frozenset[int]]:
    """Split the images by ``objects`` (non-crowd boxes in the image) or ``crowdedness``.

    Crowdedness of an object is its largest IoU with any other object of the image, whatever their categories;
    of an image, the largest of its objects', and 0 with one object or none.

    Returns:
        Image ids of each bin of :data:`OBJECTS` or :data:`CROWDEDNESS`; every image is in exactly one.

    Raises:
        SuiteError: The dimension is unknown.
    """
    if dimension not in _DIMENSIONS:
        raise SuiteError(
            f"slice dimension {dimension!r} is unknown.{nearest(dimension, _DIMENSIONS)}",
            f"Known: {', '.join(_DIMENSIONS)}.",
        )
    statistic, bins = _DIMENSIONS[dimension]
    values = statistic(truth)
    return {
        label: frozenset(int(image) for image in values.index[(values >= low) & (values < high)])
        for label, (low, high) in bins.items()
    }


def select_images(truth: GroundTruth, selection: str) -> frozenset[int]:
    """Image ids of a slice written ``<dimension>=<bin>``: ``crowdedness=sparse``, ``objects=11-20``.

    Raises:
        SuiteError: The dimension or bin is unknown.
    """
    dimension, _, label = selection.partition("=")
    bins = image_slices(truth, dimension)
    if label not in bins:
        raise SuiteError(
            f"slice {selection!r}: no bin {label!r} of {dimension}.{nearest(label, bins)}",
            f"Known: {', '.join(bins)}.",
        )
    return bins[label]


def objects_by_size(truth: GroundTruth) -> dict[str, int]:
    """Number of non-crowd boxes that are small, medium and large by COCO's annotation area."""
    area = truth.objects["area"]
    return {label: int(((area >= low) & (area < high)).sum()) for label, (low, high) in SIZES.items()}


def category_shapes(truth: GroundTruth) -> pd.DataFrame:
    """The categories that have objects, from the squarest to the most slender.

    Returns:
        Columns ``id``, ``name``, ``objects`` (non-crowd boxes) and ``aspect_ratio`` (mean over these of
        max(w/h, h/w), at least 1; LTM Fig. 7).
    """
    frame = truth.categories.assign(
        objects=truth.categories["id"].map(truth.objects["category_id"].value_counts()),
        aspect_ratio=truth.categories["id"].map(aspect_ratio_of_categories(_sized(truth))),
    )
    frame = frame.dropna(subset=["objects", "aspect_ratio"]).astype({"objects": int})
    return frame.sort_values(["aspect_ratio", "id"], ignore_index=True)


@dataclass(frozen=True)
class ShapeGroups:
    """Square and slender categories.

    Attributes:
        groups: ``square`` and ``slender`` (or the names asked for) -> category names.
        by_statistic: Whether the lists come from the aspect ratio, because the dataset lacks the
            papers' categories.
    """

    groups: dict[str, list[str]]
    by_statistic: bool


def shape_groups(
    truth: GroundTruth, square: tuple[str, ...] = SQUARE, slender: tuple[str, ...] = SLENDER
) -> ShapeGroups:
    """The papers' lists where the dataset has all their categories, else as many by the aspect ratio.

    Without the papers' categories these are the squarest and the most slender by :func:`category_shapes`;
    fewer where the dataset has too few categories to keep the groups apart.
    """
    shapes = category_shapes(truth)
    names = shapes["name"].tolist()
    if set(square) | set(slender) <= set(names):
        return ShapeGroups({"square": list(square), "slender": list(slender)}, by_statistic=False)
    n_square = min(len(square), len(names) // 2)
    n_slender = min(len(slender), len(names) - n_square)
    return ShapeGroups(
        {"square": names[:n_square], "slender": names[len(names) - n_slender :]}, by_statistic=True
    )
