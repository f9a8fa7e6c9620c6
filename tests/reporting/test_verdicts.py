"""One word for each item."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from suite.evaluation.uncertainty import Summary, summarise, verdict
from suite.experiments.schema import Experiment
from suite.reporting.cells import Cell, Comparison
from suite.reporting.claims import MeasuredClaim
from suite.reporting.verdicts import judge


def experiment(**fields) -> Experiment:
    values = {
        "id": "ltm.table1", "title": "t", "question": "q?", "kind": "table", "baseline": "base",
        "rows": [{"label": "base", "method": "retinanet"}, {"label": "new", "method": "ltm"}],
        "columns": [{"label": name, "metric": "AP"} for name in ("few", "many")],
        **fields,
    }  # fmt: skip
    return Experiment.model_validate(values)


def claim(outcome: str) -> MeasuredClaim:
    return MeasuredClaim(
        "ltm.table1", "t", "gain", "new", "AP", "positive", 1.0, None, effect=1.0, outcome=outcome
    )


HOLDS, FAILS, OPEN = "as published", "not as published", "open"


@pytest.mark.parametrize(
    ("outcomes", "word"),
    [
        ([HOLDS, HOLDS], "reproduced"),
        ([HOLDS, HOLDS, OPEN], "close"),
        ([HOLDS, HOLDS, FAILS], "close"),
        ([HOLDS, FAILS], "differs"),
        ([FAILS], "differs"),
        ([FAILS, OPEN, OPEN], "differs"),
        ([HOLDS, OPEN], "inconclusive"),
        ([HOLDS, FAILS, HOLDS, OPEN, OPEN, OPEN], "inconclusive"),
        ([OPEN], "inconclusive"),
        (["one seed", "one seed"], "one seed"),
        (["one seed", "not measured"], "one seed"),
        (["too few objects"], "inconclusive"),
        ([HOLDS, "too few objects"], "inconclusive"),
    ],
)
def test_claims_name_the_item(outcomes: list[str], word: str) -> None:
    cells = [Cell("new", "few", "AP", "%", Summary(30.0, 3, None, None), command="make")]
    found = judge(experiment(), cells, [claim(outcome) for outcome in outcomes])
    assert found.word == word
    assert found.because.startswith(f"{len(outcomes)} claim")
    assert all(f"{outcomes.count(one)} {one}" in found.because for one in outcomes)


def test_claims_that_wait_for_a_row_are_not_taken_for_none() -> None:
    cells = [Cell("new", "few", "AP", "%", Summary(30.0, 3, None, None), command="make")]
    found = judge(experiment(), cells, [replace(claim("not measured"), effect=None, reason="LTM: not run")])
    assert (found.word, found.because) == ("not run", "none of its claims could be measured: LTM: not run")


def test_cells_have_no_vote() -> None:
    gain = Summary(3.0, 3, 0.1, (2.0, 4.0))
    cells = [Cell("new", "few", "AP", "%", gain, difference=gain, published_difference=1.0, command="make")]
    assert judge(experiment(), cells, []).word == "nothing to compare"


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
    found = judge(experiment(), cells, [])
    assert found.word == expected
    assert found.because.startswith("levels of AP against published ones of the same split: ")


def test_ap_alone_names_an_item() -> None:
    cells = [level("reproduced"), *(level("differs", name) for name in ("AP50", "AP75", "APS", "APM", "APL"))]
    assert judge(experiment(), cells, []).word == "reproduced"


def test_numbers_of_another_split_give_no_verdict() -> None:
    because = "published on test-dev2017; ours on val2017: not compared"
    ours = Summary(38.4, 3, 0.1, (38.2, 38.6))
    cells = [Cell("new", "AP", "AP", "%", ours, published=39.2, not_compared=because, command="make")]
    found = judge(experiment(), cells, [])
    assert (found.word, found.because) == ("nothing to compare", because)
    some = judge(experiment(), [level("reproduced"), *cells], [])
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
        words[judge(experiment(), cells, []).word] += 1
    assert words["differs"] <= 0.05 * 400


def test_empty_items_say_why() -> None:
    def empty(*reasons: str) -> str:
        cells = [
            Cell("new", str(i), "AP", "%", reason=reason, command="make") for i, reason in enumerate(reasons)
        ]
        return judge(experiment(), cells, []).word

    assert empty("not run", "not run") == "not run"
    assert empty("not measurable at preset mini", "not measurable at preset mini") == "not measurable here"
    assert empty("not measurable at preset mini", "stale: 0 of 1 seeds done") == "not run"
    assert judge(experiment(), [], []).word == "not run"
