"""How sure a number is: over the evaluated images, and over training seeds.

The two are different sources and are never mixed into one interval. :class:`ImageInterval` says what other
images of the same kind would have given with the same trained detector; :class:`Summary` what other trainings
would have given on the same images.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

CONFIDENCE = 0.95
REPRODUCED, CLOSE = 0.3, 0.6
"""Largest differences in AP to a published number that count as reproduced and as close. On COCO one
configuration spreads by about 0.1 to 0.15 AP (standard deviation over seeds): they are two and four of these.
"""

SPREAD_BY_AP = {"AP": 1.0, "AP50": 1.6, "AP75": 1.8, "APS": 1.8, "APM": 1.7, "APL": 2.1}
"""Standard deviation of a metric over seeds, as a multiple of AP's: it rests on fewer objects or thresholds.

No published repetitions with all six metrics are known that would do to estimate these from. They are
simulated by ``benchmarks/metric_spread.py`` on boxes like val2017's, with noise that gives RetinaNet's levels
and a standard deviation of AP of 0.13 (40 trainings). Half the noise of the scores, or a third of that of the
boxes, moves them within 1.2 to 1.6 (AP50), 1.7 to 2.0 (AP75), 1.7 to 1.9 (APS, APM) and 2.0 to 2.5 (APL)."""

THRESHOLDS = {
    metric: (round(REPRODUCED * ratio, 1), round(CLOSE * ratio, 1)) for metric, ratio in SPREAD_BY_AP.items()
}
"""Metric on all images -> largest differences, in percent, that count as reproduced and as close."""

ONE_SEED: Literal["one seed"] = "one seed"
"""Stands where a verdict would, if there is no spread over seeds to judge by."""

MOST_SEEDS = 100
"""More additional seeds than this are not worth counting."""


@dataclass(frozen=True)
class ImageInterval:
    """A number with its uncertainty over images.

    Attributes:
        estimate: The number on all images.
        low, high: Interval for the number on the population that the images were drawn from.
        standard_error: Standard deviation of the replicates.
        replicates: Replicates in which the number is defined; the interval rests on these.
    """

    estimate: float
    low: float
    high: float
    standard_error: float
    replicates: int


def _defined(estimate: float, replicates: Array) -> Array | None:
    """The finite replicates; None where there are too few of them for an interval."""
    values = np.asarray(replicates, dtype=np.float64)
    kept = values[np.isfinite(values)]
    return kept if math.isfinite(estimate) and len(kept) > max(1, len(values) / 2) else None


def reflected(estimate: float, replicates: Array, confidence: float = CONFIDENCE) -> ImageInterval | None:
    """The reflected ("basic") bootstrap interval, [2 e - q_high, 2 e - q_low]: the suite's default.

    Davison and Hinkley, Bootstrap Methods and their Application, Sec. 5.2. AP of resampled images is too
    high, as AP of few images is: the percentiles of the replicates err twice in the same direction. Reflected
    at the estimate ``e`` they make up for it.

    Share of simulated data sets whose nominal 95 % interval contains the truth, of AP / of the difference
    between two detectors (1 category: a test; the others from 120 to 2,000 data sets each):

    - 1 category, 100 images: .93 / .94; 1,000 images: .95 / .96;
    - 80 categories as uneven as COCO's, 1,000 images: .85 / .93;
    - 6 categories, the rarest with 2 objects, 100 images: .84 / .82.

    It holds where categories have enough objects. AP of a category with few objects is itself too high, by
    more than reflection makes up for; with some more objects that cancels in a difference. The BCa interval
    was no better (.94 / .95, .95 / .95, .80 / .93, .86 / .82) and needs a jackknife; percentiles are worse
    (.49 for AP with 80 categories).

    Args:
        estimate: The number on all images; NaN where undefined.
        replicates: The number on resampled images, NaN where undefined there.
        confidence: Nominal coverage, in (0, 1).

    Returns:
        None where the estimate or half of the replicates are undefined.
    """
    kept = _defined(estimate, replicates)
    if kept is None:
        return None
    tail = (1 - confidence) / 2
    # The (R + 1) p-th smallest: R replicates leave R + 1 gaps for the next one to fall in.
    high, low = 2 * estimate - np.quantile(kept, [tail, 1 - tail], method="weibull")
    return ImageInterval(estimate, float(low), float(high), float(kept.std(ddof=1)), len(kept))


def bootstrap_p(estimate: float, replicates: Array) -> float | None:
    """Two-sided p of "the difference is 0", from the interval that :func:`reflected` gives.

    With R replicates it is the smallest p, in steps of 2 / (R + 1), for which the reflected interval of
    confidence 1 - p leaves 0 out: twice the share of replicates that lie at least as far from the estimate,
    on the other side, as 0 does. It is never below 2 / (R + 1).

    Returns:
        In (0, 1]; None where :func:`reflected` is.
    """
    kept = _defined(estimate, replicates)
    if kept is None:
        return None
    other = 2 * estimate - kept
    least = min(int((other <= 0).sum()), int((other >= 0).sum()))
    return min(1.0, 2 * (least + 1) / (len(kept) + 1))


@dataclass(frozen=True)
class Summary:
    """Mean of a number over training seeds.

    Attributes:
        mean: Their mean.
        n: Number of seeds.
        spread: Sample standard deviation (n - 1), or None with one seed.
        interval: 95 % t interval of the mean, or None with one seed.
    """

    mean: float
    n: int
    spread: float | None
    interval: tuple[float, float] | None


def summarise(by_seed: Mapping[int, float]) -> Summary | None:
    """Summarise a number over seeds; None without any."""
    values = np.array(list(by_seed.values()), dtype=np.float64)
    if not len(values):
        return None
    mean = float(values.mean())
    if len(values) == 1:
        return Summary(mean, 1, None, None)
    spread = float(values.std(ddof=1))
    half = _half_width(spread, len(values))
    return Summary(mean, len(values), spread, (mean - half, mean + half))


def _half_width(spread: float, n: int) -> float:
    """Half the width of the t interval of a mean of n."""
    from scipy.special import stdtrit  # not at the top: it takes as long as a whole plan

    return float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * spread / math.sqrt(n)


def paired(by_seed: Mapping[int, float], baseline: Mapping[int, float]) -> Summary | None:
    """Summarise the difference to the baseline on equal seeds.

    Equal seeds share the initial weights of common layers and the order of images, so their difference varies
    less than either of them.
    """
    return summarise({seed: by_seed[seed] - baseline[seed] for seed in by_seed if seed in baseline})


def paired_t_p(difference: Summary | None) -> float | None:
    """Two-sided p of the paired t test of "the difference is 0 on average over seeds".

    Args:
        difference: As :func:`paired` gives it.

    Returns:
        In [0, 1]; None with fewer than two seeds, or where all differences are 0.
    """
    if difference is None or difference.spread is None:
        return None
    if difference.spread == 0:
        return None if difference.mean == 0 else 0.0
    t = difference.mean / (difference.spread / math.sqrt(difference.n))
    from scipy.special import stdtr

    return float(2 * stdtr(difference.n - 1, -abs(t)))


def sign_test(by_seed: Mapping[int, float], baseline: Mapping[int, float]) -> float | None:
    """Two-sided p of the exact sign test on equal seeds; seeds without a difference are left out.

    With n seeds it is at least 2 / 2^n: 0.25 with three, 0.0625 with five.

    Returns:
        In (0, 1]; None where no seed differs.
    """
    differences = [by_seed[seed] - baseline[seed] for seed in by_seed if seed in baseline]
    up, down = sum(one > 0 for one in differences), sum(one < 0 for one in differences)
    if not up + down:
        return None
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(up, down), up + down, 0.5)))


def verdict(summary: Summary | None, published: float | None, metric: str = "AP") -> str:
    """Judge our number against one published for the same split, at the paper's own scale.

    ``reproduced``, ``close`` or ``differs`` where the whole 95 % interval over seeds is within the metric's
    :data:`THRESHOLDS`, between them or beyond; ``inconclusive`` where it covers two of these.

    Returns:
        :data:`ONE_SEED` for one seed; an empty text where a number is missing or the metric has no
        thresholds.
    """
    if summary is None or published is None or metric not in THRESHOLDS:
        return ""
    if summary.interval is None:
        return ONE_SEED
    low, high = summary.interval
    # The difference's size is smallest inside the interval where the interval contains the published number.
    nearest_gap = max(0.0, low - published, published - high)
    farthest_gap = max(abs(low - published), abs(high - published))
    verdicts = {_grade(gap, metric) for gap in (nearest_gap, farthest_gap)}
    return verdicts.pop() if len(verdicts) == 1 else "inconclusive"


def _grade(gap: float, metric: str) -> str:
    gap = round(gap, 9)  # 39.0 - 38.7 is 0.3 to the reader
    reproduced, close = THRESHOLDS[metric]
    return "reproduced" if gap <= reproduced else "close" if gap <= close else "differs"


def verdict_boundaries(published: float, metric: str = "AP") -> tuple[float, ...]:
    """The levels at which the verdict against a published number changes."""
    return tuple(published + sign * gap for gap in THRESHOLDS[metric] for sign in (-1, 1))


def more_seeds(summary: Summary | None, boundaries: Sequence[float] = (0.0,)) -> int | None:
    """How many more seeds would settle on which side of the boundaries the mean is.

    With n seeds, mean m and standard deviation s, the half width of the t interval of n' seeds is
    h(n') = t(n' - 1) s / sqrt(n'), t(k) being the 0.975 quantile of Student's t with k degrees of freedom.
    The distance to settle is d = min |m - boundary|. The answer is the smallest n' - n with h(n') <= d, m and
    s being taken to stay as they are: an expectation, no promise.

    Args:
        summary: A mean over seeds, or a paired difference.
        boundaries: 0 for a difference; :func:`verdict_boundaries` for a verdict.

    Returns:
        0 where it is settled; :data:`MOST_SEEDS` + 1 where more than :data:`MOST_SEEDS` are needed; None
        where no number of seeds would settle it (the mean is on a boundary) or none can be told (one seed).
    """
    if summary is None or summary.spread is None:
        return None
    distance = round(min(abs(summary.mean - boundary) for boundary in boundaries), 9)
    if distance == 0:
        return None
    for more in range(MOST_SEEDS + 1):
        if _half_width(summary.spread, summary.n + more) <= distance:
            return more
    return MOST_SEEDS + 1


def more_seeds_text(summary: Summary | None, boundaries: Sequence[float] = (0.0,)) -> str:
    """:func:`more_seeds` in words."""
    if summary is None or summary.spread is None:
        return "a second seed is needed before this can be told"
    more = more_seeds(summary, boundaries)
    if more is None:
        return "no number of seeds would settle it: the mean is on the boundary"
    if more > MOST_SEEDS:
        return f"more than {MOST_SEEDS} more seeds would be needed"
    return "settled" if more == 0 else f"about {more} more seed{'s' if more > 1 else ''} would settle it"
