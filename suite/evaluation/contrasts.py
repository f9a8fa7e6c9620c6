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

LOOKS: Mapping[int, float] = {
    2: 0.05, 3: 0.20, 4: 0.10, 5: 0.30, 6: 0.05, 8: 0.15, 10: 0.06, 15: 0.05, 20: 0.04,
}  # fmt: skip
"""Number of seeds at which claims are looked at -> its share of the error rate. The shares sum to 1."""


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


def moderated(variances: Array, df: Array | float) -> tuple[Array, Array]:
    """Variances of several methods, drawn towards what they have in common.

    With few seeds a method's own variance is hardly known, and one shared by all is wrong where methods
    spread differently. Empirical Bayes takes of both as much as the data ask for: Smyth, Linear Models and
    Empirical Bayes Methods (2004), Sec. 6.2, the prior's parameters by the moments of the logarithms.

    Args:
        variances: ``(..., M)`` sample variances of M methods, at least 0.
        df: Their degrees of freedom, seeds - 1, one for all.

    Returns:
        The moderated variances, ``(..., M)``, and their degrees of freedom, ``(...)``: at most that of all
        methods together, at least a method's own.
    """
    from scipy.special import digamma, polygamma

    values = np.asarray(variances, dtype=np.float64)
    methods = values.shape[-1]
    own = np.broadcast_to(np.asarray(df, dtype=np.float64), values.shape[:-1])
    mean = values.mean(axis=-1)
    if methods < 2:
        return values, own
    # A variance of 0, as of two seeds that happen to agree, has no logarithm.
    floor = np.maximum(1e-5 * np.median(values, axis=-1), np.finfo(float).tiny)
    logs = np.log(np.maximum(values, floor[..., None]))
    centre = logs.mean(axis=-1) - digamma(own / 2) + np.log(own / 2)
    excess = logs.var(axis=-1, ddof=1) - polygamma(1, own / 2)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        prior_df = np.where(excess > 0, 2 * _inverse_trigamma(np.maximum(excess, 1e-12)), np.inf)
        prior = np.where(
            np.isfinite(prior_df), np.exp(centre + digamma(prior_df / 2) - np.log(prior_df / 2)), mean
        )
        share = np.where(np.isfinite(prior_df), own / (own + prior_df), 0.0)[..., None]
    result = share * values + (1 - share) * prior[..., None]
    return result, np.minimum(own + prior_df, methods * own)


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


def sequential_p(effect: Array, error: Array, df: Array, weights: Array, margin: Array | float) -> Array:
    """The smallest level at which looks at a contrast settle it, whatever number of looks there are.

    Look k has the level's share ``weights[k]``: the intersection of the looks' intervals, each at its share
    of the level, misses the truth with at most that probability, by the union bound; under any rule that
    says when to stop. A claim is settled where the intersection is above 0, below 0, or within the margin.

    Args:
        effect, error, df: ``(..., L)`` of the looks that there are.
        weights: ``(L,)`` of these, out of :data:`LOOKS`.
        margin: Differences of smaller size count as none; broadcast to ``(...)``.

    Returns:
        ``(...)`` in (0, 1].
    """
    from scipy.special import stdtr

    edge = np.asarray(margin, dtype=np.float64)[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):

        def level(distance: Array) -> Array:
            """The smallest level at which one of the looks ends nearer than this many AP to its effect."""
            p = np.where(distance > 0, 2 * stdtr(df, -distance / error), np.inf)
            return np.asarray(np.nanmin(p / weights, axis=-1))

        away_from_0 = np.minimum(level(effect), level(-effect))
        within = np.maximum(level(edge - effect), level(edge + effect))
    return np.minimum(1.0, np.minimum(away_from_0, within))


def looks_at(seeds: int) -> list[int]:
    """The numbers of seeds at which this many seeds are looked at."""
    return [k for k in LOOKS if k <= seeds]


def p_of(looks: Sequence[Look], margin: float) -> float:
    """:func:`sequential_p` of one contrast; 1 where nothing varies or there is no look."""
    if not looks or min(look.error for look in looks) == 0:
        return 1.0
    columns = zip(*((look.effect, look.error, look.df) for look in looks), strict=True)
    effect, error, df = (np.array(column) for column in columns)
    return float(sequential_p(effect, error, df, np.array([LOOKS[look.seeds] for look in looks]), margin))


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


def holm(p_values: Sequence[float], family: int | None = None) -> list[Adjusted]:
    """Adjust p-values so that any false one among them has at most the probability :data:`ERROR_RATE`.

    Holm, A Simple Sequentially Rejective Multiple Test Procedure (1979): the smallest p-value is held
    against ERROR_RATE / family, the next against ERROR_RATE / (family - 1), and so on, until one is larger.

    Args:
        p_values: In [0, 1].
        family: Number of claims that could be settled, those not measured included; by default as many as
            there are p-values.
    """
    size = max(len(p_values), family or 0)
    found = [Adjusted(1.0, ERROR_RATE)] * len(p_values)
    least, open_level = 0.0, 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (size - place) * p_values[index]))
        if least > ERROR_RATE and not open_level:
            open_level = ERROR_RATE / (size - place)
        found[index] = Adjusted(least, open_level or ERROR_RATE / (size - place))
    return found
