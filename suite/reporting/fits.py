"""Gain of each category against its shape: the line of a scatter figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from suite.evaluation.uncertainty import Summary, summarise
from suite.experiments.schema import Experiment
from suite.reporting.cells import Cell


@dataclass(frozen=True)
class Fit:
    """Least-squares line of the gain in AP of each category against its mean aspect ratio (LTM Fig. 7).

    Attributes:
        row: Label of the row whose gain it is.
        slope: Gain in AP (percent) per unit of aspect ratio.
        intercept: Gain in AP (percent) at aspect ratio 0.
        pearson, spearman: Correlations over categories, in [-1, 1]; None where all gains are equal.
        n: Number of categories.
        slope_over_seeds: The slope of each seed's own line, summarised.
    """

    row: str
    slope: float
    intercept: float
    pearson: float | None
    spearman: float | None
    n: int
    slope_over_seeds: Summary | None


def fit_gains(experiment: Experiment, ratios: Mapping[str, float], cells: Sequence[Cell]) -> list[Fit]:
    """Fit a line for each row that has gains in at least three categories.

    Args:
        experiment: Rows and baseline.
        ratios: Mean aspect ratio, at least 1, of each column's category.
        cells: AP of each row and category.
    """
    baseline = {cell.column: cell for cell in cells if cell.row == experiment.baseline}
    fits = []
    for row in experiment.rows:
        points = [cell for cell in cells if cell.row == row.label and cell.difference is not None]
        if len(points) < 3:
            continue
        x = np.array([ratios[cell.column] for cell in points], dtype=np.float64)
        seeds = sorted(set.intersection(*(set(c.by_seed) & set(baseline[c.column].by_seed) for c in points)))
        gains = np.array([[c.by_seed[s] - baseline[c.column].by_seed[s] for c in points] for s in seeds])
        fits.append(_fit(row.label, x, gains, seeds))
    return fits


def _fit(row: str, x: npt.NDArray[Any], gains: npt.NDArray[Any], seeds: Sequence[int]) -> Fit:
    """Fit lines; ``x`` is (categories,), ``gains`` (seeds, categories)."""
    mean = gains.mean(axis=0)
    slope, intercept = (float(value) for value in np.polyfit(x, mean, 1))
    slopes = {seed: float(np.polyfit(x, gain, 1)[0]) for seed, gain in zip(seeds, gains, strict=True)}
    frame = pd.DataFrame({"x": x, "y": mean})
    pearson, spearman = _correlation(frame), _correlation(frame.rank())
    return Fit(row, slope, intercept, pearson, spearman, len(x), summarise(slopes))


def _correlation(frame: pd.DataFrame) -> float | None:
    flat = (frame.max() == frame.min()).any()
    return None if flat else float(frame["x"].corr(frame["y"]))
