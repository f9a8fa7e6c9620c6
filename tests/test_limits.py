import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.errors import SuiteError
from suite.limits import LIMITS, Number, OneOf, check_fields, problem_of


@pytest.mark.parametrize(
    ("limit", "good", "bad"),
    [
        (Number(1, whole=True), [1, 40], [0, -1, 1.0, 1.5, True, None, "1", float("nan")]),
        (Number(0, 1), [0, 1, 0.5], [-0.1, 1.1, float("inf"), None]),
        (Number(0, 1, above=True, below=True), [0.01, 0.99], [0, 1, 0.0, 1.0]),
        (Number(1, whole=True, optional=True), [None, 3], [0]),
        (Number(0), [0, 1e9], [float("inf"), float("nan"), -1e-9]),
        (OneOf(("a", "b")), ["a"], ["A", "", None, 1]),
    ],
)
def test_what_holds_and_what_does_not(limit, good, bad):
    assert all(limit.holds(value) for value in good)
    assert not any(limit.holds(value) for value in bad)


@given(st.sampled_from(sorted(LIMITS)), st.one_of(st.integers(), st.floats(), st.text(), st.none()))
def test_a_problem_names_what_was_expected_and_found(name, value):
    problem = problem_of(name, value)
    if LIMITS[name].holds(value):
        assert problem is None
    else:
        assert problem.startswith(f"expected {LIMITS[name]}, found {value!r}.")


def test_messages_are_words():
    assert problem_of("bag_size", 0) == "expected a whole number of at least 1, found 0."
    assert problem_of("bias_prob", 1) == "expected a number above 0 and below 1, found 1."
    assert problem_of("separation", "fixed_numbr").endswith("Did you mean 'fixed_number'?")
    assert problem_of("something_else", -1) is None


def test_fields_within_fields_are_checked():
    with pytest.raises(SuiteError, match=r"^model\.bbox_head\.loss_cls\.alpha: expected .* found -1"):
        check_fields({"bbox_head": {"bag_size": 40, "loss_cls": {"type": "FocalLoss", "alpha": -1}}}, "model")
