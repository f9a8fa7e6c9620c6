"""An item's tables as files: Markdown, LaTeX, CSV."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import pandas as pd

from suite.evaluation.uncertainty import Summary
from suite.reporting.cells import Cell, rounded
from suite.reporting.items import Item, ItemColumn
from suite.reporting.table_layout import Table

_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {
        "±": r"$\pm$",
        "−": "$-$",
        "—": "---",
        "×": r"$\times$",
        "≥": r"$\geq$",
        "≤": r"$\leq$",
        ">": "$>$",
        "<": "$<$",
    }
)
_CSV_HEADER = (
    *("experiment", "row", "column", "metric", "slice", "unit"),
    *("value", "spread", "interval_low", "interval_high", "seeds", "gain", "gain_low", "gain_high"),
    *("published", "published_split", "published_gain", "test_dev", "test_dev_source"),
    *("verdict", "compared_split", "compared_with", "compared_source"),
    *("tuned", "images", "objects", "categories"),
    *("reason", "run_ids", "command"),
)


def markdown(item: Item, table: Table, texts: Sequence[str]) -> str:
    """The item as a Markdown document.

    Args:
        item: The item.
        table: Laid out for reading.
        texts: The remarks under the numbers.
    """
    lines = [f"# {item.id}: {item.experiment.title}", "", item.experiment.question, ""]
    lines += [f"Verdict: **{item.verdict.word}** ({item.verdict.because}).", ""]
    if table.lines:
        lines.append("| " + " | ".join(table.header) + " |")
        align = ["---"] * table.text_columns + ["---:"] * (len(table.header) - table.text_columns)
        lines.append("| " + " | ".join(align) + " |")
        lines += [
            "| " + " | ".join(text.replace("|", "\\|") for text in line.cells) + " |" for line in table.lines
        ]
        lines.append("")
    lines += [f"[{index}] {text}  " for index, text in enumerate(table.footnotes, start=1)]
    if table.footnotes:
        lines.append("")
    lines += [f"- {text}" for text in texts]
    return "\n".join([*lines, "", f"Made by `{item.command}`.", ""])


def latex(item: Item, table: Table) -> str:
    """The item as a LaTeX table for the package ``booktabs``; ``%`` comments hold what it rests on."""
    frame = pd.DataFrame([line.cells for line in table.lines], columns=range(len(table.header)))
    align = "l" * table.text_columns + "r" * (len(table.header) - table.text_columns)
    escaped = frame.map(_latex_text)
    escaped.columns = pd.Index([_latex_text(heading) for heading in table.header])
    body = escaped.style.hide(axis="index").to_latex(
        hrules=True, column_format=align, caption=_latex_text(item.experiment.title), label=f"tab:{item.id}",
        position_float="centering",
    )  # fmt: skip
    notes = [f"% [{index}] {text}" for index, text in enumerate(table.footnotes, start=1)]
    return "\n".join([f"% {item.id}, made by: {item.command}", *notes, body])


def _latex_text(text: str) -> str:
    """Text with LaTeX's special characters escaped, signs as mathematics."""
    return text.translate(_LATEX)


def csv_text(item: Item) -> str:
    """One line per cell with all its fields; numbers are in the cell's unit."""
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
    summary, compared = cell.summary, cell.comparison
    counts = [cell.rests_on.get(name) for name in ("images", "objects", "categories")]
    values = [
        *(item.id, cell.row, cell.column, cell.metric, column.slice, cell.unit),
        *(ours[0], summary.spread if summary else None, *ours[1:], summary.n if summary else 0),
        *(
            *gains,
            cell.published,
            cell.published_split,
            cell.published_difference,
            cell.test_dev.mean if cell.test_dev else None,
            cell.test_dev_source,
            cell.verdict,
            *((compared.split, compared.published, compared.source) if compared else (None, None, None)),
            cell.tuned,
            *counts,
        ),
        *(cell.reason, " ".join(cell.run_ids), cell.command),
    ]
    return [rounded(value) for value in values]
