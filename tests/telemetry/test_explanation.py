"""What assignment.jsonl says beside the matching, against the heads' own numbers and plain references."""

from typing import Any

import numpy as np
import pytest
import torch
from mmdet.models.dense_heads import RetinaHead
from mmdet.registry import MODELS
from mmengine.structures import InstanceData

from suite.telemetry.assignments import assignments
from suite.telemetry.explanation import SURROUNDINGS, explain, prior_boxes, rounded_boxes, significant

LEVELS, CLASSES, SIZE = [16, 8, 4], 3, 128
META = [dict(img_shape=(SIZE, SIZE), pad_shape=(SIZE, SIZE))] * 2
RETINA_ANCHORS = dict(
    type="AnchorGenerator", octave_base_scale=2, scales_per_octave=3, ratios=[0.5, 1.0, 2.0],
    strides=[8, 16, 32],
)  # fmt: skip
SQUARE = dict(
    type="AnchorGenerator", ratios=[1.0], octave_base_scale=4, scales_per_octave=1, strides=[8, 16, 32]
)  # fmt: skip
CODER = dict(type="DeltaXYWHBBoxCoder", target_stds=[0.1, 0.1, 0.2, 0.2])
ASSIGNER = dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1)
HEADS: dict[str, dict[str, Any]] = {
    "retinanet": dict(type="RetinaHead", anchor_generator=RETINA_ANCHORS),
    "free_anchor": dict(
        type="FreeAnchorHead", anchor_generator=RETINA_ANCHORS, bag_size=25, bbox_coder=CODER,
        loss_bbox=dict(type="SmoothL1Loss", beta=0.11, loss_weight=0.75),
    ),
    "ltm": dict(
        type="LTMHead", anchor_generator=RETINA_ANCHORS, bag_size=20, bbox_coder=CODER,
        loss_bbox=dict(type="SmoothL1Loss", beta=1 / 9, loss_weight=0.5),
    ),
    "ltm_af": dict(type="LTMAFHead", strides=[8, 16, 32], bag_size=10, norm_cfg=dict(type="GN", num_groups=4),
                   loss_bbox=dict(type="StrideGIoULoss", loss_weight=5.5)),
    "paa": dict(
        type="BatchedPAAHead", anchor_generator=SQUARE, norm_cfg=dict(type="GN", num_groups=4),
        bbox_coder=CODER, loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25),
        loss_bbox=dict(type="GIoULoss", loss_weight=1.3),
        loss_centerness=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=0.5),
    ),
}  # fmt: skip


def build(method: str, **settings: Any) -> Any:
    train_cfg = dict(assigner=ASSIGNER, sampler=dict(type="PseudoSampler"), allowed_border=-1, pos_weight=-1)
    common = dict(num_classes=CLASSES, in_channels=8, feat_channels=8, stacked_convs=1, train_cfg=train_cfg)
    return MODELS.build({**common, **HEADS[method], **settings}).eval()


def looked_at(method: str, **settings: Any) -> tuple[Any, Any, list[InstanceData], list[Any], list[Any]]:
    """Head, outputs, objects, assignments and explanations of two images; of the second, object 1."""
    generator = torch.Generator().manual_seed(3)
    head = build(method, **settings)
    per_location = 9 if HEADS[method].get("anchor_generator") is RETINA_ANCHORS else 1
    channels = {"paa": (CLASSES, 4, 1)}.get(method, (CLASSES * per_location, 4 * per_location))
    outs = tuple(
        [torch.randn(2, width, size, size, generator=generator) * 0.5 for size in LEVELS]
        for width in channels
    )
    if method == "ltm_af":
        outs[1][:] = [level.abs() * 4 for level in outs[1]]
    boxes = torch.tensor([[20.0, 30, 100, 70], [5, 5, 30, 50], [60, 60, 120, 124]])
    instances = [
        InstanceData(bboxes=boxes[:1], labels=torch.tensor([2])),
        InstanceData(bboxes=boxes[1:], labels=torch.tensor([0, 1])),
    ]
    found = assignments(head, outs, instances, META)
    return head, outs, instances, found, explain(head, outs, instances, found, [0, 1])


@pytest.mark.parametrize("method", HEADS)
def test_predicted_boxes_have_the_iou_that_the_head_tells(method: str) -> None:
    _, _, instances, found, explained = looked_at(method)
    for own, assignment, explanation, row in zip(instances, found, explained, (0, 1), strict=True):
        iou = assignment.iou[row][assignment.valid[row]]
        assert len(iou)
        assert [_iou(box, own.bboxes[row].numpy()) for box in explanation.predicted.numpy()] == pytest.approx(
            iou.tolist(), abs=1e-4
        )


def _iou(one: np.ndarray, two: np.ndarray) -> float:
    sides = np.minimum(one[2:], two[2:]) - np.maximum(one[:2], two[:2])
    common = np.prod(np.clip(sides, 0, None))
    return float(common / (np.prod(one[2:] - one[:2]) + np.prod(two[2:] - two[:2]) - common))


@pytest.mark.parametrize(("method", "beta"), [("free_anchor", 0.75), ("ltm", 0.5)])
def test_around_an_object_are_its_bag_and_the_confidence_of_the_head(method: str, beta: float) -> None:
    _, _, _, found, explained = looked_at(method)
    for assignment, explanation, row in zip(found, explained, (0, 1), strict=True):
        around = explanation.surroundings
        assert len(around.anchors) == SURROUNDINGS
        confidence = around.class_score * torch.exp(-beta * around.localisation_loss)
        size = assignment.members.shape[1]
        expected = assignment.confidence[row].sort().values
        # LTM's smooth L1 loss is quadratic up to 1/9 instead of 0.11.
        torch.testing.assert_close(confidence[:size].sort().values, expected, rtol=0.02, atol=1e-5)
        assert (method == "free_anchor") == torch.allclose(
            confidence[:size].sort().values, expected, rtol=1e-4
        )


def test_around_an_object_are_the_same_anchors_for_every_method() -> None:
    anchors = [looked_at(method)[4][1].surroundings.anchors for method in ("retinanet", "free_anchor", "ltm")]
    assert torch.equal(anchors[0], anchors[1]) and torch.equal(anchors[0], anchors[2])
    head, outs, instances, _, _ = looked_at("retinanet")
    every = prior_boxes(head, outs[0]).numpy()
    overlaps = sorted((_iou(box, instances[1].bboxes[1].numpy()) for box in every), reverse=True)
    found = [_iou(box, instances[1].bboxes[1].numpy()) for box in anchors[0].numpy()]
    assert found == pytest.approx(overlaps[:SURROUNDINGS], abs=1e-6)


def test_scores_around_are_of_the_object_s_class() -> None:
    head, outs, _, _, explained = looked_at("retinanet")
    anchors = prior_boxes(head, outs[0])
    by_anchor = torch.cat([level[1].permute(1, 2, 0).reshape(-1, CLASSES) for level in outs[0]]).sigmoid()
    around = explained[1].surroundings
    for anchor, score in zip(around.anchors, around.class_score, strict=True):
        index = int((anchors == anchor).all(dim=1).nonzero()[0])
        assert score.item() == pytest.approx(by_anchor[index, 1].item(), abs=1e-6)


def test_losses_and_mixture_decide_as_paa_does() -> None:
    _, _, _, found, explained = looked_at("paa")
    for assignment, explanation, row in zip(found, explained, (0, 1), strict=True):
        valid = assignment.valid[row]
        losses = explanation.losses
        assert torch.equal(losses, losses.sort().values), "candidates come by rising loss"
        low, high = explanation.mixture.log_densities(losses[None].double())[0]
        posterior = 1 / (1 + (high - low).exp())
        torch.testing.assert_close(posterior.float(), assignment.confidence[row][valid], atol=1e-5, rtol=1e-4)


def test_a_fixed_number_of_positives_has_losses_and_no_mixture() -> None:
    explanation = looked_at("paa", separation="fixed_number")[4][0]
    assert explanation.losses is not None and explanation.mixture is None
    assert "mixture" not in explanation.record()


def test_points_have_no_surroundings() -> None:
    explanation = looked_at("ltm_af")[4][0]
    assert explanation.surroundings is None and set(explanation.record()) == {"predicted"}


def test_an_image_without_objects() -> None:
    head = build("retinanet")
    assert isinstance(head, RetinaHead)
    outs = tuple([torch.zeros(1, 9 * width, size, size) for size in LEVELS] for width in (CLASSES, 4))
    nothing = [InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))]
    assert explain(head, outs, nothing, assignments(head, outs, nothing, META[:1]), [None]) == [None]


def test_numbers_that_json_holds() -> None:
    nan = float("nan")
    assert significant(torch.tensor([0.000123456, nan, float("inf"), 2.0])) == [0.0001235, None, None, 2.0]
    assert rounded_boxes(torch.tensor([[0.04, 1.26, nan, 3.0]])) == [[0.0, 1.3, None, 3.0]]
