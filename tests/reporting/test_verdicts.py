"""One word for each item."""

import pytest

from suite.evaluation.uncertainty import Summary, summarise
from suite.experiments.schema import Claim, Experiment
from suite.reporting.cells import Cell
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
        ([gain(2, None), gain(3, None)], "inconclusive"),  # one seed settles nothing
        ([gain(2, 1, published=None)], "nothing to compare"),
        ([gain(2, 1, published=0.0)], "nothing to compare"),  # a published tie has no sign
    ],
)
def test_signs_of_gains_decide_where_levels_cannot_be_compared(cells: list[Cell], word: str) -> None:
    verdict = judge(experiment(), cells, [], comparable=False)
    assert verdict.word == word
    if word != "nothing to compare":
        assert f"signs of {len(cells)} gain" in verdict.because


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["reproduced", "reproduced"], "reproduced"),
        (["reproduced", "close"], "close"),
        (["close", "inconclusive"], "inconclusive"),
        (["inconclusive", "differs", "reproduced"], "differs"),
    ],
)
def test_the_worst_level_decides_where_levels_can_be_compared(words: list[str], expected: str) -> None:
    cells = [
        Cell("new", str(i), "AP", "%", Summary(30, 1, None, None), verdict=word, command="make")
        for i, word in enumerate(words)
    ]
    assert judge(experiment(), cells, [], comparable=True).word == expected


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
