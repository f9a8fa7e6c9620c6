"""LTM's Fig. 4: the bag of points of one object, by normalised distance, on all levels."""

from typing import Any

import numpy as np
import pandas as pd

from suite.reporting.pictures.canvas import BLUE, RED, files, outline, sheet
from suite.reporting.pictures.formulas import formulas
from suite.reporting.pictures.model import PictureInput, Pictures


def draw(given: PictureInput) -> Pictures:
    """One panel per level: the points around a box, and which of them are in the bag."""
    found = formulas()["point_bag"]
    box, view = np.array(found["box"]), found["view"]
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    window = found["window"] * half
    panel_height = 2.35 * (view[3] - view[1]) / (view[2] - view[0])
    figure = sheet(given, 1.2 + 2 * (min(panel_height, 6) + 0.5))
    axes = figure.subplots(2, 3).ravel()
    parts = []
    levels = list(enumerate(found["points"].items(), start=3))  # P3 is the lowest
    for panel, (level, (stride, points)) in zip(axes, levels, strict=False):
        inside, others = (np.array(points[part]).reshape(-1, 2) for part in ("in_bag", "others"))
        outline(panel, box, color="#222222", lw=1.4)
        if level > 3:
            outline(panel, np.concatenate([middle - window, middle + window]), color=RED, lw=1.1, ls="--")
        panel.plot(*others.T, "+", color="#aaaaaa", ms=2.6, mew=0.7)
        area = min(48.0, (0.55 * int(stride) * 280 / (view[2] - view[0])) ** 2)
        panel.scatter(*inside.T, s=area, color=BLUE, ec="black", lw=0.5)
        panel.set_title(f"P{level}, stride {stride}: {len(inside)} in the bag")
        panel.set_xlim(view[0], view[2])
        panel.set_ylim(view[3], view[1])
        panel.set_aspect("equal")
        panel.tick_params(labelsize=8)
        parts.append(pd.DataFrame(inside, columns=["x", "y"]).assign(level=level, stride=int(stride)))
    _legend(axes[len(levels)])
    bag = pd.concat(parts, ignore_index=True)[["level", "stride", "x", "y"]]
    counts = ", ".join(f"P{level} {count}" for level, count in bag.groupby("level").size().items())
    width, height = box[2:] - box[:2]
    notes = [
        f"A box of {width:g} x {height:g} pixels in an image of {found['image'][0]} x {found['image'][1]}. "
        f"Its bag of {len(bag)} points: {counts}.",
        "The bag holds the points of smallest normalised distance: the larger one of |x - box centre| / half "
        "the width and |y - box centre| / half the height, divided by the stride. So coarse levels serve "
        f"large boxes. Above the lowest level only points within the central {found['window']:.0%} of the "
        "box (dashed) take part.",
    ]
    return Pictures(files(figure), bag, notes)


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
