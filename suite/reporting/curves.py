"""AP against training steps: how soon each method learns, and whether their order changes while they do."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from suite.reporting.methods import Method
from suite.reporting.numbers import number
from suite.reporting.pictures.canvas import files, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "AP against training steps"
NAME, NARROW = "ap_over_training", "ap_over_training_narrow"
"""Names of the figure's files, for a desk and for a phone."""
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Of Okabe and Ito's, which colour-blind readers can tell apart, those that show on white."""
_DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)))
_SIZE = 10.5
_LEADER, _LINE_HEIGHT = 20, 1.25
"""Length of the line from a curve to its name, in points; distance of two names, in letters' sizes."""


@dataclass(frozen=True)
class Curve:
    """A method's validations, over seeds.

    Attributes:
        label: The method.
        steps: Training steps at which every seed was validated.
        mean: Mean AP over seeds, in percent.
        spread: Standard deviation over seeds, in percent; empty with one seed.
        seeds: Number of seeds.
    """

    label: str
    steps: list[int]
    mean: list[float]
    spread: list[float]
    seeds: int


def curves(methods: Sequence[Method]) -> list[Curve]:
    """The methods' curves, that of the highest last AP first; methods without a validation have none."""
    found = []
    for method in methods:
        by_step = [found for found in method.validations.values() if found]
        steps = sorted(set.intersection(*map(set, by_step))) if by_step else []
        if not steps:
            continue
        values = [[one[step] for one in by_step] for step in steps]
        spread = [statistics.stdev(at) for at in values] if len(by_step) > 1 else []
        found.append(
            Curve(method.label, steps, [statistics.fmean(at) for at in values], spread, len(by_step))
        )
    return sorted(found, key=lambda curve: (-curve.mean[-1], curve.label))


def draw(methods: Sequence[Method], subtitle: str) -> dict[str, bytes]:
    """The figure as PNG and SVG, and as a narrow SVG; empty where no run was validated while it trained."""
    found = curves(methods)
    if not found:
        return {}
    counts = sorted({curve.seeds for curve in found})
    of_seeds = "one seed" if counts == [1] else f"means of {' to '.join(map(str, counts))} seeds"
    band = ", band: standard deviation" if counts[-1] > 1 else ""
    about = [f"{subtitle}, on a few of the evaluated images", f"{of_seeds}{band}"]
    with style():
        wide = files(_figure(found, ["; ".join(about)], 9.5, 4.6, beside=True), NAME)
        height = 4.6 + 0.2 * len(found)
        narrow = files(_figure(found, about, 5.0, height, beside=False), NARROW)
    return {**wide, f"{NARROW}.svg": narrow[f"{NARROW}.svg"]}


def _figure(
    found: Sequence[Curve], about: Sequence[str], width: float, height: float, *, beside: bool
) -> "Figure":
    """The curves, their names beside them or below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(TITLE + "\n" * len(about), x=0.01, ha="left", fontsize=12, fontweight="bold")
    figure.text(0.01, 1 - 0.32 / height, "\n".join(about), fontsize=9, color="#555555", va="top")
    axes = figure.subplots()
    for index, curve in enumerate(found):
        look = _look(index)
        axes.plot(curve.steps, curve.mean, lw=2, label=_label(curve), **look)
        if curve.spread:
            low = [mean - spread for mean, spread in zip(curve.mean, curve.spread, strict=True)]
            high = [mean + spread for mean, spread in zip(curve.mean, curve.spread, strict=True)]
            axes.fill_between(curve.steps, low, high, color=look["color"], alpha=0.12, lw=0)
    axes.set_xlim(0, max(curve.steps[-1] for curve in found))
    axes.set_xlabel("training steps")
    axes.set_ylabel("AP (%)")
    axes.grid(visible=True)
    if beside:
        _write_beside(figure, axes, found)
    else:
        figure.legend(loc="outside lower left", fontsize=_SIZE, handlelength=3, title="last AP (%)",
                      alignment="left")  # fmt: skip
    return figure


def _look(index: int) -> dict[str, Any]:
    dashes = _DASHES[index // len(_COLOURS) % len(_DASHES)]
    return {"color": _COLOURS[index % len(_COLOURS)], "ls": dashes}


def _label(curve: Curve) -> str:
    return f"{number(curve.mean[-1], '%')}  {curve.label}"


def _write_beside(figure: "Figure", axes: "Axes", found: Sequence[Curve]) -> None:
    """Write each curve's last AP and name to the right of the axes, in the order of the curves."""
    from matplotlib.transforms import Affine2D, ScaledTranslation

    texts = [
        axes.annotate(
            _label(curve), (1, 0), (_LEADER, 0), "axes fraction", "offset points", va="center", fontsize=_SIZE
        )
        for curve in found
    ]
    figure.draw_without_rendering()  # the layout engine makes room for the texts, and fixes the axes' size
    figure.set_layout_engine("none")
    frame = axes.get_window_extent()
    points = frame.height * 72 / figure.dpi
    to_axes = axes.transData - axes.transAxes
    ends = [points * float(to_axes.transform((0, curve.mean[-1]))[1]) for curve in found]
    places = spread_out(ends, _LINE_HEIGHT * _SIZE, points)
    corner: Any = axes.transAxes
    in_points = Affine2D().scale(1 / 72) + figure.dpi_scale_trans + ScaledTranslation(1, 0, corner)
    for index, (text, end, place) in enumerate(zip(texts, ends, places, strict=True)):
        text.set_position((_LEADER, place))
        line = [2, _LEADER - 3], [end, place]
        axes.plot(*line, lw=1.5, transform=in_points, clip_on=False, in_layout=False, **_look(index))


def spread_out(wanted: Sequence[float], distance: float, length: float) -> list[float]:
    """The places nearest to the wanted ones, by squares, of which each two are ``distance`` apart or more.

    Args:
        wanted: Descending.
        distance: Between two places.
        length: Places lie in [0, length] where there is room for all.
    """
    from scipy.optimize import isotonic_regression

    steps = distance * np.arange(len(wanted))
    fitted = isotonic_regression(np.asarray(wanted) + steps, increasing=False).x
    return [float(place) for place in np.clip(fitted, steps[-1], max(length, steps[-1])) - steps]
