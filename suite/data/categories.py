"""The categories of the ``shapes`` dataset, in the order of their ids, which start at 1."""

from typing import NamedTuple


class Turning(NamedTuple):
    """How the objects of a category are turned.

    Few turns keep the classes learnable in minutes; slender objects stay along an axis so that boxes stay
    slender.

    Attributes:
        quarters: Quarter turns that an object may be given, at least 1.
        tilt: Largest random tilt in degrees.
    """

    quarters: int
    tilt: float


TURNINGS = {
    "disc": Turning(1, 0),
    "square": Turning(1, 5),
    "triangle": Turning(1, 5),
    "ring": Turning(1, 0),
    "crescent": Turning(1, 5),
    "cross": Turning(1, 5),
    "elbow": Turning(1, 4),
    "stroke": Turning(1, 3),
    "hook": Turning(1, 4),
    "arrow": Turning(1, 4),
    "plank": Turning(2, 2),
    "rod": Turning(2, 1.2),
}
CATEGORIES = tuple(TURNINGS)

FREQUENCIES = (0.06, 0.05, 0.09, 0.025, 0.04, 0.13, 0.14, 0.07, 0.19, 0.10, 0.07, 0.035)
"""Share of each category among the objects: a long tail, as in COCO."""
