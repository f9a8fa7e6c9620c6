"""From a claim to the weighted sum of cells that it is about."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from suite.experiments.schema import Claim, Experiment
from suite.reporting.columns import ItemColumn


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of cells: the sum of rows[r] * columns[c] * cell(r, c).

    Attributes:
        rows: Label of a row -> its weight.
        columns: Label of a column -> its weight.
    """

    rows: dict[str, float]
    columns: dict[str, float]

    def of(self, value: Callable[[str, str], float]) -> float:
        """The sum for the cells that ``value`` gives by the labels of row and column."""
        return sum(
            weight * self.columns[column] * value(row, column)
            for row, weight in self.rows.items()
            for column in self.columns
        )


Published = Mapping[tuple[str, str], float | None]
"""Labels of a row and a column -> the published number."""


def contrast_of(
    experiment: Experiment, claim: Claim, columns: Sequence[ItemColumn], published: Published
) -> Contrast:
    """The weighted sum of cells that a claim is about, in percent; for a slope, per unit of aspect ratio.

    A trend is the least-squares slope of our rows on the published ones, times the published range: the AP
    between the worst and the best published row, by the line through ours.
    """
    labels = [column.label for column in columns]
    if claim.kind == "trend":
        place = claim.column or labels[0]
        known = {row.label: published.get((row.label, place)) for row in experiment.rows if row.method}
        x = {label: number for label, number in known.items() if number is not None}
        return Contrast(_slope_weights(x, scale=max(x.values()) - min(x.values())), {place: 1.0})
    assert claim.row is not None
    rows = {claim.row: 1.0, claim.over or experiment.baseline or "": -1.0}
    if claim.kind == "slope":
        ratios = {one.label: one.aspect_ratio or 1.0 for one in columns if one.is_category}
        return Contrast(rows, _slope_weights(ratios))
    if claim.kind == "gain":
        return Contrast(rows, {claim.column or labels[0]: 1.0})
    return Contrast(rows, {claim.last or labels[-1]: 1.0, claim.first or labels[0]: -1.0})


def _slope_weights(x: Mapping[str, float], scale: float = 1.0) -> dict[str, float]:
    """Weights of y such that their sum is the least-squares slope of y on x, times ``scale``."""
    values = np.array(list(x.values()), dtype=np.float64)
    away = values - values.mean()
    weights = scale * away / max(float((away**2).sum()), np.finfo(float).tiny)
    return dict(zip(x, weights.tolist(), strict=True))


def published_effect(contrast: Contrast, published: Published) -> float | None:
    """The contrast of the published numbers; None where one of them is missing."""
    if any(published.get((row, column)) is None for row in contrast.rows for column in contrast.columns):
        return None
    return contrast.of(lambda row, column: published[row, column] or 0.0)
