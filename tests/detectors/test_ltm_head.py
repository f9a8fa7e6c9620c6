"""LTM's head against its equations, written out here in loops and in double precision."""

import math

import pytest
import torch
from detection_data import NUM_CLASSES, instances, maps, meta, rows
from matching_reference import (
    SIZES,
    STRIDES,
    assert_same_losses_and_gradients,
    iou,
    matching_loss_in_loops,
    objects_of,
    scatter_priors,
)

from suite.detectors.ltm_head import LTMHead
from suite.errors import SuiteError

STDS = (0.1, 0.1, 0.2, 0.2)


def make_head(**options) -> LTMHead:
    return LTMHead(
        num_classes=NUM_CLASSES,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        anchor_generator=dict(
            type="AnchorGenerator",
            octave_base_scale=1,
            scales_per_octave=2,
            ratios=[0.5, 2.0],
            strides=STRIDES,
        ),
        bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_stds=list(STDS)),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.0),
        loss_bbox=dict(type="SmoothL1Loss", beta=1 / 9, loss_weight=0.5),
        **options,
    )


def centre(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]


def encode(anchor, box):
    ax, ay, aw, ah = centre(anchor)
    bx, by, bw, bh = centre(box)
    deltas = ((bx - ax) / aw, (by - ay) / ah, torch.log(bw / aw), torch.log(bh / ah))
    return [delta / std for delta, std in zip(deltas, STDS, strict=True)]


def decode(anchor, deltas):
    ax, ay, aw, ah = centre(anchor)
    dx, dy, dw, dh = [delta * std for delta, std in zip(deltas, STDS, strict=True)]
    x, y, w, h = ax + aw * dx, ay + ah * dy, aw * torch.exp(dw), ah * torch.exp(dh)
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2])


def smooth_l1(difference, beta):
    size = difference.abs()
    return torch.where(size < beta, 0.5 * size**2 / beta, size - 0.5 * beta)


@pytest.mark.parametrize("neg_iou", ["relative", "absolute"])
@pytest.mark.parametrize("negative_matching", ["eq25", "none"])
def test_losses_and_gradients_are_those_of_the_equations(monkeypatch, neg_iou, negative_matching):
    generator, objects = objects_of(1)
    cls_scores = maps(generator, 3, 4 * NUM_CLASSES, SIZES, scale=2.0)
    bbox_preds = maps(generator, 3, 4 * 4, SIZES, scale=0.7)
    head = make_head(bag_size=7, negative_matching=negative_matching, neg_iou=neg_iou)
    anchors = scatter_priors(monkeypatch, head, columns=4)
    found = head.loss_by_feat(cls_scores, bbox_preds, objects, [meta(48)] * 3)
    logits, deltas = rows(cls_scores, NUM_CLASSES), rows(bbox_preds, 4)

    def bag_of(box):
        return sorted(range(len(anchors)), key=lambda a: -iou(anchors[a], box).item())[:7]

    def localisation_of(image, member, box):
        target = encode(anchors[member], box)
        return 0.5 * sum(smooth_l1(deltas[image, member, k] - target[k], 1 / 9) for k in range(4))

    def iou_of(image, member, box):
        return iou(decode(anchors[member], deltas[image, member]), box)

    expected = matching_loss_in_loops(
        logits, objects, bag_of, localisation_of, iou_of,
        relative=neg_iou == "relative", negative=negative_matching == "eq25",
    )  # fmt: skip
    assert_same_losses_and_gradients(found, expected, [*cls_scores, *bbox_preds])


def test_only_the_positive_term_trains_boxes():
    generator, objects = objects_of(2)
    cls_scores = maps(generator, 3, 4 * NUM_CLASSES, SIZES)
    bbox_preds = maps(generator, 3, 16, SIZES)
    losses = make_head(bag_size=7).loss_by_feat(cls_scores, bbox_preds, objects, [meta(48)] * 3)
    for name in ("loss_negative", "loss_focal"):
        gradients = torch.autograd.grad(losses[name], bbox_preds, retain_graph=True, allow_unused=True)
        assert all(gradient is None or not gradient.any() for gradient in gradients), name
    assert any(gradient.any() for gradient in torch.autograd.grad(losses["loss_positive"], bbox_preds))


@pytest.mark.parametrize("bag_size", [1, 40, 1000])
@pytest.mark.parametrize("logit_scale", [0.0, 1.0, 100.0])
@pytest.mark.parametrize(
    "objects",
    [
        [instances([], []), instances([], [])],
        [instances([[4, 4, 20, 20]], [0]), instances([], [])],
        [instances([[4, 4, 20, 20]] * 3, [0, 0, 2]), instances([[0, 0, 48, 48], [5, 5, 6, 6]], [1, 1])],
    ],
    ids=["no object", "one image without", "equal boxes"],
)
def test_degenerate_input_gives_finite_losses_and_gradients(objects, logit_scale, bag_size):
    generator = torch.Generator().manual_seed(3)
    cls_scores = maps(generator, 2, 4 * NUM_CLASSES, SIZES, scale=logit_scale)
    bbox_preds = maps(generator, 2, 16, SIZES, scale=logit_scale)
    losses = make_head(bag_size=bag_size).loss_by_feat(cls_scores, bbox_preds, objects, [meta(48)] * 2)
    assert all(math.isfinite(value.item()) for value in losses.values())
    gradients = torch.autograd.grad(sum(losses.values()), [*cls_scores, *bbox_preds])
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_half_precision_maps_are_computed_in_float32():
    generator, objects = objects_of(4)
    cls_scores = [level.detach() for level in maps(generator, 3, 4 * NUM_CLASSES, SIZES)]
    bbox_preds = [level.detach() for level in maps(generator, 3, 16, SIZES)]
    head = make_head(bag_size=7)
    half = head.loss_by_feat(
        [level.bfloat16() for level in cls_scores],
        [level.bfloat16() for level in bbox_preds],
        objects,
        [meta(48)] * 3,
    )
    full = head.loss_by_feat(cls_scores, bbox_preds, objects, [meta(48)] * 3)
    for name, value in half.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(full[name].item(), rel=0.05)


def test_options_are_checked():
    with pytest.raises(SuiteError, match="negative_matching: expected one of eq25, none, found 'eq52'"):
        make_head(negative_matching="eq52")
    with pytest.raises(SuiteError, match="bag_size: expected at least 1, found 0"):
        make_head(bag_size=0)
    with pytest.raises(SuiteError, match="neg_iou"):
        make_head(neg_iou="Relative")
