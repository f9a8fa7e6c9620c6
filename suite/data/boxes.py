"""Statistics of ground-truth boxes by which images and categories are put into slices.

Annotations are frames with one row a box and the columns ``image_id``, ``category_id``, ``x``, ``y``, ``w``,
``h`` (pixels; x, y is the upper left corner; w, h > 0) and ``iscrowd``. Crowd boxes never count.
"""

from collections.abc import Sequence
from typing import Any

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
    a = np.asarray(first, dtype=np.float64).reshape(-1, 4)[:, None]
    b = np.asarray(second, dtype=np.float64).reshape(-1, 4)[None]
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    overlap = np.clip(high - low, 0, None).prod(axis=-1)
    return overlap / (a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - overlap)


def _objects(annotations: pd.DataFrame) -> pd.DataFrame:
    return annotations[annotations["iscrowd"] == 0]


def objects_per_image(annotations: pd.DataFrame, image_ids: Sequence[int]) -> "pd.Series[int]":
    """Number of objects of each image of ``image_ids``, 0 where it has none. Indexed by image id."""
    return _objects(annotations)["image_id"].value_counts().reindex(list(image_ids), fill_value=0)


def crowdedness_of_objects(annotations: pd.DataFrame) -> "pd.Series[float]":
    """Largest IoU of each object with any other object of its image, of whatever category (LTM, Table 2).

    Returns:
        Values in [0, 1], 0 for an image's only object; indexed like the annotations, without crowd boxes.
    """
    found = _objects(annotations)
    boxes = found[["x", "y", "w", "h"]].to_numpy(dtype=np.float64)
    images = found["image_id"].to_numpy()
    order = np.argsort(images, kind="stable")
    starts = np.flatnonzero(np.diff(images[order])) + 1
    values = np.zeros(len(found))
    for members in np.split(order, starts):
        if len(members) > 1:
            ious = pairwise_iou(boxes[members], boxes[members])
            np.fill_diagonal(ious, 0)
            values[members] = ious.max(axis=1)
    return pd.Series(values, index=found.index, name="crowdedness")


def crowdedness_of_images(annotations: pd.DataFrame, image_ids: Sequence[int]) -> "pd.Series[float]":
    """Largest crowdedness of each image's objects, 0 where there is one or none. Indexed by image id."""
    values = crowdedness_of_objects(annotations)
    images = annotations.loc[values.index, "image_id"]
    return values.groupby(images).max().reindex(list(image_ids), fill_value=0.0)


def aspect_ratio_of_categories(annotations: pd.DataFrame) -> "pd.Series[float]":
    """Mean over a category's objects of max(w/h, h/w), at least 1 (LTM, Fig. 7). Indexed by category id.

    Categories without objects are left out.
    """
    found = _objects(annotations)
    ratio = found["w"] / found["h"]
    return ratio.where(ratio >= 1, 1 / ratio).groupby(found["category_id"]).mean().rename("aspect_ratio")
