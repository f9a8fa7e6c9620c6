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


def pairwise_iou(first: Array, second: Array) -> Array:
    """Intersection over union of each box of ``first`` with each of ``second``.

    Args:
        first: ``(n, 4)`` boxes x, y, w, h of positive size.
        second: ``(m, 4)`` likewise.

    Returns:
        ``(n, m)`` float64 in [0, 1].
    """
    a, b = (np.asarray(boxes, dtype=np.float64).reshape(-1, 4) for boxes in (first, second))
    return _iou(a, b)


def _iou(first: Array, second: Array) -> Array:
    """The same for any number of problems at once: ``(..., n, 4)`` and ``(..., m, 4)`` to ``(..., n, m)``."""
    a, b = first[..., :, None, :], second[..., None, :, :]
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    overlap = np.clip(high - low, 0, None).prod(axis=-1)
    return overlap / (a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - overlap)


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
        ious = _iou(boxes[members], boxes[members])
        itself = np.eye(size, dtype=bool)
        ious[:, itself] = 0
        if nearest:
            centres = boxes[members, :2] + boxes[members, 2:] / 2
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
