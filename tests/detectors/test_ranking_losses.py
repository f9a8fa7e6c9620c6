"""aLRP Loss and AP Loss in linear time, against the loop over positives in double precision."""

import time

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from ranking_reference import reference

from suite.detectors import ranking_losses
from suite.detectors.ranking_losses import alrp, average_precision

KINDS = ["alrp", "ap"]


@st.composite
def cases(draw):
    """Logits, some of them equal, some at each other's break points; localisation losses; delta."""
    delta = draw(st.sampled_from([0.25, 0.5, 1.0, 3.0]))
    on_grid = st.integers(-12, 12).map(lambda step: step * delta / 2)
    anywhere = st.floats(-12, 12, allow_nan=False)
    logits = draw(st.sampled_from([on_grid, anywhere, on_grid | anywhere]))
    positives = np.array(draw(st.lists(logits, max_size=12)))
    negatives = np.array(draw(st.lists(logits, max_size=24)))
    losses = np.array(draw(st.lists(st.floats(0, 2), min_size=len(positives), max_size=len(positives))))
    return positives, negatives, losses, delta


def computed(kind, positives, negatives, losses, delta, dtype=torch.float64, seed=0):
    """Loss, ranks, localisation term and gradients, the logits being shuffled into maps of three levels."""
    everything = torch.tensor(np.concatenate([positives, negatives]), dtype=dtype)
    order = torch.randperm(len(everything), generator=torch.Generator().manual_seed(seed))
    flat = everything[order]
    parts = [part.view(1, 1, 1, -1).clone().requires_grad_() for part in flat.tensor_split(3)]
    place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))
    pairs = place[: len(positives)]
    loc = torch.tensor(losses, dtype=dtype)
    found = (
        alrp(parts, pairs, loc, delta=delta)
        if kind == "alrp"
        else average_precision(parts, pairs, delta=delta)
    )
    grads = torch.autograd.grad(found.loss, parts)
    gradient = torch.cat([grad.flatten() for grad in grads])[place]
    return found, (found.shares * loc).sum(), gradient[: len(positives)], gradient[len(positives) :]


def assert_as_loop(kind, case, dtype, tolerance):
    positives, negatives, losses, delta = case
    if dtype == torch.float32:
        positives, negatives = positives.astype(np.float32), negatives.astype(np.float32)
        losses = losses.astype(np.float32)
    expected = reference(kind, *(part.astype(np.float64) for part in (positives, negatives, losses)), delta)
    # At FP = 1e-5 the update has a jump.
    wrong = expected.false_positives
    assume(not ((wrong > 0) & (wrong < 1e-3)).any())
    found, term, on_positives, on_negatives = computed(kind, positives, negatives, losses, delta, dtype)
    close = dict(rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(found.loss.item(), expected.loss, **close)
    np.testing.assert_allclose(found.ranks.numpy(), expected.ranks, **close)
    np.testing.assert_allclose(term.item(), expected.localisation, **close)
    np.testing.assert_allclose(on_positives.numpy(), expected.positive_gradients, **close)
    np.testing.assert_allclose(on_negatives.numpy(), expected.negative_gradients, **close)
    np.testing.assert_allclose(on_positives.sum().item(), -on_negatives.sum().item(), **close)


EMPTY = np.array([])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(case=cases())
@example(case=(EMPTY, EMPTY, EMPTY, 1.0))
@example(case=(EMPTY, np.array([0.0, 1.0]), EMPTY, 1.0))
@example(case=(np.array([0.0, 1.0]), EMPTY, np.array([0.5, 2.0]), 1.0))
@example(case=(np.zeros(12), np.zeros(5), np.ones(12), 0.25))
@example(case=(np.array([0.0, 2.0, 4.0]), np.array([1.0, -1.0, 3.0, 5.0]), np.ones(3), 1.0))
def test_as_the_loop_in_double_precision(kind, case):
    assert_as_loop(kind, case, torch.float64, 1e-10)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50, deadline=None)
@given(case=cases())
def test_as_the_loop_in_single_precision(kind, case):
    assert_as_loop(kind, case, torch.float32, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=4000, deadline=None)
@given(case=cases(), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_as_the_loop_over_thousands_of_cases(kind, case, dtype):
    assert_as_loop(kind, case, dtype, 1e-10 if dtype == torch.float64 else 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_many_logits_against_the_loop(kind):
    rng = np.random.default_rng(0)
    case = rng.normal(-3, 2, 200), rng.normal(-5, 1.5, 20000), rng.uniform(0, 2, 200), 1.0
    assert_as_loop(kind, case, torch.float64, 1e-10)


def maps_with_positives(shapes, count, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    maps = [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]
    pairs = torch.randperm(sum(level.numel() for level in maps), generator=generator)[:count]
    return maps, pairs, torch.rand(count, generator=generator)


def ranked(kind, maps, pairs, loc, **settings):
    function = (
        alrp if kind == "alrp" else lambda maps, pairs, _, **others: average_precision(maps, pairs, **others)
    )
    found = function(maps, pairs, loc, **settings)
    return found, torch.autograd.grad(found.loss, maps)


@pytest.mark.parametrize("kind", KINDS)
def test_ignored_logits_are_as_if_they_were_not_there(kind):
    """Of three classes, all logits of an ignored anchor; also where blocks cut the maps."""
    shapes = [(2, 6, 4, 5), (2, 6, 2, 3)]
    maps, _, _ = maps_with_positives(shapes, 0)
    ignored = [torch.rand(4, h * w, generator=torch.Generator().manual_seed(1)) < 0.4 for *_, h, w in shapes]
    dense = torch.cat([mask[:, None].expand(-1, 3, -1).flatten() for mask in ignored])
    pairs = (~dense).nonzero().flatten()[::7]
    loc = torch.rand(len(pairs))
    found, grads = ranked(kind, maps, pairs, loc, ignored=ignored)
    flat = torch.cat([level.detach().flatten() for level in maps])
    kept = flat[~dense].requires_grad_()
    place = torch.cumsum(~dense, dim=0)[pairs] - 1
    expected, (gradient,) = ranked(kind, [kept], place, loc)
    torch.testing.assert_close(found.loss, expected.loss)
    torch.testing.assert_close(found.ranks, expected.ranks)
    found_flat = torch.cat([grad.flatten() for grad in grads])
    torch.testing.assert_close(found_flat[~dense], gradient)
    assert not found_flat[dense].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masked", [False, True])
def test_blocks_change_nothing(kind, masked, monkeypatch):
    shapes = [(2, 6, 4, 5), (2, 6, 2, 3), (2, 6, 1, 1)]
    maps, pairs, loc = maps_with_positives(shapes, 9, dtype=torch.float64)
    ignored = [torch.zeros(4, h * w, dtype=torch.bool) for *_, h, w in shapes] if masked else None
    whole, grads = ranked(kind, maps, pairs, loc, ignored=ignored)
    monkeypatch.setattr(ranking_losses, "_BLOCK_ON_CPU", 7)
    cut, cut_grads = ranked(kind, maps, pairs, loc, ignored=ignored)
    torch.testing.assert_close(cut.loss, whole.loss, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(cut_grads, grads, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_of_the_positives_does_not_count(kind):
    maps, pairs, loc = maps_with_positives([(1, 4, 5, 6)], 6)
    expected, grads = ranked(kind, maps, pairs, loc)
    padded = torch.cat([pairs[:2], pairs[:1], pairs[2:], torch.tensor([0])])
    valid = torch.tensor([1, 1, 0, 1, 1, 1, 1, 0], dtype=torch.bool)
    values = torch.cat([loc[:2], torch.tensor([5.0]), loc[2:], torch.tensor([9.0])])
    found, padded_grads = ranked(kind, maps, padded, values, valid=valid)
    torch.testing.assert_close(found.loss, expected.loss)
    torch.testing.assert_close(found.ranks[valid], expected.ranks)
    torch.testing.assert_close(found.shares[valid], expected.shares)
    assert not found.shares[~valid].any()
    torch.testing.assert_close(padded_grads, grads)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("valid", [None, torch.zeros(3, dtype=torch.bool)])
def test_without_positives_the_loss_is_zero_and_gradients_finite(kind, valid):
    maps, pairs, loc = maps_with_positives([(2, 3, 4, 4)], 0 if valid is None else 3)
    found, grads = ranked(kind, maps, pairs, loc, valid=valid)
    assert found.loss == 0
    assert all((grad == 0).all() for grad in grads)


@pytest.mark.parametrize("kind", KINDS)
def test_positives_above_all_negatives_are_left_alone(kind):
    logits = torch.tensor([9.0, 8.0, 7.5, -1.0, -2.0, -9.0], requires_grad=True)
    found, (gradient,) = ranked(kind, [logits], torch.arange(3), torch.ones(3))
    assert found.loss == 0
    assert not gradient.any()


def test_equal_logits_share_the_update():
    logits = torch.zeros(10, requires_grad=True)
    found, (gradient,) = ranked("alrp", [logits], torch.arange(4), torch.zeros(4))
    # rank+ = 1 + 3 / 2, FP = 6 / 2
    torch.testing.assert_close(found.loss, torch.tensor(3 / 5.5))
    torch.testing.assert_close(gradient[:4], torch.full((4,), -3 / 5.5 / 4))
    torch.testing.assert_close(gradient[4:], torch.full((6,), 3 / 5.5 / 6))


def test_the_update_is_no_derivative_of_ranks():
    """A positive pulled up by the localisation loss of those above it, as no derivative does."""
    logits = torch.tensor([5.0, 0.0, 0.0], requires_grad=True)
    with_loss, (gradient,) = ranked("alrp", [logits], torch.arange(2), torch.tensor([2.0, 0.0]))
    _, (without,) = ranked("alrp", [logits], torch.arange(2), torch.zeros(2))
    assert not with_loss.ranks.requires_grad and not with_loss.shares.requires_grad
    # FP = 1/2, rank = 2.5, above it one positive of loss 2
    torch.testing.assert_close(gradient, torch.tensor([0.0, -0.5, 0.5]))
    torch.testing.assert_close(without, torch.tensor([0.0, -0.1, 0.1]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_maps_are_worked_on_in_double(dtype):
    maps, pairs, loc = maps_with_positives([(2, 4, 8, 8)], 12, dtype=dtype)
    found, grads = ranked("alrp", maps, pairs, loc)
    exact = [level.detach().double().requires_grad_() for level in maps]
    expected, gradients = ranked("alrp", exact, pairs, loc)
    assert found.loss.dtype == torch.float32 and grads[0].dtype == dtype
    torch.testing.assert_close(found.ranks, expected.ranks, rtol=1e-12, atol=0)
    torch.testing.assert_close(grads[0], gradients[0].to(dtype), rtol=0, atol=1e-6)


def test_autocast_outside_changes_nothing():
    maps, pairs, loc = maps_with_positives([(2, 4, 8, 8)], 12)
    expected, gradients = ranked("alrp", maps, pairs, loc)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, grads = ranked("alrp", maps, pairs, loc)
    assert torch.equal(found.loss, expected.loss) and torch.equal(found.ranks, expected.ranks)
    assert torch.equal(grads[0], gradients[0])


def test_infinite_logits_are_beyond_every_break_point():
    logits = torch.tensor([0.0, 0.5, torch.inf, -torch.inf, 40.0, -40.0], requires_grad=True)
    found, (gradient,) = ranked("alrp", [logits], torch.arange(2), torch.ones(2))
    assert found.loss.isfinite() and gradient.isfinite().all()
    assert gradient[2] == gradient[4] and gradient[3] == gradient[5] == 0


def test_not_a_number_is_not_hidden():
    logits = torch.tensor([0.0, 0.5, torch.nan], requires_grad=True)
    _, (gradient,) = ranked("alrp", [logits], torch.arange(2), torch.ones(2))
    assert gradient[2].isnan()


@pytest.mark.parametrize("kind", KINDS)
def test_channels_last_maps_have_the_same_update(kind):
    maps, pairs, loc = maps_with_positives([(2, 6, 4, 5)], 7)
    expected, grads = ranked(kind, maps, pairs, loc)
    last = [level.detach().to(memory_format=torch.channels_last).requires_grad_() for level in maps]
    found, last_grads = ranked(kind, last, pairs, loc)
    assert torch.equal(found.loss, expected.loss) and torch.equal(last_grads[0], grads[0])


@pytest.mark.slow
def test_twenty_million_logits():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000_000, generator=generator).sub_(4.6).requires_grad_()
    pairs = torch.randperm(len(logits), generator=generator)[:2000]
    started = time.perf_counter()
    found = alrp([logits], pairs, torch.ones(2000))
    (gradient,) = torch.autograd.grad(found.loss, [logits])
    assert time.perf_counter() - started < 120
    on_positives = gradient[pairs].double().sum()
    torch.testing.assert_close(gradient.double().sum() - on_positives, -on_positives, rtol=1e-6, atol=0)
    some = pairs[:3]
    others = torch.ones(len(logits), dtype=torch.bool)
    others[pairs] = False
    for positive, rank in zip(some, found.ranks[:3], strict=True):
        ramp = ((logits.detach().double() - logits[positive].double()) / 2 + 0.5).clamp(0, 1)
        torch.testing.assert_close(rank, ramp.sum() + 0.5, rtol=1e-10, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_never_waits():
    maps, pairs, loc = maps_with_positives([(2, 6, 40, 50), (2, 6, 20, 25)], 50)
    maps = [level.detach().cuda().requires_grad_() for level in maps]
    pairs, loc, valid = pairs.cuda(), loc.cuda(), torch.ones(50, dtype=torch.bool).cuda()
    ignored = [torch.zeros(12 // 3, level[0, 0].numel(), dtype=torch.bool).cuda() for level in maps]
    ranked("alrp", maps, pairs, loc, valid=valid, ignored=ignored)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for kind in KINDS:
            ranked(kind, maps, pairs, loc, valid=valid, ignored=ignored)
    finally:
        torch.cuda.set_sync_debug_mode("default")
