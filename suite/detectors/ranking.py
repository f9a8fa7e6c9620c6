"""Sums of a ramp over all pairs of a positive and another logit, in linear time.

Ranking losses compare logits by the ramp H(x) = clamp(x / (2 delta) + 1/2, 0, 1), a step of width 2 delta.
As a function of a logit b, H(b - f_i) of every positive f_i is linear but for two break points, f_i - delta
and f_i + delta. So the 2P break points of P positives cut the line into 2P + 1 bins, in each of which
everything is linear: a sum over N logits needs their number and their sum in each bin, and cumulative sums
over bins. That is exact, and takes O((P + N) log P) in place of P x N.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from suite.detectors.devices import asynchronous

_CELLS_AN_EDGE = 64
_MOST_CELLS = 2**20


@dataclass(frozen=True)
class Ramps:
    """The ramps of P positives, cut into bins by their break points.

    Attributes:
        points: f, logits of the positives, float64, shape (P,).
        delta: Half the width of a ramp, above 0.
        edges: The break points in ascending order, float64, shape (2P,).
        low: Where f_i - delta stands among them, shape (P,).
        high: Where f_i + delta stands among them, shape (P,).
        centre: What logits are counted from, for the sake of precision, float64, shape ().
    """

    points: Tensor
    delta: float
    edges: Tensor
    low: Tensor
    high: Tensor
    centre: Tensor

    @classmethod
    def of(cls, points: Tensor, delta: float) -> "Ramps":
        """The ramps of these positives."""
        points = points.double()
        edges, order = torch.cat([points - delta, points + delta]).sort(stable=True)
        place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        low, high = place.view(2, -1).unbind()
        centre = edges[len(edges) // 2] if len(edges) else points.new_zeros(())
        return cls(points, delta, edges, low, high, centre)

    @property
    def empty_totals(self) -> Tensor:
        """Totals of no logits, float64, shape (2, 2P + 1)."""
        return self.points.new_zeros(2, len(self.edges) + 1)

    def bins(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The bin of each logit, and the logit as it counts there.

        Args:
            logits: Any shape and precision.

        Returns:
            Index in [0, 2P], shape (m,); and the logit in float64, from the centre, shape (m,). Beyond the
            first and the last break point nothing changes any more, so infinite ones have the value there.
        """
        logits = logits.reshape(-1)
        values = logits.double()
        if not len(self.edges):
            return torch.zeros_like(values, dtype=torch.int32), torch.zeros_like(values)
        if asynchronous(values):
            bins = torch.bucketize(values, self.edges, right=True, out_int32=True)
        else:
            # A search over all edges is needed only in the cells that have any: few.
            bins = self._bin_of_cell.index_select(0, self._cells(logits))
            among_edges = torch.from_numpy(np.flatnonzero(bins.numpy() < 0))  # torch's is slower
            searched = torch.bucketize(values[among_edges], self.edges, right=True, out_int32=True)
            bins.index_copy_(0, among_edges, searched)
        return bins, values.clamp(*self._ends).sub_(self.centre)

    @cached_property
    def _ends(self) -> tuple[Tensor, Tensor] | tuple[float, float]:
        """First and last break point; numbers, with which a CPU is faster, where that waits for nothing."""
        first, last = self.edges[0], self.edges[-1]
        return (first, last) if asynchronous(self.edges) else (float(first), float(last))

    @property
    def _cell_count(self) -> int:
        return min(_MOST_CELLS, _CELLS_AN_EDGE * len(self.edges))

    def _cells(self, values: Tensor) -> Tensor:
        """Which of many cells of equal width between the edges; never falls as values rise."""
        first, last = self.edges[0].float(), self.edges[-1].float()
        cells = (values.float() - first).mul_((self._cell_count - 1) / (last - first))
        return cells.nan_to_num_(0).clamp_(0, self._cell_count - 1).int()

    @cached_property
    def _bin_of_cell(self) -> Tensor:
        """The bin in which a cell lies, -1 for a cell with an edge in it, int32, shape (cells,)."""
        number = torch.bincount(self._cells(self.edges), minlength=self._cell_count)
        return torch.where(number > 0, -1, number.cumsum(0)).int()

    def totals(self, logits: Tensor, weights: Tensor | None = None) -> Tensor:
        """What :meth:`sums` needs of some logits; totals of several sets may be added and subtracted.

        Args:
            logits: Shape (m,).
            weights: Factor of each, shape (m,); 1 if None.

        Returns:
            The logits' weights and the logits times weights, added up in each bin; float64, shape (2, 2P +
            1). Sums in the first and the last bin are without meaning: no ramp rises there.
        """
        if weights is None and not asynchronous(logits):
            return self._sorted_totals(logits)
        bins, values = self.bins(logits)
        weights = torch.ones_like(values) if weights is None else weights.double()
        found = self.empty_totals
        found[0].index_add_(0, bins, weights)
        found[1].index_add_(0, bins, values * weights)
        return found

    def _sorted_totals(self, logits: Tensor) -> Tensor:
        """The totals by sorting: numpy sorts a million numbers sooner than a bin is found for each."""
        found = self.empty_totals
        number, total = found.numpy()
        ordered = np.sort(logits.reshape(-1).to(torch.promote_types(logits.dtype, torch.float32)).numpy())
        values = ordered.astype(np.float64)
        starts = np.concatenate([[0], np.searchsorted(values, self.edges.numpy())])
        number[:] = np.diff(starts, append=len(values))
        inner = 1 + np.flatnonzero(number[1:-1])  # an empty bin would be given a logit of the next one
        if len(inner):
            values -= float(self.centre)
            total[inner] = np.add.reduceat(values[: starts[-1]], starts[inner])
        return found

    def sums(self, totals: Tensor) -> Tensor:
        """The sum over the logits b of weight x H(b - f_i), for each positive i, float64, shape (P,)."""
        # From the top, so that a small sum is not the difference of two large ones.
        above = totals.flip(1).cumsum(1).flip(1)
        number_low, sum_low = above[:, self.low + 1]
        number_high, sum_high = above[:, self.high + 1]
        partly = (sum_low - sum_high) - (number_low - number_high) * (self.points - self.delta - self.centre)
        return number_high + partly / (2 * self.delta)

    def spread(self, weights: Tensor) -> Tensor:
        """The sum over positives of weight x H(b - f_i), as a function of the logit b.

        Args:
            weights: w_i >= 0, shape (P,).

        Returns:
            For each bin the slope and, at the centre, the value of the line that the function is there,
            float64, shape (2, 2P + 1).
        """
        change = torch.zeros_like(self.edges)
        change[self.low] = weights.double() / (2 * self.delta)
        change[self.high] = -weights.double() / (2 * self.delta)
        slope = torch.cat([change.new_zeros(1), change.cumsum(0)])
        slope[-1:] = 0.0  # but for rounding it is
        # The value at the edge below: 0 at the first, then the rises of the bins passed.
        rises = slope[1:-1] * self.edges.diff()
        base = torch.cat([change.new_zeros(min(2, len(slope))), rises.cumsum(0)])
        below = torch.cat([self.edges[:1], self.edges])[: len(slope)]
        below = below - self.centre if len(self.edges) else torch.zeros_like(slope)
        return torch.stack([slope, base - slope * below])
