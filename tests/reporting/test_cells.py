"""Statistics over seeds, verdicts and agreement."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from suite.reporting.cells import Cell, Summary, agreement, improvement, paired, rounded, summarise, verdict


def test_summary_is_the_t_interval_of_the_mean() -> None:
    values = {0: 38.1, 1: 38.9, 2: 38.4, 5: 38.7}
    found = summarise(values)
    expected = stats.ttest_1samp(list(values.values()), 0).confidence_interval(0.95)
    assert found.n == 4
    assert found.spread == pytest.approx(np.std(list(values.values()), ddof=1))
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert summarise({3: 1.5}) == Summary(1.5, 1, None, None)
    assert summarise({}) is None


def test_paired_difference_uses_equal_seeds_only() -> None:
    ours, base = {0: 12.0, 1: 15.0, 2: 30.0}, {0: 10.0, 1: 13.5, 7: 0.0}
    found = paired(ours, base)
    expected = stats.ttest_rel([12.0, 15.0], [10.0, 13.5]).confidence_interval(0.95)
    assert found.mean == pytest.approx(1.75)
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert paired({0: 1.0}, {1: 1.0}) is None


def test_relative_improvement_is_per_seed_and_needs_a_baseline_above_zero() -> None:
    assert improvement({0: 44.4, 1: 11.0, 2: 1.0}, {0: 41.2, 1: 10.0, 2: 0.0}) == pytest.approx(
        {0: 100 * 3.2 / 41.2, 1: 10.0}
    )


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


def test_verdict_of_one_seed_and_without_numbers() -> None:
    assert verdict(Summary(39.2, 1, None, None), 38.7) == "close"
    assert verdict(None, 38.7) == ""
    assert verdict(Summary(39.2, 1, None, None), None) == ""


def cell(row: str, ours: float, paper: float | None, gain: Summary | None, paper_gain: float | None) -> Cell:
    by_seed = {0: ours}
    return Cell(
        row, "AP", "AP", "%", summarise(by_seed), by_seed=by_seed, difference=gain, published=paper,
        published_difference=paper_gain,
    )  # fmt: skip


def test_agreement_counts_signs_settled_cells_and_order() -> None:
    settled, open_ = Summary(2.0, 3, 0.1, (1.0, 3.0)), Summary(-1.0, 3, 2.0, (-4.0, 2.0))
    cells = [
        cell("base", 20, 35.7, None, None),
        cell("tie", 21, 35.7, Summary(1.0, 1, None, None), 0.0),  # the paper's tie says nothing
        cell("up", 22, 38.7, settled, 3.0),
        cell("down", 19, 39.2, open_, 3.5),
        cell("ours only", 30, None, settled, None),
    ]
    found = agreement(cells)
    assert (found.same_sign, found.opposite_sign, found.settled) == (1, 1, 1)
    # Published pairs without the tie: base<up, base<down, tie<up, tie<down, up<down; ours agree on two.
    assert (found.same_order, found.pairs) == (2, 5)


def test_rounded_is_json_with_six_decimals() -> None:
    value = {0: (math.pi, "x"), "n": [1, None, True]}
    assert json.loads(json.dumps(rounded(value))) == {"0": [3.141593, "x"], "n": [1, None, True]}
