"""Texts as a reader wants them."""

import pytest

from suite.text import counted, duration, megabytes, one_line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (4.4, "4 s"),
        (89, "89 s"),
        (90, "2 min"),
        (3600, "60 min"),
        (12_000, "3 h 20 min"),
        (4_500_000, "1,250 h"),
    ],
)
def test_a_duration_has_the_unit_that_it_deserves(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "line"), [("", ""), ("one", "one"), ("one:\n  two\n\n  -> three \n", "one: two -> three")]
)
def test_several_lines_become_one(text: str, line: str) -> None:
    assert one_line(text) == line


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs"), (1000, "1,000 runs")]
)
def test_a_number_agrees_with_its_noun(count: int, text: str) -> None:
    assert counted(count, "run") == text


def test_a_size_has_the_unit_that_it_deserves() -> None:
    assert (megabytes(60.4), megabytes(2412)) == ("60 MB", "2.4 GB")
