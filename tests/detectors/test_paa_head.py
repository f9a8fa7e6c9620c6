"""PAA's head against a loop over objects with scikit-learn in double precision, and against mmdet's head."""

import numpy as np
import pytest
import torch
from detection_data import NUM_CLASSES, instances, maps, meta, random_instances, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.dense_heads import PAAHead
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from test_gaussian_mixture import sklearn_mixture
from test_iou_matching import matcher
from test_one_anchor_head import OBJECTS, PIXELS, SIZES, STRIDES, iou_and_giou
from test_separation import released

from suite.detectors import gaussian_mixture, paa_head
from suite.detectors.focal import background_sums
from suite.detectors.iou_matching import match_by_iou
from suite.detectors.paa_head import BatchedPAAHead, choose_candidates
from suite.detectors.score_layout import ScoreLayout
from suite.errors import SuiteError
from suite.telemetry.assignments import assignments


def make_head(kind: type = BatchedPAAHead, **options):
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
        loss_bbox=dict(type="GIoULoss", loss_weight=1.3),
        loss_centerness=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=0.5),
        **options,
    )


class ReleasedMatching:
    """The first step of PAA as released: mmdet gives an object's best anchor to it in any case."""

    def assign(self, pred_instances, gt_instances, gt_instances_ignore=None):
        matched = match_by_iou(bbox_overlaps(gt_instances.bboxes, pred_instances.priors), 0.1, 0.1)
        labels = torch.full_like(matched, -1)
        labels[matched >= 0] = gt_instances.labels[matched[matched >= 0]]
        return AssignResult(len(gt_instances), matched + 1, torch.zeros(len(matched)), labels)


def mmdets_head():
    """mmdet's head with two steps as released: the first one, and the candidates up to the peak, of whichever
    component, being positive."""

    class UpToThePeak(PAAHead):
        def gmm_separation_scheme(self, gmm_assignment, scores, pos_inds_gmm):
            foreground = (gmm_assignment == 0).nonzero().flatten()
            peak = foreground[scores[foreground].argmax()]
            return pos_inds_gmm[: peak + 1], pos_inds_gmm[:0]

    head = make_head(
        UpToThePeak,
        covariance_type="full",
        reg_decoded_bbox=True,
        train_cfg=ConfigDict(
            assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.1, neg_iou_thr=0.1, min_pos_iou=0),
            allowed_border=-1,
            pos_weight=-1,
        ),
    )
    head.assigner = ReleasedMatching()
    return head


def predictions(generator, images: int, scale: float = 1.0, auxiliary: str = "iou"):
    channels = (NUM_CLASSES, 4) if auxiliary == "none" else (NUM_CLASSES, 4, 1)
    return [maps(generator, images, number, SIZES, scale) for number in channels]


def losses_of(head, outs, objects):
    maps_of_three = (*outs, None)[:3]
    return head.loss_by_feat(*maps_of_three, objects, [meta(PIXELS)] * len(objects))


def gradients_of(losses, outs):
    return torch.autograd.grad(sum(losses.values()), [leaf for levels in outs for leaf in levels])


@pytest.mark.parametrize("seed", [1, 3, 0, 6])
def test_losses_and_gradients_are_those_of_mmdet(seed):
    generator = torch.Generator().manual_seed(seed)
    objects = [random_instances(generator, PIXELS, n, NUM_CLASSES) for n in (4, 0, 7)]
    outs = predictions(generator, 3)
    ours = losses_of(make_head(scoring_weight=1.3), outs, objects)
    theirs = losses_of(mmdets_head(), outs, objects)
    expected = dict(
        loss_cls=theirs["loss_cls"], loss_bbox=theirs["loss_bbox"], loss_auxiliary=theirs["loss_iou"]
    )
    assert ours.keys() == expected.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], expected[name], rtol=1e-5, atol=1e-6)
    for gradient, other in zip(gradients_of(ours, outs), gradients_of(expected, outs), strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-6)


def reference(head, outs, objects, scheme, topk=9, weight=1.0, fixed_number=10, fixed_score=0.1):
    """The released code's steps for each object on its own: losses as doubles with gradient."""
    anchors = torch.cat(head.prior_generator.grid_priors([(s, s) for s in SIZES], device="cpu"))
    logits, deltas, quality = rows(outs[0], NUM_CLASSES), rows(outs[1], 4), rows(outs[2], 1)
    level = np.repeat(np.arange(len(SIZES)), [size**2 for size in SIZES])
    stds = torch.tensor([0.1, 0.1, 0.2, 0.2]).double()

    def focal(image, index, own):
        total = 0.0
        for label in range(NUM_CLASSES):
            p = torch.sigmoid(logits[image, index, label])
            if label == own:
                total = total - 0.25 * (1 - p) ** 2 * torch.log(p)
            else:
                total = total - 0.75 * p**2 * torch.log(1 - p)
        return total

    def box_of(image, index):
        anchor = anchors[index].double()
        dx, dy, dw, dh = deltas[image, index] * stds
        side = anchor[2] - anchor[0]
        x, y = anchor[0] + side / 2 + dx * side, anchor[1] + side / 2 + dy * side
        w, h = side * dw.exp(), side * dh.exp()
        return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2])

    cls = box = entropy = torch.zeros((), dtype=torch.float64)
    positives, total_iou = 0, 0.0
    for image, targets in enumerate(objects):
        label_of = np.full(len(anchors), -1)
        owner = np.full(len(anchors), -1)
        ignored = np.zeros(len(anchors), dtype=bool)
        if len(targets):
            owner = np.array(matcher(bbox_overlaps(targets.bboxes, anchors).tolist(), 0.1, 0.1))
        for row in range(len(targets)):
            target, label = targets.bboxes[row].double(), int(targets.labels[row])
            scored = {}
            for index in np.flatnonzero(owner == row):
                _, giou = iou_and_giou(box_of(image, index), target)
                scored[index] = (focal(image, index, label) + weight * (1 - giou)).item()
            chosen = []
            for one in range(len(SIZES)):
                here = [index for index in scored if level[index] == one]
                chosen += sorted(here, key=scored.get)[:topk]
            chosen = np.array(sorted(chosen, key=scored.get), dtype=int)
            if not len(chosen):
                continue
            losses = np.array([scored[index] for index in chosen])
            if scheme == "fixed_number":
                labels = (np.arange(len(chosen)) < fixed_number).astype(int)
            elif scheme == "fixed_score":
                labels = (np.exp(-losses) > fixed_score).astype(int)
            elif len(chosen) == 1:
                labels = np.ones(1, dtype=int)
            else:
                mixture = sklearn_mixture(losses)
                column = losses[:, None]
                labels = released(losses, mixture.predict(column), mixture.score_samples(column), scheme)
            label_of[chosen[labels == 1]] = label
            ignored[chosen[labels == -1]] = True
        for index in range(len(anchors)):
            if not ignored[index]:
                cls = cls + focal(image, index, label_of[index])
            if label_of[index] >= 0:
                iou, giou = iou_and_giou(box_of(image, index), targets.bboxes[owner[index]].double())
                iou = iou.detach()
                box = box + 1.3 * iou * (1 - giou)
                q = torch.sigmoid(quality[image, index, 0])
                entropy = entropy - 0.5 * (iou * torch.log(q) + (1 - iou) * torch.log(1 - q))
                positives, total_iou = positives + 1, total_iou + iou.item()
    assert positives
    return dict(loss_cls=cls / positives, loss_bbox=box / total_iou, loss_auxiliary=entropy / positives)


@pytest.mark.parametrize("scheme", ["a", "b", "c", "d", "e", "fixed_number", "fixed_score"])
def test_losses_and_gradients_in_loops(scheme):
    generator = torch.Generator().manual_seed(11)
    objects = [random_instances(generator, PIXELS, n, NUM_CLASSES) for n in (4, 0, 3)]
    outs = predictions(generator, 3)
    # Boxes near their anchors, so that a score above 0.1 is not rare.
    outs[1] = [(level.detach() * 0.3).requires_grad_() for level in outs[1]]
    head = make_head(separation=scheme, topk=5, scoring_weight=1.5, fixed_number=3, fixed_score=0.1)
    found = losses_of(head, outs, objects)
    expected = reference(head, outs, objects, scheme, topk=5, weight=1.5, fixed_number=3)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert value.item() == pytest.approx(expected[name].item(), rel=1e-5), name
    for one, other in zip(gradients_of(found, outs), gradients_of(expected, outs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def candidates_in_loops(losses, owner, levels, topk, n_objects, n_levels):
    found = []
    for own in range(n_objects):
        for level in range(n_levels):
            here = np.flatnonzero((owner == own) & (levels == level))
            found.append(set(sorted(here, key=lambda index: losses[index])[:topk]))
    return found


@pytest.mark.parametrize("topk", [1, 3, 9])
@pytest.mark.parametrize("n_objects", [1, 7, 60])
def test_candidates_are_the_best_of_each_level(n_objects, topk):
    layout = ScoreLayout(((5, 7), (3, 4), (2, 2)), images=2, per_location=1, classes=3)
    rng = np.random.default_rng(n_objects)
    total = 2 * layout.anchors
    owner, losses = rng.integers(-1, n_objects, total), rng.random(total)
    levels = np.tile(np.repeat([0, 1, 2], layout.anchors_of_levels), 2)
    found = choose_candidates(torch.from_numpy(losses), torch.from_numpy(owner), layout, n_objects, topk)
    assert found.shape == (n_objects, 3 * topk)
    expected = candidates_in_loops(losses, owner, levels, topk, n_objects, 3)
    for group, members in enumerate(found.view(-1, topk)):
        assert set(members[members >= 0].tolist()) == expected[group]


def test_scores_are_as_released_unless_weighted_otherwise():
    """The localisation loss counts once in a score, however large its weight in training."""
    generator = torch.Generator().manual_seed(0)
    objects = [random_instances(generator, PIXELS, 3, NUM_CLASSES)]
    outs = predictions(generator, 1)

    def scores(weight):
        head = make_head(scoring_weight=weight)
        batch = head.lay_out(outs, objects)
        owner = torch.zeros(len(batch.anchors), dtype=torch.long)
        return head.anchor_losses(outs[0], batch, owner, background_sums(outs[0], 2.0))

    head = make_head()
    batch = head.lay_out(outs, objects)
    box = head.bbox_coder.decode(batch.anchors, batch.deltas)
    giou = head.loss_bbox(box, batch.boxes[:1].expand_as(box), reduction_override="none") / 1.3
    torch.testing.assert_close(scores(1.0) - scores(0.0), giou, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scores(2.0) - scores(0.0), 2 * giou, rtol=1e-4, atol=1e-5)
    assert head.scoring_weight == 1.0


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 10**6))
def test_the_order_of_objects_and_images_does_not_matter(random, seed):
    generator = torch.Generator().manual_seed(seed)
    objects = [random_instances(generator, PIXELS, count, NUM_CLASSES) for count in (4, 2)]
    outs = predictions(generator, 2)
    found = losses_of(make_head(), outs, objects)
    shuffled = []
    for one in objects:
        order = torch.tensor(random.sample(range(len(one)), len(one)))
        shuffled.append(InstanceData(bboxes=one.bboxes[order], labels=one.labels[order]))
    again = losses_of(make_head(), [[level.flip(0) for level in levels] for levels in outs], shuffled[::-1])
    for name, value in found.items():
        torch.testing.assert_close(again[name], value, rtol=1e-4, atol=1e-6)


def test_an_image_without_objects_and_without_scores_changes_nothing():
    generator = torch.Generator().manual_seed(6)
    objects = [random_instances(generator, PIXELS, 4, NUM_CLASSES)]
    outs = predictions(generator, 1)
    wider = [[torch.cat([level, torch.full_like(level, -1e4)]) for level in outs[0]]]
    wider += [[torch.cat([level, level]) for level in levels] for levels in outs[1:]]
    found = losses_of(make_head(), outs, objects)
    again = losses_of(make_head(), wider, [*objects, instances([], [])])
    for name, value in found.items():
        torch.testing.assert_close(again[name], value)


@pytest.mark.parametrize("scheme", ["a", "b", "c", "d", "e", "fixed_number", "fixed_score"])
@pytest.mark.parametrize("auxiliary", ["iou", "centerness", "none"])
@pytest.mark.parametrize("logit", [None, 0.0, 50.0, -50.0])
@pytest.mark.parametrize("objects", OBJECTS.values(), ids=OBJECTS)
def test_degenerate_input_gives_finite_losses_and_gradients(objects, logit, auxiliary, scheme):
    outs = predictions(torch.Generator().manual_seed(3), 2, auxiliary=auxiliary)
    if logit is not None:
        outs[0] = [torch.full_like(level, logit).requires_grad_() for level in outs[0]]
    head = make_head(separation=scheme, auxiliary=auxiliary)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=auxiliary == "iou"):
        losses = losses_of(head, outs, objects)
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    assert all(gradient.isfinite().all() for gradient in gradients_of(losses, outs))


@pytest.mark.parametrize("scheme", ["b", "c"])
@pytest.mark.parametrize("auxiliary", ["iou", "centerness", "none"])
def test_a_device_that_is_not_asked_how_many_there_are_gives_the_same(monkeypatch, auxiliary, scheme):
    generator = torch.Generator().manual_seed(12)
    objects = [random_instances(generator, PIXELS, n, NUM_CLASSES) for n in (4, 0, 3)]
    outs = predictions(generator, 3, auxiliary=auxiliary)
    head = make_head(auxiliary=auxiliary, separation=scheme)
    asked = losses_of(head, outs, objects)
    for module in (paa_head, gaussian_mixture):
        monkeypatch.setattr(module, "asynchronous", lambda tensor: True)
    not_asked = losses_of(head, outs, objects)
    for name, value in asked.items():
        torch.testing.assert_close(not_asked[name], value)
    for one, other in zip(gradients_of(asked, outs), gradients_of(not_asked, outs), strict=True):
        torch.testing.assert_close(one, other)
    nothing = losses_of(head, outs, [instances([], [])] * 3)
    assert all(value.isfinite() for value in nothing.values())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_never_waited_for():
    generator = torch.Generator().manual_seed(13)
    objects = [random_instances(generator, PIXELS, n, NUM_CLASSES) for n in (4, 3)]
    for one in objects:
        one.bboxes, one.labels = one.bboxes.cuda(), one.labels.cuda()
    outs = [[level.detach().cuda().requires_grad_() for level in levels] for levels in
            predictions(generator, 2)]  # fmt: skip
    head = make_head().cuda()
    gradients_of(losses_of(head, outs, objects), outs)  # tables are made once a shape
    torch.cuda.set_sync_debug_mode("error")
    try:
        gradients_of(losses_of(head, outs, objects), outs)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_half_precision_maps_give_float32_losses():
    outs = predictions(torch.Generator().manual_seed(4), 1)
    objects = [instances([[4, 4, 40, 40]], [0])]
    halves = [[level.half() for level in levels] for levels in outs]
    losses = losses_of(make_head(), halves, objects)
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    assert all(gradient.isfinite().all() for gradient in gradients_of(losses, outs))


def test_assignments_hold_the_candidates_and_their_posteriors():
    generator = torch.Generator().manual_seed(7)
    objects = [random_instances(generator, PIXELS, n, NUM_CLASSES) for n in (3, 0, 5)]
    outs = predictions(generator, 3)
    head = make_head()
    found = assignments(head, tuple(outs), objects, [meta(PIXELS)] * 3)
    assert [one.members.shape for one in found] == [(3, 27), (0, 27), (5, 27)]
    targets = head.find_targets(tuple(outs), head.lay_out(outs, objects), objects)
    assert sum(int(one.positive.sum()) for one in found) == int(targets.positive.sum()) > 8
    for one in found:
        assert (one.confidence[~one.valid] == 0).all() and ((one.iou >= 0) & (one.iou <= 1)).all()
        for row in range(len(one.members)):
            members = one.members[row][one.valid[row]]
            assert len(set(members.tolist())) == len(members)


@pytest.mark.parametrize(
    "option",
    [
        dict(topk=0),
        dict(scoring_weight=-1.0),
        dict(separation="f"),
        dict(fixed_number=0),
        dict(fixed_score=1.5),
        dict(auxiliary="objectness"),
    ],
)
def test_options_out_of_range_are_refused(option):
    with pytest.raises(SuiteError, match=next(iter(option))):
        make_head(**option)


def test_a_weightless_box_loss_cannot_score_candidates():
    with pytest.raises(SuiteError, match=r"loss_bbox\.loss_weight: expected a number above 0"):
        BatchedPAAHead(num_classes=2, in_channels=8, loss_bbox=dict(type="GIoULoss", loss_weight=0))
