"""Relative improvements, agreement with the paper, rounding."""

import json
import math

import pytest

from suite.evaluation.uncertainty import Summary, summarise
from suite.reporting.cells import Cell, agreement, improvement, rounded


def test_relative_improvement_is_per_seed_and_needs_a_baseline_above_zero() -> None:
    assert improvement({0: 44.4, 1: 11.0, 2: 1.0}, {0: 41.2, 1: 10.0, 2: 0.0}) == pytest.approx(
        {0: 100 * 3.2 / 41.2, 1: 10.0}
    )


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
