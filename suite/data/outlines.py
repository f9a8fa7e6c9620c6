"""Outlines of the categories of the ``shapes`` dataset.

Ring, crescent, elbow and hook have background at the centre of their box; a stroke fills little of its box.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from suite.data.categories import TURNINGS

Array = npt.NDArray[Any]
Generator = np.random.Generator


def _arc(radius: float, start: float, stop: float, centre: tuple[float, float] = (0.0, 0.0)) -> Array:
    angles = np.radians(np.linspace(start, stop, 28))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius + centre


def _box(x0: float, y0: float, x1: float, y1: float) -> Array:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def _disc(rng: Generator) -> list[Array]:
    return [_arc(0.5, 0, 360)]


def _square(rng: Generator) -> list[Array]:
    return [_box(-0.5, -0.5, 0.5, 0.5)]


def _triangle(rng: Generator) -> list[Array]:
    return [np.array([[0.0, -0.75], [0.5, 0.75], [-0.5, 0.75]])]


def _ring(rng: Generator) -> list[Array]:
    return [_arc(0.5, 0, 360), _arc(rng.uniform(0.27, 0.34), 0, 360)]


def _crescent(rng: Generator) -> list[Array]:
    tip, centre = 65.0, rng.uniform(0.17, 0.21)
    x, y = 0.5 * math.cos(math.radians(tip)), 0.5 * math.sin(math.radians(tip))
    inner = math.degrees(math.atan2(y, x - centre))
    hollow = _arc(math.hypot(x - centre, y), 360 - inner, inner, (centre, 0.0))
    return [np.concatenate([_arc(0.5, tip, 360 - tip), hollow])]


def _cross(rng: Generator) -> list[Array]:
    a, b = 0.5, rng.uniform(0.13, 0.17)
    quarter = np.array([[b, -a], [b, -b], [a, -b]])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    return [np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)]) * (1.0, 1.8)]


def _elbow(rng: Generator) -> list[Array]:
    t = rng.uniform(0.24, 0.30)
    return [np.array([[0, 0], [t, 0], [t, 1.6 - t], [1, 1.6 - t], [1, 1.6], [0, 1.6]])]


def _stroke(rng: Generator) -> list[Array]:
    t = rng.uniform(0.16, 0.22)
    return [np.array([[0, 0], [t, 0], [1, 1.2 - t], [1, 1.2], [1 - t, 1.2], [0, t]])]


def _hook(rng: Generator) -> list[Array]:
    inner = rng.uniform(0.24, 0.28)
    short_end, long_end = [[0.5, -0.05]], [[-0.5, -1.4], [-inner, -1.4]]
    bend = (0.0, 0.2)
    parts = (short_end, _arc(0.5, 0, 180, bend), long_end, _arc(inner, 180, 0, bend), [[inner, -0.05]])
    return [np.concatenate(parts)]


def _arrow(rng: Generator) -> list[Array]:
    t, neck = rng.uniform(0.07, 0.10), rng.uniform(0.0, 0.1)
    upper = np.array([[-0.5, -t], [neck, -t], [neck, -0.17], [0.5, 0.0]])
    return [np.concatenate([upper, upper[-2::-1] * (1, -1)])]


def _plank(rng: Generator) -> list[Array]:
    return [_box(-2.15, -0.5, 2.15, 0.5)]


def _rod(rng: Generator) -> list[Array]:
    return [np.concatenate([_arc(0.5, -90, 90, (4.1, 0)), _arc(0.5, 90, 270, (-4.1, 0))])]


_MAKERS: dict[str, Callable[[Generator], list[Array]]] = {
    maker.__name__.removeprefix("_"): maker
    for maker in (
        _disc, _square, _triangle, _ring, _crescent, _cross, _elbow, _stroke, _hook, _arrow, _plank, _rod,
    )
}  # fmt: skip
"""Category -> its outline in a frame of its own."""


def outline(category: str, rng: Generator) -> list[Array]:
    """Draw a random outline of a category.

    Returns:
        Closed curves, each ``(n, 2)`` in x, y; a point is inside where an odd number of them enclose it.
        Their common bounding box, which is also the first one's, is centred on 0 and has an area of 1.
    """
    quarters, tilt = TURNINGS[category]
    curves = _MAKERS[category](rng)
    angle = math.radians(90 * int(rng.integers(quarters)) + rng.uniform(-tilt, tilt))
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    scale = np.array([rng.choice([-1.0, 1.0]), 1.0]) * np.exp(rng.normal(0, 0.13, 2))
    curves = [curve @ turn * scale for curve in curves]
    points = np.concatenate(curves)
    low, high = points.min(axis=0), points.max(axis=0)
    return [(curve - (low + high) / 2) / math.sqrt(np.prod(high - low)) for curve in curves]
