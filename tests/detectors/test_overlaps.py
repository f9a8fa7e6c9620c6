"""Pairs of high IoU, against the IoU of all boxes with all objects."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.structures.bbox import bbox_overlaps

from suite.detectors.overlaps import overlapping_pairs

THRESHOLDS = [0.3, 0.5, 0.6, 0.7, 0.9]


def random_objects(generator, count, size=400.0, least=2.0, most=300.0):
    sides = least * (most / least) ** torch.rand(count, 2, generator=generator)
    centre = torch.rand(count, 2, generator=generator) * size
    return torch.cat([centre - sides / 2, centre + sides / 2], dim=1)


def boxes_near(generator, objects, count):
    """Boxes that lie on objects more or less well."""
    own = objects[torch.randint(len(objects), (count,), generator=generator)]
    sides = own[:, 2:] - own[:, :2]
    spread = torch.rand(count, 1, generator=generator) * 0.5
    shift = sides * spread * torch.randn(count, 2, generator=generator)
    grown = sides * torch.exp(spread * torch.randn(count, 2, generator=generator))
    centre = (own[:, :2] + own[:, 2:]) / 2 + shift
    return torch.cat([centre - grown / 2, centre + grown / 2], dim=1)


def dense(boxes, objects, images, threshold):
    """{(object, box): IoU} of all pairs of one image."""
    found = {}
    for image, own in enumerate(boxes):
        for number in (images == image).nonzero().flatten().tolist():
            iou = bbox_overlaps(objects[number : number + 1], own)[0]
            for box in (iou > threshold).nonzero().flatten().tolist():
                found[number, image * boxes.shape[1] + box] = iou[box].item()
    return found


def assert_as_dense(boxes, objects, images, threshold):
    who, box, iou = overlapping_pairs(boxes, objects, images, threshold)
    pairs = list(zip(who.tolist(), box.tolist(), strict=True))
    expected = dense(boxes, objects, images, threshold)
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == set(expected)
    assert iou.tolist() == pytest.approx([expected[pair] for pair in pairs], rel=1e-6)
    return pairs


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("seed", range(4))
def test_all_pairs_above_the_threshold_and_nothing_else(seed, threshold):
    generator = torch.Generator().manual_seed(seed)
    objects = random_objects(generator, 40)
    images = torch.randint(3, (40,), generator=generator)
    boxes = torch.stack([boxes_near(generator, objects, 700) for _ in range(3)])
    pairs = assert_as_dense(boxes, objects, images, threshold)
    assert len(pairs) > 30
    # Boxes of all images lie on all objects: those of other images are left out.
    for who, box in pairs:
        assert box // 700 == images[who]
    assert len(dense(boxes.flatten(0, 1)[None], objects, images * 0, threshold)) > 2 * len(pairs)


@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.9])
def test_boxes_as_far_off_as_the_threshold_allows(threshold):
    """Shifted along x or y, grown or shrunk about the centre, a corner or a side: IoU a little above t."""
    objects = torch.tensor([[100.0, 60, 180, 90], [3.3, 5.1, 7.9, 31.7], [-40, -900, 700, 800], [0, 0, 1, 1]])
    target = threshold + 1e-3
    boxes = []
    for box in objects:
        (x1, y1, x2, y2), (w, h) = box, (box[2:] - box[:2])
        for factor in (target, 1 / target):  # width, height or area of the box over the object's
            root = factor**0.5
            boxes += [
                [x1, y1, x1 + w * factor, y2], [x2 - w * factor, y1, x2, y2],
                [x1, y1, x2, y1 + h * factor], [x1, y2 - h * factor, x2, y2],
                [x1, y1, x1 + w * root, y1 + h * root], [x2 - w * root, y2 - h * root, x2, y2],
            ]  # fmt: skip
        off = (1 - target) / (1 + target)  # a shift by this share of a side leaves an IoU of the target
        boxes += [[x1 + w * off, y1, x2 + w * off, y2], [x1 - w * off, y1, x2 - w * off, y2]]
        boxes += [[x1, y1 + h * off, x2, y2 + h * off], [x1, y1 - h * off, x2, y2 - h * off]]
    pairs = assert_as_dense(torch.tensor(boxes)[None], objects, torch.zeros(4, dtype=torch.long), threshold)
    assert pairs and {(who, 16 * who + number) for who in range(4) for number in range(16)} <= set(pairs)


side = st.floats(0.25, 2000, width=32)
place = st.floats(-3000, 3000, width=32)
change = st.tuples(*[st.floats(-0.7, 0.7)] * 4)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(place, place, side, side), min_size=1, max_size=4),
    st.lists(change, min_size=1, max_size=6),
    st.floats(0.05, 0.97),
)
def test_any_boxes_around_any_objects(objects, changes, threshold):
    objects = torch.tensor([[x, y, x + w, y + h] for x, y, w, h in objects])
    sides = (objects[:, 2:] - objects[:, :2]).repeat(1, 2)
    boxes = torch.stack([objects + sides * torch.tensor(change) for change in changes]).flatten(0, 1)
    usable = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1) > 1 / 60
    boxes[~usable] = 0
    assert_as_dense(boxes[None], objects, torch.zeros(len(objects), dtype=torch.long), threshold)


def test_boxes_that_are_not_finite_or_have_no_area():
    objects = torch.tensor([[10.0, 10, 30, 40], [10, 10, 10, 40], [12, 11, 30, 41]])
    good = [11.0, 10, 30, 40]
    bad = []
    for position in range(4):
        for value in (float("nan"), float("inf"), float("-inf"), 1e30, -1e30):
            bad.append([*good[:position], value, *good[position + 1 :]])
    bad += [[10.0, 10, 10, 40], [30, 40, 10, 10], [30, 10, 10, 40], [10, 10, 10.1, 10.1], [0, 0, 0, 0]]
    boxes = torch.tensor([[*bad, good], [good] * (len(bad) + 1)])
    who, box, iou = overlapping_pairs(boxes, objects, torch.tensor([0, 0, 0]), 0.5)
    assert sorted(zip(who.tolist(), box.tolist(), strict=True)) == [(0, len(bad)), (2, len(bad))]
    assert iou.isfinite().all()


@pytest.mark.parametrize("threshold", [0.3, 0.6])
def test_boxes_and_objects_far_outside(threshold):
    generator = torch.Generator().manual_seed(5)
    objects = random_objects(generator, 30, size=100)
    shifts = torch.tensor([[-5000.0, 0], [-1030, -1030], [7160, 3], [20000, 20000], [0, -1e5]])
    moved = objects + shifts.repeat(6, 2)
    boxes = torch.cat([boxes_near(generator, moved, 600), boxes_near(generator, objects, 100)])
    assert len(assert_as_dense(boxes[None], moved, torch.zeros(30, dtype=torch.long), threshold)) > 100


def test_no_object_and_no_box():
    none = torch.zeros(0, dtype=torch.long)
    for boxes, objects, images in [
        (torch.rand(2, 50, 4), torch.zeros(0, 4), none),
        (torch.zeros(2, 0, 4), torch.tensor([[1.0, 1, 5, 5]]), none.new_zeros(1)),
        (torch.zeros(2, 7, 4), torch.tensor([[1.0, 1, 5, 5]]), none.new_zeros(1)),
    ]:
        who, box, iou = overlapping_pairs(boxes, objects, images, 0.6)
        assert who.shape == box.shape == iou.shape == (0,)
        assert who.dtype == box.dtype == torch.long and iou.dtype == torch.float32


@pytest.mark.parametrize("threshold", [0.5, 0.6])
def test_five_hundred_objects(threshold):
    generator = torch.Generator().manual_seed(6)
    objects = random_objects(generator, 500, size=1000, least=8)
    images = torch.arange(500) % 2
    boxes = torch.stack([boxes_near(generator, objects[images == image], 4000) for image in range(2)])
    assert len(assert_as_dense(boxes, objects, images, threshold)) > 2000


def test_an_iou_at_the_threshold_is_not_above_it():
    objects = torch.tensor([[0.0, 0, 10, 10]])
    boxes = torch.tensor([[[0.0, 0, 10, 6], [0, 0, 10, 5], [0, 0, 5, 10], [0, 0, 10, 6.001]]])
    image = torch.zeros(1, dtype=torch.long)
    assert overlapping_pairs(boxes, objects, image, 0.6)[1].tolist() == [3]
    assert sorted(overlapping_pairs(boxes, objects, image, 0.5)[1].tolist()) == [0, 3]


def test_boxes_get_no_gradient():
    boxes = torch.tensor([[[0.0, 0, 10, 9]]], requires_grad=True)
    image = torch.zeros(1, dtype=torch.long)
    assert not overlapping_pairs(boxes, torch.tensor([[0.0, 0, 10, 10]]), image, 0.6)[2].requires_grad
