"""The forest plot: every primary claim of the papers, what we measured of it, and what is settled.

The same rows are drawn twice: as HTML for the report's page, where each leads to its table, and as a picture
for a README. Both place them by :class:`Axis`.
"""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from suite.reporting.claims import MeasuredClaim, Outcome
from suite.reporting.numbers import decimal
from suite.reporting.pictures.canvas import files, style
from suite.text import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "claims"
"""Name of the picture's files."""
TITLE = "What the papers claim, and what was measured"

_CLAIMS = TypeAdapter(list[MeasuredClaim])
_COLOURS: Mapping[Outcome, str] = {"as published": "#00805D", "not as published": "#C24F00"}
_UNSETTLED = "#6A6A6A"
_MARKERS: Mapping[Outcome, str] = {"as published": "o", "not as published": "s"}
_WIDTH, _LEFT, _WRAP = 10.5, 0.01, 62
"""Of the picture: its width in inches, its left margin as a share of that, letters of a claim in a line."""


def claims_in(item: Mapping[str, Any]) -> list[MeasuredClaim]:
    """The claims of an ``item.json``; one that an older version wrote has none that can be drawn."""
    try:
        return _CLAIMS.validate_python(item.get("claims") or [])
    except ValidationError:
        return []


@dataclass(frozen=True)
class Axis:
    """The common scale of all effects.

    Attributes:
        low, high: Its ends, in AP.
    """

    low: float
    high: float

    @classmethod
    def over(cls, claims: Sequence[MeasuredClaim]) -> "Axis":
        """A scale that shows every effect, every published one, 0, and most intervals whole.

        A few wide intervals would press all others together: what reaches further than the ends of nine
        intervals of ten is cut off, and marked as such.
        """
        points = [
            0.0,
            *(one for claim in claims for one in (claim.effect, claim.published) if one is not None),
        ]
        ends = [end for claim in claims for end in claim.interval or ()]
        lows, highs = ([*points, *(end for end in ends if sign * end > 0)] for sign in (-1, 1))
        low = min(min(points), float(np.quantile(lows, 0.1)))
        high = max(max(points), float(np.quantile(highs, 0.9)))
        room = 0.06 * (high - low) or 1.0
        return cls(low - room, high + room)

    def share(self, value: float) -> float:
        """Where a value lies between the ends, in [0, 1]; beyond them at the nearer one."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    @property
    def ticks(self) -> list[float]:
        """Round values within the ends, at most seven."""
        steps = (size * 10.0**power for power in range(-3, 4) for size in (1, 2, 5))
        step = next(step for step in steps if (self.high - self.low) / step <= 7)
        first, last = int(np.ceil(self.low / step)), int(np.floor(self.high / step))
        return [round(index * step, 6) for index in range(first, last + 1)]


@dataclass(frozen=True)
class Span:
    """An interval on the axis.

    Attributes:
        start, end: Shares of the axis, in [0, 1].
        cut_low, cut_high: Whether it goes on beyond the axis.
    """

    start: float
    end: float
    cut_low: bool
    cut_high: bool


@dataclass(frozen=True)
class Line:
    """A claim as the plot shows it. Places are shares of the axis, in [0, 1].

    Attributes:
        claim: The claim.
        effect, published: Places; None where there is no number.
        interval, adjusted: The ordinary 95 % interval, and the one within the report's claims.
        text: The claim, and the unit of its numbers where that is not AP.
        ours: Effect and interval, as printed: ``+1.8 [+0.1, +3.5]``.
        paper: The published effect, as printed; empty without one.
    """

    claim: MeasuredClaim
    effect: float
    published: float | None
    interval: Span | None
    adjusted: Span | None
    text: str
    ours: str
    paper: str


@dataclass(frozen=True)
class Forest:
    """The plot.

    Attributes:
        axis: Its scale.
        groups: A paper, and its claims.
        missing: Number of claims that were not measured.
    """

    axis: Axis
    groups: list[tuple[str, list[Line]]]
    missing: int

    def __bool__(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.groups)

    @property
    def lines(self) -> list[Line]:
        """All claims."""
        return [line for _, lines in self.groups for line in lines]


def forest(groups: Sequence[tuple[str, Sequence[MeasuredClaim]]]) -> Forest:
    """Lay the plot out.

    Args:
        groups: A paper, and its claims; those that were not measured are counted only.
    """
    measured = [(paper, [one for one in claims if one.effect is not None]) for paper, claims in groups]
    axis = Axis.over([claim for _, claims in measured for claim in claims])
    lines = [(paper, [_line(claim, axis) for claim in claims]) for paper, claims in measured if claims]
    return Forest(axis, lines, sum(len(claims) for _, claims in groups) - sum(len(some) for _, some in lines))


def _line(claim: MeasuredClaim, axis: Axis) -> Line:
    assert claim.effect is not None

    def span(interval: tuple[float, float] | None) -> Span | None:
        if interval is None or not interval[0] <= interval[1]:
            return None
        low, high = interval
        return Span(axis.share(low), axis.share(high), low < axis.low, high > axis.high)

    def printed(value: float) -> str:
        return decimal(value, 2 if " per " in claim.unit else 1, signed=True)

    ours, paper = printed(claim.effect), ""
    text = claim.text
    if text.split()[0].islower():  # names such as aLRP stay
        text = text[:1].upper() + text[1:]
    if claim.interval is not None:
        ours += f" [{printed(claim.interval[0])}, {printed(claim.interval[1])}]"
    if claim.published is not None:
        paper = printed(claim.published)
    return Line(
        claim,
        axis.share(claim.effect),
        None if claim.published is None else axis.share(claim.published),
        span(claim.interval),
        span(claim.adjusted),
        text if claim.unit == "AP" else f"{text} ({claim.unit})",
        ours,
        paper,
    )


_OPEN: Mapping[Outcome, str] = {
    "open": "{} more seeds or images",
    "one seed": "{} more than one seed",
    "too few objects": "{} more objects than the data have",
}
"""What is missing for a claim to be settled, after ``5 need``."""


def in_words(claims: Sequence[MeasuredClaim]) -> list[str]:
    """How many claims are settled, and what the others lack; empty without a claim."""
    if not claims:
        return []
    number = Counter(claim.outcome for claim in claims)
    settled = number["as published"] + number["not as published"]
    was = "was" if len(claims) == 1 else "were"
    first = f"Of the papers' {counted(len(claims), 'claim')} that {was} measured, "
    if settled:
        first += (
            f"{settled} {'is' if settled == 1 else 'are'} settled: {number['as published']} as published, "
            f"{number['not as published']} not; at most one report like this in twenty settles any wrongly."
        )
    else:
        first += "none is settled."
    lacking = [
        text.format(f"{number[one]} {'needs' if number[one] == 1 else 'need'}")
        for one, text in _OPEN.items()
        if number[one]
    ]
    return [first, f"Still open: {', '.join(lacking)}."] if lacking else [first]


def draw(given: Forest, subtitle: str) -> dict[str, bytes]:
    """The plot as PNG and SVG; empty without a measured claim."""
    if not given:
        return {}
    with style():
        return files(_figure(given, subtitle), NAME)


def _figure(given: Forest, subtitle: str) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    row, heading = 0.40, 0.44
    inches = row * len(given.lines) + heading * len(given.groups)
    height = inches + 1.55
    figure = Figure(figsize=(_WIDTH, height))
    FigureCanvasAgg(figure)
    figure.text(_LEFT, 1 - 0.1 / height, TITLE, fontsize=12, fontweight="bold", va="top")
    figure.text(_LEFT, 1 - 0.38 / height, subtitle, fontsize=9, color="#555555", va="top")
    axes = figure.add_axes((0.42, 0.55 / height, 0.36, inches / height))
    axes.set_xlim(given.axis.low, given.axis.high)
    axes.set_xticks(given.axis.ticks)
    axes.set_xlabel("effect in AP, or in the unit that is named", fontsize=9)
    axes.grid(visible=True, axis="x")
    axes.axvline(0, color="#222222", lw=1)
    y = 0.0
    for paper, lines in given.groups:
        y -= heading
        _write(axes, _LEFT, y + 0.16, paper, fontweight="bold", fontsize=9.5)
        for line in lines:
            y -= row
            _draw_line(axes, y + row / 2, line)
    axes.set_ylim(-inches, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    _legend(figure, 1 - 0.55 / height)
    return figure


def _draw_line(axes: "Axes", y: float, line: Line) -> None:
    claim = line.claim
    assert claim.effect is not None
    colour = _COLOURS.get(claim.outcome, _UNSETTLED)
    low, high = axes.get_xlim()
    for interval, span, width in (
        (claim.adjusted, line.adjusted, 1.2), (claim.interval, line.interval, 3.6),
    ):  # fmt: skip
        if interval is None or span is None:
            continue
        axes.plot(interval, (y, y), color=colour, lw=width, solid_capstyle="butt")
        for end, cut, marker in ((low, span.cut_low, "<"), (high, span.cut_high, ">")):
            if cut:
                axes.plot(end, y, marker, color=colour, ms=6, clip_on=False)
    if claim.published is not None:
        axes.plot(claim.published, y, "D", mfc="white", mec="#222222", ms=5.5, mew=1.1, zorder=3)
    settled = claim.outcome in _COLOURS
    axes.plot(
        claim.effect, y, _MARKERS.get(claim.outcome, "o"), color=colour, ms=7 if settled else 6, zorder=4,
        mec="white", mew=0.8,
    )  # fmt: skip
    _write(axes, _LEFT, y, "\n".join(textwrap.wrap(line.text, _WRAP)), fontsize=8.5)
    paper = f"paper {line.paper}, " if line.paper else ""
    _write(axes, 0.79, y, f"{line.ours}\n{paper}{claim.outcome}", fontsize=8.5, color=colour)


def _write(axes: "Axes", x: float, y: float, text: str, **look: Any) -> None:
    """Write text at a share of the figure's width, beside the line at ``y``."""
    from matplotlib.transforms import blended_transform_factory

    where = blended_transform_factory(axes.figure.transFigure, axes.transData)
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    axes.text(x, y, text, va="center", transform=where, linespacing=1.1, bbox=behind, **look)


def _legend(figure: "Figure", top: float) -> None:
    from matplotlib.lines import Line2D

    def handle(label: str, **look: Any) -> Line2D:
        return Line2D([], [], label=label, **look)

    handles = [
        handle("as published", color=_COLOURS["as published"], marker="o", lw=3.6),
        handle("not as published", color=_COLOURS["not as published"], marker="s", lw=3.6),
        handle("not settled", color=_UNSETTLED, marker="o", lw=3.6),
        handle("published effect", color="none", marker="D", mfc="white", mec="#222222"),
        handle("95 % interval", color="#222222", lw=3.6),
        handle("the interval that settles", color="#222222", lw=1.2),
    ]
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0, top), ncols=len(handles), fontsize=8.5,
        columnspacing=1.2, handlelength=1.6,
    )  # fmt: skip
