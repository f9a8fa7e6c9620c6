"""AP against training steps: what is averaged, and that names beside curves do not overlap."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.reporting.curves import Curve, curves, draw, spread_out
from suite.reporting.methods import Method


def method(label: str, *validations: dict[int, float]) -> Method:
    return Method(label, {}, {}, dict(enumerate(validations)))


def test_a_curve_is_the_mean_over_seeds_at_the_steps_that_all_have() -> None:
    found = curves(
        [
            method("low", {10: 1.0, 20: 2.0}),
            method("high", {10: 2.0, 20: 4.0, 30: 9.0}, {10: 4.0, 20: 6.0}),
            method("not validated", {}),
        ]
    )
    assert found == [
        Curve("high", [10, 20], [3.0, 5.0], [pytest.approx(2**0.5)] * 2, 2),
        Curve("low", [10, 20], [1.0, 2.0], [], 1),
    ]


def test_a_figure_for_a_desk_and_one_for_a_phone() -> None:
    many = [method(f"method {index}", {10: index, 20: 2.0 * index}) for index in range(14)]
    files = draw(many, "preset mini")
    assert set(files) == {"ap_over_training.png", "ap_over_training.svg", "ap_over_training_narrow.svg"}
    assert files == draw(many, "preset mini"), "the same bytes again"
    assert draw([method("not validated", {})], "preset mini") == {}


@given(st.lists(st.floats(0, 100), min_size=1, max_size=9))
def test_names_keep_their_order_their_distance_and_the_frame(wanted: list[float]) -> None:
    wanted = sorted(wanted, reverse=True)
    places = spread_out(wanted, 10, 100)
    assert all(one - other >= 10 - 1e-6 for one, other in itertools.pairwise(places))
    assert places[0] <= 100 + 1e-6 and places[-1] >= -1e-6
    if all(one - other >= 10 for one, other in itertools.pairwise(wanted)):
        assert places == pytest.approx(wanted), "none is moved that has room"
