"""The rule that settles claims: intervals, moderated variances, looks and families."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from suite.evaluation.contrasts import (
    ERROR_RATE,
    LOOKS,
    Look,
    adjusted_interval,
    decide,
    holm,
    holm_adjusted,
    looks_at,
    make_look,
    moderated,
    sequential_p,
)
from suite.experiments.schema import load_experiments

PROJECT = Path(__file__).resolve().parents[2]


def test_the_looks_share_the_error_rate() -> None:
    assert sum(LOOKS.values()) == pytest.approx(1)
    assert looks_at(1) == [] and looks_at(7) == [2, 3, 5] and looks_at(100) == list(LOOKS)


def test_an_interval_is_that_of_t() -> None:
    look = Look(3, 1.5, 0.3, 0.4, 7.5)
    assert look.interval(0.01) == pytest.approx(stats.t(7.5, 1.5, 0.5).interval(0.99))


def test_degrees_of_freedom_are_satterthwaites() -> None:
    # The textbook's case: two samples of different variance, 0.4 / 5 and 0.9 / 8, are Welch's test.
    look = make_look(5, 0.0, 0.4 / 5, 4, 0.9 / 8, 7)
    first = stats.norm.ppf(np.linspace(0.1, 0.9, 5))
    second = stats.norm.ppf(np.linspace(0.1, 0.9, 8))
    first *= math.sqrt(0.4 / first.var(ddof=1))
    second *= math.sqrt(0.9 / second.var(ddof=1))
    assert look.df == pytest.approx(stats.ttest_ind(first, second, equal_var=False).df)
    assert make_look(2, 0.0, 0.0, 3, 0.0, 9).df == 3


def test_equal_spreads_are_pooled_and_different_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    df, methods = 4, 200
    same = rng.chisquare(df, methods) / df
    better, total = moderated(same, df)
    assert total > 20 * df
    assert better.std() < 0.3 * same.std()
    twofold = same * np.where(np.arange(methods) % 2, 4.0, 1.0)
    better, total = moderated(twofold, df)
    assert df < total < 4 * df
    assert better[1::2].mean() / better[::2].mean() > 1.5


def test_moderated_variances_are_limmas() -> None:
    """Against Smyth's squeezeVar, computed by hand from its formulas with scipy's own trigamma."""
    values, df = np.array([0.2, 0.5, 4.0, 1.1, 0.05]), 3
    logs = np.log(values)
    excess = logs.var(ddof=1) - special_trigamma(df / 2)
    prior_df = 2 * stats_root(excess)
    from scipy.special import digamma

    prior = math.exp(
        logs.mean() - digamma(df / 2) + math.log(df / 2) + digamma(prior_df / 2) - math.log(prior_df / 2)
    )
    better, total = moderated(values, df)
    assert better == pytest.approx((prior_df * prior + df * values) / (prior_df + df))
    assert total == pytest.approx(min(prior_df + df, 15))


def special_trigamma(x: float) -> float:
    from scipy.special import polygamma

    return float(polygamma(1, x))


def stats_root(value: float) -> float:
    from scipy.optimize import brentq

    return float(brentq(lambda x: special_trigamma(x) - value, 1e-3, 1e3))


def test_methods_that_are_left_out_change_nothing() -> None:
    values = np.array([0.2, 0.5, 4.0, 1.1, 0.05])
    with_gap = np.insert(values, 2, np.nan)
    better, df = moderated(with_gap, 3)
    assert np.delete(better, 2) == pytest.approx(moderated(values, 3)[0])
    assert df == moderated(values, 3)[1]
    alone, df = moderated(np.array([0.7]), 3)
    assert (alone.tolist(), df) == ([0.7], 3)
    assert np.isfinite(moderated(np.array([0.0, 0.0, 0.3]), 1)[0]).all()


@pytest.mark.parametrize(
    ("interval", "decision"),
    [
        ((0.1, 2.0), "positive"), ((-2.0, -0.1), "negative"), ((-0.9, 0.9), "no difference"),
        ((0.1, 0.9), "no difference"), ((-0.5, 1.1), "open"), ((-1.1, 1.1), "open"),
        ((2.0, 1.0), "open"), ((math.nan, math.nan), "open"),
    ],
)  # fmt: skip
def test_an_interval_decides(interval: tuple[float, float], decision: str) -> None:
    assert decide(interval, margin=1.0) == decision


look = st.builds(
    lambda effect, seed, image, df: (effect, seed, image, df),
    st.floats(-4, 4), st.floats(0.05, 1), st.floats(0, 1), st.floats(2, 60),
)  # fmt: skip


@given(st.lists(look, min_size=1, max_size=len(LOOKS)), st.floats(0.2, 2))
def test_p_is_the_smallest_level_at_which_the_interval_decides(measured, margin) -> None:
    looks = [Look(k, *values) for k, values in zip(LOOKS, measured, strict=False)]
    p = sequential_p(looks, margin)
    assert 0 < p <= 1 or p == 0
    if 1e-6 < p < 0.9:
        # Two looks may contradict each other: then nothing is in both intervals, and the claim stays open.
        low, high = adjusted_interval(looks, p * 1.01)
        assert low > high or decide((low, high), margin) != "open"
        assert decide(adjusted_interval(looks, p * 0.99), margin) == "open"


def test_without_looks_or_spread_nothing_is_settled() -> None:
    assert sequential_p([], 1.0) == 1
    assert sequential_p([Look(2, 3.0, 0.0, 0.0, 5.0)], 1.0) == 1
    assert decide(adjusted_interval([], 0.05), 1.0) == "open"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(0, 5))
def test_holm_is_the_stepwise_procedure(p_values: list[float], unmeasured: int) -> None:
    family = len(p_values) + unmeasured
    rejected, order = set(), sorted(range(len(p_values)), key=p_values.__getitem__)
    for place, index in enumerate(order):
        if p_values[index] > ERROR_RATE / (family - place):
            break
        rejected.add(index)
    found = holm(p_values, family)
    for index, (p, adjusted) in enumerate(zip(p_values, found, strict=True)):
        if abs(adjusted.p - ERROR_RATE) > 1e-12:
            assert (adjusted.p <= ERROR_RATE) == (index in rejected) == (p <= adjusted.level)
    assert [one.p for one in found] == pytest.approx(
        holm_adjusted(np.array([p_values, p_values]), family)[1].tolist()
    )


@pytest.fixture(scope="module")
def simulation():
    """The benchmark's module; the test runs it on fewer reports."""
    spec = importlib.util.spec_from_file_location(
        "report_simulation", PROJECT / "benchmarks" / "report_simulation.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def claims(simulation):
    return simulation.shipped_claims(load_experiments(PROJECT / "experiments"))


REPORTS = 400
MOST = stats.binom.ppf(0.999, REPORTS, ERROR_RATE) / REPORTS
"""Reports with a false claim, of 400, if each had one with probability 0.05: more with probability 0.001."""


@pytest.mark.parametrize("scenario", ["none", "published", "mixed", "on the margin"])
@pytest.mark.parametrize(("seeds", "until"), [(3, False), (8, True)])
def test_at_most_5_percent_of_reports_settle_a_claim_falsely(
    simulation, claims, scenario: str, seeds: int, until: bool
) -> None:
    for twofold in (False, True):
        found = simulation.simulate(claims, scenario, REPORTS, seeds, until, twofold)
        print(scenario, "twofold" if twofold else "equal", seeds, "until settled" if until else "", found)
        assert found["falsely"] <= MOST
    if scenario == "published":
        assert found["right"] > 0.3


def test_the_simulation_notices_a_rule_that_errs(simulation, claims) -> None:
    """Looks that each take the whole error rate are the mistake that the shares prevent."""
    found = simulation.simulate(claims, "none", REPORTS, 8, True, looks=dict.fromkeys(range(2, 9), 1.0))
    assert found["falsely"] > MOST
