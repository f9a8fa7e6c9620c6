"""What UNTIL and BUDGET may be."""

import pytest

from suite.errors import SuiteError
from suite.settling.budget import budget_of


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90m", 90), ("45min", 45), ("2h", 120), ("1h30m", 90), ("1.5h", 90), ("1 h 5 min", 65), ("2H", 120)],
)
def test_durations(text, minutes):
    assert budget_of("settled", text) == 60 * minutes


@pytest.mark.parametrize("text", ["2", "h", "0h", "-2h", "2 hours", "1h30", "30m1h", "1:30", "inf h", "1e3m"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(SuiteError, match=r"BUDGET=.*: expected a duration above 0") as caught:
        budget_of("settled", text)
    assert text in caught.value.message and "BUDGET=2h" in caught.value.remedy


@pytest.mark.parametrize(
    ("until", "budget", "message"),
    [
        ("done", "2h", "UNTIL=done: expected 'settled'"),
        ("settled", "", "UNTIL=settled: BUDGET is missing"),
        ("", "2h", "BUDGET=2h: a budget is for UNTIL=settled"),
    ],
)
def test_one_without_the_other_is_refused(until, budget, message):
    with pytest.raises(SuiteError, match=message) as caught:
        budget_of(until, budget)
    assert "UNTIL=settled BUDGET=2h" in caught.value.remedy


def test_neither_is_the_usual_case():
    assert budget_of("", "") is None
