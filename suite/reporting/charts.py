"""How each kind of figure is drawn."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from suite.reporting.cells import Cell
from suite.reporting.figure_parts import PANEL_LETTERS
from suite.reporting.fits import Fit
from suite.reporting.items import Item, ItemColumn
from suite.reporting.labels import label_points
from suite.reporting.numbers import decimal, number
from suite.reporting.paper_numbers import Entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#767676", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
"""Grey for the baseline, then Okabe and Ito's colours, which colour-blind readers can tell apart."""
_MARKERS = "osD^vP"
MANY_CATEGORIES = 20
"""With more categories than this, a scatter figure has no whiskers, and bars are drawn closer."""


def _figure(item: Item, text: str, width: float, height: float) -> "Figure":
    """An empty figure with its title, and a smaller text on the title's second line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{item.experiment.title}\n", x=0.01, ha="left", fontsize=12, fontweight="bold")
    figure.text(0.01, 1 - 0.32 / height, text, fontsize=9, color="#555555", va="top")
    return figure


def _colour(item: Item, row: str) -> str:
    base = item.experiment.baseline
    labels = [base, *(other.label for other in item.experiment.rows if other.label != base)]
    return COLOURS[labels.index(row) % len(COLOURS)]


def _runnable(item: Item) -> list[str]:
    return [row.label for row in item.experiment.rows if row.method is not None]


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _spread(cell: Cell) -> float:
    return cell.summary.spread if cell.summary and cell.summary.spread is not None else 0.0


def _half_interval(cell: Cell) -> float:
    found = cell.difference
    return (found.interval[1] - found.interval[0]) / 2 if found and found.interval else 0.0


def bars(item: Item, text: str) -> "Figure":
    """AP of square and slender categories; the paper's bars beside ours where the categories differ."""
    columns = [column for column in item.columns if column.is_category]
    shown = {column.label for column in columns}
    same = any(cell.published is not None for cell in item.cells if cell.column in shown)
    paper = item.entry if item.entry and item.entry.rows and not same else None
    figure = _figure(item, text, 9.5, 7.2 if paper else 4.4)
    axes = figure.subplots(2 if paper else 1, 1, squeeze=False)[:, 0]
    rows = _runnable(item)
    cells = [[_find(item, row, column) for column in columns] for row in rows]
    heights = [[_number(cell.value) for cell in line] for line in cells]
    errors = [[_spread(cell) for cell in line] for line in cells]
    markers = [[_number(cell.published) for cell in line] for line in cells] if same else None
    groups = [column.group or "" for column in columns]
    labels = [column.label for column in columns]
    _grouped(axes[0], item, rows, labels, groups, heights, errors, markers)
    axes[0].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes[0].set_title("ours" + (" (bars) and paper (diamonds)" if same else ""))
    if paper:
        _paper_bars(axes[1], item, rows, paper)
    return figure


def _paper_bars(axes: "Axes", item: Item, rows: Sequence[str], paper: Entry) -> None:
    names = {
        row.label: str(next(iter(row.published.values()))) for row in item.experiment.rows if row.published
    }
    heights = [
        [_number(line["values"][paper.columns.index(names[row])]) for line in paper.rows] for row in rows
    ]
    labels, groups = ([line[key] for line in paper.rows] for key in ("category", "group"))
    _grouped(axes, item, rows, labels, groups, heights, None, None)
    axes.set_title("paper (COCO; other categories, so levels are not comparable)")


def _grouped(
    axes: "Axes",
    item: Item,
    rows: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str],
    heights: Sequence[Sequence[float]],
    errors: Sequence[Sequence[float]] | None,
    markers: Sequence[Sequence[float]] | None,
) -> None:
    """Draw the rows' bars of each category side by side with their values; groups are set apart by a gap."""
    gaps = np.cumsum([0.0, *(0.6 if a != b else 0.0 for a, b in itertools.pairwise(groups))])
    x = np.arange(len(labels)) + gaps
    width = 0.8 / len(rows)
    for index, row in enumerate(rows):
        at = x + (index - (len(rows) - 1) / 2) * width
        spread = np.array(errors[index]) if errors else np.zeros(len(labels))
        bars = axes.bar(at, heights[index], width * 0.94, color=_colour(item, row), label=row)
        if spread.any():
            axes.errorbar(at, heights[index], yerr=spread, fmt="none", ecolor="#222222", capsize=3, lw=1)
        texts = ["" if np.isnan(value) else number(value, "%") for value in heights[index]]
        if markers:  # they would hide the numbers, which the table holds as well
            axes.plot(
                at, markers[index], "D", mfc="white", mec="#222222", ms=5, label=None if index else "paper"
            )
            continue
        for bar, text, error in zip(bars, texts, spread, strict=True):
            top = np.nan_to_num(bar.get_height()) + error
            place = (bar.get_x() + bar.get_width() / 2, top)
            axes.annotate(
                text, place, (0, 2), textcoords="offset points", ha="center", va="bottom", fontsize=8
            )
    ticks = [f"{label}\n({group})" if group else label for label, group in zip(labels, groups, strict=True)]
    axes.set_xticks(x, ticks)
    axes.grid(visible=False, axis="x")
    axes.set_ylabel(item.experiment.figure.y_label if item.experiment.figure else "")
    axes.margins(y=0.12)


def lines(item: Item, text: str) -> "Figure":
    """AP by bin, and the gain over the baseline with its interval below."""
    figure = _figure(item, text, 8.0, 6.4)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    x = np.arange(len(item.columns), dtype=float)
    rows = _runnable(item)
    for index, row in enumerate(rows):
        cells = [_find(item, row, column) for column in item.columns]
        colour, marker = _colour(item, row), _MARKERS[index % len(_MARKERS)]
        shift = x + 0.03 * (index - (len(rows) - 1) / 2)
        style: dict[str, Any] = {"color": colour, "marker": marker, "capsize": 3, "label": row}
        top.errorbar(shift, [_number(c.value) for c in cells], yerr=[_spread(c) for c in cells], **style)
        if any(cell.published is not None for cell in cells):
            values = [_number(cell.published) for cell in cells]
            top.plot(x, values, "--", color=colour, marker=marker, mfc="white", label=f"{row} (paper)")
        if any(cell.difference for cell in cells):
            gains = [_number(cell.difference.mean if cell.difference else None) for cell in cells]
            bottom.errorbar(shift, gains, yerr=[_half_interval(cell) for cell in cells], **style)
    bottom.axhline(0, color="#222222", lw=0.8)
    spec = item.experiment.figure
    top.set_ylabel(spec.y_label if spec else "")
    bottom.set_ylabel(f"gain over\n{item.experiment.baseline}")
    bottom.set_xlabel(spec.x_label if spec else "")
    bottom.set_xticks(x, [_bin_label(item, column) for column in item.columns])
    bottom.set_xlim(-0.4, len(x) - 0.6)
    top.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _bin_label(item: Item, column: ItemColumn) -> str:
    found = (cell.rests_on for cell in item.cells if cell.column == column.label and cell.rests_on)
    counts: dict[str, int] = next(found, {})
    if not counts:
        return column.label
    return f"{column.label}\n{counts['images']} images,\n{counts['objects']} objects"


def scatter(item: Item, text: str) -> "Figure":
    """Gain of each category against its aspect ratio, one panel per row, with the least-squares line."""
    rows = [row for row in _runnable(item) if row != item.experiment.baseline]
    figure = _figure(item, text, 9.5, 4.8)
    panels = figure.subplots(1, len(rows), sharex=True, sharey=True, squeeze=False)[0]
    fits = {fit.row: fit for fit in item.fits}
    spec = item.experiment.figure
    for index, (axes, row) in enumerate(zip(panels, rows, strict=True)):
        points = _points(item, row)
        axes.axhline(0, color="#222222", lw=0.8)
        axes.set_xlabel(spec.x_label if spec else "")
        axes.set_title(_panel_title(index, row, fits.get(row)))
        if points:
            x, y, error = (np.array([point[i] for point in points], dtype=float) for i in range(3))
            style: dict[str, Any] = {"color": _colour(item, row), "ecolor": "#8c8c8c", "elinewidth": 0.8}
            readable = len(points) <= MANY_CATEGORIES
            axes.errorbar(x, y, yerr=error if readable else None, fmt="o", ms=5, **style)
            if row in fits:
                ends = np.array([x.min(), x.max()])
                axes.plot(ends, fits[row].intercept + fits[row].slope * ends, color="#222222", lw=1.4)
            axes.margins(x=0.1, y=0.1)
    panels[0].set_ylabel(spec.y_label if spec else "")
    for axes, row in zip(panels, rows, strict=True):  # after all panels have their common limits
        label_points(axes, [(x, y, name) for x, y, _, name in _points(item, row)])
    return figure


def _points(item: Item, row: str) -> list[tuple[float, float, float, str]]:
    """Aspect ratio, gain, half its interval and name of each category with a gain."""
    return [
        (column.aspect_ratio, cell.difference.mean, _half_interval(cell), column.label)
        for column in item.columns
        if (cell := _find(item, row, column)).difference is not None and column.aspect_ratio is not None
    ]


def _panel_title(index: int, row: str, fit: Fit | None) -> str:
    title = f"({PANEL_LETTERS[index]}) {row}"
    if fit is None:
        return title + "\nnot measured"
    pearson = "" if fit.pearson is None else f", Pearson {decimal(fit.pearson, 2)}"
    return f"{title}\nslope {decimal(fit.slope, 2, signed=True)}{pearson}, n = {fit.n}"


def gain_bars(item: Item, text: str) -> "Figure":
    """AP of each category and the gain of each row; the categories are ordered by the first row's gain."""
    rows = _runnable(item)
    others = [row for row in rows if row != item.experiment.baseline]

    def first_gain(column: ItemColumn) -> float:
        found = _find(item, others[0], column).difference
        return found.mean if found else 0.0

    columns = sorted(item.columns, key=first_gain)
    y = np.arange(len(columns), dtype=float)
    figure = _figure(item, text, 9.5, 1.6 + (0.4 if len(columns) <= MANY_CATEGORIES else 0.27) * len(columns))
    axes = figure.subplots(1, 1 + len(others), sharey=True, width_ratios=[1.6] + [1.0] * len(others))
    height = 0.8 / len(rows)
    for index, row in enumerate(rows):
        cells = [_find(item, row, column) for column in columns]
        at = y - (index - (len(rows) - 1) / 2) * height
        style: dict[str, Any] = {"color": _colour(item, row), "ecolor": "#222222", "error_kw": {"lw": 0.8}}
        values, errors = [_number(cell.value) for cell in cells], [_spread(cell) for cell in cells]
        axes[0].barh(at, values, height * 0.92, xerr=errors, label=row, **style)
        if row in others:
            panel = axes[1 + others.index(row)]
            gains = [_number(cell.difference.mean if cell.difference else None) for cell in cells]
            panel.barh(y, gains, 0.6, xerr=[_half_interval(cell) for cell in cells], **style)
            panel.axvline(0, color="#222222", lw=0.8)
            panel.set_title(f"({PANEL_LETTERS[others.index(row)]}) gain of {row}")
            _published_ranges(panel, item.entry, columns)
    axes[0].set_yticks(y, [column.label for column in columns])
    unit = item.experiment.figure.y_label if item.experiment.figure else ""
    axes[0].set_title(f"{unit}, by the gain of {others[0]}")
    axes[0].set_ylim(-0.6, len(columns) - 0.4)
    for panel in axes:
        panel.grid(visible=False, axis="y")
        panel.tick_params(axis="y", length=0)
    for panel in axes[2:]:
        panel.sharex(axes[1])
        panel.autoscale(axis="x")
    handles, labels = (
        a + b for a, b in zip(*(one.get_legend_handles_labels() for one in axes[:2]), strict=True)
    )
    figure.legend(handles, labels, loc="outside lower left", ncols=len(labels))
    return figure


def _published_ranges(axes: "Axes", entry: Entry | None, columns: Sequence[ItemColumn]) -> None:
    """Mark the published range of a category's gain, where the paper names one."""
    if entry is None or entry.columns != ["gain_min", "gain_max"]:
        return
    ranges = {row["category"]: row["values"] for row in entry.rows}
    for place, column in enumerate(columns):
        if column.label in ranges:
            low, high = ranges[column.label]
            style: dict[str, Any] = {"color": "#E69F00", "lw": 2, "ms": 8, "mew": 2}
            first = next(iter(ranges)) == column.label
            axes.plot([low, high], [place, place], "|-", **style, label="paper's range" if first else None)


def _find(item: Item, row: str, column: ItemColumn) -> Cell:
    return next(cell for cell in item.cells if cell.row == row and cell.column == column.label)
