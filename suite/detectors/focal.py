"""The focal loss in the form all methods here need: dense over the background, sparse over a few pairs.

Of the millions of (anchor, class) pairs of a batch a matching method treats some thousands in its own way;
all others are background. :func:`background_focal` is one pass over the maps as the network left them,
without a copy; what differs at single pairs is left to the caller, who gets their logits.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# Scores worked on at once: scratch memory that stays in a CPU's cache, or that fills a GPU.
_BLOCK_ON_CPU = 2**17
_BLOCK_ON_GPU = 2**24


def background_term(logits: Tensor, gamma: float) -> Tensor:
    """Focal loss of background, p^gamma x -log(1 - p) with p = sigmoid(logits); any shape."""
    return _power(torch.sigmoid(logits), gamma) * F.softplus(logits)


def foreground_term(logits: Tensor, gamma: float) -> Tensor:
    """Focal loss of an object's own class, (1 - p)^gamma x -log(p) with p = sigmoid(logits); any shape."""
    return background_term(-logits, gamma)


@torch.no_grad()
def background_sums(maps: list[Tensor], gamma: float) -> list[Tensor]:
    """Focal loss of background summed over the channels of each location.

    Args:
        maps: Logits per level, each (images, channels, H, W).
        gamma: Exponent >= 0.

    Returns:
        One float32 tensor (images, H x W) per level, without gradient.
    """
    sums = []
    for level in maps:
        scores = level.flatten(2)
        sums.append(scores.new_zeros((len(scores), scores.shape[2]), dtype=torch.float32))
        for image, channels in _blocks(scores):
            sums[-1][image] += background_term(scores[image, channels].float(), gamma).sum(dim=0)
    return sums


@torch.no_grad()
def pick(maps: list[Tensor] | tuple[Tensor, ...], pairs: Tensor) -> Tensor:
    """The logits at positions in the maps, float32, of the shape of ``pairs``, without gradient."""
    picked = torch.zeros(pairs.shape, dtype=torch.float32, device=pairs.device)
    for level, position, inside in _split(pairs, maps):
        picked = torch.where(inside, level.reshape(-1)[position].float(), picked)
    return picked


def background_focal(
    maps: list[Tensor],
    pairs: Tensor,
    gamma: float,
    weights: list[Tensor] | None = None,
    sums: list[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Focal loss of background of all pairs, and the logits of some.

    Args:
        maps: Logits per level, each (images, channels, H, W); half precision is worked on in float32.
        pairs: Positions in the maps (:meth:`~suite.detectors.score_layout.ScoreLayout.pairs`), shape (m,).
        gamma: Exponent >= 0.
        weights: Factor of each location's loss, one tensor (images, H x W) per level; 1 if None.
        sums: What :func:`background_sums` gave for the same arguments, if it is there already.

    Returns:
        The weighted sum over all maps, a float64 scalar, so that the pairs' terms can be taken out of it; and
        the logits of the pairs, float32, shape (m,). Both carry gradient to the maps.
    """
    if sums is None:
        sums = background_sums(maps, gamma)
    return _BackgroundFocal.apply(pairs, gamma, weights, sums, *maps)


class _BackgroundFocal(torch.autograd.Function):
    """The derivative is worked out again from the logits, not kept: nothing of the maps' size is stored."""

    @staticmethod
    def forward(
        ctx: Any, pairs: Tensor, gamma: float, weights: list[Tensor] | None, sums: list[Tensor], *maps: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(pairs, *maps)
        ctx.gamma, ctx.weights = gamma, weights
        weighted = sums if weights is None else [one * by for one, by in zip(sums, weights, strict=True)]
        total = torch.stack([level.sum(dtype=torch.float64) for level in weighted]).sum()
        return total, pick(maps, pairs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor, grad_picked: Tensor) -> tuple[Any, ...]:
        pairs, *maps = ctx.saved_tensors
        scale = grad_total.float()
        grads = []
        for index, (level, position, inside) in enumerate(_split(pairs, maps)):
            scores = level.flatten(2)
            # In float32 whatever the maps are in: at the pairs, most of the two parts may cancel.
            grad = torch.empty(scores.shape, dtype=torch.float32, device=scores.device)
            for image, channels in _blocks(scores):
                slope = _background_slope(scores[image, channels].float(), ctx.gamma).mul_(scale)
                if ctx.weights is not None:
                    slope *= ctx.weights[index][image]
                grad[image, channels] = slope
            # A pair of another level adds 0 somewhere: that costs less than asking a GPU how many there are.
            grad.view(-1).index_add_(0, position, grad_picked * inside)
            grads.append(grad.view(level.shape).to(level.dtype))
        return None, None, None, None, *grads


def _power(base: Tensor, exponent: float) -> Tensor:
    if exponent == 2:
        return base.square()
    # Below 1 the power has no slope at 0, which float32 reaches.
    return base.clamp(min=torch.finfo(base.dtype).tiny).pow(exponent)


def _background_slope(logits: Tensor, gamma: float) -> Tensor:
    """Derivative of :func:`background_term`: p^gamma (gamma (1 - p) x -log(1 - p) + p)."""
    p = torch.sigmoid(logits)
    return F.softplus(logits).mul_(1 - p).mul_(gamma).add_(p).mul_(_power(p, gamma))


def _blocks(scores: Tensor) -> list[tuple[int, slice]]:
    """Cut (images, channels, cells) into blocks of whole channels of an image."""
    images, channels, cells = scores.shape
    step = max(1, (_BLOCK_ON_GPU if scores.is_cuda else _BLOCK_ON_CPU) // max(1, cells))
    return [
        (image, slice(start, start + step)) for image in range(images) for start in range(0, channels, step)
    ]


def _split(pairs: Tensor, maps: tuple[Tensor, ...] | list[Tensor]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For each map: the map, positions into it (valid ones for all pairs), and which pairs lie in it."""
    found = []
    start = 0
    for level in maps:
        position = pairs - start
        inside = (position >= 0) & (position < level.numel())
        found.append((level, position.clamp(0, max(0, level.numel() - 1)), inside))
        start += level.numel()
    return found
