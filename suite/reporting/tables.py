"""An item as a table: Markdown and CSV for people, ``cells.json`` for programs."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from suite.evaluation.uncertainty import Summary, more_seeds, more_seeds_text, verdict_boundaries
from suite.reporting.cells import Cell, rounded
from suite.reporting.items import Item, ItemColumn

EMPTY = "—"
_CSV_HEADER = (
    *("experiment", "row", "column", "metric", "slice", "unit"),
    *("value", "spread", "interval_low", "interval_high", "seeds", "gain", "gain_low", "gain_high"),
    *("gain_p_paired_t", "gain_p_sign_test"),
    *("published", "published_gain", "verdict", "images", "objects", "categories"),
    *("reason", "run_ids", "command"),
)


@dataclass(frozen=True)
class Line:
    """One line of a table.

    Attributes:
        kind: ``ours``, ``paper``, ``gain`` (ours over the baseline's row), ``paper gain`` or ``category``.
        cells: Text of each cell, the heading's first.
    """

    kind: str
    cells: list[str]


@dataclass(frozen=True)
class Table:
    """A table laid out for reading.

    Attributes:
        header: Headings.
        lines: Lines under them.
        footnotes: Texts that ``[1]``, ``[2]``, ... in the cells point to.
    """

    header: list[str]
    lines: list[Line] = field(default_factory=list)
    footnotes: list[str] = field(default_factory=list)

    def mark(self, text: str) -> str:
        """The mark of a footnote, such as ``[1]``; the footnote is added if new."""
        if text not in self.footnotes:
            self.footnotes.append(text)
        return f"[{self.footnotes.index(text) + 1}]"


def number(value: float, unit: str, *, signed: bool = False) -> str:
    """A number as it is printed: one decimal for percent, two or three for hours and seconds."""
    return decimal(value, 1 if unit.startswith("%") else 2 if abs(value) >= 1 else 3, signed=signed)


def decimal(value: float, places: int, *, signed: bool = False) -> str:
    """A number with a fixed number of decimals and a true minus sign."""
    text = f"{value:+.{places}f}" if signed else f"{value:.{places}f}"
    return text.replace("-", "−")


def level(summary: Summary, unit: str) -> str:
    """Mean, with the standard deviation over seeds where there are several."""
    text = number(summary.mean, unit)
    return text if summary.spread is None else f"{text} ± {number(summary.spread, unit)}"


def gain(summary: Summary, unit: str) -> str:
    """Paired difference, with its 95 % interval where there are several seeds."""
    text = number(summary.mean, unit, signed=True)
    if summary.interval is None:
        return text
    low, high = (number(bound, unit, signed=True) for bound in summary.interval)
    return f"{text} [{low}, {high}]"


def seeds(cells: Sequence[Cell]) -> str:
    """``3 seeds``, from the cells that have a number; empty without any."""
    counts = sorted({cell.summary.n for cell in cells if cell.summary})
    return ", ".join(f"{n} seed" + ("s" if n > 1 else "") for n in counts)


def layout(item: Item) -> Table:
    """Lay an item out: a table as printed in the paper, or one line a category."""
    return _by_category(item) if item.by_category else _by_row(item)


def _by_row(item: Item) -> Table:
    table = Table([item.experiment.factor, "", *(column.label for column in item.columns)])
    base = item.experiment.baseline
    for row in item.experiment.rows:
        cells = item.row(row.label)
        label, source = "", "paper"
        if row.method is not None or row.relative_to is not None:
            ours = ", ".join(part for part in ("ours", seeds(cells)) if part)
            table.lines.append(Line("ours", [row.label, ours, *(_ours(cell, table) for cell in cells)]))
        else:
            label, source = row.label, f"paper only {table.mark(cells[0].reason)}"
        if any(cell.published is not None for cell in cells):
            table.lines.append(Line("paper", [label, source, *map(_paper, cells)]))
        if any(cell.difference for cell in cells):
            table.lines.append(Line("gain", ["", f"ours − {base}", *map(_gain, cells)]))
            if any(cell.published_difference is not None for cell in cells):
                table.lines.append(Line("paper gain", ["", f"paper − {base}", *map(_paper_gain, cells)]))
    return table


def _by_category(item: Item) -> Table:
    rows = [row.label for row in item.experiment.rows]
    by_place = {(cell.row, cell.column): cell for cell in item.cells}
    has_published = [row for row in rows if any(cell.published is not None for cell in item.row(row))]
    base = item.experiment.baseline
    header = ["category", "group", "objects", "aspect ratio"]
    if not any(column.group for column in item.columns):
        header.remove("group")
    others = [row for row in rows if row != base]
    header += rows + [f"{row} − {base}" for row in others]
    header += [f"paper: {row}" for row in has_published]
    table = Table(header)
    for column in item.columns:
        cells = [by_place[row, column.label] for row in rows]
        texts = [column.label]
        texts += [column.group or ""] if "group" in header else []
        texts += [str(column.objects or ""), f"{column.aspect_ratio:.2f}" if column.aspect_ratio else ""]
        texts += [_ours(cell, table) for cell in cells]
        texts += [_gain(by_place[row, column.label]) for row in others]
        texts += [_paper(by_place[row, column.label]) for row in has_published]
        table.lines.append(Line("category", texts))
    return table


def _ours(cell: Cell, table: Table) -> str:
    return level(cell.summary, cell.unit) if cell.summary else f"{EMPTY} {table.mark(cell.reason)}"


def _gain(cell: Cell) -> str:
    return gain(cell.difference, cell.unit) if cell.difference else EMPTY


def _paper(cell: Cell) -> str:
    if cell.published is None:
        return EMPTY
    text = number(cell.published, cell.unit)
    return f"{text} ({cell.verdict})" if cell.verdict else text


def _paper_gain(cell: Cell) -> str:
    gap = cell.published_difference
    return EMPTY if gap is None else number(gap, cell.unit, signed=True)


def remarks(item: Item, comparable: bool) -> list[str]:
    """What a reader must know beside the numbers, one sentence or two each."""
    texts = [*item.notes]
    if item.experiment.notes:
        texts.append(item.experiment.notes.strip())
    texts += _rests_on(item)
    entry = item.entry
    if entry is None:
        texts.append("The published numbers have no entry for this item.")
    elif not any(cell.published is not None for cell in item.cells):
        texts.append(
            f"The paper's values cannot be read ({entry.transcription}): nothing stands beside ours."
        )
    else:
        how = "" if entry.transcription == "exact" else f"; transcription: {entry.transcription}"
        texts.append(f"Paper's training set: {entry.trained_on}; evaluated split: {entry.split}{how}.")
    if any(cell.summary and cell.summary.n > 1 for cell in item.cells):
        texts.append(
            "± is the standard deviation over training seeds; brackets are the 95 % t interval of the "
            "difference paired by seed."
        )
    elif any(cell.summary for cell in item.cells):
        texts.append("One training seed: no spread, so no difference can be called settled.")
    texts += agreement_remarks(item)
    texts += settling_remarks(item)
    if not comparable and any(cell.published is not None for cell in item.cells):
        texts.append("Levels are not comparable with the paper's at this preset; only signs and order are.")
    return texts


def agreement_remarks(item: Item) -> list[str]:
    """How the signs and the order of the gains compare with the paper's; empty without published gains."""
    found = item.agreement
    texts = []
    total = found.same_sign + found.opposite_sign
    if total:
        several = any(cell.difference and cell.difference.n > 1 for cell in item.cells)
        settled = f"; the 95 % interval excludes 0 in {found.settled}" if several else ""
        texts.append(f"Sign of the gain as published in {found.same_sign} of {total} cells{settled}.")
    if found.pairs > len(item.columns):  # with two rows, their order is the sign of the gain
        texts.append(f"Order of two rows as published in {found.same_order} of {found.pairs} comparisons.")
    return texts


def settling_remarks(item: Item) -> list[str]:
    """How many more seeds would settle the signs of gains in AP, and verdicts, that are open."""
    if item.by_category:
        return []
    gains, verdicts = [], []
    for cell in item.cells:
        if cell.metric != "AP":
            continue
        place = cell.row if cell.column == "AP" else f"{cell.row}, {cell.column}"
        if cell.difference and cell.difference.n > 1 and more_seeds(cell.difference) != 0:
            test = "" if cell.p_paired is None else f" (p = {decimal(cell.p_paired, 2)}, paired t test)"
            gains.append(f"{place}: {more_seeds_text(cell.difference)}{test}")
        if cell.verdict == "inconclusive" and cell.summary and cell.published is not None:
            boundaries = verdict_boundaries(cell.published)
            verdicts.append(f"{place}: {more_seeds_text(cell.summary, boundaries)}")
    return [
        f"{what} still open: {'; '.join(open_ones)}."
        for what, open_ones in (("Signs of gains in AP", gains), ("Verdicts", verdicts))
        if open_ones
    ]


def _rests_on(item: Item) -> list[str]:
    """Images, objects and categories behind the columns, columns with the same counts together."""
    groups: dict[str, list[str]] = {}
    counts = {cell.column: cell.rests_on for cell in item.cells if cell.rests_on}
    for column in item.columns:
        if column.label in counts and not column.categories:
            text = ", ".join(f"{count} {name}" for name, count in counts[column.label].items())
            groups.setdefault(text, []).append(column.label)
    if not groups:
        return []
    return [
        "Measured on: " + "; ".join(f"{', '.join(labels)}: {text}" for text, labels in groups.items()) + "."
    ]


def markdown(item: Item, comparable: bool) -> str:
    """The item as a Markdown document."""
    table = layout(item)
    lines = [f"# {item.id}: {item.experiment.title}", "", item.experiment.question, ""]
    lines.append("| " + " | ".join(table.header) + " |")
    text_columns = 1 if item.by_category else 2
    align = ["---"] * text_columns + ["---:"] * (len(table.header) - text_columns)
    lines.append("| " + " | ".join(align) + " |")
    lines += [
        "| " + " | ".join(text.replace("|", "\\|") for text in line.cells) + " |" for line in table.lines
    ]
    lines.append("")
    lines += [f"[{index}] {text}  " for index, text in enumerate(table.footnotes, start=1)]
    if table.footnotes:
        lines.append("")
    lines += [f"- {fit_text(item, index)}" for index in range(len(item.fits))]
    lines += [f"- {text}" for text in remarks(item, comparable)]
    return "\n".join([*lines, "", f"Made by `{item.command}`.", ""])


def fit_text(item: Item, index: int) -> str:
    """The line of a scatter figure in words."""
    fit = item.fits[index]
    slopes = fit.slope_over_seeds
    interval = ""
    if slopes is not None and slopes.interval is not None:
        low, high = (decimal(bound, 2, signed=True) for bound in slopes.interval)
        interval = f" (95 % t interval over {slopes.n} seeds: {low} to {high})"
    correlations = ""
    if fit.pearson is not None and fit.spearman is not None:
        correlations = f", Pearson {decimal(fit.pearson, 2)}, Spearman {decimal(fit.spearman, 2)}"
    slope = decimal(fit.slope, 2, signed=True)
    slope_text = f"slope {slope} AP for one unit of aspect ratio{interval}"
    return f"{fit.row}: {slope_text}{correlations}, n = {fit.n} categories."


def csv_text(item: Item) -> str:
    """One line a cell, all fields flat, numbers in the cell's unit."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = {column.label: column for column in item.columns}
    writer.writerow(_CSV_HEADER)
    for cell in item.cells:
        writer.writerow(_csv_row(item, columns[cell.column], cell))
    return stream.getvalue()


def _csv_row(item: Item, column: ItemColumn, cell: Cell) -> list[Any]:
    def triple(summary: Summary | None) -> list[float | None]:
        return [summary.mean, *(summary.interval or (None, None))] if summary else [None, None, None]

    ours, gains = triple(cell.summary), triple(cell.difference)
    summary = cell.summary
    counts = [cell.rests_on.get(name) for name in ("images", "objects", "categories")]
    values = [
        *(item.id, cell.row, cell.column, cell.metric, column.slice, cell.unit),
        *(ours[0], summary.spread if summary else None, *ours[1:], summary.n if summary else 0),
        *(
            *gains,
            cell.p_paired,
            cell.p_sign,
            cell.published,
            cell.published_difference,
            cell.verdict,
            *counts,
        ),
        *(cell.reason, " ".join(cell.run_ids), cell.command),
    ]
    return [rounded(value) for value in values]


def cells_json(item: Item, comparable: bool) -> dict[str, Any]:
    """Everything about the item, for ``cells.json``."""
    experiment = item.experiment
    return rounded(
        {
            "experiment": item.id,
            "title": experiment.title,
            "question": experiment.question,
            "baseline": experiment.baseline,
            "levels_comparable_with_paper": comparable,
            "columns": [asdict(column) for column in item.columns],
            "cells": [asdict(cell) for cell in item.cells],
            "fits": [asdict(fit) for fit in item.fits],
            "agreement": asdict(item.agreement),
            "remarks": remarks(item, comparable),
            "command": item.command,
        }
    )
