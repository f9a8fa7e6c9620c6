"""aLRP Loss as a module, its self-balance, and the heads that it trains."""

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from ranking_reference import reference
from torch import nn

import suite.detectors  # noqa: F401  registers the heads
from suite.detectors.alrp_loss import ALRPLoss, APLoss, SelfBalance, SelfBalanceHook
from suite.detectors.ranking_heads import decode_edges
from suite.errors import SuiteError

pytestmark = pytest.mark.usefixtures("mmdet_scope")
ANCHORS = dict(
    type="AnchorGenerator", octave_base_scale=2, scales_per_octave=2, ratios=[0.5, 1.0], strides=[8, 16]
)
IOU = dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1)
CODER = dict(type="DeltaXYWHBBoxCoder", target_stds=[0.1, 0.1, 0.2, 0.2])


def retina(loss_cls=None, loss_bbox=None, assigner=IOU):
    return MODELS.build(
        dict(
            type="RankingRetinaHead", num_classes=3, in_channels=8, feat_channels=8, stacked_convs=1,
            anchor_generator=ANCHORS, bbox_coder=CODER,
            loss_cls=loss_cls or dict(type="ALRPLoss", use_sigmoid=True),
            loss_bbox=loss_bbox or dict(type="GIoULoss"),
            train_cfg=dict(assigner=assigner, allowed_border=-1),
        )
    )  # fmt: skip


def objects():
    first = InstanceData(
        bboxes=torch.tensor([[4.0, 4, 20, 20], [10, 12, 44, 40], [30, 2, 60, 18]]),
        labels=torch.tensor([0, 2, 1]),
    )
    return [first, InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())]


def outputs(head, seed=0):
    generator = torch.Generator().manual_seed(seed)
    slots = head.num_base_priors
    sizes = [(8, 8), (4, 4)]
    scores = [torch.randn(2, slots * 3, *size, generator=generator, requires_grad=True) for size in sizes]
    boxes = [
        torch.randn(2, slots * 4, *size, generator=generator).mul_(0.3).requires_grad_() for size in sizes
    ]
    return scores, boxes


def expected_of(head, scores, boxes, instances, delta=1.0):
    """Loss and localisation term by mmdet's assigner, coder and loss, and the loop over positives."""
    anchors = torch.cat(head.prior_generator.grid_priors([(8, 8), (4, 4)], device="cpu"))
    positives, negatives, losses = [], [], []
    for image, own in enumerate(instances):
        logits = torch.cat([level[image].permute(1, 2, 0).reshape(-1, 3) for level in scores]).detach()
        deltas = torch.cat([level[image].permute(1, 2, 0).reshape(-1, 4) for level in boxes]).detach()
        found = head.assigner.assign(InstanceData(priors=anchors), own).gt_inds
        for anchor, index in enumerate(found.tolist()):
            for label in range(3):
                if index > 0 and own.labels[index - 1] == label:
                    positives.append(float(logits[anchor, label]))
                    box = head.bbox_coder.decode(anchors[anchor : anchor + 1], deltas[anchor : anchor + 1])
                    losses.append(float(head.loss_bbox(box, own.bboxes[index - 1 : index])))
                elif index >= 0:
                    negatives.append(float(logits[anchor, label]))
    return reference("alrp", np.array(positives), np.array(negatives), np.array(losses), delta)


def test_the_head_ranks_what_the_assigner_says():
    head = retina()
    scores, boxes = outputs(head)
    instances = objects()
    expected = expected_of(head, scores, boxes, instances)
    found = head.loss_by_feat(scores, boxes, instances, [{}, {}])
    assert expected.loss > 0.5 and expected.localisation > 0
    np.testing.assert_allclose(found["loss_cls"].item(), expected.loss, rtol=1e-5)
    # tau = 0.5 and GIoU's range of 2 cancel; the first period's weight is 50.
    np.testing.assert_allclose(found["loss_bbox"].item(), 50 * expected.localisation, rtol=1e-4)
    total = sum(found.values())
    gradients = torch.autograd.grad(total, [*scores, *boxes])
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients[2:])


def test_atss_ignores_no_anchor():
    head = retina(assigner=dict(type="ATSSAssigner", topk=9))
    scores, boxes = outputs(head)
    batch = head.ranked(scores, boxes, objects())
    assert batch.ignored is None and len(batch.pairs) > 0
    head = retina()
    assert head.ranked(scores, boxes, objects()).ignored is not None


@pytest.mark.parametrize("loss_cls", [dict(type="ALRPLoss"), dict(type="APLoss")])
def test_a_batch_without_objects_has_losses_of_zero_and_finite_gradients(loss_cls):
    box_loss = (
        dict(type="GIoULoss") if loss_cls["type"] == "ALRPLoss" else dict(type="SmoothL1Loss", beta=1.0)
    )
    head = retina({**loss_cls, "use_sigmoid": True}, box_loss)
    scores, boxes = outputs(head)
    found = head.loss_by_feat(scores, boxes, [objects()[1], objects()[1]], [{}, {}])
    assert all(value == 0 for value in found.values())
    # Every map has a gradient, which DistributedDataParallel waits for.
    gradients = torch.autograd.grad(sum(found.values()), [*scores, *boxes])
    assert not any(gradient.any() for gradient in gradients)


def test_the_localisation_losses_count_over_their_range_and_tau():
    scores, boxes = outputs(retina())
    terms = {}
    for name, tau in (("GIoULoss", 0.5), ("GIoULoss", 0.75), ("IoULoss", 0.5), ("DIoULoss", 0.5)):
        head = retina(
            dict(type="ALRPLoss", use_sigmoid=True, tau=tau, self_balance=False, w_r=1.0), dict(type=name)
        )
        terms[name, tau] = head.loss_by_feat(scores, boxes, objects(), [{}, {}])["loss_bbox"].item()
    np.testing.assert_allclose(terms["GIoULoss", 0.75], 2 * terms["GIoULoss", 0.5], rtol=1e-5)
    assert terms["IoULoss", 0.5] > 0 and terms["IoULoss", 0.5] != terms["DIoULoss", 0.5]


def test_fixed_and_total_weights():
    logits = torch.randn(40, generator=torch.Generator().manual_seed(0))
    loc = torch.rand(5)
    one = ALRPLoss(self_balance=False, w_r=1.0)([logits], torch.arange(5), loc)
    ten = ALRPLoss(self_balance=False, w_r=10.0, loss_weight=0.2)([logits], torch.arange(5), loc)
    torch.testing.assert_close(ten[0], 0.2 * one[0])
    torch.testing.assert_close(ten[1], 2 * one[1])


def train_epoch(loss, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        loss([torch.randn(30, generator=generator)], torch.arange(4), torch.rand(4, generator=generator))


class _Runner:
    def __init__(self, model):
        self.model = model


def test_self_balance_is_the_ratio_of_the_epochs_means():
    loss = ALRPLoss()
    model = nn.Sequential(loss)
    generator = torch.Generator().manual_seed(3)
    terms = []
    for positives in (4, 0, 7):
        logits, loc = torch.randn(30, generator=generator), torch.rand(positives, generator=generator)
        classification, localisation = loss([logits], torch.arange(positives), loc)
        terms.append((float(classification), float(localisation) / 50))
    loss.eval()
    train_epoch(loss, 1, seed=9)  # evaluation leaves no trace
    SelfBalanceHook().after_train_epoch(_Runner(model))
    classification, localisation = np.array(terms).sum(axis=0)
    np.testing.assert_allclose(
        float(loss.balance.weight), (classification + localisation) / localisation, rtol=1e-6
    )
    assert not loss.balance.sums.any()
    before = float(loss.balance.weight)
    SelfBalanceHook().after_train_epoch(_Runner(model))  # an epoch without positives
    assert float(loss.balance.weight) == before


def test_a_checkpoint_in_the_middle_of_a_period_resumes_to_the_bit():
    whole, first, second = ALRPLoss(), ALRPLoss(), ALRPLoss()
    train_epoch(whole, 3, seed=1)
    train_epoch(first, 3, seed=1)
    second.load_state_dict(first.state_dict())
    for loss in (whole, second):
        train_epoch(loss, 4, seed=2)
        loss.balance.end_period()
    assert torch.equal(whole.balance.weight, second.balance.weight)
    assert float(whole.balance.weight) not in (50.0, 0.0)


def test_self_balance_counts_the_terms_of_all_processes(monkeypatch):
    monkeypatch.setattr(
        "suite.detectors.alrp_loss.all_reduce", lambda sums: sums.add_(torch.tensor([1.0, 2.0]))
    )
    balance = SelfBalance()
    balance.add(torch.tensor(2.0), torch.tensor(1.0))
    balance.end_period()
    assert float(balance.weight) == (3 + 3) / 3


def test_foveabox_decodes_to_the_same_boxes_as_mmdet():
    head = MODELS.build(
        dict(
            type="RankingFoveaHead", num_classes=3, in_channels=8, feat_channels=8, stacked_convs=1,
            strides=[8, 16], base_edge_list=[8, 16], scale_ranges=((1, 32), (16, 256)), with_deform=False,
            loss_cls=dict(type="ALRPLoss", use_sigmoid=True), loss_bbox=dict(type="GIoULoss"),
        )
    )  # fmt: skip
    scores = [torch.randn(2, 3, 8, 8, requires_grad=True), torch.randn(2, 3, 4, 4, requires_grad=True)]
    boxes = [torch.zeros(2, 4, 8, 8, requires_grad=True), torch.zeros(2, 4, 4, 4, requires_grad=True)]
    instances = objects()
    batch = head.ranked(scores, boxes, instances)
    assert len(batch.pairs) >= 3 and (batch.owners < 64 + 16).all()
    flat = torch.cat([level.flatten() for level in scores])
    priors = torch.cat(head.prior_generator.grid_priors([(8, 8), (4, 4)], device="cpu"))
    for pair, owner, target in zip(batch.pairs, batch.owners, batch.targets, strict=True):
        matches = (instances[0].bboxes - target).abs().amax(dim=1) < 1e-3
        label = instances[0].labels[matches]
        level, inside = (0, int(owner)) if owner < 64 else (1, int(owner) - 64)
        width = 8 if level == 0 else 4
        assert flat[pair] == scores[level][0, int(label), inside // width, inside % width]
    edge = torch.where(batch.owners < 64, 8.0, 16.0)[:, None]
    torch.testing.assert_close(decode_edges(priors[batch.owners], batch.encoded_targets, edge), batch.targets)
    total = sum(head.loss_by_feat(scores, boxes, instances, [{}, {}]).values())
    assert all(gradient.any() for gradient in torch.autograd.grad(total, [scores[0], boxes[0]]))


def test_the_box_head_ranks_proposals_and_scores_by_sigmoid():
    head = MODELS.build(
        dict(
            type="RankingBBoxHead", in_channels=4, fc_out_channels=8, roi_feat_size=2, num_classes=3,
            bbox_coder=CODER, reg_decoded_bbox=True, loss_cls=dict(type="ALRPLoss", use_sigmoid=True),
            loss_bbox=dict(type="GIoULoss"),
        )
    )  # fmt: skip
    assert head.fc_cls.out_features == 3
    logits = torch.randn(6, 3, requires_grad=True)
    deltas = torch.zeros(6, 12, requires_grad=True)
    rois = torch.tensor([[0, 0, 0, 10, 10.0]] * 6)
    targets = torch.tensor([[0, 0, 10, 5.0]] * 6)
    labels = torch.tensor([3, 0, 3, 2, 3, 3])
    found = head.loss(logits, deltas, rois, labels, torch.ones(6), targets, torch.ones(6, 4))
    positive = logits.detach()[[1, 3], [0, 2]].numpy()
    negative = np.delete(logits.detach().flatten().numpy(), [3, 11])
    expected = reference("alrp", positive, negative, np.full(2, 0.5), 1.0)
    np.testing.assert_allclose(found["loss_cls"].item(), expected.loss, rtol=1e-5)
    np.testing.assert_allclose(found["loss_bbox"].item(), 50 * expected.localisation, rtol=1e-4)
    scores = head.loss_cls.get_activation(logits)
    assert scores.shape == (6, 4) and torch.equal(scores[:, :3], logits.sigmoid())


@pytest.mark.parametrize(
    "fields, problem",
    [
        (dict(delta=0.0), "loss_cls.delta: expected a number above 0, found 0.0"),
        (dict(tau=1.0), "loss_cls.tau: expected a number above 0 and below 1, found 1.0"),
        (dict(tau=0.0), "loss_cls.tau"),
        (dict(self_balance=False, w_r=0.0), "loss_cls.w_r: expected a number above 0"),
        (dict(w_r=5.0), "loss_cls.w_r: found 5, but self_balance sets the weight itself"),
        (dict(self_balance=False), "loss_cls.w_r: expected a number above 0, as self_balance"),
    ],
)
def test_options_out_of_range_are_refused(fields, problem):
    with pytest.raises(SuiteError, match=problem):
        ALRPLoss(**fields)


def test_other_refusals():
    with pytest.raises(SuiteError, match=r"loss_cls\.delta"):
        APLoss(delta=-1.0)
    with pytest.raises(SuiteError, match=r"loss_bbox.type: expected a loss with a largest value.*'L1Loss'"):
        retina(loss_bbox=dict(type="L1Loss"))
