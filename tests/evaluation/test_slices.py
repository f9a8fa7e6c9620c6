"""Slices against counting by hand."""

from typing import Any

import pandas as pd
import pytest

from suite.errors import SuiteError
from suite.evaluation.bins import IMAGE_BINS
from suite.evaluation.coco_ap import evaluate_slices
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.slices import (
    DIMENSIONS,
    SLENDER,
    SLENDER_LTM,
    SQUARE,
    category_groups,
    category_shapes,
    chosen_dimensions,
    image_slices,
    objects_by_crowdedness,
    objects_by_size,
    on_fixed_categories,
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


def many(counts: dict[int, int], crowds: dict[int, int] | None = None) -> GroundTruth:
    """Images with so many objects, and so many crowd boxes."""
    boxes = [(image, 1, [4.0 * i, 0.0, 2.0, 2.0], 0) for image, n in counts.items() for i in range(n)]
    boxes += [(image, 1, [0.0, 9.0, 9.0, 9.0], 1) for image, n in (crowds or {}).items() for _ in range(n)]
    return truth(boxes, max(counts), ["a"])


def test_crowd_boxes_count_in_the_variant_with_crowds_alone() -> None:
    data = many({1: 10, 2: 10, 3: 30}, crowds={2: 1, 3: 1})
    assert image_slices(data, "objects") == {"0-10": {1, 2}, "11-20": set(), "21-30": {3}, "31+": set()}
    assert image_slices(data, "objects_and_crowds") == {
        "0-10": {1}, "11-20": {2}, "21-30": set(), "31+": {3},
    }  # fmt: skip


def test_sparsity_has_the_published_outer_bins_and_middle_ones_of_near_equal_size() -> None:
    data = many({1: 0, 2: 3, 3: 4, 4: 6, 5: 6, 6: 9, 7: 20, 8: 21, 9: 62, 10: 63, 11: 6})
    bins = image_slices(data, "sparsity")
    assert bins == {"0-3": {1, 2}, "4-6": {3, 4, 5, 11}, "7-20": {6, 7}, "21-62": {8, 9}, "63+": {10}}
    assert image_slices(many({1: 4, 2: 20}), "sparsity") == {
        "0-3": set(), "4": {1}, "5-20": {2}, "21-62": set(), "63+": set(),
    }  # fmt: skip
    assert list(image_slices(many({1: 19, 2: 20}), "sparsity")) == ["0-3", "4-19", "20", "21-62", "63+"]


def test_the_alternatives_of_crowdedness() -> None:
    boxes = [
        # IoU 1/3 across categories, 0 within
        (1, 1, [0.0, 0, 10, 10], 0),
        (1, 2, [5.0, 0, 10, 10], 0),
        # IoU 0.6 of two of four objects: a mean of 0.3
        (2, 1, [0.0, 0, 10, 10], 0),
        (2, 1, [0.0, 0, 10, 6], 0),
        (2, 1, [100.0, 0, 10, 10], 0),
        (2, 1, [200.0, 0, 10, 10], 0),
        # overlaps by 0.25 and 0.49 with a large one; the small ones' centres are nearer to each other
        (3, 1, [0.0, 0, 10, 10], 0),
        (3, 1, [0.0, 0, 5, 5], 0),
        (3, 1, [3.0, 3, 7, 7], 0),
        # two large ones overlap by 0.25, but each has a small one nearer, which it hardly overlaps
        (4, 1, [0.0, 0, 100, 100], 0),
        (4, 1, [60.0, 0, 100, 100], 0),
        (4, 1, [10.0, 40, 20, 20], 0),
        (4, 1, [130.0, 40, 20, 20], 0),
    ]
    data = truth(boxes, 5, ["a", "b"])
    found = {
        name: {image: label for label, images in image_slices(data, name).items() for image in images}
        for name in DIMENSIONS
        if name.startswith("crowdedness")
    }
    assert found == {
        "crowdedness": {1: "medium", 2: "dense", 3: "medium", 4: "medium", 5: "sparse"},
        "crowdedness_same_category": {1: "sparse", 2: "dense", 3: "medium", 4: "medium", 5: "sparse"},
        "crowdedness_mean": {1: "medium", 2: "medium", 3: "medium", 4: "sparse", 5: "sparse"},
        "crowdedness_nearest": {1: "medium", 2: "dense", 3: "medium", 4: "sparse", 5: "sparse"},
    }
    # Of the own crowdedness: image 1 has 1/3 twice; image 2 has 0.6, 0.6, 0, 0; image 3 has 0.49, 0.25, 0.49;
    # image 4 has 0.25 and 0.04 twice each.
    assert objects_by_crowdedness(data) == {"sparse": 4, "medium": 7, "dense": 2}


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_every_image_is_in_exactly_one_bin(dimension: str) -> None:
    data = many({1: 0, 2: 3, 3: 14, 4: 25, 5: 40, 6: 70}, crowds={1: 1, 5: 3})
    bins = image_slices(data, dimension)
    assert sorted(image for images in bins.values() for image in images) == [1, 2, 3, 4, 5, 6]


def test_a_list_of_dimensions() -> None:
    assert chosen_dimensions("objects, sparsity") == ["objects", "sparsity"]
    assert chosen_dimensions("none") == []
    assert chosen_dimensions("all") == [*DIMENSIONS, "shape", "size"]
    with pytest.raises(SuiteError, match=r"--slices: 'sparsty' is unknown\. Did you mean 'sparsity'\?"):
        chosen_dimensions("objects,sparsty")
    with pytest.raises(SuiteError, match="there twice"):
        chosen_dimensions("objects,objects")


def test_fixed_categories_are_those_with_objects_in_every_bin_that_has_any() -> None:
    box = [10.0, 10.0, 50.0, 50.0]
    data = truth(
        [(1, 1, box, 0), (1, 2, box, 0), (2, 1, box, 0), (3, 1, box, 1), (2, 3, box, 0)], 3, list("abc")
    )
    hits = [(1, 1), (1, 2), (2, 3)]
    rows = [(image, category, 0.9, *box) for image, category in hits]
    detections = pd.DataFrame(rows, columns=["image_id", "category_id", "score", *"xywh"])
    bins = evaluate_slices(data, detections, {"x": [1], "y": [2], "crowd alone": [3], "no images": []})
    assert (bins["x"].metrics["AP"], bins["y"].metrics["AP"]) == pytest.approx((1.0, 0.5))
    common, fixed = on_fixed_categories(bins)
    assert common == [1]  # b is in x alone, c in y alone
    assert [fixed[label]["AP"] for label in bins] == [pytest.approx(1), 0.0, None, None]
    assert on_fixed_categories({"no images": bins["no images"]}) == (
        [], {"no images": {"AP": None, "AP50": None, "AP75": None}},
    )  # fmt: skip


def test_statistics_of_shape_order_categories_differently() -> None:
    boxes = [(1, 1, [0.0, 0, w, 10.0], 0) for w in (10.0, 10.0, 160.0)]
    boxes += [(1, 2, [0.0, 0, 10.0, 50.0], 0)] * 3
    data = truth(boxes, 1, ["mixed", "tall"])
    ratios = {
        name: dict(category_shapes(data, name)[["name", "aspect_ratio"]].to_numpy().tolist())
        for name in ("mean", "geometric_mean", "median", "mean_width_over_height")
    }
    assert ratios["mean"] == {"mixed": 6.0, "tall": 5.0}
    assert ratios["geometric_mean"] == pytest.approx({"mixed": 16 ** (1 / 3), "tall": 5.0})
    assert ratios["median"] == {"mixed": 1.0, "tall": 5.0}
    assert ratios["mean_width_over_height"] == pytest.approx({"mixed": 6.0, "tall": 0.2})


def test_groups_of_categories_by_every_definition() -> None:
    names = [*SQUARE, *SLENDER, "person"]
    boxes = [(1, number, [0.0, 0, 10, 10.0 * number], 0) for number in range(1, 9)]
    assert category_groups(truth(boxes, 1, names)) == {
        "square": list(SQUARE), "slender": list(SLENDER), "squarest": names[:3], "most_slender": names[4:],
    }  # fmt: skip
    ltm = truth(boxes[:5], 1, list(SLENDER_LTM))
    assert set(category_groups(ltm)) == {"slender_ltm", "squarest", "most_slender"}


def test_every_dimension_has_bins() -> None:
    assert list(DIMENSIONS) == list(IMAGE_BINS)
