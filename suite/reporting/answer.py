"""The first screen of a report: which method is best, where, and how sure that is.

Sentences say what is settled, and nothing else; the plot, the table and the figure below them show the rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from suite.evaluation.uncertainty import Summary
from suite.reporting.forest import Forest, in_words
from suite.reporting.methods import Method, MethodColumn, MethodTable
from suite.reporting.numbers import decimal, number
from suite.reporting.standings import Standing
from suite.reporting.table_layout import EMPTY
from suite.text import counted, duration

_PLACES = {
    "AP by size of the object": "on {} objects",
    "AP by crowdedness of the image": "in {} images",
    "AP by shape of the category": "on {} categories",
}
"""Heading of a group of columns -> how a sentence names one of them."""
_PLAIN = {("AP by crowdedness of the image", "medium"): "moderately crowded"}
"""A column's group and label -> how a sentence calls it, where the label alone would mislead."""


@dataclass(frozen=True)
class MethodCell:
    """A cell of the table of methods.

    Attributes:
        text: The mean over seeds.
        interval: Half its 95 % interval over seeds; empty with one seed, and for times.
        best: Whether the method is settled as the best of the column.
    """

    text: str
    interval: str = ""
    best: bool = False


@dataclass(frozen=True)
class MethodLine:
    """A method's line of the table: its name, ``5 seeds``, and its cells."""

    label: str
    seeds: str
    cells: list[MethodCell]


@dataclass(frozen=True)
class MethodLayout:
    """The table of methods, laid out for reading.

    Attributes:
        groups: Headings over the columns, each with the number of columns below it.
        header: Heading of each column, and what it was measured on.
        lines: One for each method.
        notes: What a reader has to know.
    """

    groups: list[tuple[str, int]]
    header: list[tuple[str, str]]
    lines: list[MethodLine]
    notes: list[str]


@dataclass(frozen=True)
class Answer:
    """What a report begins with.

    Attributes:
        sentences: The answer in words.
        forest: The papers' claims.
        table: The methods; None without any that was measured.
        curves: Data URIs of the figure of AP against training steps, wide and narrow; empty without one.
    """

    sentences: list[str]
    forest: Forest
    table: MethodLayout | None
    curves: list[str] = field(default_factory=list)


def answer(
    plot: Forest, table: MethodTable, standings: Mapping[MethodColumn, Standing], curves: Sequence[str]
) -> Answer:
    """Put the first screen together.

    Args:
        plot: The papers' claims.
        table: The methods, measured.
        standings: Which method leads a column, and whether that is settled; only columns of quality.
        curves: Data URIs, see :class:`Answer`.
    """
    sentences = [*best_in_words(table, standings), *in_words([line.claim for line in plot.lines])]
    return Answer(sentences, plot, layout(table, standings) if table.methods else None, list(curves))


def best_in_words(table: MethodTable, standings: Mapping[MethodColumn, Standing]) -> list[str]:
    """Which method is best over all images, and where another is, as far as that is settled."""
    if len(table.methods) < 2 or table.columns[0] not in standings:
        return []
    if any(len(method.runs) < 2 for method in table.methods):
        return [
            f"{counted(len(table.methods), 'method')} were trained, some with one seed: with more seeds the "
            "report can say which is best."
        ]
    overall, *others = table.columns
    first = standings[overall]
    summary = table.methods[0].summary(overall)
    assert summary is not None
    level = number(summary.mean, overall.unit)
    if first.settled:
        sentences = [
            f"{first.best} detects best: AP {level}, ahead of every other method beyond what chance explains."
        ]
    else:
        few = len(first.rivals) < 4
        rivals = _enumerated(first.rivals) if few else f"{len(first.rivals)} of the others"
        sentences = [
            f"Which method is best is open: {first.best} has the highest AP, {level}, but {rivals} may be as "
            "good."
        ]
    places: dict[str, list[str]] = {}
    for column in others:
        if column in standings and standings[column].settled:
            where = _PLACES[column.group].format(_PLAIN.get((column.group, column.label), column.label))
            places.setdefault(standings[column].best, []).append(where)
    settled = [f"{method} {_enumerated(where)}" for method, where in places.items()]
    if settled:
        sentences.append(f"Settled as the best: {'; '.join(settled)}.")
    else:
        sentences.append(
            "For no size of objects, crowdedness of images or shape of categories is one method settled as "
            "the best."
        )
    return sentences


def _enumerated(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def layout(table: MethodTable, standings: Mapping[MethodColumn, Standing]) -> MethodLayout:
    """Lay the table of methods out."""
    groups = [("", 1)]
    for heading, columns in groupby(table.columns, key=lambda column: column.group):
        width = len(list(columns))
        groups += [(heading, width)] if heading else [("", 1)] * width
    header = [("method", ""), *((column.label, column.rests_on) for column in table.columns)]
    lines = [
        MethodLine(
            method.label,
            counted(len(method.runs), "seed"),
            [_cell(method, column, standings.get(column)) for column in table.columns],
        )
        for method in table.methods
    ]
    several = any(len(method.runs) > 1 for method in table.methods)
    notes = [
        "AP in percent: means over seeds, ± half their 95 % intervals over seeds, on the same images."
        if several
        else "AP in percent, of one training each.",
        *table.notes,
    ]
    if several:
        notes.append(
            "Green (in Markdown bold): settled as the best of its column, for new seeds and images; at most "
            "one table like this in twenty marks any wrongly. Where nothing is marked, the highest number is "
            "not settled as the best."
        )
    if any(column.of_machine for column in table.columns):
        notes.append(
            "Training and inference (one image at a time, with its post-processing) took this long on the "
            "machines that ran them. Other machines, and other programs beside them, change it more than "
            "methods do."
        )
    return MethodLayout(groups, header, lines, notes)


def _cell(method: Method, column: MethodColumn, standing: Standing | None) -> MethodCell:
    found = method.summary(column)
    if found is None:
        return MethodCell(EMPTY)
    if column.unit == "s":
        return MethodCell(duration(found.mean))
    if column.unit == "ms":
        return MethodCell(f"{decimal(found.mean, 1 if found.mean < 100 else 0)} ms")
    best = standing is not None and standing.settled and standing.best == method.label
    return MethodCell(number(found.mean, column.unit), _interval(found, column.unit), best)


def _interval(found: Summary, unit: str) -> str:
    if found.interval is None:
        return ""
    return f"± {number(found.interval[1] - found.mean, unit)}"
