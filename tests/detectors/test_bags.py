"""Bags of anchors and points, against all anchors at once and against a loop over all points."""

import math

import pytest
import torch
from detection_data import instances
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmdet.structures.bbox import bbox_overlaps

from suite.detectors import bags as bags_module
from suite.detectors.bags import Bags, anchor_bags, draw, point_bags
from suite.detectors.grid import grid_levels
from suite.detectors.objects import collect
from suite.detectors.points import StridePointGenerator
from suite.detectors.score_layout import ScoreLayout
from suite.detectors.topk_assigner import top_anchors

STRIDES = (8, 16, 32, 64, 128)
# Off the grid of every level, so that no two points are equally far.
CENTRE = (617.3, 397.7)

ANCHORS = AnchorGenerator(strides=[8, 16, 32], octave_base_scale=4, scales_per_octave=2, ratios=[0.5, 1, 2])
ANCHOR_SIZES = ((13, 10), (7, 5), (4, 3))
POINTS = StridePointGenerator([8, 16, 32])
POINT_SIZES = ((9, 12), (5, 6), (3, 3))


def random_objects(seed, count):
    """Objects of 0.5 to 500 pixels in and around an image of 80 x 104 pixels."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(count, 2, generator=generator) * 200 - 50
    sides = 2 ** (torch.rand(count, 2, generator=generator) * 10 - 1)
    return torch.cat([centre - sides / 2, centre + sides / 2], dim=1)


def sorted_iou(objects, anchors, members):
    return bbox_overlaps(objects, anchors).gather(1, members).sort(dim=1).values


# All levels together have 1,062 anchors, the last one 72.
@pytest.mark.parametrize("bag_size", [1, 2, 10, 40, 73, 500, 1061, 1062, 3000])
def test_anchor_bags_are_the_best_of_all_anchors(bag_size):
    levels = grid_levels(ANCHORS, ANCHOR_SIZES, "cpu")
    anchors = torch.cat(ANCHORS.grid_priors(ANCHOR_SIZES, device="cpu"))
    objects = random_objects(bag_size, 40)
    found = anchor_bags(levels, objects, bag_size)
    best = top_anchors(anchors, objects, bag_size)
    assert found.shape == best.shape == (40, min(bag_size, 1062))
    assert all(len(bag.unique()) == len(bag) for bag in found)
    torch.testing.assert_close(
        sorted_iou(objects, anchors, found), sorted_iou(objects, anchors, best), rtol=1e-4, atol=1e-6
    )


def test_anchor_bags_of_an_object_that_prefers_some_anchors():
    levels = grid_levels(ANCHORS, ANCHOR_SIZES, "cpu")
    anchors = torch.cat(ANCHORS.grid_priors(ANCHOR_SIZES, device="cpu"))
    objects = anchors[[0, 500, 1000]] + torch.tensor([0.3, -0.2, 0.5, 0.1])
    assert anchor_bags(levels, objects, 1).flatten().tolist() == [0, 500, 1000]


@pytest.mark.parametrize("candidates", [1, 700, 5000])
def test_objects_a_few_at_a_time_have_the_same_bags(monkeypatch, candidates):
    levels = grid_levels(ANCHORS, ANCHOR_SIZES, "cpu")
    points = grid_levels(POINTS, POINT_SIZES, "cpu")
    objects = random_objects(3, 23)
    together = anchor_bags(levels, objects, 12), *point_bags(points, objects, 12, in_box=True)
    monkeypatch.setattr(bags_module, "_CANDIDATES_AT_ONCE", candidates)
    assert len(bags_module._split(levels, objects, 12)) > 1
    apart = anchor_bags(levels, objects, 12), *point_bags(points, objects, 12, in_box=True)
    for one, other in zip(together, apart, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("bag_size", [1, 40, 5000])
def test_bags_of_no_object(bag_size):
    none = torch.zeros(0, 4)
    found = anchor_bags(grid_levels(ANCHORS, ANCHOR_SIZES, "cpu"), none, bag_size)
    assert found.shape == (0, min(bag_size, 1062)) and found.dtype == torch.long
    for in_box in (False, True):
        points = grid_levels(POINTS, POINT_SIZES, "cpu")
        members, valid = point_bags(points, none, bag_size, in_box=in_box)
        assert members.shape == valid.shape == (0, min(bag_size, 147))
        assert members.dtype == torch.long and valid.dtype == torch.bool


def distance(point, box, window):
    """LTM-AF's normalised distance, in plain numbers; a point is (x, y, stride, stride)."""
    x, y, stride, _ = point
    x1, y1, x2, y2 = box
    dx = abs(2 * x - x1 - x2) / (x2 - x1 + 1)
    dy = abs(2 * y - y1 - y2) / (y2 - y1 + 1)
    if stride > 8 and max(dx, dy) > window:
        return math.inf
    return max(dx, dy) / stride


def assert_nearest_points(objects, bag_size, window):
    points = torch.cat(POINTS.grid_priors(POINT_SIZES, device="cpu")).double().tolist()
    members, valid = point_bags(grid_levels(POINTS, POINT_SIZES, "cpu"), objects, bag_size, window)
    assert valid.all() and members.shape == (len(objects), min(bag_size, len(points)))
    for bag, box in zip(members.tolist(), objects.double().tolist(), strict=True):
        assert len(set(bag)) == len(bag)
        every = [distance(point, box, window) for point in points]
        expected = sorted(every)[: len(bag)]
        assert sorted(every[member] for member in bag) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("window", [0.1, 0.8, 1.0])
@pytest.mark.parametrize("bag_size", [1, 7, 40, 130, 147, 400])
def test_point_bags_are_the_nearest_points(bag_size, window):
    assert_nearest_points(random_objects(bag_size, 12), bag_size, window)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.tuples(st.floats(-60, 160), st.floats(-60, 140), st.floats(0.5, 300), st.floats(0.5, 300)),
    st.integers(1, 160),
)
def test_point_bags_of_any_object(box, bag_size):
    x, y, width, height = box
    assert_nearest_points(torch.tensor([[x, y, x + width, y + height]]), bag_size, 0.8123)


@pytest.fixture(scope="module")
def coco_sizes() -> tuple[tuple[int, int], ...]:
    return tuple((-(-800 // stride), -(-1344 // stride)) for stride in STRIDES)


@pytest.fixture(scope="module")
def coco_points(coco_sizes) -> torch.Tensor:
    return torch.cat(StridePointGenerator(STRIDES).grid_priors(coco_sizes))


@pytest.fixture(scope="module")
def coco_levels(coco_sizes):
    return grid_levels(StridePointGenerator(STRIDES), coco_sizes, "cpu")


@pytest.mark.parametrize(
    ("width", "height", "counts", "inside"),
    [
        (8, 8, (40, 0, 0, 0, 0), 1),
        (32, 32, (37, 2, 1, 0, 0), 19),
        (64, 64, (28, 9, 2, 1, 0), None),
        (128, 128, (16, 12, 9, 2, 1), None),
        (256, 256, (9, 9, 9, 9, 4), None),
        (512, 512, (9, 7, 9, 9, 6), None),
        (400, 40, (12, 18, 10, 0, 0), None),
    ],
)
def test_point_bags_take_their_levels_as_the_released_code(
    coco_points, coco_levels, width, height, counts, inside
):
    x, y = CENTRE
    box = torch.tensor([[x - width / 2, y - height / 2, x + width / 2, y + height / 2]])
    members = coco_points[point_bags(coco_levels, box, 40)[0][0]]
    assert tuple(int((members[:, 2] == stride).sum()) for stride in STRIDES) == counts
    if inside is not None:
        within = (members[:, :2] > box[0, :2]) & (members[:, :2] < box[0, 2:])
        assert int(within.all(dim=1).sum()) == inside


def test_points_outside_the_window_take_part_on_the_lowest_level_only(coco_points, coco_levels):
    box = torch.tensor([[400.0, 300.0, 528.0, 428.0]])
    members = coco_points[point_bags(coco_levels, box, 300)[0][0]]
    off = (members[:, :2] - torch.tensor([464.0, 364.0])).abs()
    outside = (off * 2 / 129 > 0.8).any(dim=1)
    assert outside.any() and (members[outside, 2] == 8).all()


@pytest.mark.parametrize("bag_size", [1, 9, 40, 147, 400])
def test_in_box_takes_the_nearest_points_inside(bag_size):
    points = torch.cat(POINTS.grid_priors(POINT_SIZES, device="cpu")).double().tolist()
    objects = torch.cat(
        [
            random_objects(5, 12),
            torch.tensor([[5.0, 5, 7, 7], [-50, -50, -10, -10], [12, 20, 60, 36], [-99, -99, 300, 300]]),
        ]
    )
    levels = grid_levels(POINTS, POINT_SIZES, "cpu")
    members, valid = point_bags(levels, objects, bag_size, in_box=True)
    counts = []
    for bag, kept, box in zip(members, valid, objects.double().tolist(), strict=True):
        inside = [
            index
            for index, (x, y, *_) in enumerate(points)
            if box[0] <= x <= box[2] and box[1] <= y <= box[3]
        ]
        bag = bag[kept].tolist()
        assert len(bag) == len(set(bag)) == min(bag_size, len(inside)) and set(bag) <= set(inside)
        every = sorted(distance(points[index], box, window=2.0) for index in inside)
        found = sorted(distance(points[index], box, window=2.0) for index in bag)
        assert found == pytest.approx(every[: len(bag)], rel=1e-4, abs=1e-6)
        counts.append(len(inside))
    assert counts[12:14] == [0, 0] and counts[15] == 147  # between the points, outside, around all
    assert counts[14] == 24  # 7 columns and 3 rows of stride 8, on the border too; 3 points of stride 16


def test_draw_takes_members_of_the_bag_without_repetition():
    torch.manual_seed(0)
    members = torch.stack([torch.arange(10) * 3, torch.arange(10) + 100])
    drawn = draw(members, 4)
    assert drawn.shape == (2, 4)
    for few, bag in zip(drawn.tolist(), members.tolist(), strict=True):
        assert len(set(few)) == 4 and set(few) <= set(bag)
    assert not torch.equal(drawn[0] // 3, drawn[1] - 100)  # each bag for itself


@pytest.mark.parametrize("sample_size", [10, 11, 500])
def test_draw_of_all_members_keeps_the_bag(sample_size):
    members = torch.arange(20).view(2, 10)
    assert torch.equal(draw(members, sample_size), members)


def test_draw_prefers_no_member():
    torch.manual_seed(1)
    drawn = draw(torch.arange(8).expand(16000, 8), 3)
    counts = torch.bincount(drawn.flatten(), minlength=8)
    # 6,000 expected; the standard deviation is 61.
    assert (counts - 6000).abs().max() < 300
    assert draw(torch.zeros(0, 8).long(), 3).shape == (0, 3)


def test_collect_lines_up_the_objects_of_a_batch():
    batch = [
        instances([[0, 1, 2, 3], [4, 5, 6, 7]], [2, 0]),
        instances([], []),
        instances([[8, 8, 9, 9]], [1]),
    ]
    batch[2].bboxes = batch[2].bboxes.double()
    images, boxes, labels = collect(batch, torch.device("cpu"))
    assert images.tolist() == [0, 0, 2]
    assert boxes.dtype == torch.float32
    assert boxes.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 8, 9, 9]]
    assert labels.tolist() == [2, 0, 1]
    images, boxes, labels = collect([instances([], [])] * 2, torch.device("cpu"))
    assert images.shape == labels.shape == (0,) and boxes.shape == (0, 4)


def test_pairs_of_bags_point_at_the_score_for_the_object():
    sizes, classes = [(3, 4), (2, 2)], 5
    maps = [torch.randn(2, 2 * classes, *size) for size in sizes]
    layout = ScoreLayout.of(maps, classes)
    members = torch.tensor([[0, 23, 24], [31, 7, 10]])
    labels = torch.tensor([4, 1])
    bags = Bags(torch.tensor([1, 0]), torch.zeros(2, 4), labels, members, torch.ones(2, 3, dtype=torch.bool))
    scores = torch.cat([level.permute(0, 2, 3, 1).reshape(2, -1, classes) for level in maps], dim=1)
    found = torch.cat([level.flatten() for level in maps])[bags.pairs(layout)]
    assert torch.equal(found, torch.stack([scores[1, members[0], 4], scores[0, members[1], 1]]))
