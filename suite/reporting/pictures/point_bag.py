"""LTM's Fig. 4: the bag of points of one object, by normalised distance, on all levels."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from suite.limits import Number
from suite.reporting.pictures.canvas import BLUE, RED, files, outline, sheet
from suite.reporting.pictures.model import PictureInput, Pictures, Setting

Array = npt.NDArray[Any]
SETTINGS = {
    "bag_size": Setting(40, Number(1, 500, whole=True)),
    "window": Setting(0.8, Number(0, 1, above=True)),
    "width": Setting(192, Number(8, 1024)),
    "height": Setting(112, Number(8, 1024)),
}
STRIDES = (8, 16, 32, 64, 128)
_AROUND = 44  # pixels shown around the object


def point_bag(box: Array, size: tuple[int, int], bag_size: int, window: float) -> pd.DataFrame:
    """All points of an image by rising normalised distance to an object, and which of them its bag holds.

    LTM, Sec. 3.4, as in the released code: :func:`suite.detectors.bags.point_bags`, one box at a time.

    Args:
        box: The object, xyxy in pixels.
        size: Width and height of the image, multiples of the largest stride.
        bag_size: K.
        window: Share of the width and height within which points of all levels but the lowest take part.

    Returns:
        Columns ``level`` (3 for P3), ``stride``, ``x``, ``y`` (pixels), ``distance`` (infinite outside the
        window of a level above the lowest) and ``in_bag``.
    """
    x1, y1, x2, y2 = box
    levels = []
    for level, stride in enumerate(STRIDES, start=3):
        columns, rows = ((np.arange(side // stride) + 0.5) * stride for side in size)
        x, y = (axis.ravel() for axis in np.meshgrid(columns, rows))
        farther = np.maximum(np.abs(2 * x - x1 - x2) / (x2 - x1 + 1), np.abs(2 * y - y1 - y2) / (y2 - y1 + 1))
        outside = (farther > window) & (stride > STRIDES[0])
        distance = np.where(outside, np.inf, farther / stride)
        levels.append(pd.DataFrame(dict(level=level, stride=stride, x=x, y=y, distance=distance)))
    points = pd.concat(levels, ignore_index=True).sort_values("distance", kind="stable", ignore_index=True)
    points["in_bag"] = points.index < bag_size
    return points


def draw(given: PictureInput) -> Pictures:
    """One panel a level: its points, and among them those of the bag, darker the nearer."""
    from matplotlib.colors import Normalize

    settings = given.settings
    width, height = settings["width"], settings["height"]
    # Around a point of all levels but the lowest, yet off the grid, as objects are.
    size = tuple((2 * int(side // (2 * STRIDES[-1])) + 3) * STRIDES[-1] for side in (width, height))
    middle = np.array(size) / 2 + np.array((5, -3))
    half = np.array([width, height]) / 2
    box = np.concatenate([middle - half, middle + half])
    points = point_bag(box, (size[0], size[1]), settings["bag_size"], settings["window"])
    view = np.concatenate([middle - half - _AROUND, middle + half + _AROUND])
    bag = points[points["in_bag"]]

    panels = len(STRIDES)
    panel_height = 2.35 * (view[3] - view[1]) / (view[2] - view[0])
    figure = sheet(given, 1.2 + 2 * (min(panel_height, 6) + 0.5))
    axes = figure.subplots(2, 3).ravel()
    norm = Normalize(0, bag["distance"].max())
    for panel, (level, stride) in zip(axes[:panels], enumerate(STRIDES, start=3), strict=True):
        own = points[points["level"] == level]
        inside = own[own["in_bag"]]
        outline(panel, box, color="#222222", lw=1.4)
        window = settings["window"] * half
        if stride > STRIDES[0]:
            outline(panel, np.concatenate([middle - window, middle + window]), color=RED, lw=1.1, ls="--")
        area = min(48.0, (0.55 * stride * 280 / (view[2] - view[0])) ** 2)
        rest = own[~own["in_bag"]]
        rest = rest[rest["x"].between(view[0], view[2]) & rest["y"].between(view[1], view[3])]
        panel.plot(rest["x"], rest["y"], "+", color="#aaaaaa", ms=2.6, mew=0.7)
        dots = panel.scatter(
            inside["x"],
            inside["y"],
            s=area,
            c=inside["distance"],
            cmap="viridis",
            norm=norm,
            ec="black",
            lw=0.5,
        )
        panel.set_title(f"P{level}, stride {stride}: {len(inside)} of {len(own)} points")
        panel.set_xlim(view[0], view[2])
        panel.set_ylim(view[3], view[1])
        panel.set_aspect("equal")
        panel.tick_params(labelsize=8)
    _legend(axes[panels])
    figure.colorbar(dots, ax=list(axes), shrink=0.7, label="normalised distance")
    counts = ", ".join(f"P{level} {count}" for level, count in bag.groupby("level").size().items())
    notes = [
        f"A box of {width:g} x {height:g} pixels in an image of {size[0]} x {size[1]}. Its bag of "
        f"{len(bag)} points: {counts}.",
        "The distance is the larger one of |x - box centre| / half the width and |y - box centre| / half the "
        "height, divided by the stride: coarse levels serve large boxes. Above the lowest level only points "
        f"within the central {settings['window']:.0%} of the box (dashed) take part.",
    ]
    return Pictures(files(figure), bag.drop(columns="in_bag").round({"distance": 6}), notes)


def _legend(axes: Any) -> None:
    from matplotlib.lines import Line2D

    axes.axis("off")
    mark: dict[str, Any] = {"ls": "", "mec": "black"}
    axes.legend(
        handles=[
            Line2D([], [], color="#222222", lw=1.4, label="the object"),
            Line2D([], [], color=RED, lw=1.1, ls="--", label="window of its points"),
            Line2D([], [], marker="o", color=BLUE, ms=6, label="in the bag", **mark),
            Line2D([], [], marker="+", ls="", color="#999999", ms=6, label="not in the bag"),
        ],
        loc="center left",
    )
