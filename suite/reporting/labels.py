"""Names beside points, without overlaps."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (0.8, 0.8), (0.8, -0.8), (-0.8, 0.8), (-0.8, -0.8))
_DISTANCES = (6, 13)  # points; a name further away could belong to another point
_DENSE = 20  # with more points, a name at the second distance could belong to another one, too
_HORIZONTAL = {-1: "right", 0: "center", 1: "left"}
_VERTICAL = {-1: "top", 0: "center", 1: "bottom"}
_POINT_RADIUS = 4.0


def label_points(axes: "Axes", points: Sequence[tuple[float, float, str]]) -> None:
    """Write each point's name beside it; a name that would cover a point or another name is left out.

    Points far from the others' mean come first, as they are the ones that a reader asks about.

    Args:
        axes: Axes with their final size and limits.
        points: x, y and name of each point.
    """
    if not points:
        return
    from matplotlib.patheffects import withStroke

    figure: Any = axes.figure
    figure.draw_without_rendering()  # the layout engine decides here how large the axes are
    renderer = figure.canvas.get_renderer()
    frame = axes.get_window_extent(renderer)
    centres = axes.transData.transform([(x, y) for x, y, _ in points])
    radius = _POINT_RADIUS * figure.dpi / 72
    taken = [(x - radius, y - radius, x + radius, y + radius) for x, y in centres]
    distance = np.abs(centres - centres.mean(axis=0)) / (centres.std(axis=0) + 1e-9)
    distances = _DISTANCES if len(points) <= _DENSE else _DISTANCES[:1]
    for index in np.argsort(-distance.max(axis=1)):
        x, y, name = points[index]
        for away, (dx, dy) in itertools.product(distances, _SIDES):
            text = axes.annotate(
                name,
                (x, y),
                (dx * away, dy * away),
                textcoords="offset points",
                ha=_HORIZONTAL[int(np.sign(dx))],
                va=_VERTICAL[int(np.sign(dy))],
                fontsize=8,
                path_effects=[withStroke(linewidth=2.5, foreground="white")],
                in_layout=False,
            )
            box = text.get_window_extent(renderer)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(
                box.x0 < right and left < box.x1 and box.y0 < top and bottom < box.y1
                for left, bottom, right, top in taken
            ):
                taken.append((box.x0, box.y0, box.x1, box.y1))
                break
            text.remove()
