"""One word for each item."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from suite.evaluation.uncertainty import Summary, summarise, verdict
from suite.experiments.schema import Claim, Experiment
from suite.reporting.cells import Cell, Comparison
from suite.reporting.fits import Fit
from suite.reporting.verdicts import Checked, check_claims, judge


def experiment(**fields) -> Experiment:
    values = {
        "id": "ltm.table1", "title": "t", "question": "q?", "kind": "table", "baseline": "base",
        "rows": [{"label": "base", "method": "retinanet"}, {"label": "new", "method": "ltm"}],
        "columns": [{"label": name, "metric": "AP"} for name in ("few", "many")],
        **fields,
    }  # fmt: skip
    return Experiment.model_validate(values)


def gain(mean: float, half: float | None, published: float | None = 1.0, column: str = "few") -> Cell:
    interval = None if half is None else (mean - half, mean + half)
    n = 1 if half is None else 3
    return Cell(
        "new", column, "AP", "%", Summary(30.0, n, None, None), difference=Summary(mean, n, None, interval),
        published_difference=published, command="make",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "word"),
    [
        ([gain(2, 1), gain(3, 1)], "reproduced"),
        ([gain(-2, 1, published=-0.5)], "reproduced"),  # a loss where the paper has one
        ([gain(2, 1), gain(3, 1), gain(0.5, 1)], "close"),  # one is open
        ([gain(2, 1), gain(3, 1), gain(-3, 1)], "close"),  # one the other way round
        ([gain(2, 1), gain(-3, 1)], "differs"),
        ([gain(-3, 1)], "differs"),
        ([gain(2, 1), gain(0.5, 1)], "inconclusive"),
        ([gain(2, None), gain(3, None)], "one seed"),
        ([gain(2, 1, published=None)], "nothing to compare"),
        ([gain(2, 1, published=0.0)], "nothing to compare"),  # a published tie has no sign
    ],
)
def test_signs_of_gains_decide_where_levels_cannot_be_compared(cells: list[Cell], word: str) -> None:
    found = judge(experiment(), cells, [], comparable=False)
    assert found.word == word
    if word != "nothing to compare":
        assert f"signs of {len(cells)} gain" in found.because


def level(word: str, metric: str = "AP", place: int = 0) -> Cell:
    ours = Summary(30, 3, 0.1, (29.9, 30.1))
    comparison = Comparison("val2017", ours, 30.0, "Table 1", word)
    return Cell("new", str(place), metric, "%", ours, comparison=comparison, command="make")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["reproduced", "reproduced"], "reproduced"),
        (["reproduced", "close"], "close"),
        (["close", "inconclusive"], "inconclusive"),  # half of them are open
        (["reproduced"] * 2 + ["inconclusive"], "reproduced"),
        (["reproduced"] * 23 + ["differs"], "close"),  # one row of many names no item
        (["reproduced", "differs"], "differs"),
        (["differs", "inconclusive", "one seed"], "inconclusive"),
        (["one seed"] * 3, "one seed"),
    ],
)
def test_most_rows_decide_where_levels_can_be_compared(words: list[str], expected: str) -> None:
    cells = [level(word, place=place) for place, word in enumerate(words)]
    found = judge(experiment(), cells, [], comparable=True)
    assert found.word == expected
    assert found.because.startswith("levels of AP against published ones of the same split: ")


def test_ap_alone_names_an_item() -> None:
    cells = [level("reproduced"), *(level("differs", name) for name in ("AP50", "AP75", "APS", "APM", "APL"))]
    assert judge(experiment(), cells, [], comparable=True).word == "reproduced"


def test_numbers_of_another_split_give_no_verdict() -> None:
    because = "published on test-dev2017; ours on val2017: not compared"
    cells = [replace(gain(2, 1), published=39.2, published_split="test-dev2017", not_compared=because)]
    found = judge(experiment(), cells, [], comparable=True)
    assert (found.word, found.because) == ("nothing to compare", because)
    some = judge(experiment(), [level("reproduced"), *cells], [], comparable=True)
    assert some.because.endswith("1 reproduced; 1 row not compared, published on another split")


@pytest.mark.parametrize("rows", [1, 2, 4, 10, 24])
def test_few_exact_copies_are_said_to_differ(rows: int) -> None:
    """3 seeds of a copy, spread 0.15 AP as on COCO, against one published training of it."""
    rng = np.random.default_rng(rows)
    words = Counter()
    for _ in range(400):
        ours, published = 38 + 0.15 * rng.normal(size=(rows, 3)), 38 + 0.15 * rng.normal(size=rows)
        cells = []
        for place in range(rows):
            summary = summarise(dict(enumerate(ours[place])))
            word = verdict(summary, published[place])
            comparison = Comparison("val2017", summary, published[place], "", word)
            cells.append(Cell("r", str(place), "AP", "%", summary, comparison=comparison, command="make"))
        words[judge(experiment(), cells, [], comparable=True).word] += 1
    assert words["differs"] <= 0.05 * 400


def test_empty_items_say_why() -> None:
    def empty(*reasons: str) -> str:
        cells = [
            Cell("new", str(i), "AP", "%", reason=reason, command="make") for i, reason in enumerate(reasons)
        ]
        return judge(experiment(), cells, [], comparable=False).word

    assert empty("not run", "not run") == "not run"
    assert empty("not measurable at preset mini", "not measurable at preset mini") == "not measurable here"
    assert empty("not measurable at preset mini", "stale: 0 of 1 seeds done") == "not run"
    assert judge(experiment(), [], [], comparable=False).word == "not run"


def values(row: str, column: str, *by_seed: float) -> Cell:
    numbers = dict(enumerate(by_seed))
    return Cell(row, column, "AP", "%", summarise(numbers), by_seed=numbers, command="make")


def test_a_rising_gain_is_compared_seed_by_seed() -> None:
    # Gains: few 1, 2, 3; many 4, 6, 8: larger by 3, 4, 5.
    cells = [
        values("base", "few", 30, 31, 32), values("new", "few", 31, 33, 35),
        values("base", "many", 10, 11, 12), values("new", "many", 14, 17, 20),
    ]  # fmt: skip
    rises = Claim(text="x", kind="gain_rises", row="new")
    gains = Claim(text="y", kind="gain", row="new", last="many")
    given = experiment(claims=[rises.model_dump(), gains.model_dump()])
    first, second = check_claims(given, cells, [])
    assert first.measured is not None and first.measured.mean == pytest.approx(4.0)
    assert first.measured.spread == pytest.approx(1.0)
    assert first.outcome == "holds"
    assert second.measured is not None and second.measured.mean == pytest.approx(6.0)
    assert judge(given, cells, [first, second], comparable=False).word == "reproduced"


def test_a_falling_slope_is_opposite_to_the_claim() -> None:
    given = experiment(claims=[{"text": "x", "kind": "slope", "row": "new"}])
    fit = Fit("new", -1.0, 0.0, None, None, 12, summarise({0: -1.0, 1: -1.1, 2: -0.9}))
    (checked,) = check_claims(given, [values("new", "few", 1, 2, 3)], [fit])
    assert checked.outcome == "opposite"


def test_a_claim_on_missing_rows_is_open() -> None:
    given = experiment(claims=[{"text": "x", "kind": "gain_rises", "row": "new"}])
    (checked,) = check_claims(given, [values("base", "few", 1, 2)], [])
    assert checked == Checked("x", None)
    assert checked.outcome == "open"
