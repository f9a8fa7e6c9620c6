"""What decides an assignment, counted in a dataset: sizes in strides, shapes, numbers of objects, crowds.

COCO's numbers stand beside it, so that a generated dataset can be held against them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

QUANTILES = (5, 10, 25, 50, 75, 90, 95)


@dataclass(frozen=True)
class Statistics:
    """Distributions of a dataset's objects without crowd regions.

    Attributes:
        sizes: Square root of a box's area in strides of the pyramid's finest level, by quantile in percent.
        aspect_ratios: max(w/h, h/w) of boxes, by quantile.
        objects: Objects per image that has any, by quantile.
        crowdedness: Share of images that are sparse, medium and dense
            (:func:`suite.data.boxes.crowdedness_of_images`).
        cut: Share of objects whose box ends at the image's border, within a pixel.
        most_frequent: Objects of the most frequent category over those of the rarest; None if not known.
    """

    sizes: Mapping[int, float]
    aspect_ratios: Mapping[int, float]
    objects: Mapping[int, float]
    crowdedness: tuple[float, float, float]
    cut: float
    most_frequent: float | None


COCO_VAL2017 = Statistics(
    sizes={5: 2.1, 10: 2.9, 25: 5.4, 50: 11.9, 75: 27.0, 90: 53.0, 95: 71.0},
    aspect_ratios={50: 1.67, 75: 2.4, 90: 3.4, 95: 4.3},
    objects={50: 4.0, 90: 18.0},
    crowdedness=(0.57, 0.31, 0.12),
    cut=0.16,
    most_frequent=None,
)
"""COCO val2017, its images resized to 800 px, strides from 8 px on. The share of objects that are cut is that
of 1,765 boxes in 206 images."""


def statistics(content: Mapping[str, Any], strides_across: float) -> Statistics:
    """Count a dataset.

    Args:
        content: Of a COCO annotation file, with at least one object of positive size.
        strides_across: Strides of the finest level along the longer side of an image, at the size at which
            it is fed to a detector.
    """
    import numpy as np
    import pandas as pd

    from suite.data import boxes

    rows = pd.DataFrame(content["annotations"])
    rows[["x", "y", "w", "h"]] = np.array(rows.pop("bbox").tolist(), dtype=np.float64)
    rows = rows[(rows["w"] > 0) & (rows["h"] > 0)]
    images = pd.DataFrame(content["images"]).set_index("id")
    objects = rows[rows["iscrowd"] == 0].join(images[["width", "height"]], on="image_id")
    stride = objects[["width", "height"]].max(axis=1) / strides_across
    counts = boxes.objects_per_image(rows, list(images.index))
    crowds = np.asarray(boxes.crowdedness_of_images(rows, list(images.index)))
    at_border = (
        (objects["x"] <= 1) | (objects["y"] <= 1)
        | (objects["x"] + objects["w"] >= objects["width"] - 1)
        | (objects["y"] + objects["h"] >= objects["height"] - 1)
    )  # fmt: skip
    per_category = objects["category_id"].value_counts()
    sides = objects[["w", "h"]]
    return Statistics(
        _quantiles(np.sqrt(objects["w"] * objects["h"]) / stride),
        _quantiles(sides.max(axis=1) / sides.min(axis=1)),
        _quantiles(counts[counts > 0]),
        (float(np.mean(crowds < 0.2)), float(np.mean((crowds >= 0.2) & (crowds < 0.5))),
         float(np.mean(crowds >= 0.5))),
        float(np.mean(at_border)),
        float(per_category.max() / per_category.min()),
    )  # fmt: skip


def _quantiles(values: Any) -> dict[int, float]:
    import numpy as np

    return dict(zip(QUANTILES, np.percentile(values, QUANTILES).tolist(), strict=True))
