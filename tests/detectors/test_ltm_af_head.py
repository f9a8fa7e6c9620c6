"""LTM-AF's head against its equations, written out here in loops and in double precision."""

import math

import pytest
import torch
from detection_data import NUM_CLASSES, instances, maps, meta, random_instances, rows
from matching_reference import (
    SIZES,
    STRIDES,
    assert_same_losses_and_gradients,
    iou,
    matching_loss_in_loops,
    objects_of,
    released_negative,
)
from mmengine.config import ConfigDict

from suite.detectors.bags import point_bags
from suite.detectors.grid import grid_levels
from suite.detectors.ltm_af_head import LTMAFHead
from suite.errors import SuiteError
from suite.telemetry.assignments import assignments


def make_head(**options) -> LTMAFHead:
    return LTMAFHead(
        num_classes=NUM_CLASSES,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        strides=STRIDES,
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.0),
        loss_bbox=dict(type="StrideGIoULoss", loss_weight=5.5),
        norm_cfg=dict(type="GN", num_groups=4),
        **options,
    )


def giou_plus_one(a, b):
    """GIoU of two (left, top, right, bottom) around one point, 1 added to every side length."""

    def area(left, top, right, bottom):
        return ((left + right).clamp(min=0) + 1) * ((top + bottom).clamp(min=0) + 1)

    overlap = area(*[torch.minimum(x, y) for x, y in zip(a, b, strict=True)])
    hull = area(*[torch.maximum(x, y) for x, y in zip(a, b, strict=True)])
    union = area(*a) + area(*b) - overlap
    return overlap / union - (hull - union) / hull


@pytest.mark.parametrize("bag_size", [1, 9])
def test_losses_and_gradients_are_those_of_the_equations(bag_size):
    generator, objects = objects_of(5)
    cls_scores = maps(generator, 3, NUM_CLASSES, SIZES, scale=2.0)
    bbox_preds = [(level.detach().abs() * 2).requires_grad_() for level in maps(generator, 3, 4, SIZES)]
    head = make_head(bag_size=bag_size)
    sizes = [(size, size) for size in SIZES]
    levels = grid_levels(head.prior_generator, tuple(sizes), "cpu")
    points = torch.cat(head.prior_generator.grid_priors(sizes, device="cpu"))[:, :3].tolist()
    found = head.loss_by_feat(cls_scores, bbox_preds, objects, [meta(48)] * 3)
    logits, distances = rows(cls_scores, NUM_CLASSES), rows(bbox_preds, 4)

    def localisation_of(image, member, box):
        x, y, stride = points[member]
        target = [(x - box[0]) / stride, (y - box[1]) / stride, (box[2] - x) / stride, (box[3] - y) / stride]
        return 5.5 * (1 - giou_plus_one(distances[image, member].unbind(), target))

    def iou_of(image, member, box):
        x, y, stride = points[member]
        left, top, right, bottom = distances[image, member] * stride
        return iou(torch.stack([x - left, y - top, x + right, y + bottom]), box)

    expected = matching_loss_in_loops(
        logits,
        objects,
        lambda box: point_bags(levels, box[None].float(), bag_size)[0][0].tolist(),
        localisation_of,
        iou_of,
        negative=released_negative if bag_size > 1 else None,
    )
    if bag_size == 1:
        # The only member of a bag localises best by definition: phi- = 0, and 0 / 0 in the released code.
        expected["loss_negative"] = found["loss_negative"].detach() * 0
        assert found["loss_negative"] == 0
    assert_same_losses_and_gradients(found, expected, [*cls_scores, *bbox_preds])


@pytest.mark.parametrize("points", ["released", "in_box"])
@pytest.mark.parametrize("bag_size", [1, 40, 1000])
@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0])
@pytest.mark.parametrize(
    "objects",
    [
        [instances([], []), instances([], [])],
        [instances([[4, 4, 20, 20]], [0]), instances([], [])],
        [instances([[4, 4, 20, 20]] * 3, [0, 0, 2]), instances([[0, 0, 48, 48], [5, 5, 6, 6]], [1, 1])],
        [instances([[-80, -80, -60, -50]], [0]), instances([[200, 10, 230, 40], [7, 7, 7, 7]], [1, 2])],
        [random_instances(torch.Generator().manual_seed(8), 48, 500, NUM_CLASSES), instances([], [])],
    ],
    ids=["no object", "one image without", "equal boxes", "outside, without area", "500 objects"],
)
def test_degenerate_input_gives_finite_losses_and_gradients(objects, scale, bag_size, points):
    generator = torch.Generator().manual_seed(3)
    cls_scores = maps(generator, 2, NUM_CLASSES, SIZES, scale=scale)
    raw = maps(generator, 2, 4, SIZES, scale=scale)
    losses = make_head(bag_size=bag_size, points=points).loss_by_feat(
        cls_scores, [level.relu() for level in raw], objects, [meta(48)] * 2
    )
    assert all(math.isfinite(value.item()) for value in losses.values())
    gradients = torch.autograd.grad(sum(losses.values()), [*cls_scores, *raw])
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_boxes_are_in_strides_around_their_points():
    head = make_head()
    cls_scores = [torch.full((1, NUM_CLASSES, size, size), -9.0) for size in SIZES]
    bbox_preds = [torch.ones(1, 4, size, size) for size in SIZES]
    cls_scores[1][0, 2, 1, 0] = 4.0
    bbox_preds[1][0, :, 1, 0] = torch.tensor([0.25, 1.0, 1.5, 0.5])
    cfg = dict(
        nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type="nms", iou_threshold=0.5), max_per_img=9
    )
    result = head.predict_by_feat(
        cls_scores, bbox_preds, batch_img_metas=[meta(48)], cfg=ConfigDict(cfg), rescale=True
    )[0]
    # Point (8, 24) at stride 16, image shown at half size.
    assert result.labels.tolist() == [2]
    assert result.bboxes.tolist() == [[8.0, 16.0, 64.0, 64.0]]


def test_distances_are_never_negative_and_have_a_scale_a_level():
    head = make_head()
    assert len(head.scales) == 2
    _, distances = head(tuple(torch.randn(1, 8, size, size) for size in SIZES))
    assert all((level >= 0).all() for level in distances)


def test_an_object_without_a_point_in_its_box_is_not_learnt():
    generator = torch.Generator().manual_seed(9)
    cls_scores = maps(generator, 1, NUM_CLASSES, SIZES)
    bbox_preds = [(level.detach().abs() * 2).requires_grad_() for level in maps(generator, 1, 4, SIZES)]
    # Stride 8 has points at 4, 12, 20, ...: none in the first box, four in the second; stride 16 one, at 8.
    objects = [instances([[5, 5, 11, 11], [3, 3, 13, 13]], [0, 1])]
    head = make_head(bag_size=9, points="in_box")
    found = assignments(head, (cls_scores, bbox_preds), objects, [meta(48)])
    assert found[0].valid.sum(dim=1).tolist() == [1, 5]
    objects = [instances([[5, 5, 7, 7], [3, 3, 13, 13]], [0, 1])]
    both = head.loss_by_feat(cls_scores, bbox_preds, objects, [meta(48)])
    alone = head.loss_by_feat(cls_scores, bbox_preds, [objects[0][1:]], [meta(48)])
    for name in ("loss_positive", "loss_negative"):
        torch.testing.assert_close(2 * both[name], alone[name])
    torch.testing.assert_close(both["loss_focal"], alone["loss_focal"])


@pytest.mark.parametrize(
    "option", [dict(points="inside"), dict(window=0.0), dict(window=1.5), dict(bag_size=0)]
)
def test_options_out_of_range_are_refused(option):
    with pytest.raises(SuiteError, match=next(iter(option))):
        make_head(**option)
