"""The matching on the grid against mmdet's own MaxIoUAssigner, anchor by anchor."""

import pytest
import torch
from detection_data import instances
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mmdet.models.task_modules.assigners import ATSSAssigner, MaxIoUAssigner
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmengine.structures import InstanceData

from suite.detectors.grid import grid_anchors, grid_levels
from suite.detectors.max_iou_matching import Thresholds, match_max_iou
from suite.detectors.objects import collect

RETINA = dict(pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1)
RPN = dict(pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3, match_low_quality=True, ignore_iof_thr=-1)
BEST_ALONE = dict(pos_iou_thr=0.45, neg_iou_thr=0.45, match_low_quality=False)
GENERATORS = {
    "retina": AnchorGenerator(
        strides=[8, 16, 32], ratios=[0.5, 1.0, 2.0], octave_base_scale=4, scales_per_octave=3
    ),
    "rpn": AnchorGenerator(strides=[4, 8, 16], ratios=[0.5, 1.0, 2.0], scales=[8]),
    "small": AnchorGenerator(strides=[8, 16], ratios=[1.0], octave_base_scale=2, scales_per_octave=2),
}
SIZES = ((9, 14), (5, 7), (3, 4))

anywhere = st.floats(-300, 500, width=32)
extents = st.floats(0.015625, 400, width=32) | st.sampled_from([0.015625, 1.0, 4.0, 8.0, 16.0, 32.0, 64.0])
on_grid = st.integers(-16, 40).map(lambda step: 4.0 * step)


@st.composite
def boxes(draw, most=12):
    """Boxes on the grid and off it, in and outside the image; some of them twice, so that ties are common."""
    corners = st.tuples(anywhere | on_grid, anywhere | on_grid, extents, extents)
    found = draw(st.lists(corners, max_size=most))
    found += draw(st.lists(st.sampled_from(found), max_size=3)) if found else []
    return [[x, y, x + width, y + height] for x, y, width, height in found]


def assert_as_mmdet(generator, sizes, options, batch, crowds=()):
    assigner = MaxIoUAssigner(**options)
    levels = grid_levels(generator, sizes, torch.device("cpu"))
    anchors = grid_anchors(levels)
    annotated = [instances(one, [0] * len(one)) for one in batch]
    expected, first = [], 0
    for one in annotated:
        ignored = InstanceData(bboxes=torch.tensor(crowds, dtype=torch.float32).view(-1, 4))
        found = assigner.assign(InstanceData(priors=anchors), one, ignored).gt_inds
        expected.append(torch.where(found > 0, found + first, found))
        first += len(one)
    images, objects, _ = collect(annotated, torch.device("cpu"))
    found = match_max_iou(levels, anchors, objects, images, len(batch), Thresholds.of(assigner))
    assert torch.equal(found, torch.cat(expected))
    return found


@pytest.mark.parametrize("options", [RETINA, RPN, BEST_ALONE])
@settings(max_examples=60, deadline=None)
@given(
    batch=st.lists(boxes(), min_size=1, max_size=3), name=st.sampled_from(list(GENERATORS)), crowds=boxes(3)
)
@example(batch=[[]], name="retina", crowds=[])
@example(batch=[[], [[4.0, 4, 36, 36], [4, 4, 36, 36]], []], name="retina", crowds=[[0.0, 0, 100, 60]])
@example(batch=[[[900.0, 900, 910, 910], [10, 10, 60, 40]]], name="retina", crowds=[])  # seen by no anchor
@example(batch=[[[-3000.0, -3000, 3000, 3000], [2, 30, 110, 31]]], name="rpn", crowds=[])
def test_each_anchor_has_the_object_that_mmdet_gives_it(options, batch, name, crowds):
    generator = GENERATORS[name]
    assert_as_mmdet(generator, SIZES[: generator.num_levels], options, batch, crowds)


@pytest.mark.slow
@pytest.mark.parametrize("options", [RETINA, RPN, BEST_ALONE])
@settings(max_examples=1000, deadline=None)
@given(batch=st.lists(boxes(40), min_size=1, max_size=2), name=st.sampled_from(list(GENERATORS)))
def test_thousands_of_batches(options, batch, name):
    generator = GENERATORS[name]
    assert_as_mmdet(generator, SIZES[: generator.num_levels], options, batch)


@pytest.mark.parametrize("options", [RETINA, RPN])
def test_crowded_images_at_full_size(options):
    """Images of 800 x 1344; the coordinates are where float32 is coarse, objects repeat and stick out."""
    generator = AnchorGenerator(
        strides=[8, 16, 32, 64, 128], ratios=[0.5, 1.0, 2.0], octave_base_scale=4, scales_per_octave=3
    )
    sizes = ((100, 168), (50, 84), (25, 42), (13, 21), (7, 11))
    random = torch.Generator().manual_seed(0)
    batch = []
    for count in (120, 1):
        side = 4 * 250 ** torch.rand(count, 2, generator=random)
        corner = torch.rand(count, 2, generator=random) * torch.tensor([1344.0, 800.0]) - side / 4
        batch.append(torch.cat([corner, corner + side], dim=1).repeat(1 + (count > 1), 1).tolist())
    found = assert_as_mmdet(generator, sizes, options, batch)
    assert (found > 0).sum() > 100 and (found < 0).any()


@pytest.mark.parametrize(
    "assigner",
    [
        ATSSAssigner(topk=9),
        MaxIoUAssigner(0.5, (0.1, 0.4)),
        MaxIoUAssigner(0.5, 0.4, ignore_iof_thr=0.5),
        MaxIoUAssigner(0.5, 0.4, gt_max_assign_all=False),
    ],
)
def test_what_is_not_decided_by_these_thresholds_alone_is_left_to_the_assigner(assigner):
    assert Thresholds.of(assigner) is None
