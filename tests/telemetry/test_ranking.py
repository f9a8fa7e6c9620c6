"""What assignment.jsonl tells of the scores of positives, by hand."""

from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from scipy.stats import spearmanr

import suite.detectors  # noqa: F401  registers the heads
from suite.detectors.alrp_loss import ALRPLoss, APLoss
from suite.telemetry.assignments import Assignment, assignments, has_assignments
from suite.telemetry.ranking import mean_record, quality, ranking_record

pytestmark = pytest.mark.usefixtures("mmdet_scope")


def one_image(logits, positives, iou):
    """A head of one anchor a location and two classes on a map of 1 x n, its object of class 1."""
    maps = [torch.tensor(logits).t().reshape(1, 2, 1, -1)]
    members = torch.tensor([positives])
    valid = torch.ones_like(members, dtype=torch.bool)
    own = Assignment(members, valid.float(), valid.clone(), valid, torch.tensor([iou]))
    return (maps, []), [InstanceData(labels=torch.tensor([1]))], [own]


def test_ranks_quality_and_negatives_by_hand():
    outs, instances, found = one_image(
        [[0.0, 5.0], [-9.0, 1.0], [4.0, -9.0], [2.5, -9.0]], [0, 1], [0.9, 0.5]
    )
    head = SimpleNamespace(cls_out_channels=2, loss_cls=ALRPLoss())
    record = ranking_record(head, outs, instances, found)
    assert record["quality"] == {"score": pytest.approx(0.8622, abs=1e-4), "iou": 0.7, "correlation": 1.0}
    # Above 5 nothing (4 counts 0); above 1 the positive, 4, 2.5, and half of 0's step: H(-1) = 0.
    assert record["ranking"] == {
        "positives": 2,
        "ranks": {"median": 2.5, "p90": 3.7, "largest": 4.0},
        "negatives_above": pytest.approx(2 / 6, abs=1e-4),
        "self_balance": 50.0,
    }
    head.loss_cls = APLoss()
    assert "self_balance" not in ranking_record(head, outs, instances, found)["ranking"]
    head.loss_cls = torch.nn.Identity()
    assert "ranking" not in ranking_record(head, outs, instances, found)


def test_the_correlation_is_spearmans():
    generator = torch.Generator().manual_seed(0)
    scores, iou = torch.rand(2, 50, generator=generator)
    iou[:10] = iou[10:20]
    expected = spearmanr(scores.numpy(), iou.numpy()).statistic
    assert quality(scores, iou)["correlation"] == pytest.approx(expected, abs=1e-4)
    assert quality(scores[:1], iou[:1]) is None
    assert quality(torch.ones(3), iou[:3])["correlation"] == 0.0


def test_means_over_batches_leave_out_what_a_batch_lacks():
    one = {"quality": {"score": 0.2, "iou": 0.4}, "ranking": {"ranks": None, "positives": 0}}
    two = {"quality": None, "ranking": {"ranks": {"median": 3.0}, "positives": 4}}
    assert mean_record([one, two]) == {
        "quality": {"score": 0.2, "iou": 0.4}, "ranking": {"ranks": {"median": 3.0}, "positives": 2.0},
    }  # fmt: skip
    assert mean_record([]) == {}


def test_a_ranking_heads_assignment_is_its_assigners():
    head = MODELS.build(
        dict(
            type="RankingRetinaHead", num_classes=3, in_channels=8, feat_channels=8, stacked_convs=1,
            anchor_generator=dict(
                type="AnchorGenerator", octave_base_scale=2, scales_per_octave=1, ratios=[1.0], strides=[8]
            ),
            bbox_coder=dict(type="DeltaXYWHBBoxCoder"), loss_cls=dict(type="ALRPLoss", use_sigmoid=True),
            loss_bbox=dict(type="GIoULoss"),
            train_cfg=dict(
                assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
                allowed_border=-1,
            ),
        )
    )  # fmt: skip
    assert has_assignments(head)
    none = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
    some = InstanceData(
        bboxes=torch.tensor([[0.0, 0, 16, 16], [16, 16, 34, 30]]), labels=torch.tensor([2, 0])
    )
    outs = ([torch.zeros(2, 3, 8, 8)], [torch.zeros(2, 4, 8, 8)])
    empty, found = assignments(head, outs, [none, some], [{}, {}])
    assert empty.members.shape == (0, 0) and found.members.shape[0] == 2
    priors = head.prior_generator.grid_priors([(8, 8)], device="cpu")[0]
    gt_inds = head.assigner.assign(InstanceData(priors=priors), some).gt_inds
    for index in range(2):
        own = found.members[index][found.positive[index]]
        assert set(own.tolist()) == set((gt_inds == index + 1).nonzero().flatten().tolist())
