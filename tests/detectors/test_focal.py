"""The focal loss of the background, against mmdet's and against autograd in double precision."""

import pytest
import torch
import torch.nn.functional as F
from mmdet.models.losses import FocalLoss

from suite.detectors import focal
from suite.detectors.focal import background_focal, background_sums, background_term, foreground_term, pick

GAMMAS = [0.0, 1.5, 2.0]
SHAPES = [(2, 6, 5, 7), (2, 6, 3, 4), (2, 6, 1, 1)]


def random_maps(seed=0, scale=3.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(shape, generator=generator) * scale).to(dtype) for shape in SHAPES]


def random_pairs(maps, seed=1):
    """Positions in all maps, some of them several times, the first and the last score among them."""
    generator = torch.Generator().manual_seed(seed)
    total = sum(level.numel() for level in maps)
    pairs = torch.randint(total, (40,), generator=generator)
    return torch.cat([pairs, pairs[:7], torch.tensor([0, total - 1, total - 1])])


def random_weights(seed=2):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(n, h * w, generator=generator) * 2 for n, _, h, w in SHAPES]


def dense_term(logits, gamma):
    return torch.exp(gamma * F.logsigmoid(logits)) * -F.logsigmoid(-logits)


def dense(maps, pairs, gamma, weights=None):
    """Total and picked logits in double precision, from copies that keep every (anchor, class) pair."""
    total = 0
    for index, level in enumerate(maps):
        term = dense_term(level.double(), gamma).flatten(2)
        total = total + (term if weights is None else term * weights[index].double()[:, None]).sum()
    return total, torch.cat([level.double().contiguous().view(-1) for level in maps])[pairs]


def gradients(function, maps, pairs, *args):
    """Value, picked logits, and gradients of a mixture of both."""
    leaves = [level.detach().requires_grad_() for level in maps]
    total, picked = function(leaves, pairs, *args)
    factors = torch.randn(len(pairs), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    mixture = 0.7 * total.double() + (factors * picked.double()).sum() + (picked.double() ** 2).sum() / 9
    return total.detach(), picked.detach(), torch.autograd.grad(mixture, leaves)


def assert_as_dense(maps, pairs, gamma, weights=None, rtol=1e-5, atol=1e-5):
    total, picked, found = gradients(background_focal, maps, pairs, gamma, weights)
    reference = [level.double() for level in maps]
    expected_total, expected_picked, expected = gradients(dense, reference, pairs, gamma, weights)
    assert total.dtype == torch.float64 and picked.dtype == torch.float32
    torch.testing.assert_close(total, expected_total, rtol=1e-6, atol=0)
    torch.testing.assert_close(picked.double(), expected_picked, rtol=1e-7, atol=0)
    for one, other, level in zip(found, expected, maps, strict=True):
        assert one.dtype == level.dtype
        torch.testing.assert_close(one.double(), other, rtol=rtol, atol=atol)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_terms_are_those_of_the_focal_loss(gamma):
    logits = torch.linspace(-12, 12, 97)[:, None]
    background = torch.ones(97, dtype=torch.long)  # of one class, 1 is the background
    loss = FocalLoss(gamma=gamma, alpha=0.0, reduction="none")(logits.double(), background)
    torch.testing.assert_close(background_term(logits, gamma).double(), loss, rtol=1e-5, atol=1e-9)
    loss = FocalLoss(gamma=gamma, alpha=1.0, reduction="none")(logits.double(), torch.zeros_like(background))
    torch.testing.assert_close(foreground_term(logits, gamma).double(), loss, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("block", [None, 1, 90])
def test_sums_of_the_locations(monkeypatch, gamma, block):
    if block is not None:
        monkeypatch.setattr(focal, "_BLOCK_ON_CPU", block)
    maps = random_maps()
    for found, level in zip(background_sums(maps, gamma), maps, strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(
            found.double(), dense_term(level.double(), gamma).sum(dim=1).flatten(1), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_value_and_gradients_with_repeated_pairs(gamma, weighted):
    maps = random_maps()
    assert_as_dense(maps, random_pairs(maps), gamma, random_weights() if weighted else None)


@pytest.mark.parametrize("block", [1, 10, 35, 90])
def test_blocks_smaller_than_a_map_change_nothing(monkeypatch, block):
    monkeypatch.setattr(focal, "_BLOCK_ON_CPU", block)
    maps = random_maps(4)
    assert_as_dense(maps, random_pairs(maps), 2.0, random_weights())


@pytest.mark.parametrize(
    "rearranged",
    [
        lambda level: level.contiguous(memory_format=torch.channels_last),
        lambda level: level.transpose(2, 3).contiguous().transpose(2, 3),
        lambda level: torch.stack([level, -level], dim=-1)[..., 0],
        lambda level: torch.cat([level, level], dim=1)[:, :6],
    ],
    ids=["channels_last", "columns first", "every second score", "some channels"],
)
def test_maps_however_they_lie_in_memory(rearranged):
    maps = random_maps(5)
    other = [rearranged(level) for level in maps]
    assert any(not level.is_contiguous() for level in other)
    assert_as_dense(other, random_pairs(maps), 2.0, random_weights())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_maps_are_worked_on_in_float32(dtype):
    maps = random_maps(6, dtype=dtype)
    # Gradients are rounded to the maps' type, and once more where something is added to them.
    precision = torch.finfo(dtype).eps
    assert_as_dense(maps, random_pairs(maps), 2.0, random_weights(), rtol=2 * precision, atol=8 * precision)


def test_sums_given_are_not_worked_out_again(monkeypatch):
    maps = random_maps(7)
    pairs = random_pairs(maps)
    sums = background_sums(maps, 2.0)
    expected, _ = background_focal(maps, pairs, 2.0)
    monkeypatch.setattr(focal, "background_sums", None)
    assert background_focal(maps, pairs, 2.0, sums=sums)[0] == expected


def test_going_backward_twice_gives_the_same():
    maps = [level.requires_grad_() for level in random_maps(8)]
    total, picked = background_focal(maps, random_pairs(maps), 2.0, random_weights())
    loss = total + picked.sum()
    first = torch.autograd.grad(loss, maps, retain_graph=True)
    second = torch.autograd.grad(loss, maps)
    for one, other in zip(first, second, strict=True):
        assert one.any() and torch.equal(one, other)


def test_gradient_reaches_the_maps_that_need_it_alone():
    maps = random_maps(9)
    maps[1].requires_grad_()
    total, _ = background_focal(maps, random_pairs(maps), 2.0)
    total.backward()
    assert maps[1].grad.any() and maps[0].grad is None


def test_no_pair():
    maps = random_maps(10)
    none = torch.zeros(0, dtype=torch.long)
    assert_as_dense(maps, none, 2.0)
    assert pick(maps, none.view(0, 40)).shape == (0, 40)


def test_pick_keeps_the_shape_of_the_pairs():
    maps = random_maps(11, dtype=torch.bfloat16)
    pairs = random_pairs(maps)[:48].view(6, 8)
    expected = torch.cat([level.flatten() for level in maps])[pairs].float()
    assert torch.equal(pick(maps, pairs), expected)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("logit", [50.0, 200.0])
def test_saturated_logits(gamma, logit):
    maps = [torch.full((1, 2, 1, 1), sign * logit).requires_grad_() for sign in (1, -1)]
    pairs = torch.arange(4)
    total, picked = background_focal(maps, pairs, gamma)
    assert total.item() == pytest.approx(2 * logit)
    assert picked.tolist() == [logit, logit, -logit, -logit]
    own = background_term(picked, gamma)
    high, low = torch.autograd.grad(total + own.sum(), maps)
    assert high.flatten().tolist() == pytest.approx([2, 2])
    assert low.flatten().tolist() == pytest.approx([0, 0], abs=1e-12)


def test_saturated_logits_with_a_gamma_below_one():
    logits = torch.tensor([-200.0, -100.0, 100.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(background_term(logits, 0.5).sum(), logits)
    assert gradient.tolist() == pytest.approx([0, 0, 1])
