"""Relative improvements, rounding."""

import json
import math

import pytest

from suite.reporting.cells import improvement, rounded


def test_relative_improvement_is_per_seed_and_needs_a_baseline_above_zero() -> None:
    assert improvement({0: 44.4, 1: 11.0, 2: 1.0}, {0: 41.2, 1: 10.0, 2: 0.0}) == pytest.approx(
        {0: 100 * 3.2 / 41.2, 1: 10.0}
    )


def test_rounded_is_json_with_six_decimals() -> None:
    value = {0: (math.pi, "x"), "n": [1, None, True]}
    assert json.loads(json.dumps(rounded(value))) == {"0": [3.141593, "x"], "n": [1, None, True]}
