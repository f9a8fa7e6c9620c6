"""candidates() against loops over every anchor and class, and against mmdet where it can do the same."""

import math

import pytest
import torch
from detection_data import NUM_CLASSES, maps, meta
from mmdet.registry import MODELS
from mmengine.config import ConfigDict

from suite.inference.candidates import candidates

SIZES = [5, 3]
ANCHORS = dict(
    type="AnchorGenerator", octave_base_scale=3, scales_per_octave=1, ratios=[1.0], strides=[8, 16]
)
NINE = dict(ANCHORS, scales_per_octave=3, ratios=[0.5, 1.0, 2.0])
FOCAL = dict(type="FocalLoss", use_sigmoid=True)
HEADS = {
    "LTMHead": (9, dict(anchor_generator=NINE, loss_cls=FOCAL)),
    "ATSSHead": (1, dict(anchor_generator=ANCHORS, loss_cls=FOCAL)),
    "PAAHead": (1, dict(anchor_generator=ANCHORS, loss_cls=FOCAL)),
    "OneAnchorHead": (1, dict(anchor_generator=ANCHORS, loss_cls=FOCAL)),
    "LTMAFHead": (1, dict(strides=[8, 16])),
}


def head_and_outs(name):
    per_location, options = HEADS[name]
    head = MODELS.build(
        dict(type=name, num_classes=NUM_CLASSES, in_channels=32, feat_channels=32, stacked_convs=1, **options)
    )
    generator = torch.Generator().manual_seed(0)
    outs = [
        [level.detach() for level in maps(generator, 2, per_location * NUM_CLASSES, SIZES, scale=2.0)],
        [level.detach().abs() for level in maps(generator, 2, per_location * 4, SIZES)],
    ]
    if name in ("ATSSHead", "PAAHead", "OneAnchorHead"):
        outs.append([level.detach() for level in maps(generator, 2, 1, SIZES)])
    return head, tuple(outs)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("name", HEADS)
def test_every_pair_above_the_threshold_and_nothing_else(name):
    head, outs = head_and_outs(name)
    per_location = HEADS[name][0]
    priors = head.prior_generator.grid_priors([(s, s) for s in SIZES], device="cpu")
    metas = [meta(40), dict(meta(40), scale_factor=(0.5, 0.25))]
    for image, found in enumerate(candidates(head, outs, metas, score_threshold=0.4)):
        expected = []
        for level, size in enumerate(SIZES):
            for y in range(size):
                for x in range(size):
                    for anchor in range(per_location):
                        prior = priors[level][(y * size + x) * per_location + anchor][None]
                        deltas = outs[1][level][image, anchor * 4 : anchor * 4 + 4, y, x][None]
                        box = head.bbox_coder.decode(prior, deltas, max_shape=(40, 40))[0].tolist()
                        ratio = metas[image]["scale_factor"] * 2
                        for label in range(NUM_CLASSES):
                            score = sigmoid(outs[0][level][image, anchor * NUM_CLASSES + label, y, x].item())
                            if score <= 0.4:
                                continue
                            if len(outs) == 3:
                                score *= sigmoid(outs[2][level][image, 0, y, x].item())
                            if name in ("PAAHead", "OneAnchorHead"):
                                score = math.sqrt(score)
                            expected.append(
                                (label, score, *(side / r for side, r in zip(box, ratio, strict=True)))
                            )
        assert len(expected) > 10
        actual = torch.cat([found.labels[:, None], found.scores[:, None], found.bboxes], dim=1).tolist()
        torch.testing.assert_close(
            torch.tensor(sorted(actual)), torch.tensor(sorted(expected)), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("name", ["LTMHead", "ATSSHead", "OneAnchorHead", "LTMAFHead"])
def test_same_as_mmdet_without_nms_and_with_room_for_all(name):
    head, outs = head_and_outs(name)
    cfg = ConfigDict(nms_pre=10**6, score_thr=0.3, min_bbox_size=-1, nms=dict(type="nms", iou_threshold=0.5))
    factors = dict(score_factors=outs[2]) if len(outs) == 3 else {}
    theirs = head.predict_by_feat(
        outs[0], outs[1], **factors, batch_img_metas=[meta(40)] * 2, cfg=cfg, rescale=True, with_nms=False
    )
    for ours, other in zip(candidates(head, outs, [meta(40)] * 2, 0.3), theirs, strict=True):
        order, other_order = ours.scores.argsort(stable=True), other.scores.argsort(stable=True)
        torch.testing.assert_close(ours.scores[order], other.scores[other_order])
        torch.testing.assert_close(ours.bboxes.sum(), other.bboxes.sum())
        assert ours.labels.bincount().tolist() == other.labels.bincount().tolist()


def test_no_candidate_is_an_empty_result():
    head, outs = head_and_outs("LTMHead")
    found = candidates(head, outs, [meta(40)] * 2, score_threshold=0.9999999)
    assert all(result.bboxes.shape == (0, 4) and len(result.labels) == 0 for result in found)
