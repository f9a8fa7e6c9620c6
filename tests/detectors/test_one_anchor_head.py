"""The head of one anchor a location against mmdet's ATSSHead, and against loops in double precision."""

import math

import pytest
import torch
from detection_data import NUM_CLASSES, instances, maps, meta, random_instances, rows
from mmcv.ops import batched_nms
from mmdet.models.dense_heads import ATSSHead
from mmengine.config import ConfigDict

from suite.detectors import one_anchor_head
from suite.detectors.one_anchor_head import OneAnchorHead, centerness
from suite.errors import SuiteError
from suite.telemetry.assignments import assignments

SIZES, STRIDES, PIXELS = [12, 6, 3], [8, 16, 32], 96
ATSS = dict(type="ATSSAssigner", topk=9)
THRESHOLDS = dict(type="CentredIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4)


def make_head(kind: type = OneAnchorHead, assigner=ATSS, **options):
    return kind(
        num_classes=NUM_CLASSES,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        norm_cfg=None,
        anchor_generator=dict(
            type="AnchorGenerator", octave_base_scale=4, scales_per_octave=1, ratios=[1.0], strides=STRIDES
        ),
        bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25),
        loss_bbox=dict(type="GIoULoss", loss_weight=2.0),
        loss_centerness=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=0.7),
        train_cfg=ConfigDict(assigner=assigner, allowed_border=-1, pos_weight=-1),
        **options,
    )


def predictions(generator, images, scale=1.0, auxiliary="iou"):
    channels = (NUM_CLASSES, 4) if auxiliary == "none" else (NUM_CLASSES, 4, 1)
    return [maps(generator, images, number, SIZES, scale) for number in channels]


def losses_of(head, outs, objects):
    maps_of_three = (*outs, None)[:3]
    return head.loss_by_feat(*maps_of_three, objects, [meta(PIXELS)] * len(objects))


def gradients_of(loss, outs):
    return torch.autograd.grad(loss, [leaf for levels in outs for leaf in levels], allow_unused=True)


@pytest.mark.parametrize("seed", range(3))
def test_losses_and_gradients_are_those_of_mmdets_atss(seed):
    generator = torch.Generator().manual_seed(seed)
    # No image without objects: mmdet divides as if it had a positive.
    objects = [random_instances(generator, PIXELS, n, NUM_CLASSES) for n in (4, 3, 7)]
    outs = predictions(generator, 3)
    ours = losses_of(make_head(auxiliary="centerness"), outs, objects)
    theirs = losses_of(make_head(ATSSHead), outs, objects)
    names = dict(loss_cls="loss_cls", loss_bbox="loss_bbox", loss_auxiliary="loss_centerness")
    assert set(ours) == set(names)
    expected = {name: sum(theirs[other]) for name, other in names.items()}
    for name, value in ours.items():
        assert value.item() == pytest.approx(expected[name].item(), rel=1e-5), name
    for one, other in zip(
        gradients_of(sum(ours.values()), outs), gradients_of(sum(expected.values()), outs), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def iou_and_giou(a, b):
    w = (torch.minimum(a[2], b[2]) - torch.maximum(a[0], b[0])).clamp(min=0)
    h = (torch.minimum(a[3], b[3]) - torch.maximum(a[1], b[1])).clamp(min=0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h
    hull = (torch.maximum(a[2], b[2]) - torch.minimum(a[0], b[0])) * (
        torch.maximum(a[3], b[3]) - torch.minimum(a[1], b[1])
    )
    return w * h / union, w * h / union - (hull - union) / hull


@pytest.mark.parametrize("auxiliary", ["iou", "centerness", "none"])
@pytest.mark.parametrize("assigner", [ATSS, THRESHOLDS], ids=["atss", "thresholds"])
def test_losses_and_gradients_in_loops(assigner, auxiliary):
    generator = torch.Generator().manual_seed(4)
    objects = [random_instances(generator, PIXELS, n, NUM_CLASSES) for n in (5, 2)]
    outs = predictions(generator, 2, auxiliary=auxiliary)
    head = make_head(assigner=assigner, auxiliary=auxiliary)
    found = losses_of(head, outs, objects)
    sizes = [(size, size) for size in SIZES]
    anchors = torch.cat(head.prior_generator.grid_priors(sizes, device="cpu"))
    logits, deltas = rows(outs[0], NUM_CLASSES), rows(outs[1], 4)
    focal = box = entropy = torch.zeros((), dtype=torch.float64)
    positives, weights = 0, 0.0
    for image, targets in enumerate(objects):
        priors = one_anchor_head.InstanceData(priors=anchors)
        extra = dict(num_level_priors=[size**2 for size in SIZES]) if assigner is ATSS else {}
        owner = head.assigner.assign(priors, gt_instances=targets, **extra).gt_inds.tolist()
        for index, own in enumerate(owner):
            for label in range(NUM_CLASSES):
                if own == -1:
                    continue
                p = torch.sigmoid(logits[image, index, label])
                if own > 0 and targets.labels[own - 1] == label:
                    focal = focal - 0.25 * (1 - p) ** 2 * torch.log(p)
                else:
                    focal = focal - 0.75 * p**2 * torch.log(1 - p)
            if own <= 0:
                continue
            anchor, target = anchors[index].double(), targets.bboxes[own - 1].double()
            ax, ay = (anchor[0] + anchor[2]) / 2, (anchor[1] + anchor[3]) / 2
            aw, ah = anchor[2] - anchor[0], anchor[3] - anchor[1]
            dx, dy, dw, dh = deltas[image, index] * torch.tensor([0.1, 0.1, 0.2, 0.2]).double()
            x, y, w, h = ax + dx * aw, ay + dy * ah, aw * dw.exp(), ah * dh.exp()
            iou, giou = iou_and_giou(torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2]), target)
            left, right, top, bottom = ax - target[0], target[2] - ax, ay - target[1], target[3] - ay
            central = math.sqrt(
                max(0, min(left, right)) / max(left, right) * max(0, min(top, bottom)) / max(top, bottom)
            )
            quality = dict(iou=iou.item(), centerness=central, none=1.0)[auxiliary]
            positives, weights = positives + 1, weights + quality
            box = box + 2.0 * quality * (1 - giou)
            if auxiliary != "none":
                q = torch.sigmoid(rows(outs[2], 1)[image, index, 0])
                entropy = entropy - 0.7 * (quality * torch.log(q) + (1 - quality) * torch.log(1 - q))
    expected = dict(loss_cls=focal / positives, loss_bbox=box / weights, loss_auxiliary=entropy / positives)
    if auxiliary == "none":
        del expected["loss_auxiliary"]
    assert found.keys() == expected.keys() and positives > 5
    for name, value in found.items():
        assert value.item() == pytest.approx(expected[name].item(), rel=1e-5), name
    for one, other in zip(
        gradients_of(sum(found.values()), outs), gradients_of(sum(expected.values()), outs), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


OBJECTS = {
    "no object": [instances([], []), instances([], [])],
    "one image without": [instances([[4, 4, 40, 40]], [0]), instances([], [])],
    "equal and tiny": [
        instances([[4, 4, 40, 40]] * 3, [0, 0, 2]), instances([[0, 0, 96, 96], [5, 5, 5.5, 6]], [1, 1])
    ],
    "outside, without area": [
        instances([[-90, -90, -60, -60], [300, 10, 330, 40]], [0, 1]), instances([[7, 7, 7, 7]], [2])
    ],
    "500 objects": [
        random_instances(torch.Generator().manual_seed(1), PIXELS, 500, NUM_CLASSES), instances([], [])
    ],
}  # fmt: skip


@pytest.mark.parametrize("auxiliary", ["iou", "centerness", "none"])
@pytest.mark.parametrize("assigner", [ATSS, THRESHOLDS], ids=["atss", "thresholds"])
@pytest.mark.parametrize("logit", [None, 0.0, 50.0, -50.0])
@pytest.mark.parametrize("objects", OBJECTS.values(), ids=OBJECTS)
def test_degenerate_input_gives_finite_losses_and_gradients(objects, logit, assigner, auxiliary):
    outs = predictions(torch.Generator().manual_seed(3), 2, auxiliary=auxiliary)
    if logit is not None:
        outs[0] = [torch.full_like(level, logit).requires_grad_() for level in outs[0]]
    for autocast in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            losses = losses_of(make_head(assigner=assigner, auxiliary=auxiliary), outs, objects)
        assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
        gradients = gradients_of(sum(losses.values()), outs)
        # Every map has a gradient, be it zero: DistributedDataParallel waits for all.
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_normalisers_are_means_over_gpus(monkeypatch):
    outs = predictions(torch.Generator().manual_seed(5), 1)
    objects = [instances([[4, 4, 40, 40]], [0])]
    alone = losses_of(make_head(), outs, objects)
    monkeypatch.setattr(one_anchor_head, "reduce_mean", lambda tensor: 2 * tensor)
    shared = losses_of(make_head(), outs, objects)
    for name in alone:
        torch.testing.assert_close(shared[name], alone[name] / 2)


def test_centerness_is_one_in_the_middle_and_zero_outside():
    anchors = torch.tensor([[10.0, 10, 20, 20], [10, 10, 20, 20], [10, 10, 20, 20]])
    objects = torch.tensor([[5.0, 5, 25, 25], [20, 20, 40, 40], [10, 13, 40, 43]])
    expected = [1.0, 0.0, math.sqrt(5 / 25 * 2 / 28)]
    assert centerness(anchors, objects).tolist() == pytest.approx(expected)


def test_without_an_auxiliary_task_there_is_no_branch_for_it():
    head = make_head(auxiliary="none")
    assert not any("centerness" in name for name, _ in head.named_parameters())
    found = head(tuple(torch.randn(1, 8, size, size) for size in SIZES))
    assert found[1][0].shape == (1, 4, 12, 12) and found[2] is None


@pytest.mark.parametrize("voting", [False, True])
@pytest.mark.parametrize("auxiliary", ["iou", "none"])
def test_detections_are_ranked_by_the_combined_score(auxiliary, voting):
    """The released code's steps, with loops over levels, classes and boxes."""
    outs = [[x.detach() for x in levels] for levels in
            predictions(torch.Generator().manual_seed(6), 1, auxiliary=auxiliary)]  # fmt: skip
    head = make_head(auxiliary=auxiliary, score_voting=voting)
    cfg = ConfigDict(nms_pre=40, score_thr=0.3, nms=dict(type="nms", iou_threshold=0.6), max_per_img=15)
    factors = dict(score_factors=outs[2]) if auxiliary != "none" else {}
    found = head.predict_by_feat(
        outs[0], outs[1], **factors, batch_img_metas=[meta(PIXELS)], cfg=cfg, rescale=True
    )[0]
    boxes, scores, labels = [], [], []
    priors = head.prior_generator.grid_priors([(size, size) for size in SIZES], device="cpu")
    for level in range(3):
        ranked = []
        decoded = head.bbox_coder.decode(
            priors[level], outs[1][level][0].permute(1, 2, 0).reshape(-1, 4), max_shape=(PIXELS, PIXELS)
        )
        for place in range(SIZES[level] ** 2):
            y, x = divmod(place, SIZES[level])
            for label in range(NUM_CLASSES):
                p = torch.sigmoid(outs[0][level][0, label, y, x]).item()
                q = torch.sigmoid(outs[2][level][0, 0, y, x]).item() if auxiliary != "none" else None
                if p > 0.3:
                    ranked.append((p if q is None else math.sqrt(p * q), place, label))
        for score, place, label in sorted(ranked, reverse=True)[:40]:
            boxes.append(decoded[place] * 2)  # shown at half size
            scores.append(score)
            labels.append(label)
    boxes, scores, labels = torch.stack(boxes), torch.tensor(scores), torch.tensor(labels)
    _, kept = batched_nms(boxes, scores, labels, cfg.nms)
    kept = kept[:15]
    assert len(found.bboxes) == 15 and found.labels.tolist() == labels[kept].tolist()
    torch.testing.assert_close(found.scores, scores[kept])
    if auxiliary == "iou":
        class_scores = found.scores.square() / found.predicted_ious
        assert ((class_scores > 0.3) & (class_scores < 1)).all()
    else:
        assert "predicted_ious" not in found
    if voting:
        assert not torch.allclose(found.bboxes, boxes[kept])
    else:
        torch.testing.assert_close(found.bboxes, boxes[kept], rtol=1e-4, atol=1e-3)


def test_nothing_above_the_threshold_is_no_detection():
    outs = predictions(torch.Generator().manual_seed(6), 1)
    cfg = ConfigDict(nms_pre=40, score_thr=0.9999, nms=dict(type="nms", iou_threshold=0.6), max_per_img=15)
    head = make_head(score_voting=True)
    found = head.predict_by_feat(*outs, batch_img_metas=[meta(PIXELS)], cfg=cfg, rescale=True)[0]
    assert found.bboxes.shape == (0, 4) and len(found.scores) == len(found.labels) == 0


def test_assignments_are_the_positives():
    generator = torch.Generator().manual_seed(7)
    objects = [random_instances(generator, PIXELS, n, NUM_CLASSES) for n in (3, 0, 5)]
    outs = predictions(generator, 3)
    head = make_head()
    found = assignments(head, tuple(outs), objects, [meta(PIXELS)] * 3)
    anchors = torch.cat(head.prior_generator.grid_priors([(s, s) for s in SIZES], device="cpu"))
    for one, targets in zip(found, objects, strict=True):
        owner = head.assigner.assign(
            one_anchor_head.InstanceData(priors=anchors), [s**2 for s in SIZES], targets
        ).gt_inds
        for row in range(len(targets)):
            members = one.members[row][one.positive[row]]
            assert set(members.tolist()) == set((owner == row + 1).nonzero().flatten().tolist())
            assert torch.equal(one.confidence[row], one.valid[row].float())


@pytest.mark.parametrize(
    "option", [dict(auxiliary="centreness"), dict(loss_cls=dict(type="FocalLoss", alpha=1.5))]
)
def test_options_out_of_range_are_refused(option):
    with pytest.raises(SuiteError, match=r"auxiliary.*Did you mean 'centerness'|loss_cls\.alpha"):
        OneAnchorHead(num_classes=3, in_channels=8, **option)
