"""How sure a number is: over the evaluated images, and over training seeds.

Of a single number the two are told apart: :class:`ImageInterval` says what other images of the same kind
would have given with the same trained detector; :class:`Summary` what other trainings would have given on
the same images. A claim about methods has to hold for both: :mod:`suite.evaluation.contrasts`.
"""

import math
from collections.abc import Mapping
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
    - 80 categories as uneven as COCO's, 1,000 images: .85 / .93; on boxes of COCO's own: .73 / .94;
    - 6 categories, the rarest with 2 objects, 100 images: .84 / .82.

    ``benchmarks/interval_coverage.py`` simulates it on the boxes of any annotation file. It holds where
    categories have enough objects. AP of a category with few objects is itself too high, by
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
        spread: Sample standard deviation, or None with one seed.
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
    half = _quantile(len(values) - 1) * spread / math.sqrt(len(values))
    return Summary(mean, len(values), spread, (mean - half, mean + half))


def _quantile(df: float) -> float:
    """The quantile of Student's t that a two-sided interval ends at."""
    from scipy.special import stdtrit  # not at the top: it takes as long as a whole plan

    return float(stdtrit(df, (1 + CONFIDENCE) / 2))


def difference_of_means(by_seed: Mapping[int, float], baseline: Mapping[int, float]) -> Summary | None:
    """Summarise how much higher a number is than the baseline's, over new seeds of both.

    Equal seeds share the initial weights of common layers and the order of images, and yet do not make the
    difference of two methods vary less (``benchmarks/pairing.py``): the two are analysed as independent, by
    Student's t interval with a common variance.

    Returns:
        The difference of the means over the seeds that both have; ``n`` is their number and ``spread`` the
        standard deviation of the difference of two single trainings. None without a common seed.
    """
    common = sorted(by_seed.keys() & baseline.keys())
    ours, theirs = (np.array([one[seed] for seed in common], dtype=np.float64) for one in (by_seed, baseline))
    n = len(common)
    if not n:
        return None
    mean = float(ours.mean() - theirs.mean())
    if n == 1:
        return Summary(mean, 1, None, None)
    spread = math.sqrt(ours.var(ddof=1) + theirs.var(ddof=1))
    half = _quantile(2 * (n - 1)) * spread / math.sqrt(n)
    return Summary(mean, n, spread, (mean - half, mean + half))


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
