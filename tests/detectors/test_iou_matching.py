import pytest
import torch
from detection_data import instances
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData

from suite.detectors import iou_matching
from suite.detectors.grid import grid_levels
from suite.detectors.iou_matching import BACKGROUND, IGNORED, CentredIoUAssigner, match_by_iou, match_on_grid
from suite.errors import SuiteError

GENERATOR = AnchorGenerator(strides=[8, 16, 32], ratios=[1.0], octave_base_scale=4, scales_per_octave=1)
SIZES = ((7, 12), (4, 6), (2, 3))


def matcher(iou, high, low):
    """The released code's Matcher, one anchor at a time."""
    highest = [max(row) for row in iou]
    found = []
    for column in range(len(iou[0])):
        values = [row[column] for row in iou]
        best = max(range(len(values)), key=lambda row: values[row])
        if any(value == top and top > 0 for value, top in zip(values, highest, strict=True)):
            found.append(best)
        else:
            found.append(best if values[best] >= high else BACKGROUND if values[best] < low else IGNORED)
    return found


def boxes(generator, count):
    corner = torch.rand(count, 2, generator=generator) * torch.tensor([90.0, 50.0]) - 8
    return torch.cat([corner, corner + 2 + torch.rand(count, 2, generator=generator) ** 2 * 90], dim=1)


@pytest.mark.parametrize(("high", "low"), [(0.5, 0.4), (0.1, 0.1)])
def test_matches_are_those_of_the_released_matcher(high, low):
    generator = torch.Generator().manual_seed(0)
    anchors = torch.cat(GENERATOR.grid_priors(SIZES, device="cpu"))
    for count in (1, 4, 20):
        iou = bbox_overlaps(boxes(generator, count), anchors)
        assert match_by_iou(iou, high, low).tolist() == matcher(iou.tolist(), high, low)


def test_an_objects_best_anchor_stays_with_its_own_best_object():
    # Anchor 0 is the best of both objects, but lies better on the second: the first gets none, as released.
    iou = torch.tensor([[0.08, 0.02], [0.30, 0.01]])
    assert match_by_iou(iou, 0.5, 0.4).tolist() == [1, BACKGROUND]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 12))
def test_on_a_grid_it_is_the_same(seed, count):
    objects = boxes(torch.Generator().manual_seed(seed), count)
    anchors = torch.cat(GENERATOR.grid_priors(SIZES, device="cpu"))
    found = match_on_grid(grid_levels(GENERATOR, SIZES, "cpu"), objects, 0.1)
    dense = match_by_iou(bbox_overlaps(objects, anchors), 0.1, 0.1)
    if count:
        # Rounding may decide between objects of the same IoU, and at the threshold.
        overlaps = bbox_overlaps(objects, anchors)
        best = overlaps.amax(dim=0)
        second = overlaps.topk(min(2, count), dim=0).values[-1] if count > 1 else torch.zeros_like(best)
        near_tie = (best - second < 1e-5) & (best > 1e-4) | ((best - 0.1).abs() < 1e-5)
        highest = overlaps.amax(dim=1, keepdim=True)
        near_tie |= ((overlaps - highest).abs() < 1e-5).any(dim=0) & (best < 0.1)
        assert (found == dense)[~near_tie].all()
        assert near_tie.float().mean() < 0.5
    else:
        assert found.tolist() == dense.tolist() == [BACKGROUND] * len(anchors)


def test_ties_for_the_highest_iou_are_all_kept():
    # A box of 4 x 4 within many anchors of 32 x 32: all that hold it whole have the same, low IoU.
    objects = torch.tensor([[38.0, 22.0, 42.0, 26.0]])
    anchors = torch.cat(GENERATOR.grid_priors(SIZES, device="cpu"))
    whole = (anchors[:, :2] <= objects[0, :2]).all(1) & (anchors[:, 2:] >= objects[0, 2:]).all(1)
    found = match_on_grid(grid_levels(GENERATOR, SIZES, "cpu"), objects, 0.1)
    smallest = anchors[:, 2] - anchors[:, 0] == 32
    assert ((found == 0) == (whole & smallest)).all() and (found == 0).sum() >= 9


def test_objects_outside_all_anchors_match_none():
    objects = torch.tensor([[1000.0, 1000.0, 1010.0, 1010.0]])
    assert (match_on_grid(grid_levels(GENERATOR, SIZES, "cpu"), objects, 0.1) == BACKGROUND).all()
    assert (match_by_iou(torch.zeros(1, 5), 0.1, 0.1) == BACKGROUND).all()


def test_many_objects_in_small_blocks(monkeypatch):
    objects = boxes(torch.Generator().manual_seed(3), 40)
    levels = grid_levels(GENERATOR, SIZES, "cpu")
    expected = match_on_grid(levels, objects, 0.1)
    monkeypatch.setattr(iou_matching, "_PAIRS_AT_ONCE", 100)
    assert torch.equal(match_on_grid(levels, objects, 0.1), expected)


def test_the_assigner_ignores_anchors_centred_outside_their_object():
    anchors = torch.tensor([[0.0, 0, 32, 32], [30, 0, 62, 32], [0, 40, 32, 72], [200, 200, 232, 232]])
    # The third anchor is the best of the second object, which begins below the anchor's centre.
    objects = instances([[2, 1, 60, 30], [0, 58, 32, 76]], [4, 2])
    result = CentredIoUAssigner(0.45, 0.3).assign(InstanceData(priors=anchors), objects)
    iou = bbox_overlaps(objects.bboxes, anchors)
    centre_y = (anchors[2, 1] + anchors[2, 3]) / 2
    assert iou[1, 2] == iou[1].max() and centre_y < objects.bboxes[1, 1]
    assert result.gt_inds.tolist() == [1, 1, -1, 0]
    assert result.labels.tolist() == [4, 4, -1, -1]


def test_the_assigner_takes_images_without_objects():
    result = CentredIoUAssigner().assign(InstanceData(priors=torch.rand(5, 4)), instances([], []))
    assert result.gt_inds.tolist() == [0] * 5 and result.num_gts == 0


@pytest.mark.parametrize(
    "option",
    [dict(pos_iou_thr=1.5), dict(neg_iou_thr=-0.1), dict(neg_iou_thr=(0.1, 0.4)), dict(neg_iou_thr=0.6)],
)
def test_options_out_of_range_are_refused(option):
    with pytest.raises(SuiteError, match=next(iter(option))):
        CentredIoUAssigner(**option)
