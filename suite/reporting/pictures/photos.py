"""Photos under a picture, as the network saw them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from suite.data.dataset import Split
from suite.errors import SuiteError
from suite.files import read_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[Any]
_PALER = 0.45  # share of white in a photo under coloured marks
_LONGEST = 480  # pixels of a photo's longer side in a picture; more would only make the file larger

_BEYOND = 0.05  # of the longer side of an image: what a picture shows beyond its edge
_SLIMMEST = 0.75  # shorter side of a part against the longer one


def image_file(split: Split, image_id: int) -> Path:
    """The file of an image: named by its id, as in COCO, or as the annotations say.

    Raises:
        SuiteError: The annotations do not know the image.
    """
    usual = split.images / f"{image_id:012d}.jpg"
    if usual.exists():
        return usual
    for image in read_json(split.annotations)["images"]:
        if image["id"] == image_id:
            return split.images / image["file_name"]
    raise SuiteError(f"{split.annotations}: no image has the id {image_id}, which a run names.")


def read_photo(split: Split, image_id: int, transform: dict[str, Any] | None = None) -> Array:
    """An image, shape (h, w, 3), uint8.

    Args:
        split: Where it is.
        image_id: Its id.
        transform: As in assignment.jsonl: it is flipped accordingly. Its scale is left as it is.

    Raises:
        SuiteError: The file cannot be read.
    """
    from PIL import Image

    path = image_file(split, image_id)
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
    except OSError as error:
        raise SuiteError(
            f"{path}: cannot read the image ({error}).", "Restore the dataset, then make the report again."
        ) from error
    flip = (transform or {}).get("flip") or ""
    if flip in ("horizontal", "diagonal"):
        pixels = pixels[:, ::-1]
    if flip in ("vertical", "diagonal"):
        pixels = pixels[::-1]
    return pixels


def show(axes: "Axes", photo: Array, size: Sequence[float], view: Sequence[float], pale: bool = True) -> None:
    """Draw a photo as the background of a panel.

    Args:
        axes: The panel; its units become the pixels of a photo of ``size``.
        photo: Shape (h, w, 3), uint8.
        size: Width and height of the whole photo in the panel's units.
        view: The part to show, xyxy in these units.
        pale: Mix it with white, so that marks on it stand out.
    """
    from PIL import Image

    scale = photo.shape[1] / size[0], photo.shape[0] / size[1]
    x1, y1 = (max(0, int(np.floor(view[side] * scale[side]))) for side in (0, 1))
    x2, y2 = (min(photo.shape[1 - side], int(np.ceil(view[2 + side] * scale[side]))) for side in (0, 1))
    part = Image.fromarray(photo[y1:y2, x1:x2])
    part.thumbnail((_LONGEST, _LONGEST))
    pixels = np.asarray(part)
    if pale:
        pixels = (pixels * (1 - _PALER) + 255 * _PALER).astype(np.uint8)
    extent = (x1 / scale[0], x2 / scale[0], y2 / scale[1], y1 / scale[1])
    axes.axis("on")
    axes.imshow(pixels, extent=extent, interpolation="none")
    axes.set_xlim(view[0], view[2])
    axes.set_ylim(view[3], view[1])
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color("#bbbbbb")


def view_around(boxes: Array, size: Sequence[float], margin: float = 0.06) -> tuple[float, ...]:
    """The part of an image around some boxes, xyxy; it reaches at most a little beyond the image's edge.

    Args:
        boxes: Shape (n, 4), xyxy.
        size: Width and height of the image.
        margin: Around the boxes, as a share of their longer side.
    """
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    edge = _BEYOND * float(max(size))
    first, last = np.full(2, -edge), np.asarray(size) + edge
    around = margin * float((high - low).max())
    low, high = np.maximum(low - around, first), np.minimum(high + around, last)
    # A slim part would leave no room for a title over it.
    lacking = np.maximum(_SLIMMEST * (high - low).max() - (high - low), 0)
    low, high = np.maximum(low - lacking / 2, first), np.minimum(high + lacking / 2, last)
    lacking = np.maximum(_SLIMMEST * (high - low).max() - (high - low), 0)
    low = np.where(high >= last, np.maximum(low - lacking, first), low)
    high = np.where(low <= first, np.minimum(high + lacking, last), high)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
