"""Is a difference there, absent, or open? Intervals for new seeds and new images, and the rule that settles.

A claim is a contrast: a weighted sum of cells, such as a row minus its baseline. Its estimate varies because
other seeds would train other detectors, and because other images would measure them otherwise. Both count:
what is settled holds for new seeds *and* new images of the same kind.

Many claims are looked at in one report, and again after more seeds were trained. :func:`sequential_p` and
:func:`holm` keep the probability that *any* of them is settled falsely at or below :data:`ERROR_RATE`;
``benchmarks/report_simulation.py`` shows it on whole reports of which the truth is known.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Decision = Literal["positive", "negative", "no difference", "open"]
Interval = tuple[float, float]

CONFIDENCE = 0.95
ERROR_RATE = 0.05
"""Largest probability that a report settles any of its claims falsely."""

LOOKS: Mapping[int, float] = {2: 0.05, 3: 0.20, 5: 0.30, 8: 0.25, 12: 0.12, 20: 0.08}
"""Number of seeds at which claims are looked at -> its share of the error rate. The shares sum to 1.

Chosen by ``benchmarks/report_simulation.py`` with published effects: at 5 seeds it settles 94 % of the claims
that a single look there would settle, and many of them already at 2 or 3.
"""


@dataclass(frozen=True)
class Look:
    """A contrast, measured with some number of seeds.

    Attributes:
        seeds: Number of seeds of each row: the first ones, in ascending order, that all its rows have.
        effect: The contrast of the means over these seeds.
        seed_error: Standard error of the effect over new seeds.
        image_error: Standard error of the effect over new images.
        df: Degrees of freedom of the whole standard error (Satterthwaite's approximation).
    """

    seeds: int
    effect: float
    seed_error: float
    image_error: float
    df: float

    @property
    def error(self) -> float:
        """Standard error of the effect over new seeds and new images."""
        return math.hypot(self.seed_error, self.image_error)

    def interval(self, level: float = 1 - CONFIDENCE) -> Interval:
        """The t interval that misses the truth with probability ``level``, in (0, 1)."""
        from scipy.special import stdtrit  # not at the top: it takes as long as a whole plan

        half = float(stdtrit(self.df, 1 - level / 2)) * self.error
        return self.effect - half, self.effect + half


def make_look(
    seeds: int,
    effect: float,
    seed_variance: float,
    seed_df: float,
    image_variance: float,
    image_df: float,
) -> Look:
    """A look from the variances of the effect over seeds and over images, and their degrees of freedom."""
    total = seed_variance + image_variance
    spread = seed_variance**2 / seed_df + image_variance**2 / image_df
    df = total**2 / spread if spread > 0 else min(seed_df, image_df)
    return Look(seeds, effect, math.sqrt(seed_variance), math.sqrt(image_variance), df)


def moderated(variances: Array, df: float) -> tuple[Array, Array]:
    """Variances of several methods, drawn towards what they have in common.

    With few seeds a method's own variance is hardly known, and one shared by all is wrong where methods
    spread differently. Empirical Bayes takes of both as much as the data ask for: Smyth, Linear Models and
    Empirical Bayes Methods (2004), Sec. 6.2, the prior's parameters by the moments of the logarithms.

    Args:
        variances: ``(..., M)`` sample variances of M methods, at least 0; NaN for a method that is left out.
        df: Their degrees of freedom, seeds - 1, one for all.

    Returns:
        The moderated variances, ``(..., M)``, and their degrees of freedom, ``(...)``: at most that of all
        methods together, at least a method's own.
    """
    from scipy.special import digamma, polygamma

    values = np.asarray(variances, dtype=np.float64)
    there = np.isfinite(values)
    n = np.maximum(there.sum(axis=-1), 1)
    # A variance of 0, as of two seeds that happen to agree, has no logarithm.
    floor = np.maximum(1e-5 * np.nanmax(values, axis=-1), np.finfo(float).tiny)
    logs = np.where(there, np.log(np.fmax(values, floor[..., None])), 0.0)
    mean, mean_log = np.nansum(values, axis=-1) / n, logs.sum(axis=-1) / n
    squares = (np.where(there, logs - mean_log[..., None], 0.0) ** 2).sum(axis=-1)
    excess = squares / np.maximum(n - 1, 1) - polygamma(1, df / 2)
    differ = (excess > 0) & (n > 1)
    prior_df = 2 * _inverse_trigamma(np.where(differ, excess, 1.0))
    centre = mean_log - digamma(df / 2) + math.log(df / 2)
    prior = np.where(differ, np.exp(centre + digamma(prior_df / 2) - np.log(prior_df / 2)), mean)
    share = np.where(differ, df / (df + prior_df), 0.0)[..., None]
    result = share * values + (1 - share) * prior[..., None]
    return result, np.minimum(np.where(differ, df + prior_df, np.inf), n * df)


def _inverse_trigamma(values: Array) -> Array:
    """Solve trigamma(x) = value by Newton's method on 1 / trigamma (Smyth 2004, appendix)."""
    from scipy.special import polygamma

    x = 0.5 + 1 / values
    for _ in range(30):
        trigamma = polygamma(1, x)
        step = trigamma * (1 - trigamma / values) / polygamma(2, x)
        x = x + step
        if np.all(-step / x < 1e-8):
            break
    return np.asarray(x)


def edge_levels(effect: Array, error: Array, df: Array, margin: Array | float) -> Array:
    """The levels at which the ends of a t interval pass 0 and the margin.

    Args:
        effect, error, df: Of a look, any shape.
        margin: Differences of smaller size count as none.

    Returns:
        ``(4, ...)``: the smallest level at which the interval is above 0, below 0, below the margin and above
        the negative margin; infinite where it is at none.
    """
    from scipy.special import stdtr

    distance = np.stack(np.broadcast_arrays(effect, -effect, margin - effect, margin + effect))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(distance > 0, 2 * stdtr(df, -distance / error), np.inf)


def settling_level(levels: Array) -> Array:
    """The level at which an interval is above 0, below 0 or within the margin, at most 1.

    Args:
        levels: ``(4, ...)`` as :func:`edge_levels` gives them, of one look or the least of several.
    """
    above, below, under, over = levels
    return np.minimum(1.0, np.minimum(np.minimum(above, below), np.maximum(under, over)))


def looks_at(seeds: int) -> list[int]:
    """The numbers of seeds at which this many seeds are looked at."""
    return [k for k in LOOKS if k <= seeds]


def sequential_p(looks: Sequence[Look], margin: float) -> float:
    """The smallest level at which looks at a contrast settle it, whatever number of looks there are.

    Look k has the share ``LOOKS[k]`` of the level: the intersection of the looks' intervals, each at its
    share, misses the truth with at most the level's probability, by the union bound; under any rule that says
    when to stop. A claim is settled where the intersection is above 0, below 0, or within the margin.

    Args:
        looks: Of one contrast.
        margin: Differences of smaller size count as none.

    Returns:
        In (0, 1]; 1 where nothing varies or there is no look.
    """
    if not looks or min(look.error for look in looks) == 0:
        return 1.0
    columns = zip(*((look.effect, look.error, look.df) for look in looks), strict=True)
    effect, error, df = (np.array(column) for column in columns)
    shares = np.array([LOOKS[look.seeds] for look in looks])
    return float(settling_level((edge_levels(effect, error, df, margin) / shares).min(axis=1)))


def adjusted_interval(looks: Sequence[Look], level: float) -> Interval:
    """What the looks have in common, each at its share of the level; both ends NaN without a look."""
    ends = [look.interval(level * LOOKS[look.seeds]) for look in looks] or [(math.nan, math.nan)]
    return max(low for low, _ in ends), min(high for _, high in ends)


def decide(interval: Interval, margin: float) -> Decision:
    """What an interval settles. Differences within the margin count as none, also where they are not 0."""
    low, high = interval
    if not low <= high:
        return "open"
    if -margin < low and high < margin:
        return "no difference"
    return "positive" if low > 0 else "negative" if high < 0 else "open"


@dataclass(frozen=True)
class Adjusted:
    """A p-value within its family.

    Attributes:
        p: Holm's adjusted p-value, in [0, 1]: at most :data:`ERROR_RATE` where the claim is settled.
        level: The level at which the claim's own interval is looked at.
    """

    p: float
    level: float


def holm_adjusted(p_values: Array, family: int) -> Array:
    """Adjusted p-values: claims with at most :data:`ERROR_RATE` are settled, in all at that error rate.

    Holm, A Simple Sequentially Rejective Multiple Test Procedure (1979): the smallest p-value counts
    ``family`` times, the next ``family`` - 1 times, and so on, and never less than one before it.

    Args:
        p_values: ``(..., C)`` in [0, 1].
        family: Number of claims that could be settled, at least C.

    Returns:
        ``(..., C)`` in [0, 1].
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, axis=-1, kind="stable")
    times = family - np.arange(values.shape[-1])
    ordered = np.maximum.accumulate(np.take_along_axis(values, order, axis=-1) * times, axis=-1)
    result = np.empty_like(values)
    np.put_along_axis(result, order, np.minimum(1.0, ordered), axis=-1)
    return result


def holm(p_values: Sequence[float], family: int) -> list[Adjusted]:
    """:func:`holm_adjusted`, with the level at which each claim's interval is looked at.

    That is the error rate by the times that the p-value counts, for claims that are not settled by those of
    the first of them: so an interval at its level settles a claim where the adjusted p-value does.
    """
    size = max(len(p_values), family)
    adjusted = holm_adjusted(np.array(p_values), size).tolist()
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    settled = sum(p <= ERROR_RATE for p in adjusted)
    return [
        Adjusted(p, ERROR_RATE / (size - min(order.index(index), settled)))
        for index, p in enumerate(adjusted)
    ]
