"""Groups of images and of categories on which a method is measured separately.

A slice of images keeps those images' objects and detections: false positives on images without objects count.
The bins of a dimension differ in their categories, so numbers are comparable between detectors within a bin,
not between bins; :func:`on_fixed_categories` makes bins comparable.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from suite.data.boxes import (
    LARGE_FROM,
    SMALL_BELOW,
    RatioStatistic,
    aspect_ratio_of_categories,
    crowdedness_of_images,
    crowdedness_of_objects,
    objects_per_image,
)
from suite.errors import SuiteError, nearest
from suite.evaluation.bins import CROWDEDNESS, IMAGE_BINS, Bins
from suite.evaluation.coco_ap import Evaluation
from suite.evaluation.ground_truth import GroundTruth

SIZES: Bins = {
    "small": (0.0, SMALL_BELOW),
    "medium": (SMALL_BELOW, LARGE_FROM),
    "large": (LARGE_FROM, math.inf),
}
"""Area of an object in square pixels, by COCO: bin -> [low, high)."""

SQUARE = ("clock", "traffic light", "sports ball")
SLENDER = ("toothbrush", "skis", "couch", "tie")
"""FreeAnchor Fig. 5's own lists of COCO categories, which no statistic of the boxes reproduces."""

SLENDER_LTM = ("snowboard", "toaster", "tie", "keyboard", "couch")
"""The slender categories that LTM names (Sec. 4.3, Fig. 8)."""


def _sized(truth: GroundTruth) -> pd.DataFrame:
    """Boxes with an area; COCO's few boxes of zero width or height have no shape and no overlap."""
    boxes = truth.annotations
    return boxes[(boxes["w"] > 0) & (boxes["h"] > 0)]


def _sparsity_bins(counts: pd.Series) -> Bins:
    """aLRP A3's four bins of objects per image, with the edge that the paper leaves open.

    Published are 0-3 and 21-62. Of the two bins between, the edge is chosen here: so that they hold numbers
    of images as equal as possible, the lower edge where two are as good. Images with more than 62 objects,
    which val2017 has none of, come into a bin of their own.
    """
    middle = counts[(counts >= 4) & (counts <= 20)]
    edge = min(range(5, 21), key=lambda low: abs(int((middle < low).sum()) - int((middle >= low).sum())))
    label = "4" if edge == 5 else f"4-{edge - 1}"
    other = "20" if edge == 20 else f"{edge}-20"
    return {
        "0-3": (0.0, 4.0), label: (4.0, edge), other: (edge, 21.0), "21-62": (21.0, 63.0),
        "63+": (63.0, math.inf),
    }  # fmt: skip


@dataclass(frozen=True)
class Dimension:
    """A way to split images.

    Attributes:
        description: What is split by, for people.
        statistic: A number for each image, indexed by image id.
    """

    description: str
    statistic: Callable[[GroundTruth], pd.Series]


def _objects(crowds: bool = False) -> Callable[[GroundTruth], pd.Series]:
    def statistic(truth: GroundTruth) -> pd.Series:
        return objects_per_image(truth.annotations, truth.images["id"].tolist(), crowds)

    return statistic


def _crowdedness(
    same_category: bool = False, nearest: bool = False, mean: bool = False
) -> Callable[[GroundTruth], pd.Series]:
    def statistic(truth: GroundTruth) -> pd.Series:
        ids = truth.images["id"].tolist()
        return crowdedness_of_images(_sized(truth), ids, same_category, nearest, mean)

    return statistic


DIMENSIONS: dict[str, Dimension] = {
    "objects": Dimension("objects in the image (FreeAnchor Fig. 6, LTM Fig. 5)", _objects()),
    "objects_and_crowds": Dimension("objects in the image, crowd boxes included", _objects(True)),
    "sparsity": Dimension(
        "objects in the image (aLRP A3; the edge between the two middle bins is not published: chosen here "
        "for near-equal numbers of images)",
        _objects(),
    ),
    "crowdedness": Dimension("largest IoU of two objects of the image (LTM Table 2)", _crowdedness()),
    "crowdedness_mean": Dimension(
        "mean over the image's objects of the largest IoU with another", _crowdedness(mean=True)
    ),
    "crowdedness_same_category": Dimension(
        "largest IoU of two objects of one category", _crowdedness(same_category=True)
    ),
    "crowdedness_nearest": Dimension(
        "largest IoU of an object with the one whose centre is nearest", _crowdedness(nearest=True)
    ),
}
"""The dimensions by which images are split, those of :data:`suite.evaluation.bins.IMAGE_BINS`."""


def image_slices(truth: GroundTruth, dimension: str) -> dict[str, frozenset[int]]:
    """Split the images by one of :data:`DIMENSIONS`.

    Crowdedness of an object is its largest IoU with any other object of the image, whatever their categories;
    of an image, the largest of its objects', and 0 with one object or none.

    Returns:
        Image ids of each bin; every image is in exactly one.

    Raises:
        SuiteError: The dimension is unknown.
    """
    if dimension not in DIMENSIONS:
        raise SuiteError(
            f"slice dimension {dimension!r} is unknown.{nearest(dimension, DIMENSIONS)}",
            f"Known: {', '.join(DIMENSIONS)}.",
        )
    values = DIMENSIONS[dimension].statistic(truth)
    bins = IMAGE_BINS[dimension] or _sparsity_bins(values)
    return {
        label: frozenset(values.index[(values >= low) & (values < high)].tolist())
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


def chosen_dimensions(text: str) -> list[str]:
    """The dimensions of a list such as ``objects,crowdedness``, or of ``all`` or ``none``.

    ``shape`` (groups of categories) and ``size`` (of objects) are known too, besides :data:`DIMENSIONS`.

    Raises:
        SuiteError: A name is unknown or repeated.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names in (["all"], ["none"]):
        return [*DIMENSIONS, "shape", "size"] if names == ["all"] else []
    known = [*DIMENSIONS, "shape", "size", "all", "none"]
    for name in names:
        if name not in known[:-2]:
            raise SuiteError(
                f"--slices: {name!r} is unknown.{nearest(name, known)}", f"Known: {', '.join(known)}."
            )
    if len(set(names)) < len(names):
        raise SuiteError(f"--slices {text!r}: a name is there twice.")
    return names


def on_fixed_categories(
    bins: Mapping[str, Evaluation],
) -> tuple[list[int], dict[str, dict[str, float | None]]]:
    """AP of each bin over the categories that have objects in every bin, so that bins are comparable.

    Args:
        bins: The evaluations of one dimension. Bins without objects are not asked to have a category.

    Returns:
        Ids of these categories, and for each bin ``AP``, ``AP50`` and ``AP75`` in [0, 1] as means over them;
        None for a bin without objects, or where no category is in every bin.
    """
    filled = [set(one.categories["id"]) for one in bins.values() if one.n_objects]
    common = sorted(set.intersection(*filled)) if filled else []
    found: dict[str, dict[str, float | None]] = {}
    for label, evaluation in bins.items():
        rows = evaluation.categories[evaluation.categories["id"].isin(common)]
        found[label] = {
            name: float(rows[name].mean()) if len(rows) else None for name in ("AP", "AP50", "AP75")
        }
    return [int(one) for one in common], found


def objects_by_size(truth: GroundTruth) -> dict[str, int]:
    """Number of non-crowd boxes that are small, medium and large by COCO's annotation area."""
    return _counts(truth.objects["area"], SIZES)


def objects_by_crowdedness(truth: GroundTruth) -> dict[str, int]:
    """Number of non-crowd boxes by their own crowdedness.

    Crowdedness of single objects gives counts only, no slice: a false positive belongs to no object, so AP on
    some of an image's objects would depend on which detections one takes for those of the other objects.
    """
    return _counts(crowdedness_of_objects(_sized(truth)), CROWDEDNESS)


def _counts(values: pd.Series, bins: Bins) -> dict[str, int]:
    return {label: int(((values >= low) & (values < high)).sum()) for label, (low, high) in bins.items()}


def category_shapes(truth: GroundTruth, statistic: RatioStatistic = "mean") -> pd.DataFrame:
    """The categories that have objects, from the squarest to the most slender.

    Args:
        statistic: See :func:`suite.data.boxes.aspect_ratio_of_categories`.

    Returns:
        Columns ``id``, ``name``, ``objects`` (non-crowd boxes) and ``aspect_ratio`` (by default the mean over
        these of max(w/h, h/w), at least 1; LTM Fig. 7).
    """
    frame = truth.categories.assign(
        objects=truth.categories["id"].map(truth.objects["category_id"].value_counts()),
        aspect_ratio=truth.categories["id"].map(aspect_ratio_of_categories(_sized(truth), statistic)),
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


def category_groups(truth: GroundTruth) -> dict[str, list[str]]:
    """Square and slender categories by every definition.

    Returns:
        ``square`` and ``slender`` (FreeAnchor's lists) and ``slender_ltm`` (LTM's), each where every category
        of it has objects; and ``squarest`` and ``most_slender``, as many as FreeAnchor names, by
        :func:`category_shapes`.
    """
    names = category_shapes(truth)["name"].tolist()
    lists = {"square": SQUARE, "slender": SLENDER, "slender_ltm": SLENDER_LTM}
    groups = {label: list(wanted) for label, wanted in lists.items() if set(wanted) <= set(names)}
    n_square = min(len(SQUARE), len(names) // 2)
    n_slender = min(len(SLENDER), len(names) - n_square)
    return groups | {"squarest": names[:n_square], "most_slender": names[len(names) - n_slender :]}
