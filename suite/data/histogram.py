"""How many images, objects and categories of a dataset fall into each slice of the evaluation."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from suite.data.coco import read_annotations
from suite.data.dataset import Dataset, Split
from suite.data.statistics import COCO_VAL2017, statistics

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_OBJECTS_PER_IMAGE = {"0-10": 0, "11-20": 11, "21-30": 21, "31+": 31}
_CROWDEDNESS = {"sparse [0, .2)": 0.0, "medium [.2, .5)": 0.2, "dense [.5, 1]": 0.5}


def histogram(dataset: Dataset) -> "RenderableType":
    """Tables of a dataset's slices, training beside validation.

    Args:
        dataset: A prepared dataset.

    Returns:
        Something that ``rich.print`` shows.

    Raises:
        SuiteError: The dataset is not prepared.
    """
    from rich.console import Group
    from rich.table import Table

    splits = {"train": _counts(dataset.train), "val": _counts(dataset.val)}
    tables = []
    for part in splits["train"]:
        table = Table(part, *splits)
        for name in {key: None for counts in splits.values() for key in counts[part]}:
            table.add_row(name, *(counts[part].get(name, "-") for counts in splits.values()))
        tables.append(table)
    if dataset.kind == "shapes":
        tables.append(_beside_coco(dataset))
    return Group(*tables)


def _beside_coco(dataset: Dataset) -> "Table":
    """A generated dataset's distributions beside COCO's."""
    from rich.table import Table

    from suite.data.scenes import STRIDES_PER_IMAGE

    counted = [
        statistics(read_annotations(split.annotations)[0], STRIDES_PER_IMAGE)
        for split in (dataset.train, dataset.val)
    ]
    table = Table("distributions", "train", "val", "COCO val2017")
    quantiles = (
        ("size in strides", "sizes", (5, 10, 25, 50, 75, 90, 95)),
        ("aspect ratio", "aspect_ratios", (50, 75, 90, 95)),
        ("objects per image", "objects", (50, 90)),
    )
    for label, name, at in quantiles:
        for quantile in at:
            values = [getattr(one, name)[quantile] for one in (*counted, COCO_VAL2017)]
            table.add_row(f"{label}, {quantile} % quantile", *(f"{value:.3g}" for value in values))
    table.add_row("objects cut by the border", *(f"{one.cut:.0%}" for one in (*counted, COCO_VAL2017)))
    return table


def _counts(split: Split) -> dict[str, dict[str, str]]:
    import numpy as np
    import pandas as pd

    from suite.data import boxes

    content, _ = read_annotations(split.annotations)
    rows = pd.DataFrame(content["annotations"])
    rows[["x", "y", "w", "h"]] = np.array(rows.pop("bbox").tolist(), dtype=np.float64)
    rows = rows[(rows["w"] > 0) & (rows["h"] > 0)]
    objects = rows[rows["iscrowd"] == 0]
    images = [image["id"] for image in content["images"]]
    names = {category["id"]: category["name"] for category in content["categories"]}
    per_image = boxes.objects_per_image(rows, images)
    ratios = boxes.aspect_ratio_of_categories(rows).sort_values()
    per_category = objects["category_id"].value_counts()
    sizes = {"small < 32²": 0.0, "medium": boxes.SMALL_BELOW, "large >= 96²": boxes.LARGE_FROM}
    return {
        "all": {
            "images": str(len(images)),
            "images without objects": str((per_image == 0).sum()),
            "objects": str(len(objects)),
            "crowd regions": str(len(rows) - len(objects)),
        },
        "objects per image (images)": _binned(per_image, _OBJECTS_PER_IMAGE),
        "crowdedness (images)": _binned(boxes.crowdedness_of_images(rows, images), _CROWDEDNESS),
        "size (objects)": _binned(objects["area"], sizes),
        "aspect ratio (objects)": {
            names[number]: f"{ratio:.2f} ({count})"
            for number, ratio, count in zip(ratios.index, ratios, per_category[ratios.index], strict=True)
        },
    }


def _binned(values: Any, lower_edges: Mapping[str, float]) -> dict[str, str]:
    """Count values from each lower edge up to the next one."""
    import numpy as np

    bins = np.searchsorted(list(lower_edges.values()), values, side="right") - 1
    counts = np.bincount(bins, minlength=len(lower_edges))
    return {name: str(count) for name, count in zip(lower_edges, counts, strict=True)}
