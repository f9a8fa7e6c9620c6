"""aLRP Loss and AP Loss over the score maps of a batch: all logits are ranked, in linear time.

Both are error-driven: what ``backward`` returns is the update that the papers define, not the derivative of
the value, which is piecewise constant in the limit of a sharp step.

Notation: f_i, logits of the P positives (an object's own class at an anchor matched to it); b, logits of the
negatives, every other (anchor, class) pair that is not ignored; H, the ramp of
:mod:`suite.detectors.ranking`. With rank+_i = 1 + sum over j != i of H(f_j - f_i) and FP_i = sum over b of
H(b - f_i), the rank of i is rank_i = rank+_i + FP_i, its precision rank+_i / rank_i.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, all_reduce, get_rank, get_world_size
from torch import Tensor
from torch.autograd.function import once_differentiable

from suite.detectors.ranking import Ramps

# Logits worked on at once: scratch memory in float64 that stays in a CPU's cache, or that fills a GPU.
_BLOCK_ON_CPU = 2**18
_BLOCK_ON_GPU = 2**23

# Below this sum of false positives nothing ranks above a positive, and nothing is to be changed.
_NO_FALSE_POSITIVES = 1e-5


@dataclass(frozen=True)
class Ranking:
    """What a ranking loss gives.

    Attributes:
        loss: Classification loss in [0, 1], at least float32, shape (); its gradient is the error-driven
            update.
        ranks: rank_i, float64, shape (P,), without gradient.
        shares: What the localisation loss of each positive weighs in aLRP's localisation term: the sum of
            1 / (P rank_i) over the positives i that rank no higher than it, float64, shape (P,), without
            gradient.
        precisions: rank+_i / rank_i, float64, shape (P,), without gradient.
    """

    loss: Tensor
    ranks: Tensor
    shares: Tensor
    precisions: Tensor


def alrp(
    maps: list[Tensor],
    pairs: Tensor,
    localisation: Tensor,
    *,
    delta: float = 1.0,
    valid: Tensor | None = None,
    ignored: list[Tensor] | None = None,
    all_ranks: bool = False,
) -> Ranking:
    """aLRP Loss, its classification term, and what its localisation term needs.

    The value is 1 - mean precision. A positive with FP_i > 1e-5 has the gradient
    -(sum over j != i of H(f_j - f_i) x loc_j + FP_i) / (P rank_i), each negative the shares H(b - f_i) /
    FP_i of their sizes. The localisation term is the mean over positives of (sum of loc of those that rank
    no lower) / rank_i: ``(shares x loc).sum()``. Equal logits rank by their order in ``pairs``.

    Args:
        maps: Logits; any shapes and any precision.
        pairs: Positions of the positives in the maps, laid one behind the other as they are stored, shape
            (P,).
        localisation: loc_i >= 0, localisation loss of each positive; shape (P,), without meaning for
            gradients.
        delta: Half the width of the ramp, above 0.
        valid: Which positives exist, shape (P,), bool; all if None. Padding lets a GPU go on without knowing
            how many there are.
        ignored: Logits that do not take part, one bool tensor (rows, cells) for each map, which then is read
            as (rows, classes, cells); none if None.
        all_ranks: Rank the logits of all processes together, not of each one's own. Costs one exchange of the
            positives' logits and localisation losses and one sum over 4P + 2 numbers; the gradients are those
            of the whole batch after DistributedDataParallel has averaged them. Needs the same ``all_ranks``
            in every process.

    Returns:
        The ranking; without positives a loss of 0 with gradient 0.
    """
    return Ranking(*_Ranked.apply("alrp", pairs, valid, localisation, delta, ignored, all_ranks, *maps))


def average_precision(
    maps: list[Tensor],
    pairs: Tensor,
    *,
    delta: float = 1.0,
    valid: Tensor | None = None,
    ignored: list[Tensor] | None = None,
    all_ranks: bool = False,
) -> Ranking:
    """AP Loss (Chen et al., CVPR 2019) with interpolated precision, as released with aLRP Loss.

    With m_i the highest precision of the positives that rank no higher than i, the value is 1 - mean m_i. A
    positive has the gradient -(1 - m_i) / P, each negative the sum of H(b - f_i) / (P rank_i), times
    (1 - m_i) / (1 - precision_i) where m_i is another's.

    Args:
        maps: See :func:`alrp`, as all others.
        pairs: Positions of the positives.
        delta: Half the width of the ramp.
        valid: Which positives exist.
        ignored: Logits that do not take part.
        all_ranks: Rank the logits of all processes together.

    Returns:
        The ranking; without positives a loss of 0 with gradient 0.
    """
    nothing = torch.zeros(pairs.shape, device=pairs.device)
    return Ranking(*_Ranked.apply("ap", pairs, valid, nothing, delta, ignored, all_ranks, *maps))


class _Ranked(torch.autograd.Function):
    """The update is worked out from the logits in the backward pass: nothing of the maps' size is stored."""

    @staticmethod
    def forward(
        ctx: Any,
        kind: str,
        pairs: Tensor,
        valid: Tensor | None,
        localisation: Tensor,
        delta: float,
        ignored: Sequence[Tensor | None] | None,
        all_ranks: bool,
        *maps: Tensor,
    ) -> tuple[Tensor, ...]:
        ignored = [None] * len(maps) if ignored is None else ignored
        here = torch.ones(pairs.shape, device=pairs.device) if valid is None else valid
        here = here.double()
        logits = _at(maps, pairs).double() * here  # of the padding 0, so that sums stay finite
        rows = torch.stack([logits, localisation.detach().double() * here, here])
        (points, losses, exists), own = _of_all_ranks(rows) if all_ranks else (rows, slice(None))

        ramps = Ramps.of(points, delta)
        totals = ramps.empty_totals
        for level, mask in zip(maps, ignored, strict=True):
            for _, block in _blocks(level, mask):
                totals += ramps.totals(block)
        totals -= ramps.totals(logits, here)  # the positives are among the logits of the maps
        if all_ranks:
            all_reduce(totals)
        false_positives = ramps.sums(totals).clamp(min=0)
        # Sums over all positives count i itself with H(0) = 1/2.
        true_positives = 1 + ramps.sums(ramps.totals(points, exists)) - exists / 2
        ranks = true_positives + false_positives
        precisions = true_positives / ranks
        count = exists.sum().clamp(min=1)
        if kind == "alrp":
            wrong = exists * (false_positives > _NO_FALSE_POSITIVES)
            above = ramps.sums(ramps.totals(points, losses)) - losses / 2
            update = wrong * (above + false_positives) / ranks / count
            weights = update / torch.where(wrong > 0, false_positives, 1.0)
            value = ((1 - precisions) * exists).sum() / count
        else:
            missing, weights = _interpolated(points, precisions, ranks, exists)
            update, weights = missing / count, weights / count
            value = update.sum()
        order = points.argsort(stable=True, descending=True)
        lower = (exists / ranks / count)[order].flip(0).cumsum(0).flip(0)
        shares = torch.empty_like(lower).scatter_(0, order, lower)

        # DistributedDataParallel will divide by the number of processes; ``count`` is that of all of them.
        ctx.scale = get_world_size() if all_ranks else 1
        ctx.save_for_backward(pairs, here, update[own], ramps.spread(weights), *maps)
        ctx.ramps, ctx.ignored = ramps, ignored
        found = (ranks[own], shares[own] * here * ctx.scale, precisions[own])
        ctx.mark_non_differentiable(*found)
        return value.to(_precision(maps[0])), *found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Any, ...]:
        pairs, here, update, spread, *maps = ctx.saved_tensors
        scale = grad.double() * ctx.scale
        slope, base = spread * scale
        grads = []
        for level, mask in zip(maps, ctx.ignored, strict=True):
            found = torch.empty(level.shape, dtype=_precision(level), device=level.device)
            view = _view(found, mask)
            for where, block in _blocks(level, mask):
                bins, values = ctx.ramps.bins(block)
                rising = slope.index_select(0, bins).mul_(values)
                view[where] = rising.add_(base.index_select(0, bins)).view(block.shape)
            grads.append(found)
        for found, place, inside in _places(grads, pairs):
            flat = found.view(-1)
            change = -update * scale - flat[place]  # a positive is no negative
            flat.index_add_(0, place, (change * here * inside).to(flat.dtype))
        return (None,) * 7 + tuple(found.to(level.dtype) for found, level in zip(grads, maps, strict=True))


def _interpolated(points: Tensor, precisions: Tensor, ranks: Tensor, exists: Tensor) -> tuple[Tensor, Tensor]:
    """1 - m_i, and the factor of H(b - f_i) in the gradient of negatives; both 0 in the padding."""
    order = points.argsort(stable=True)
    highest = (precisions * exists)[order].cummax(0).values if len(order) else precisions
    highest = torch.empty_like(highest).scatter_(0, order, highest)
    lower = precisions < highest
    factor = torch.where(lower, (1 - highest) / torch.where(lower, 1 - precisions, 1.0), 1.0)
    return (1 - highest) * exists, factor / ranks * exists


def _of_all_ranks(rows: Tensor) -> tuple[Tensor, slice]:
    """The columns of all processes, padded with 0 to equal numbers, and which of them are this one's."""
    counts = all_gather(torch.tensor([rows.shape[1]], device=rows.device))
    most = int(torch.cat(counts).max())
    every = torch.cat(all_gather(F.pad(rows, (0, most - rows.shape[1]))), dim=1)
    first = get_rank() * most
    return every, slice(first, first + rows.shape[1])


def _precision(level: Tensor) -> torch.dtype:
    return torch.promote_types(level.dtype, torch.float32)


def _view(level: Tensor, mask: Tensor | None) -> Tensor:
    """One row of logits, or (rows, classes, cells) to a mask (rows, cells)."""
    return level.reshape(-1) if mask is None else level.reshape(len(mask), -1, mask.shape[1])


def _blocks(level: Tensor, mask: Tensor | None) -> Iterator[tuple[Any, Tensor]]:
    """Where a block stands in :func:`_view`, and its logits, minus infinity for ignored ones."""
    most = _BLOCK_ON_GPU if level.is_cuda else _BLOCK_ON_CPU
    view = _view(level, mask)
    if mask is None:
        for start in range(0, len(view), most):
            yield slice(start, start + most), view[start : start + most]
        return
    rows, classes, cells = view.shape
    channels = min(classes, max(1, most // max(1, cells)))
    at_once = max(1, most // max(1, cells * channels))
    for row in range(0, rows, at_once):
        for channel in range(0, classes, channels):
            where = slice(row, row + at_once), slice(channel, channel + channels)
            yield where, view[where].masked_fill(mask[where[0], None], -torch.inf)


def _places(maps: Sequence[Tensor], pairs: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """For each map that is not empty: it, positions in it (for all pairs), and which pairs lie in it."""
    first = 0
    for level in maps:
        place = pairs - first
        if level.numel():
            yield level, place.clamp(0, level.numel() - 1), (place >= 0) & (place < level.numel())
        first += level.numel()


def _at(maps: Sequence[Tensor], pairs: Tensor) -> Tensor:
    """The logits at positions in the maps."""
    found = torch.zeros(pairs.shape, dtype=torch.float64, device=pairs.device)
    for level, place, inside in _places(maps, pairs):
        found = torch.where(inside, level.reshape(-1)[place].double(), found)
    return found
