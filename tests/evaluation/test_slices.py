"""Slices against counting by hand."""

from typing import Any

import pytest

from suite.errors import SuiteError
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.slices import (
    SLENDER,
    SQUARE,
    category_shapes,
    image_slices,
    objects_by_size,
    select_images,
    shape_groups,
)


def truth(boxes: list[tuple[int, int, list[float], int]], images: int, names: list[str]) -> GroundTruth:
    """Boxes as (image, category, xywh, iscrowd)."""
    annotations: list[dict[str, Any]] = [
        {
            "id": i,
            "image_id": image,
            "category_id": category,
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": crowd,
        }
        for i, (image, category, box, crowd) in enumerate(boxes, start=1)
    ]
    return GroundTruth.from_coco(
        {
            "images": [{"id": i, "width": 500, "height": 500} for i in range(1, images + 1)],
            "categories": [{"id": i, "name": name} for i, name in enumerate(names, start=1)],
            "annotations": annotations,
        }
    )


def test_objects_per_image_bins_have_the_published_edges() -> None:
    counts = {1: 0, 2: 10, 3: 11, 4: 20, 5: 21, 6: 30, 7: 31, 8: 60}
    boxes = [(image, 1, [4.0 * i, 0, 2, 2], 0) for image, n in counts.items() for i in range(n)]
    boxes += [(2, 1, [0, 0, 99, 99], 1)]  # a crowd box is not an object
    bins = image_slices(truth(boxes, 8, ["a"]), "objects")
    assert bins == {"0-10": {1, 2}, "11-20": {3, 4}, "21-30": {5, 6}, "31+": {7, 8}}


def test_crowdedness_is_the_largest_overlap_of_the_image() -> None:
    boxes = [
        (2, 1, [0.0, 0, 10, 10], 0),  # alone, but for a crowd box on it
        (2, 1, [0.0, 0, 10, 10], 1),
        (3, 1, [0.0, 0, 10, 10], 0),  # IoU 1/3 with a box of another category
        (3, 2, [5.0, 0, 10, 10], 0),
        (3, 2, [300.0, 300, 10, 10], 0),
        (4, 1, [0.0, 0, 10, 10], 0),  # IoU 0.6
        (4, 1, [0.0, 0, 10, 6], 0),
        (5, 1, [0.0, 0, 10, 10], 0),  # IoU 0.5 belongs to dense
        (5, 1, [0.0, 0, 10, 5], 0),
        (6, 1, [0.0, 0, 10, 10], 0),  # a box without area overlaps with nothing
        (6, 1, [0.0, 0, 0, 5], 0),
    ]
    data = truth(boxes, 6, ["a", "b"])
    assert image_slices(data, "crowdedness") == {"sparse": {1, 2, 6}, "medium": {3}, "dense": {4, 5}}
    assert select_images(data, "crowdedness=dense") == {4, 5}


def test_unknown_slices_are_refused() -> None:
    data = truth([], 1, ["a"])
    with pytest.raises(SuiteError, match="Did you mean 'crowdedness'"):
        select_images(data, "crowdednes=dense")
    with pytest.raises(SuiteError, match=r"no bin 'dens' of crowdedness\. Did you mean 'dense'"):
        select_images(data, "crowdedness=dens")


def test_sizes_are_counted_by_annotation_area() -> None:
    boxes = [(1, 1, [0.0, 0, side, side], 0) for side in (10, 31.9, 32, 95, 96, 300)]
    assert objects_by_size(truth(boxes, 1, ["a"])) == {"small": 2, "medium": 2, "large": 2}


def test_shapes_of_categories_ignore_orientation_and_leave_out_the_absent() -> None:
    boxes = [
        (1, 1, [0.0, 0, 10, 40], 0),
        (1, 1, [0.0, 0, 20, 10], 0),
        (1, 2, [0.0, 0, 10, 10], 0),
        (1, 2, [0.0, 0, 10, 90], 1),
    ]
    shapes = category_shapes(truth(boxes, 1, ["long", "even", "absent"]))
    assert shapes[["name", "objects", "aspect_ratio"]].to_numpy().tolist() == [
        ["even", 1, 1.0],
        ["long", 2, 3.0],
    ]


def test_groups_are_the_papers_or_come_from_the_statistic() -> None:
    coco = [*SQUARE, *SLENDER, "person"]
    data = truth([(1, i, [0.0, 0, 10, 10.0 + i], 0) for i in range(1, 9)], 1, coco)
    groups = shape_groups(data)
    assert groups.groups == {"square": list(SQUARE), "slender": list(SLENDER)}
    assert not groups.by_statistic
    other = truth(
        [(1, i, [0.0, 0, 10, 10.0 * i], 0) for i in range(1, 10)], 1, [f"c{i}" for i in range(1, 10)]
    )
    groups = shape_groups(other)
    assert groups.groups == {"square": ["c1", "c2", "c3"], "slender": ["c6", "c7", "c8", "c9"]}
    assert groups.by_statistic
    few = truth([(1, i, [0.0, 0, 10, 10.0 * i], 0) for i in range(1, 4)], 1, ["a", "b", "c"])
    assert shape_groups(few).groups == {"square": ["a"], "slender": ["b", "c"]}
