"""Statistics of ground-truth boxes by which images and categories are put into slices.

Annotations are frames with one row a box and the columns ``image_id``, ``category_id``, ``x``, ``y``, ``w``,
``h`` (pixels; x, y is the upper left corner; w, h > 0) and ``iscrowd``. Crowd boxes never count.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[Any]

SMALL_BELOW, LARGE_FROM = 32.0**2, 96.0**2
"""COCO's limits of area in square pixels: an object is small below the first, large from the second on."""


def iou(first: Array, second: Array, *, corners: bool = False, crowd: Array | bool = False) -> Array:
    """Intersection over union of boxes of ``first`` and of ``second``, pair by pair; rounds as pycocotools.

    Args:
        first: Boxes x, y, w, h, shape (..., 4).
        second: Likewise, of a shape that numpy broadcasts with the first.
        corners: The boxes are given as x0, y0, x1, y1 instead.
        crowd: In which pairs the second box is a crowd region: there the area of the first divides alone.

    Returns:
        float64 in [0, 1], of the broadcast shape without its last axis; 0 for two boxes without area.
    """
    low, high, sides = _spans(first, corners)
    other_low, other_high, other_sides = _spans(second, corners)
    common = _area(np.clip(np.minimum(high, other_high) - np.maximum(low, other_low), 0, None))
    own = _area(sides)
    total = np.where(crowd, own, own + _area(other_sides) - common)
    return np.divide(common, total, out=np.zeros_like(common), where=total > 0)


def pairwise_iou(first: Array, second: Array) -> Array:
    """:func:`iou` of each box x, y, w, h of ``first`` (n, 4) with each of ``second`` (m, 4), shape (n, m)."""
    return iou(first.reshape(-1, 1, 4), second.reshape(1, -1, 4))


def _spans(boxes: Array, corners: bool) -> tuple[Array, Array, Array]:
    """Upper left corners, lower right corners, and sides."""
    boxes = np.asarray(boxes, dtype=np.float64)
    low, last = boxes[..., :2], boxes[..., 2:]
    return (low, last, np.clip(last - low, 0, None)) if corners else (low, low + last, last)


def _area(sides: Array) -> Array:
    # numpy's prod is ten times slower on an axis of two.
    area: Array = sides[..., 0] * sides[..., 1]
    return area


def _objects(annotations: pd.DataFrame) -> pd.DataFrame:
    return annotations[annotations["iscrowd"] == 0]


def objects_per_image(
    annotations: pd.DataFrame, image_ids: Sequence[int], crowds: bool = False
) -> "pd.Series[int]":
    """Number of objects of each image of ``image_ids``, 0 where it has none. Indexed by image id.

    Args:
        crowds: Count crowd boxes too, each as one.
    """
    counted = annotations if crowds else _objects(annotations)
    return counted["image_id"].value_counts().reindex(list(image_ids), fill_value=0)


def crowdedness_of_objects(
    annotations: pd.DataFrame, same_category: bool = False, nearest: bool = False
) -> "pd.Series[float]":
    """Largest IoU of each object with any other object of its image (LTM, Table 2).

    Args:
        same_category: Only objects of its own category are others. LTM does not say; by default all are.
        nearest: The IoU with the one object whose centre is nearest, instead of the largest IoU; the larger
            IoU where several are equally near.

    Returns:
        Values in [0, 1], 0 for an object without others; indexed like the annotations, without crowd boxes.
    """
    found = _objects(annotations)
    boxes = found[["x", "y", "w", "h"]].to_numpy(dtype=np.float64)
    images = found["image_id"].to_numpy()
    categories = found["category_id"].to_numpy()
    order = np.lexsort((categories, images)) if same_category else np.argsort(images, kind="stable")
    changes = np.diff(images[order]) != 0
    if same_category:
        changes |= np.diff(categories[order]) != 0
    starts = np.flatnonzero(np.r_[True, changes]) if len(found) else np.zeros(0, dtype=np.int64)
    sizes = np.diff(np.r_[starts, len(found)])
    values = np.zeros(len(found))
    for size in np.unique(sizes[sizes > 1]):  # all groups of one size at once: (groups, size)
        members = order[starts[sizes == size][:, None] + np.arange(size)]
        own = boxes[members]
        ious = iou(own[:, :, None], own[:, None])
        itself = np.eye(size, dtype=bool)
        ious[:, itself] = 0
        if nearest:
            centres = own[..., :2] + own[..., 2:] / 2
            distances = ((centres[:, :, None] - centres[:, None]) ** 2).sum(axis=-1)
            distances[:, itself] = np.inf
            ious[distances > distances.min(axis=-1, keepdims=True)] = 0
        values[members] = ious.max(axis=-1)
    return pd.Series(values, index=found.index, name="crowdedness")


def crowdedness_of_images(
    annotations: pd.DataFrame,
    image_ids: Sequence[int],
    same_category: bool = False,
    nearest: bool = False,
    mean: bool = False,
) -> "pd.Series[float]":
    """Largest crowdedness of each image's objects, 0 where there is one or none. Indexed by image id.

    Args:
        same_category, nearest: See :func:`crowdedness_of_objects`.
        mean: The mean over the image's objects instead of the largest.
    """
    values = crowdedness_of_objects(annotations, same_category, nearest)
    by_image = values.groupby(annotations.loc[values.index, "image_id"])
    return (by_image.mean() if mean else by_image.max()).reindex(list(image_ids), fill_value=0.0)


RatioStatistic = Literal["mean", "geometric_mean", "median", "mean_width_over_height"]


def aspect_ratio_of_categories(
    annotations: pd.DataFrame, statistic: RatioStatistic = "mean"
) -> "pd.Series[float]":
    """Aspect ratio of each category's objects (LTM, Fig. 7). Indexed by category id.

    Args:
        statistic: ``mean`` (the default), ``geometric_mean`` or ``median`` over the objects of
            max(w/h, h/w), at least 1; or ``mean_width_over_height``, the mean of w/h, any positive number,
            which orders categories very differently: tall ones come first.

    Categories without objects are left out.
    """
    found = _objects(annotations)
    ratio = found["w"] / found["h"]
    if statistic != "mean_width_over_height":
        ratio = ratio.where(ratio >= 1, 1 / ratio)
    if statistic == "geometric_mean":
        ratio = ratio.apply(np.log)
    by_category = ratio.groupby(found["category_id"])
    values = by_category.median() if statistic == "median" else by_category.mean()
    return (values.apply(np.exp) if statistic == "geometric_mean" else values).rename("aspect_ratio")
