"""Figures of an item, as PNG and SVG."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from suite.reporting import charts
from suite.reporting.items import Item
from suite.reporting.pictures.canvas import STYLE, files
from suite.reporting.table_layout import seeds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WHISKERS = {
    "bars": "standard deviation over seeds",
    "lines": "AP: standard deviation over seeds, gain: 95 % interval",
    "scatter": "95 % interval",
    "gain_bars": "AP: standard deviation over seeds, gain: 95 % interval",
}


def draw(item: Item, subtitle: str) -> dict[str, bytes]:
    """Draw a figure item.

    Args:
        item: A measured experiment of kind ``figure``.
        subtitle: What was run, under the title.

    Returns:
        File name -> content of ``figure.png`` and ``figure.svg``; the same bytes for the same item. Empty
        where no run has a number and nothing is published.
    """
    figure_spec = item.experiment.figure
    if figure_spec is None or all(cell.value is None and cell.published is None for cell in item.cells):
        return {}
    import matplotlib

    kinds: dict[str, Callable[[Item, str], Figure]] = {
        "bars": charts.bars,
        "lines": charts.lines,
        "scatter": charts.scatter,
        "gain_bars": charts.gain_bars,
    }
    counts = seeds(item.cells)
    text = f"{item.id}, {subtitle}" + (f", {counts}" if counts else "")
    bare = figure_spec.kind == "scatter" and len(item.columns) > charts.MANY_CATEGORIES
    if any(cell.summary and cell.summary.n > 1 for cell in item.cells) and not bare:
        text += f"; whiskers: {_WHISKERS[figure_spec.kind]}"
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE, "axes.grid": True, "backend": "agg"}):
        figure = kinds[figure_spec.kind](item, text)
        return files(figure)
