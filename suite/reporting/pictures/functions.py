"""The functions that the papers match by: FreeAnchor's Fig. 2 and 3, LTM's Fig. 2."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from suite.reporting.pictures.canvas import BLUE, files, sheet
from suite.reporting.pictures.formulas import formulas
from suite.reporting.pictures.model import PictureInput, Pictures

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

Array = npt.NDArray[Any]


def draw_saturated_linear(given: PictureInput) -> Pictures:
    """FreeAnchor's Fig. 2: P{a -> b} against the IoU of the predicted box with the object."""
    curve = formulas()["saturated_linear"]
    t1, t2 = curve["t1"], curve["t2"]
    figure = sheet(given, 4.2, 6.4)
    axes = figure.subplots()
    axes.plot(curve["x"], curve["values"], color=BLUE, lw=2)
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
    numbers = pd.DataFrame({"x": curve["x"], "saturated_linear": curve["values"]})
    note = "In FreeAnchor x is the IoU of a predicted box with the object, t2 its highest over all anchors."
    return Pictures(files(figure), numbers, [note])


def draw_mean_max(given: PictureInput) -> Pictures:
    """FreeAnchor's Fig. 3: Mean-max of two inputs."""
    mean_max = _values("positive")
    figure = sheet(given, 4.4)
    _surface(figure.add_subfigure(figure.add_gridspec(1, 1)[0]), mean_max, "Mean-max", "x1", "x2")
    numbers = _table(("x1", "x2"), {"mean_max": mean_max})
    note = (
        "Close to the mean while both inputs are small, close to the larger one where one is near 1. "
        "Right: the same function from above, with lines of equal value."
    )
    return Pictures(files(figure), numbers, [note])


def draw_matching(given: PictureInput) -> Pictures:
    """LTM's Fig. 2: M+ of two phi+ (a), 1 - M- of two phi- (b)."""
    name = given.settings["negative_matching"]
    well, falsely = _values("positive"), _values("negative", name)
    figure = sheet(given, 8.6)
    grid = figure.add_gridspec(2, 1)
    top, bottom = (figure.add_subfigure(grid[line]) for line in range(2))
    _surface(top, well, "(a) M+", "phi+ of anchor 1", "phi+ of anchor 2")
    _surface(bottom, falsely, f"(b) 1 - M-, {name}", "phi- of anchor 1", "phi- of anchor 2")
    numbers = _table(("phi1", "phi2"), {"M_plus": well, f"one_minus_M_minus_{name}": falsely})
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


def _values(*path: str) -> Array:
    """A matching function of two arguments, the first along the columns and the second along the rows."""
    values: Any = formulas()["matching"]
    for key in path:
        values = values[key]
    return np.array(values)


def _table(names: tuple[str, str], functions: dict[str, Array]) -> pd.DataFrame:
    """The values of functions at multiples of a tenth of both arguments."""
    axis = np.array(formulas()["matching"]["phi"])
    every = (len(axis) - 1) // 10
    first, second = (argument.ravel() for argument in np.meshgrid(axis[::every], axis[::every]))
    values = {name: np.round(function[::every, ::every].ravel(), 6) for name, function in functions.items()}
    return pd.DataFrame({names[0]: first, names[1]: second, **values})


def _surface(figure: "SubFigure", z: Array, name: str, first: str, second: str) -> None:
    """Draw a function as a surface over the unit square, and beside it its lines of equal value."""
    from matplotlib.ticker import MultipleLocator

    axis = formulas()["matching"]["phi"]
    x, y = np.meshgrid(axis, axis)
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
