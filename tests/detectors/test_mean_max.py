import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.dense_heads import FreeAnchorRetinaHead

from suite.detectors import mean_max
from suite.detectors.mean_max import MATCHING, log_odds, negative_log_odds, positive_log_odds

bags = st.lists(st.floats(1e-4, 1 - 1e-4), min_size=1, max_size=12)


def positive_bag_loss(eta: torch.Tensor) -> torch.Tensor:
    return mean_max.positive_bag_loss(eta, torch.ones_like(eta, dtype=torch.bool))


def negative_bag_loss(eta: torch.Tensor, function: str = "eq25") -> torch.Tensor:
    return mean_max.negative_bag_loss(eta, torch.ones_like(eta, dtype=torch.bool), function)


def eta_of(phi: list[float]) -> torch.Tensor:
    return log_odds(torch.tensor([phi], dtype=torch.float64).log())


def m_plus(phi: list[float]) -> float:
    """The Mean-max function as the papers write it."""
    weights = [1 / (1 - p) for p in phi]
    return sum(w * p for w, p in zip(weights, phi, strict=True)) / sum(weights)


def one_minus_m_minus(phi: list[float]) -> float:
    """The released code's weighted mean, 1 minus LTM Eq. 25."""
    weights = [p / (1 - p) ** 2 for p in phi]
    return sum(w * p for w, p in zip(weights, phi, strict=True)) / sum(weights)


@settings(max_examples=200, deadline=None)
@given(bags)
def test_positive_bag_loss_is_the_mean_max_function(phi):
    assert positive_bag_loss(eta_of(phi)).item() == pytest.approx(-math.log(m_plus(phi)), rel=1e-8, abs=1e-10)


@settings(max_examples=200, deadline=None)
@given(bags)
def test_negative_bag_loss_is_eq_25(phi):
    expected = -math.log(1 - one_minus_m_minus(phi))
    assert negative_bag_loss(eta_of(phi)).item() == pytest.approx(expected, rel=1e-7, abs=1e-10)


IN_WORDS = {
    "eq25": lambda phi: 1 - one_minus_m_minus(phi),
    "eq25_detached": lambda phi: 1 - one_minus_m_minus(phi),
    "meanmax2": lambda phi: sum(1 / (1 - p) for p in phi) / sum(1 / (1 - p) ** 2 for p in phi),
    "one_minus_meanmax": lambda phi: 1 - m_plus(phi),
    "max": lambda phi: 1 - max(phi),
    "noisy_or": lambda phi: math.prod(1 - p for p in phi),
    "eq11_literal": lambda phi: sum(p / (1 - p) for p in phi) / sum(1 / (1 - p) ** 2 for p in phi),
}
PROPER = [name for name in MATCHING if name != "eq11_literal"]


def test_every_function_has_its_formula_here():
    assert set(IN_WORDS) == set(MATCHING)


@pytest.mark.parametrize("name", MATCHING)
@settings(max_examples=100, deadline=None)
@given(phi=bags)
def test_every_function_is_its_formula(name, phi):
    expected = -math.log(IN_WORDS[name](phi))
    assert negative_bag_loss(eta_of(phi), name).item() == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", PROPER)
@settings(max_examples=50, deadline=None)
@given(phi=bags)
def test_every_function_is_a_probability_with_the_right_limits(name, phi):
    assert 0 <= math.exp(-negative_bag_loss(eta_of(phi), name).item()) <= 1
    assert negative_bag_loss(eta_of([p * 1e-9 for p in phi]), name).item() < 1e-7
    # Where one member is certain to localise falsely, so is the bag.
    assert negative_bag_loss(eta_of([*phi, 1 - 1e-12]), name).item() > 10
    assert negative_bag_loss(eta_of(phi[:1]), name).item() == pytest.approx(-math.log1p(-phi[0]), rel=1e-6)


@pytest.mark.parametrize("name", MATCHING)
def test_members_outside_the_bag_do_not_count(name):
    phi = [0.3, 0.02, 0.7]
    eta = torch.cat([eta_of(phi), eta_of([0.9, 0.1])], dim=1).requires_grad_()
    valid = torch.tensor([[True, True, True, False, False]])
    loss = mean_max.negative_bag_loss(eta, valid, name)
    torch.testing.assert_close(loss, negative_bag_loss(eta_of(phi), name))
    torch.testing.assert_close(mean_max.positive_bag_loss(eta, valid), positive_bag_loss(eta_of(phi)))
    (gradient,) = torch.autograd.grad((loss + mean_max.positive_bag_loss(eta, valid)).sum(), eta)
    assert not gradient[~valid].any() and gradient.isfinite().all()


@pytest.mark.parametrize("name", MATCHING)
def test_a_bag_without_members_costs_nothing(name):
    eta = torch.zeros(1, 3, requires_grad=True)
    valid = torch.zeros(1, 3, dtype=torch.bool)
    loss = mean_max.negative_bag_loss(eta, valid, name) + mean_max.positive_bag_loss(eta, valid)
    loss.sum().backward()
    assert loss.item() == 0 and not eta.grad.any()


@settings(max_examples=50, deadline=None)
@given(bags)
def test_detached_weights_push_every_member_down(phi):
    eta = eta_of(phi).requires_grad_()
    negative_bag_loss(eta, "eq25_detached").sum().backward()
    assert (eta.grad >= 0).all() and eta.grad.max() > 0


@settings(max_examples=100, deadline=None)
@given(bags)
def test_both_lie_between_the_extremes_of_the_bag(phi):
    found = math.exp(-positive_bag_loss(eta_of(phi)).item())
    clear = math.exp(-negative_bag_loss(eta_of(phi)).item())
    assert min(phi) - 1e-9 <= found <= max(phi) + 1e-9
    assert 1 - max(phi) - 1e-9 <= clear <= 1 - min(phi) + 1e-9


@settings(max_examples=100, deadline=None)
@given(bags, st.randoms(use_true_random=False))
def test_order_of_the_bag_does_not_matter(phi, random):
    shuffled = random.sample(phi, len(phi))
    for loss in (positive_bag_loss, negative_bag_loss):
        assert loss(eta_of(phi)).item() == pytest.approx(loss(eta_of(shuffled)).item(), rel=1e-10, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(bags)
def test_raising_any_member_lowers_the_positive_loss(phi):
    eta = eta_of(phi).requires_grad_()
    positive_bag_loss(eta).sum().backward()
    assert (eta.grad < 0).all()


@settings(max_examples=100, deadline=None)
@given(bags)
def test_gradient_of_eq_25_over_a_bag_is_its_false_localisation(phi):
    eta = eta_of(phi).requires_grad_()
    negative_bag_loss(eta).sum().backward()
    assert eta.grad.sum().item() == pytest.approx(one_minus_m_minus(phi), rel=1e-7)


def test_positive_bag_loss_is_free_anchors():
    head = FreeAnchorRetinaHead(num_classes=3, in_channels=8, feat_channels=8, stacked_convs=0)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 50, generator=generator, dtype=torch.float64)
    localisation = torch.rand(5, 50, generator=generator, dtype=torch.float64) * 3
    theirs = head.positive_bag_loss(logits.sigmoid(), torch.exp(-localisation))
    ours = positive_bag_loss(positive_log_odds(logits, localisation))
    torch.testing.assert_close(head.alpha * ours, theirs, rtol=1e-9, atol=0)


def test_limits():
    assert positive_bag_loss(eta_of([1e-9] * 5)).exp().item() == pytest.approx(1e9, rel=1e-6)
    mean = positive_bag_loss(eta_of([1e-6, 3e-6]))
    assert math.exp(-mean.item()) == pytest.approx(2e-6, rel=1e-5)
    maximum = positive_bag_loss(eta_of([0.01, 1 - 1e-9]))
    assert maximum.item() < 1e-8
    # Small phi-: the contraharmonic mean, not the mean.
    clear = negative_bag_loss(eta_of([0.01, 0.002])).item()
    assert 1 - math.exp(-clear) == pytest.approx((0.01**2 + 0.002**2) / 0.012, rel=0.02)
    assert negative_bag_loss(eta_of([0.01, 1 - 1e-9])).item() > 20


def test_a_bag_of_one_is_its_member():
    assert positive_bag_loss(eta_of([0.3])).item() == pytest.approx(-math.log(0.3))
    assert negative_bag_loss(eta_of([0.3])).item() == pytest.approx(-math.log(0.7))


def test_a_bag_without_false_localisation_costs_nothing():
    logits = torch.zeros(2, 3, requires_grad=True)
    iou = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.5, 0.0]])
    loss = negative_bag_loss(negative_log_odds(logits, iou))
    loss.sum().backward()
    assert loss[0] == 0 and loss[1] > 0
    assert torch.equal(logits.grad[0], torch.zeros(3))
    assert logits.grad[1, 0] == 0 and logits.grad[1, 2] > 0


def test_iou_of_the_negative_term_carries_no_gradient():
    iou = torch.tensor([[0.2, 0.6]], requires_grad=True)
    logits = torch.zeros(1, 2, requires_grad=True)
    negative_bag_loss(negative_log_odds(logits, iou)).sum().backward()
    assert iou.grad is None and logits.grad.abs().sum() > 0


@pytest.mark.parametrize("name", MATCHING)
@pytest.mark.parametrize("logit", [-200.0, -20.0, 20.0, 60.0, 200.0])
def test_saturated_logits_stay_finite_in_float32(logit, name):
    logits = torch.tensor([[logit, 0.0, -logit]], requires_grad=True)
    localisation = torch.tensor([[0.0, 50.0, 500.0]], requires_grad=True)
    iou = torch.tensor([[0.0, 0.5, 1.0]])
    positive = positive_bag_loss(positive_log_odds(logits, localisation))
    negative = negative_bag_loss(negative_log_odds(logits, iou), name)
    (positive + negative).sum().backward()
    for value in (positive, negative, logits.grad, localisation.grad):
        assert value.isfinite().all()


def test_a_confident_false_box_is_still_pushed_down():
    logits = torch.tensor([[40.0, -3.0]], requires_grad=True)
    negative_bag_loss(negative_log_odds(logits, torch.tensor([[0.0, 0.0]]))).sum().backward()
    assert logits.grad[0, 0].item() == pytest.approx(1.0, rel=1e-4)
