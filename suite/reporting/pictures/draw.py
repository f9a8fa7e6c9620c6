"""Draws a picture of any kind."""

from collections.abc import Callable
from dataclasses import replace

from suite.errors import SuiteError
from suite.reporting.pictures import (
    assignment_evolution,
    bag_evolution,
    detections,
    functions,
    mixture,
    point_bag,
    positives_over_time,
    quality_over_time,
    separation_schemes,
)
from suite.reporting.pictures.canvas import style
from suite.reporting.pictures.kinds import KINDS, check
from suite.reporting.pictures.model import PictureInput, Pictures
from suite.reporting.reasons import in_one_line

DRAWERS: dict[str, Callable[[PictureInput], Pictures]] = {
    "saturated_linear": functions.draw_saturated_linear,
    "mean_max_surface": functions.draw_mean_max,
    "matching_functions": functions.draw_matching,
    "point_bag": point_bag.draw,
    "separation_schemes": separation_schemes.draw,
    "bag_evolution": bag_evolution.draw,
    "assignment_evolution": assignment_evolution.draw,
    "mixture": mixture.draw,
    "positives_over_time": positives_over_time.draw,
    "quality_over_time": quality_over_time.draw,
    "detections": detections.draw,
}
"""Name of a kind -> what draws it."""


def draw(kind: str, given: PictureInput) -> Pictures:
    """Draw a picture.

    Args:
        kind: One of :data:`suite.reporting.pictures.kinds.KINDS`.
        given: What it is drawn from.

    Returns:
        PNG and SVG of each of its figures, the same bytes for the same input; or why there are none, such as
        a dataset whose images are not there.

    Raises:
        SuiteError: See :func:`suite.reporting.pictures.kinds.check`.
    """
    check(kind, given.settings)
    defaults = {name: setting.default for name, setting in KINDS[kind].items()}
    with style():
        try:
            return DRAWERS[kind](replace(given, settings={**defaults, **given.settings}))
        except SuiteError as error:
            return Pictures(reason=in_one_line(error))
