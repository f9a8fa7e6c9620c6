"""PAA's head against a loop over objects with scikit-learn, and against mmdet's own head."""

import numpy as np
import pytest
import torch
from detection_data import NUM_CLASSES, instances, maps, meta, random_instances
from mmdet.models.dense_heads import PAAHead
from mmengine.config import ConfigDict
from test_gaussian_mixture import sklearn_mixture

from suite.detectors import paa_head
from suite.detectors.paa_head import BatchedPAAHead, choose_positives
from suite.errors import SuiteError

SIZES, STRIDES, PIXELS = [12, 6, 3], [8, 16, 32], 96


def make_head(kind: type = BatchedPAAHead, **options):
    return kind(
        num_classes=NUM_CLASSES,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        norm_cfg=None,
        anchor_generator=dict(
            type="AnchorGenerator",
            octave_base_scale=4,
            scales_per_octave=1,
            ratios=[1.0],
            strides=STRIDES,
        ),
        bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25),
        loss_bbox=dict(type="GIoULoss", loss_weight=1.3),
        loss_centerness=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=0.5),
        reg_decoded_bbox=True,
        train_cfg=ConfigDict(
            assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.1, neg_iou_thr=0.1, min_pos_iou=0),
            allowed_border=-1,
            pos_weight=-1,
        ),
        **options,
    )


def predictions(generator, images: int, scale: float = 1.0):
    return [maps(generator, images, channels, SIZES, scale) for channels in (NUM_CLASSES, 4, 1)]


def losses_of(head, outs, objects):
    return head.loss_by_feat(*outs, objects, [meta(PIXELS)] * len(objects))


def gradients_of(losses, outs):
    leaves = [leaf for levels in outs for leaf in levels]
    return torch.autograd.grad(sum(losses.values()), leaves)


def positives_in_loops(losses, objects, levels, topk):
    chosen = np.zeros(len(losses), dtype=bool)
    for obj in set(objects.tolist()):
        members = []
        for level in set(levels.tolist()):
            here = np.flatnonzero((objects == obj) & (levels == level))
            members += sorted(here, key=lambda i: losses[i])[:topk]
        members = np.array(sorted(members, key=lambda i: losses[i]))
        if len(members) == 1:
            chosen[members] = True
            continue
        mixture = sklearn_mixture(losses[members])
        foreground = np.flatnonzero(mixture.predict(losses[members][:, None]) == 0)
        if not len(foreground):
            chosen[members] = True
            continue
        density = mixture.score_samples(losses[members][:, None])
        chosen[members[: foreground[density[foreground].argmax()] + 1]] = True
    return chosen


@pytest.mark.parametrize("topk", [1, 3, 9])
@pytest.mark.parametrize("per_object", [1, 4, 60])
def test_positives_are_those_of_a_loop_with_scikit_learn(per_object, topk):
    rng = np.random.default_rng(per_object)
    n_objects = 60
    count = per_object * n_objects
    objects = rng.integers(0, n_objects, count)
    levels = rng.integers(0, 5, count)
    losses = rng.gamma(2.0, 0.7, count).astype(np.float32).astype(np.float64)
    found = choose_positives(*map(torch.from_numpy, (losses, objects, levels)), topk, 5, n_objects)
    assert (found.numpy() == positives_in_loops(losses, objects, levels, topk)).all()


def test_a_single_candidate_is_positive():
    found = choose_positives(torch.tensor([2.0]), torch.tensor([3]), torch.tensor([1]), 9, 5, 7)
    assert found.tolist() == [True]


def test_without_a_candidate_of_low_loss_all_are_positive(monkeypatch):
    class Reversed:
        def log_densities(self, values):
            return torch.stack([torch.full_like(values, -5.0), torch.full_like(values, -1.0)], dim=1)

    monkeypatch.setattr(paa_head, "fit_mixtures", lambda values, valid: Reversed())
    zeros = torch.zeros(4, dtype=torch.long)
    assert choose_positives(torch.rand(4), zeros, zeros, 3, 1, 1).sum() == 3


def test_scores_are_as_released_unless_weighted_otherwise():
    """The localisation loss counts once in a score, however large its weight in training."""
    generator = torch.Generator().manual_seed(0)
    logits, deltas = torch.randn(5, NUM_CLASSES, generator=generator), torch.randn(5, 4, generator=generator)
    anchors = torch.tensor([[10.0, 10.0, 42.0, 42.0]]).repeat(5, 1)
    labels, targets = torch.zeros(5, dtype=torch.long), anchors + 6

    def score(weight):
        return make_head(scoring_weight=weight)._candidate_losses(logits, deltas, anchors, labels, targets)

    head = make_head()
    box = head.bbox_coder.decode(anchors, deltas)
    giou = head.loss_bbox(box, targets, reduction_override="none") / 1.3
    torch.testing.assert_close(score(1.0) - score(0.0), giou)
    torch.testing.assert_close(score(2.0) - score(0.0), 2 * giou)
    assert head.scoring_weight == 1.0


class UpToThePeak(PAAHead):
    """mmdet's head, but with candidates of the other component before the peak positive, as released."""

    def gmm_separation_scheme(self, gmm_assignment, scores, pos_inds_gmm):
        foreground = (gmm_assignment == 0).nonzero().flatten()
        peak = foreground[scores[foreground].argmax()]
        return pos_inds_gmm[: peak + 1], pos_inds_gmm[:0]


@pytest.mark.parametrize(("seed", "theirs"), [(1, PAAHead), (3, PAAHead), (0, UpToThePeak), (6, UpToThePeak)])
def test_losses_and_gradients_are_those_of_mmdet(seed, theirs):
    generator = torch.Generator().manual_seed(seed)
    objects = [random_instances(generator, PIXELS, n, NUM_CLASSES) for n in (4, 0, 7)]
    outs = predictions(generator, 3)
    ours = losses_of(make_head(scoring_weight=1.3), outs, objects)
    expected = losses_of(make_head(theirs, covariance_type="full"), outs, objects)
    assert ours.keys() == expected.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], expected[name], rtol=1e-4, atol=1e-6)
    for gradient, other in zip(gradients_of(ours, outs), gradients_of(expected, outs), strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0])
@pytest.mark.parametrize(
    "objects",
    [
        [instances([], []), instances([], [])],
        [instances([[4, 4, 40, 40]], [0]), instances([], [])],
        [instances([[4, 4, 40, 40]] * 3, [0, 0, 2]), instances([[0, 0, 96, 96], [5, 5, 5.5, 6]], [1, 1])],
    ],
    ids=["no object", "one image without", "equal and tiny boxes"],
)
def test_degenerate_input_gives_finite_losses_and_gradients(objects, scale):
    outs = predictions(torch.Generator().manual_seed(3), 2, scale)
    losses = losses_of(make_head(), outs, objects)
    assert all(loss.isfinite() for loss in losses.values())
    assert all(gradient.isfinite().all() for gradient in gradients_of(losses, outs))


def test_half_precision_maps_give_float32_losses():
    outs = predictions(torch.Generator().manual_seed(4), 1)
    halves = [[level.half() for level in levels] for levels in outs]
    losses = losses_of(make_head(), halves, [instances([[4, 4, 40, 40]], [0])])
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())


def test_normalisers_are_means_over_gpus(monkeypatch):
    outs = predictions(torch.Generator().manual_seed(5), 1)
    objects = [instances([[4, 4, 40, 40]], [0])]
    alone = losses_of(make_head(), outs, objects)
    monkeypatch.setattr(paa_head, "reduce_mean", lambda tensor: 2 * tensor)
    shared = losses_of(make_head(), outs, objects)
    for name in alone:
        torch.testing.assert_close(shared[name], alone[name] / 2)


@pytest.mark.parametrize("option", [dict(topk=0), dict(scoring_weight=-1.0)])
def test_options_out_of_range_are_refused(option):
    with pytest.raises(SuiteError, match=next(iter(option))):
        make_head(**option)
