"""Tables as LaTeX and Markdown, numbers as text."""

import csv
import re

import pytest

from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.measurements import Measurements
from suite.reporting.explanation import explain
from suite.reporting.formats import csv_text, latex
from suite.reporting.items import build
from suite.reporting.numbers import number
from suite.reporting.paper_numbers import paper_numbers
from suite.reporting.remarks import remarks
from suite.reporting.table_layout import layout


def item(report):
    return build(
        report.experiments[0],
        Measurements(GroundTruth.load(report.dataset.val.annotations)),
        paper_numbers(),
        comparable=False,
    )


def test_latex_is_a_booktabs_table_with_everything_escaped(make_report) -> None:
    given = item(make_report(ids=("ltm.table2",)))
    text = latex(given, layout(given))
    for command in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{llrrr}"):
        assert text.count(command) == 1
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) == len(layout(given).lines)
    assert all(row.count("&") == 4 for row in rows)
    assert r"relative improvement (\%)" in body
    assert r"$\pm$" in body
    assert not re.search(r"[±−—]|(?<!\\)%", body)
    assert "% ltm.table2, made by:" in text


def test_latex_escapes_each_special_character_once(make_report) -> None:
    given = item(make_report(ids=("ltm.table2",)))
    table = layout(given)
    table.lines[0].cells[0] = r"a_b & 50% #1 {x} ~ ^ \ > $"
    first = latex(given, table).split(r"\midrule")[1].strip().splitlines()[0]
    assert first.startswith(
        r"a\_b \& 50\% \#1 \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{} $>$ \$ & ours"
    )


def test_times_of_machines_are_not_compared(make_report) -> None:
    given = item(make_report(ids=("freeanchor.table2",)))
    hours = [cell for cell in given.cells if cell.metric == "train_hours" and cell.summary is not None]
    assert len(hours) > 1
    assert all(cell.difference is None for cell in hours)
    table = layout(given)
    place = table.header.index("training time (h)")
    gains = {line.kind: line.cells[place] for line in table.lines if "gain" in line.kind}
    assert gains == {"gain": "—", "paper gain": "—"}
    header, *rows = csv.reader(csv_text(given).splitlines())
    of_hours = [dict(zip(header, row, strict=True)) for row in rows if row[header.index("unit")] == "h"]
    assert {row[name] for row in of_hours for name in ("gain", "gain_low", "gain_high")} == {""}
    assert any("no difference between rows is given" in text for text in remarks(given, comparable=False))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (35.678, "%", "35.7"),
        (-0.04, "%", "−0.0"),
        (0.0931, "IoU", "0.093"),
        (40.0, "value", "40"),
        (5.5, "value", "5.5"),
        (12.345, "images/s", "12.35"),
    ],
)
def test_numbers_have_as_many_digits_as_they_deserve(value: float, unit: str, text: str) -> None:
    assert number(value, unit) == text


def test_an_empty_cell_explains_itself() -> None:
    cell = {
        "metric": "AP",
        "unit": "%",
        "summary": None,
        "reason": "stale: 0 of 1 seeds done",
        "difference": None,
        "published": None,
        "published_reason": "not published as a number (axes-only)",
        "published_split": "",
        "test_dev": None,
        "test_dev_source": "",
        "comparison": None,
        "not_compared": "",
        "tuned": "",
        "rests_on": {},
        "run_ids": [],
        "command": "make x",
    }
    assert dict(explain(cell)) == {
        "metric": "AP (%)",
        "empty because": "stale: 0 of 1 seeds done",
        "published": "not published as a number (axes-only)",
        "made by": "make x",
    }
