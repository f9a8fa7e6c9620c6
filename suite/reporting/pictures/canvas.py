"""The sheet that every picture is drawn on, and its files."""

import base64
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from suite.reporting.pictures.model import PictureInput

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 9.5
"""Width of a picture in inches; the page shows it without scaling on a desk, and scrolls it on a phone."""
GREY, BLUE, RED, GREEN, PURPLE, ORANGE = "#767676", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.grid": False,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "savefig.dpi": 160,
    "svg.hashsalt": "suite",
}
"""matplotlib's settings for every figure of a report."""
_JPEG_QUALITY = 70
_EMBEDDED = re.compile(rb"data:image/png;base64,\s*([A-Za-z0-9+/=\s]+)")


@contextmanager
def style() -> Iterator[None]:
    """Within the block matplotlib has the pictures' settings, not the user's own."""
    import matplotlib

    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE, "backend": "agg"}):
        yield


def sheet(given: PictureInput, height: float, width: float = WIDTH, title: str = "") -> "Figure":
    """An empty figure with its title, and under it what was run.

    Args:
        given: The picture's input.
        height: In inches.
        width: In inches.
        title: Instead of the input's.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{title or given.title}\n", x=0.01, ha="left", fontsize=12, fontweight="bold")
    figure.text(0.01, 1 - 0.32 / height, given.subtitle, fontsize=9, color="#555555", va="top")
    return figure


def lay_out(figure: "Figure") -> None:
    """Fix the layout as it is now: savefig would work it out twice for each format, slower than drawing."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine(None)


def files(figure: "Figure", name: str = "figure") -> dict[str, bytes]:
    """The figure as ``<name>.png`` and ``<name>.svg``, the same bytes for the same figure."""
    lay_out(figure)
    found = {}
    for extension, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        stream = io.BytesIO()
        figure.savefig(stream, format=extension, metadata=metadata)
        found[f"{name}.{extension}"] = stream.getvalue()
    found[f"{name}.svg"] = _EMBEDDED.sub(_as_jpeg, found[f"{name}.svg"])
    return found


def _as_jpeg(embedded: re.Match[bytes]) -> bytes:
    """An opaque image within an SVG as JPEG: photos take a tenth of the room that they take as PNG."""
    from PIL import Image

    image: Any = Image.open(io.BytesIO(base64.b64decode(embedded[1])))
    if image.mode == "RGBA":
        if image.getextrema()[3] != (255, 255):
            return embedded[0]
        image = image.convert("RGB")
    stream = io.BytesIO()
    image.save(stream, "jpeg", quality=_JPEG_QUALITY)
    return b"data:image/jpeg;base64," + base64.b64encode(stream.getvalue())


def outline(axes: "Axes", box: Sequence[float] | npt.NDArray[Any], **style: Any) -> None:
    """Draw a box, xyxy in the axes' units, unfilled.

    Args:
        axes: Where.
        box: The box.
        style: Of the line. A ``halo`` is the colour of a wider line beneath it, which is seen on any photo.
    """
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    x1, y1, x2, y2 = box
    halo = style.pop("halo", None)
    width = style.get("lw", 1.0)
    effects = [withStroke(linewidth=width + 1.2, foreground=halo)] if halo else None
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, path_effects=effects, **style))
