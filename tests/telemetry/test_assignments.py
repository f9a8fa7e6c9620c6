"""What mmdet's heads are said to match is what they train on; other heads tell themselves or are refused."""

from typing import Any

import pytest
import torch
from detection_data import instances, maps, meta, random_instances, rows
from mmdet.models.dense_heads import ATSSHead, RetinaHead
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData

from suite.errors import SuiteError
from suite.telemetry.assignments import Assignment, assignments, has_assignments

SIZE = 64
LEVELS = [8, 4, 2]
CLASSES = 3
MAX_IOU = dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1)
CODER = dict(type="DeltaXYWHBBoxCoder", target_stds=[0.1, 0.1, 0.2, 0.2])
RETINA = dict(
    type="RetinaHead",
    anchor_generator=dict(type="AnchorGenerator", octave_base_scale=2, scales_per_octave=1,
                          ratios=[0.5, 1.0, 2.0], strides=[8, 16, 32]),
    loss_bbox=dict(type="L1Loss"),
)  # fmt: skip
SQUARE = dict(
    norm_cfg=dict(type="GN", num_groups=4),
    anchor_generator=dict(type="AnchorGenerator", ratios=[1.0], octave_base_scale=4, scales_per_octave=1,
                          strides=[8, 16, 32]),
    loss_bbox=dict(type="GIoULoss", loss_weight=2.0),
)  # fmt: skip


def build(settings: dict[str, Any], assigner: dict[str, Any] | None, allowed_border: int = -1) -> Any:
    train_cfg = assigner and dict(
        assigner=assigner, sampler=dict(type="PseudoSampler"), allowed_border=allowed_border, pos_weight=-1
    )
    common = dict(num_classes=CLASSES, in_channels=8, feat_channels=8, stacked_convs=1, bbox_coder=CODER)
    return MODELS.build({**common, **settings, "train_cfg": train_cfg})


HEADS = {
    "MaxIoUAssigner": lambda **border: build(RETINA, MAX_IOU, **border),
    "TopKIoUAssigner": lambda **border: build(RETINA, dict(type="TopKIoUAssigner", topk=7), **border),
    "ATSSAssigner": lambda **border: build(
        {"type": "ATSSHead", **SQUARE}, dict(type="ATSSAssigner", topk=9), **border
    ),
}


def outputs(head: Any, seed: int = 0) -> tuple[list[torch.Tensor], ...]:
    generator = torch.Generator().manual_seed(seed)
    priors = head.num_base_priors
    return (
        maps(generator, 3, priors * CLASSES, LEVELS),
        maps(generator, 3, priors * 4, LEVELS, scale=0.3),
        maps(generator, 3, priors, LEVELS),
    )


def batch() -> tuple[list[Any], list[dict[str, Any]]]:
    """Three images; the second without objects, the third narrower than the batch."""
    generator = torch.Generator().manual_seed(1)
    objects = [random_instances(generator, SIZE, 4, CLASSES), instances([], []),
               random_instances(generator, 40, 3, CLASSES)]  # fmt: skip
    metas = [meta(SIZE), meta(SIZE), {**meta(SIZE), "img_shape": (SIZE, 40), "pad_shape": (SIZE, 48)}]
    return objects, metas


def trained_on(head: Any, objects: list[Any], metas: list[dict[str, Any]]) -> list[tuple[set, list]]:
    """Of each image: the anchors that training takes for positive, with the label of each."""
    anchors, valid = head.get_anchors([(size, size) for size in LEVELS], metas, device="cpu")
    targets = head.get_targets(anchors, valid, objects, metas, batch_gt_instances_ignore=None)
    # ATSSHead puts the anchors before the labels.
    labels = torch.cat(targets[int(isinstance(head, ATSSHead))], dim=1)
    found = []
    for image in labels:
        positive = (image < CLASSES).nonzero().flatten().tolist()
        found.append((set(positive), image[positive].tolist()))
    return found


@pytest.mark.parametrize("border", [-1, 0])
@pytest.mark.parametrize("name", HEADS)
def test_positives_are_those_of_training(name: str, border: int) -> None:
    head = HEADS[name](allowed_border=border)
    objects, metas = batch()
    found = assignments(head, outputs(head), objects, metas)
    expected = trained_on(head, objects, metas)
    for image, (positive, labels), own in zip(found, expected, objects, strict=True):
        pairs = sorted(
            (int(member), int(own.labels[row]))
            for row, members in enumerate(image.members)
            for member in members[image.positive[row]]
        )
        assert [anchor for anchor, _ in pairs] == sorted(positive)
        assert [label for _, label in pairs] == labels
    assert sum(len(positive) for positive, _ in expected) > 5


@pytest.mark.parametrize("name", HEADS)
def test_members_by_loops_over_the_assigners_result(name: str) -> None:
    head = HEADS[name]()
    objects, metas = batch()
    outs = outputs(head)
    image = assignments(head, outs, objects, metas)[0]
    levels = head.prior_generator.grid_priors([(size, size) for size in LEVELS], device="cpu")
    arguments = {"num_level_priors": [len(level) for level in levels]} if name == "ATSSAssigner" else {}
    priors = torch.cat(levels)
    owners = head.assigner.assign(InstanceData(priors=priors), gt_instances=objects[0], **arguments).gt_inds
    deltas = rows(outs[1], 4)[0].float().detach()
    boxes = head.bbox_coder.decode(priors, deltas)
    for row in range(4):
        members = [anchor for anchor, owner in enumerate(owners.tolist()) if owner == row + 1]
        valid = image.valid[row]
        assert image.members[row][valid].tolist() == members
        assert image.members[row][~valid].tolist() == [0] * int((~valid).sum())
        assert image.confidence[row].tolist() == valid.float().tolist()
        assert torch.equal(image.positive[row], valid)
        iou = [float(bbox_overlaps(boxes[a : a + 1], objects[0].bboxes[row : row + 1])) for a in members]
        assert image.iou[row][valid].tolist() == pytest.approx(iou, abs=1e-6)
        assert image.iou[row][~valid].tolist() == [0.0] * int((~valid).sum())
    assert image.valid.any(dim=0).all(), "wider than its largest bag"


def test_an_image_without_objects() -> None:
    head = HEADS["MaxIoUAssigner"]()
    image = assignments(head, outputs(head), *batch())[1]
    assert image.members.shape == image.confidence.shape == image.iou.shape == (0, 0)


def test_nothing_carries_a_gradient() -> None:
    head = HEADS["ATSSAssigner"]()
    image = assignments(head, outputs(head), *batch())[0]
    assert not image.iou.requires_grad and not image.confidence.requires_grad


def test_a_registered_head_is_asked() -> None:
    class Own(RetinaHead):
        pass

    @assignments.register(Own)
    def _(head, outs, batch_gt_instances, batch_img_metas):
        assert outs[0][0].shape[1] == 9 and outs[1][0].shape[1] == 12
        found = torch.tensor([[len(batch_gt_instances), len(batch_img_metas)]])
        return [Assignment(found, *[torch.ones_like(found)] * 4)]

    head = Own(
        CLASSES, 8, feat_channels=8, stacked_convs=1, anchor_generator=RETINA["anchor_generator"]
    )  # without an assigner
    assert has_assignments(head)
    assert assignments(head, outputs(head)[:2], *batch())[0].members.tolist() == [[3, 3]]


@pytest.mark.parametrize(
    ("settings", "assigner"),
    [
        # Their assigner finds candidates, or nothing at all: the loss chooses.
        ({"type": "PAAHead", "topk": 9, "score_voting": False, **SQUARE}, MAX_IOU),
        ({**RETINA, "type": "FreeAnchorRetinaHead"}, MAX_IOU),
        (RETINA, None),
    ],
)
def test_other_heads_are_refused_by_name(settings: dict[str, Any], assigner: dict[str, Any] | None) -> None:
    head = build(settings, assigner)
    assert not has_assignments(head)
    with pytest.raises(SuiteError, match=str(settings["type"])):
        assignments(head, outputs(head), *batch())
