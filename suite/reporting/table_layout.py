"""An item laid out as a table for reading: the lines that Markdown, LaTeX and the page show."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from suite.reporting.cells import Cell
from suite.reporting.items import Item
from suite.reporting.numbers import gain, level, number
from suite.reporting.paper_numbers import TEST_DEV, VAL

EMPTY = "—"


@dataclass(frozen=True)
class Line:
    """One line of a table.

    Attributes:
        kind: ``ours``, ``test-dev`` (ours by the evaluation server), ``paper``, ``published`` (another
            published number of the detector), ``gain`` (ours over the baseline's row), ``paper gain`` or
            ``category``.
        cells: Text of each cell, the heading's first.
        places: For each text, the index of its cell among the item's cells; None for other texts.
    """

    kind: str
    cells: list[str]
    places: list[int | None]


@dataclass(frozen=True)
class Table:
    """A table laid out for reading.

    Attributes:
        header: Headings.
        lines: Lines under them.
        footnotes: Texts that ``[1]``, ``[2]``, ... in the cells point to.
        text_columns: How many of the first columns hold no numbers.
    """

    header: list[str]
    text_columns: int
    lines: list[Line] = field(default_factory=list)
    footnotes: list[str] = field(default_factory=list)

    def mark(self, text: str) -> str:
        """The mark of a footnote, such as ``[1]``; the footnote is added if new."""
        if text not in self.footnotes:
            self.footnotes.append(text)
        return f"[{self.footnotes.index(text) + 1}]"


def seeds(cells: Sequence[Cell]) -> str:
    """``3 seeds``, from the cells that have a number; empty without any."""
    counts = sorted({cell.summary.n for cell in cells if cell.summary})
    return ", ".join(f"{n} seed" + ("s" if n > 1 else "") for n in counts)


def layout(item: Item) -> Table:
    """Lay an item out, as printed in the paper or with one line per category; a picture has no lines."""
    if not item.columns:
        return Table([], 0)
    return _by_category(item) if item.by_category else _by_row(item)


def _by_row(item: Item) -> Table:
    table = Table([", ".join(item.experiment.factor), "", *(column.label for column in item.columns)], 2)
    base = item.experiment.baseline
    for row in item.experiment.rows:
        cells = item.row(row.label)
        places: list[int | None] = [None, None, *map(item.cells.index, cells)]

        def line(kind: str, *texts: str, at: list[int | None] = places) -> None:
            table.lines.append(Line(kind, list(texts), at))

        label, source = row.label, "paper"
        reasons = {cell.reason for cell in cells}
        if row.method is None and row.relative_to is None:
            source = f"paper only {table.mark(cells[0].reason)}"
        elif len(reasons) == 1 and cells[0].reason.startswith("not measurable") and _is_published(cells):
            source = f"paper; ours {EMPTY} {table.mark(cells[0].reason)}"
        else:
            ours = ", ".join(part for part in ("ours", seeds(cells)) if part)
            line("ours", row.label, ours, *(_ours(cell, table) for cell in cells))
            label = ""
        if any(cell.test_dev_source for cell in cells):
            line("test-dev", "", f"ours, {TEST_DEV}", *(_test_dev(cell, table) for cell in cells))
        if _is_published(cells):
            line("paper", label, source + _split_of(cells), *(_paper(cell, table) for cell in cells))
        if others := [cell for cell in cells if _elsewhere(cell)]:
            split = others[0].comparison.split if others[0].comparison else ""
            line("published", "", f"published, {split}", *(_other(cell, table) for cell in cells))
        if any(cell.difference for cell in cells):
            line("gain", "", f"ours − {base}", *map(_gain, cells))
            if any(cell.published_difference is not None for cell in cells):
                line("paper gain", "", f"paper − {base}", *map(_paper_gain, cells))
    return table


def _is_published(cells: Sequence[Cell]) -> bool:
    return any(cell.published is not None for cell in cells)


def _split_of(cells: Sequence[Cell]) -> str:
    """The split of the paper's numbers, where ours are of another one."""
    splits = {cell.published_split for cell in cells} - {"", VAL}
    return "".join(f", {split}" for split in sorted(splits))


def _elsewhere(cell: Cell) -> bool:
    """Whether the cell is judged against another number than the paper's in this place."""
    return cell.comparison is not None and cell.comparison.split != cell.published_split


def _by_category(item: Item) -> Table:
    rows = [row.label for row in item.experiment.rows]
    index = {(cell.row, cell.column): place for place, cell in enumerate(item.cells)}
    has_published = [row for row in rows if _is_published(item.row(row))]
    base = item.experiment.baseline
    header = ["category", "group", "objects", "aspect ratio"]
    if not any(column.group for column in item.columns):
        header.remove("group")
    others = [row for row in rows if row != base]
    shown = [*rows, *others, *has_published]
    table = Table(
        [*header, *rows, *(f"{row} − {base}" for row in others), *(f"paper: {row}" for row in has_published)],
        text_columns=1,
    )
    for column in item.columns:
        places = [index[row, column.label] for row in shown]
        cells = [item.cells[place] for place in places]
        texts = [column.label]
        texts += [column.group or ""] if "group" in header else []
        texts += [str(column.objects or ""), f"{column.aspect_ratio:.2f}" if column.aspect_ratio else ""]
        texts += [_ours(cell, table) for cell in cells[: len(rows)]]
        texts += [_gain(cell) for cell in cells[len(rows) : len(rows) + len(others)]]
        texts += [_paper(cell, table) for cell in cells[len(rows) + len(others) :]]
        table.lines.append(Line("category", texts, [*([None] * len(header)), *places]))
    return table


def _ours(cell: Cell, table: Table) -> str:
    if not cell.summary:
        return f"{EMPTY} {table.mark(cell.reason)}"
    text = level(cell.summary, cell.unit)
    return f"{text} {table.mark(cell.tuned)}" if cell.tuned else text


def _gain(cell: Cell) -> str:
    return gain(cell.difference, cell.unit) if cell.difference else EMPTY


def _paper(cell: Cell, table: Table) -> str:
    if cell.published is None:
        return EMPTY
    text = number(cell.published, cell.unit)
    if cell.not_compared:
        return f"{text} {table.mark(cell.not_compared)}"
    return f"{text} ({cell.verdict})" if cell.verdict and not _elsewhere(cell) else text


def _other(cell: Cell, table: Table) -> str:
    if cell.comparison is None or not _elsewhere(cell):
        return EMPTY
    text = number(cell.comparison.published, cell.unit)
    return f"{text} ({cell.verdict}) {table.mark(cell.comparison.source)}"


def _test_dev(cell: Cell, table: Table) -> str:
    if not cell.test_dev_source:
        return EMPTY
    text = level(cell.test_dev, cell.unit) if cell.test_dev else EMPTY
    return f"{text} {table.mark(cell.test_dev_source)}"


def _paper_gain(cell: Cell) -> str:
    gap = cell.published_difference
    return EMPTY if gap is None else number(gap, cell.unit, signed=True)
