"""The functions that the papers match by: FreeAnchor's Fig. 2 and 3, LTM's Fig. 2."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from suite.limits import NEGATIVE_MATCHING, Number, OneOf
from suite.reporting.pictures.canvas import BLUE, files, sheet
from suite.reporting.pictures.model import PictureInput, Pictures, Setting

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

Array = npt.NDArray[Any]
CURVE_SETTINGS = {
    "t1": Setting(0.5, Number(0, 1, below=True)),
    "t2": Setting(0.9, Number(0, 1, above=True)),
}
SURFACE_SETTINGS: dict[str, Setting] = {}
MATCHING_SETTINGS = {
    "negative_matching": Setting("eq25", OneOf(tuple(name for name in NEGATIVE_MATCHING if name != "none")))
}
_NEARLY_ONE = 1 - 1e-9


def saturated_linear(x: Array, t1: float, t2: float) -> Array:
    """0 up to t1, 1 from t2 on, linear between; FreeAnchor, Fig. 2. Any shape."""
    return np.clip((x - t1) / (t2 - t1), 0, 1)


def mean_max(phi: Array) -> Array:
    """Mean-max of phi in [0, 1), shape (..., n): sum of x / (1 - x) over sum of 1 / (1 - x); M+ of a bag."""
    odds = phi / (1 - phi)
    return odds.mean(axis=-1) / (1 + odds.mean(axis=-1))


def _eq25(phi: Array) -> Array:
    odds = phi / (1 - phi)
    weight = odds.sum(axis=-1)
    square = np.square(odds).sum(axis=-1)
    return np.divide(weight, weight + square, out=np.ones_like(weight), where=weight > 0)


def _meanmax2(phi: Array) -> Array:
    inverse = 1 / (1 - phi)
    return inverse.sum(axis=-1) / np.square(inverse).sum(axis=-1)


def _eq11_literal(phi: Array) -> Array:
    return (phi / (1 - phi)).sum(axis=-1) / np.square(1 / (1 - phi)).sum(axis=-1)


NEGATIVE: dict[str, Callable[[Array], Array]] = {
    "eq25": _eq25,
    "eq25_detached": _eq25,
    "meanmax2": _meanmax2,
    "one_minus_meanmax": lambda phi: 1 - mean_max(phi),
    "max": lambda phi: 1 - phi.max(axis=-1),
    "noisy_or": lambda phi: np.prod(1 - phi, axis=-1),
    "eq11_literal": _eq11_literal,
}
"""M- of phi- in [0, 1), shape (..., n); see :mod:`suite.detectors.mean_max`, which trains by -log of it."""


def draw_saturated_linear(given: PictureInput) -> Pictures:
    """FreeAnchor's Fig. 2: P{a -> b} against the IoU of the predicted box with the object."""
    t1, t2 = given.settings["t1"], given.settings["t2"]
    figure = sheet(given, 4.2, 6.4)
    axes = figure.subplots()
    axes.plot([0, t1, t2, 1], [0, 0, 1, 1], color=BLUE, lw=2)
    for threshold, value, name in ((t1, 0.0, "t1"), (t2, 1.0, "t2")):
        axes.plot([threshold] * 2, [0, 1], ":", color="#767676", lw=1)
        axes.plot(threshold, value, "o", color=BLUE, ms=6, clip_on=False)
        place = (-8, 8) if value == 0 else (-8, -1)
        axes.annotate(
            f"{name} = {threshold:g}",
            (threshold, value),
            place,
            textcoords="offset points",
            ha="right",
            va="bottom" if value == 0 else "center",
            bbox={"fc": "white", "ec": "none", "pad": 1},
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("x")
    axes.set_ylabel("saturated linear (x, t1, t2)")
    axes.grid(visible=True)
    x = np.linspace(0, 1, 101)
    numbers = pd.DataFrame({"x": x, "saturated_linear": saturated_linear(x, t1, t2)})
    note = "In FreeAnchor x is the IoU of a predicted box with the object, t2 its highest over all anchors."
    return Pictures(files(figure), numbers, [note])


def draw_mean_max(given: PictureInput) -> Pictures:
    """FreeAnchor's Fig. 3: Mean-max of two inputs."""
    figure = sheet(given, 4.4)
    _surface(figure.add_subfigure(figure.add_gridspec(1, 1)[0]), mean_max, "Mean-max", "x1", "x2")
    numbers = _grid(("x1", "x2"), {"mean_max": mean_max})
    note = (
        "Close to the mean while both inputs are small, close to the larger one where one is near 1. "
        "Right: the same function from above, with lines of equal value."
    )
    return Pictures(files(figure), numbers, [note])


def draw_matching(given: PictureInput) -> Pictures:
    """LTM's Fig. 2: M+ of two phi+ (a), 1 - M- of two phi- (b)."""
    name = given.settings["negative_matching"]
    figure = sheet(given, 8.6)
    grid = figure.add_gridspec(2, 1)
    top, bottom = (figure.add_subfigure(grid[line]) for line in range(2))
    _surface(top, mean_max, "(a) M+", "phi+ of anchor 1", "phi+ of anchor 2")

    def falsely(phi: Array) -> Array:
        return 1 - NEGATIVE[name](phi)

    _surface(bottom, falsely, f"(b) 1 - M-, {name}", "phi- of anchor 1", "phi- of anchor 2")
    numbers = _grid(("phi1", "phi2"), {"M_plus": mean_max, f"one_minus_M_minus_{name}": falsely})
    notes = [
        "M+ is the Mean-max function. 1 - M-, the probability that some anchor localises falsely, is shown, "
        "as it grows with phi-."
    ]
    if name == "eq25":
        notes.append(
            "M- is LTM's Eq. 25 and the released code's, the suite's default. 1 - M- is near the larger phi- "
            "where it is far above the other, even when both are small; the caption of the paper's Fig. 2(b) "
            "describes the mean there, as `meanmax2` has it."
        )
    return Pictures(files(figure), numbers, notes)


def _grid(names: tuple[str, str], functions: dict[str, Callable[[Array], Array]]) -> pd.DataFrame:
    """Values at multiples of a tenth; at 1 the limit, but for rounding."""
    first, second = (axis.ravel() for axis in np.meshgrid(np.linspace(0, 1, 11), np.linspace(0, 1, 11)))
    phi = np.minimum(np.stack([first, second], axis=-1), _NEARLY_ONE)
    values = {name: np.round(function(phi), 6) for name, function in functions.items()}
    return pd.DataFrame({names[0]: first, names[1]: second, **values})


def _surface(
    figure: "SubFigure", function: Callable[[Array], Array], name: str, first: str, second: str
) -> None:
    """A surface over the unit square, and beside it its lines of equal value."""
    from matplotlib.ticker import MultipleLocator

    axis = np.linspace(0, 1, 41)
    x, y = np.meshgrid(axis, axis)
    z = function(np.minimum(np.stack([x, y], axis=-1), _NEARLY_ONE))
    left = figure.add_subplot(1, 2, 1, projection="3d")
    left.plot_surface(
        x, y, z, cmap="viridis", rcount=20, ccount=20, vmin=0, vmax=1, lw=0.2, edgecolor="#33333355"
    )
    left.view_init(elev=24, azim=-125)
    left.set_zlim(0, 1)
    left.set_xlabel(first)
    left.set_ylabel(second)
    left.set_box_aspect(None, zoom=0.86)
    for side in (left.xaxis, left.yaxis, left.zaxis):
        side.set_major_locator(MultipleLocator(0.25))
        side.set_tick_params(labelsize=8)
    left.set_title(name)
    right = figure.add_subplot(1, 2, 2)
    shades = right.contourf(x, y, z, levels=np.linspace(0, 1, 11), cmap="viridis", vmin=0, vmax=1)
    lines = right.contour(x, y, z, levels=np.linspace(0.1, 0.9, 9), colors="white", linewidths=0.9)
    right.clabel(lines, fontsize=8, fmt="%.1f")
    right.set_aspect("equal")
    right.set_xlabel(first)
    right.set_ylabel(second)
    figure.colorbar(shades, ax=right, shrink=0.85, ticks=[0, 0.25, 0.5, 0.75, 1])
