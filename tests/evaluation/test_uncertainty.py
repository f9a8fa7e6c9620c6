"""Intervals over images by simulation; statistics over seeds against scipy."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from suite.evaluation.bootstrap import WeightedAP, resample
from suite.evaluation.matches import AreaMatches, Matches
from suite.evaluation.uncertainty import (
    SPREAD_BY_AP,
    THRESHOLDS,
    Summary,
    bootstrap_p,
    difference_of_means,
    reflected,
    summarise,
    verdict,
)


def simulate(rng: np.random.Generator, n_images: int) -> list[Matches]:
    """Two detectors of one category on the same images, matched at two IoU thresholds.

    Images differ in difficulty, which moves both detectors; the second one is better. An object is found or
    not, its box has a quality that decides at which thresholds it is matched, and its score follows that
    quality loosely. False detections have lower scores on average.
    """
    easy = rng.normal(size=n_images)
    objects = rng.poisson(1.5, n_images)
    of_object = np.repeat(np.arange(n_images), objects)
    shared = rng.normal(size=len(of_object))
    found = []
    for better in (0.0, 0.15):
        image = of_object
        quality = 0.7 * (easy[image] + shared + rng.normal(size=len(image))) + better
        seen = rng.random(len(image)) < 1 / (1 + np.exp(-(1 + better + easy[image])))
        image, quality = image[seen], quality[seen]
        false = np.repeat(np.arange(n_images), rng.poisson(2, n_images))
        bits = (quality > -0.5).astype(np.uint16) + 2 * (quality > 0.7).astype(np.uint16)
        score = np.r_[0.8 * quality + rng.normal(size=len(image)), rng.normal(-1, 1, len(false))]
        order = np.argsort(-score, kind="stable")
        n = len(order)
        area = AreaMatches(
            true=np.r_[bits, np.zeros(len(false), np.uint16)][order],
            ignored=np.zeros(n, np.uint16),
            in_range=np.ones(n, bool),
            objects=objects[:, None].astype(np.uint16),
        )
        image = np.r_[image, false][order].astype(np.int32)
        ids, zeros = np.arange(n_images), np.zeros(n, np.int32)
        found.append(Matches(ids, np.array([1]), image, zeros, zeros.astype(np.uint8), {"all": area}, 2))
    return found


def levels_and_difference(pair: list[Matches], weights: np.ndarray) -> np.ndarray:
    """``(2, B)``: AP of the first detector, and how much higher that of the second is."""
    first, second = (WeightedAP(one)(weights).mean(axis=(1, 2)) for one in pair)
    return np.stack([first, second - first])


@pytest.fixture(scope="module")
def population() -> np.ndarray:
    """AP and difference on so many images that they are known."""
    n = 300_000
    return levels_and_difference(simulate(np.random.default_rng(77), n), np.ones((1, n), np.uint16))[:, 0]


@pytest.mark.parametrize(("n_images", "repetitions"), [(100, 1000), (1000, 300)])
def test_a_95_percent_interval_contains_the_truth_in_95_percent(
    population: np.ndarray, n_images: int, repetitions: int
) -> None:
    rng = np.random.default_rng(1)
    hits = np.zeros(2)
    below = np.zeros(2)
    once = np.ones((1, n_images), np.uint16)
    for seed in range(repetitions):
        weights = np.concatenate([once, resample(n_images, 199, seed)])
        for row, values in enumerate(levels_and_difference(simulate(rng, n_images), weights)):
            interval = reflected(values[0], values[1:])
            hits[row] += interval.low <= population[row] <= interval.high
            below[row] += interval.high < population[row]
    coverage = hits / repetitions
    print(n_images, "images: coverage of AP and of the difference", coverage, "too low", below / repetitions)
    assert (coverage >= 0.92).all() and (coverage <= 0.98).all()


def test_reflected_is_that_of_scipy() -> None:
    data = np.random.default_rng(0).exponential(size=60)
    reference = stats.bootstrap(
        (data,), np.mean, n_resamples=20_000, method="basic", rng=np.random.default_rng(1)
    )
    found = reflected(data.mean(), resample(60, 20_000, seed=2) @ data / 60)
    low, high = reference.confidence_interval
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * reference.standard_error)


def test_reflected_turns_the_bias_of_the_replicates_around() -> None:
    replicates = np.linspace(0.4, 0.6, 999)  # all above the estimate but the first quarter
    found = reflected(0.45, replicates)
    assert (found.low, found.high) == pytest.approx((0.305, 0.495), abs=1e-3)


@given(
    st.lists(st.floats(-1, 1, allow_nan=False), min_size=20, max_size=60),
    st.floats(-0.5, 0.5, allow_nan=False),
)
def test_p_is_where_the_reflected_interval_starts_to_contain_0(values: list[float], estimate: float) -> None:
    replicates = np.array(values)
    p = bootstrap_p(estimate, replicates)
    assert 0 < p <= 1
    step = 2 / (len(values) + 1)
    if p < 1:
        out = reflected(estimate, replicates, confidence=1 - p)
        assert out.low >= -1e-9 or out.high <= 1e-9
    if step < p < 1:
        contains = reflected(estimate, replicates, confidence=1 - (p - step))
        assert contains.low <= 1e-9 and contains.high >= -1e-9


def test_without_enough_defined_replicates_there_is_no_interval() -> None:
    half = np.r_[np.full(60, np.nan), np.linspace(0, 1, 40)]
    assert reflected(0.5, half) is None
    assert bootstrap_p(0.5, half) is None
    assert reflected(np.nan, np.linspace(0, 1, 100)) is None
    most = np.r_[np.full(20, np.nan), np.linspace(0, 1, 80)]
    assert reflected(0.5, most).replicates == 80


def test_replicates_that_never_vary() -> None:
    found = reflected(0.0, np.zeros(100))
    assert (found.low, found.high, found.standard_error) == (0, 0, 0)
    assert bootstrap_p(0.0, np.zeros(100)) == 1
    assert bootstrap_p(0.2, np.full(100, 0.2)) == pytest.approx(2 / 101)


def test_summary_is_the_t_interval_of_the_mean() -> None:
    values = {0: 38.1, 1: 38.9, 2: 38.4, 5: 38.7}
    found = summarise(values)
    expected = stats.ttest_1samp(list(values.values()), 0).confidence_interval(0.95)
    assert found.n == 4
    assert found.spread == pytest.approx(np.std(list(values.values()), ddof=1))
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert summarise({3: 1.5}) == Summary(1.5, 1, None, None)
    assert summarise({}) is None


def test_a_difference_is_that_of_two_independent_samples() -> None:
    ours, base = {0: 12.0, 1: 15.0, 2: 30.0, 4: 13.0}, {0: 10.0, 1: 13.5, 4: 13.0, 7: 0.0}
    found = difference_of_means(ours, base)
    expected = stats.ttest_ind([12.0, 15.0, 13.0], [10.0, 13.5, 13.0])  # the seeds that both have
    interval = expected.confidence_interval(0.95)
    assert found.n == 3
    assert found.mean == pytest.approx(expected.statistic * expected._standard_error)
    assert found.interval == pytest.approx((interval.low, interval.high))
    assert difference_of_means({0: 1.0}, {1: 1.0}) is None
    assert difference_of_means({0: 3.0}, {0: 1.0}) == Summary(2.0, 1, None, None)


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ((38.5, 38.9), "reproduced"),
        ((38.4, 39.0), "reproduced"),  # 0.3 still counts
        ((39.05, 39.25), "close"),
        ((38.5, 39.2), "inconclusive"),
        ((39.4, 40.0), "differs"),
        ((37.0, 40.0), "inconclusive"),
    ],
)
def test_verdict_against_38_7(interval: tuple[float, float], expected: str) -> None:
    low, high = interval
    assert verdict(Summary((low + high) / 2, 3, 0.1, interval), 38.7) == expected


def test_one_seed_or_a_missing_number_gives_no_verdict() -> None:
    assert verdict(Summary(38.7, 1, None, None), 38.7) == "one seed"
    assert verdict(None, 38.7) == ""
    assert verdict(Summary(39.2, 1, None, None), None) == ""
    assert verdict(Summary(39.2, 3, 0.1, (39.1, 39.3)), 38.7, "NR") == ""


@pytest.mark.parametrize(
    ("metric", "gap", "expected"),
    [
        ("AP", 0.3, "reproduced"), ("AP", 0.31, "close"), ("AP", 0.6, "close"), ("AP", 0.61, "differs"),
        ("AP50", 0.5, "reproduced"), ("AP50", 0.51, "close"), ("AP50", 1.0, "close"),
        ("AP50", 1.01, "differs"),
        ("APL", 0.6, "reproduced"), ("APL", 0.61, "close"), ("APL", 1.3, "close"), ("APL", 1.31, "differs"),
    ],
)  # fmt: skip
def test_each_metric_has_its_own_thresholds(metric: str, gap: float, expected: str) -> None:
    for sign in (-1, 1):
        level = 40 + sign * gap
        assert verdict(Summary(level, 3, 0.0, (level, level)), 40, metric) == expected


def test_thresholds_are_two_and_four_spreads() -> None:
    for metric, (reproduced, close) in THRESHOLDS.items():
        spread = 0.15 * SPREAD_BY_AP[metric]
        assert reproduced == pytest.approx(2 * spread, abs=0.05)
        assert close == pytest.approx(4 * spread, abs=0.05)


def test_the_guide_names_the_thresholds(project: Path) -> None:
    lines = (project / "docs" / "how-to" / "paper-scale.md").read_text().splitlines()
    for start, place in (("| reproduced up to", 0), ("| close up to", 1)):
        (line,) = [line for line in lines if line.startswith(start)]
        assert [float(cell) for cell in line.split("|")[2:-1]] == [row[place] for row in THRESHOLDS.values()]
