"""SKU110K (Goldman et al., CVPR 2019) as a COCO root: annotations from its CSV files, links to its images."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from suite.data.coco import SPLITS, annotation_file
from suite.errors import SuiteError
from suite.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("image_name", "x1", "y1", "x2", "y2", "class", "image_width", "image_height")
"""Of its files, which have no line with these names; one is skipped where it stands there."""

_NUMBERS = ("x1", "y1", "x2", "y2", "image_width", "image_height")
_SHOWN = 10
_LENIENT = "Correct or remove these lines, or convert with --lenient, which prints how many of each kind."


@dataclass(frozen=True)
class Converted:
    """What a conversion has written.

    Attributes:
        root: The COCO root.
        counts: Split of the root -> images and boxes in it.
        changed: What was left out or cut, over both splits -> how many lines; empty unless lenient.
    """

    root: Path
    counts: dict[str, tuple[int, int]]
    changed: dict[str, int]


def convert(
    folder: Path, root: Path | None = None, evaluate: Literal["val", "test"] = "val", lenient: bool = False
) -> Converted:
    """Make a COCO root of SKU110K: two annotation files and two links to the images; no image is copied.

    Everything is checked before anything is written, and each file is whole or absent.

    Args:
        folder: Holds ``images/`` and ``annotations/annotations_{train,val,test}.csv``, with one line a box:
            :data:`COLUMNS`, corners in pixels.
        root: Where to write; by default ``folder`` itself.
        evaluate: Which of its splits becomes ``val2017``: 588 images of ``val``, or 2,936 of ``test``.
        lenient: Cut boxes at their image's borders, leave out those that are empty and those without an
            image, and count them. Otherwise each is an error.

    Raises:
        SuiteError: A file is missing or has other columns; a line has no number, an empty box, one beyond its
            image, or an image that is not there; or the place to write to is taken.
    """
    root, images = root or folder, folder / "images"
    if not images.is_dir():
        raise SuiteError(
            f"{images}: this folder of SKU110K's images does not exist.",
            "Give the folder that holds annotations/ and images/, as its archive unpacks.",
        )
    present = {path.name for path in images.iterdir()}
    changed: Counter[str] = Counter()
    tables = {}
    for split, name in zip(SPLITS, ("train", evaluate), strict=True):
        path = folder / "annotations" / f"annotations_{name}.csv"
        tables[split] = _checked(path, _read(path), present, lenient, changed)
    categories = sorted({kind for table in tables.values() for kind in table["class"]})
    for split in SPLITS:
        _check_link(root / split, images)
    counts = {}
    for split, table in tables.items():
        content = _as_coco(table, categories)
        write_atomically(annotation_file(root, split), json.dumps(content, separators=(",", ":")))
        _link(root / split, images)
        counts[split] = (len(content["images"]), len(content["annotations"]))
    return Converted(root, counts, dict(changed))


def _read(path: Path) -> "pd.DataFrame":
    """The file's lines with numbers as numbers; the index is the line, from 1."""
    import numpy as np
    import pandas as pd

    try:
        table = pd.read_csv(path, header=None, dtype=str, keep_default_na=False, skip_blank_lines=False)
    except FileNotFoundError as error:
        raise SuiteError(f"{path}: not found.", "Unpack SKU110K's archive again.") from error
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise SuiteError(
            f"{path}: not a CSV file ({str(error).strip()}).", "Unpack the archive again."
        ) from error
    except OSError as error:
        raise SuiteError(f"{path}: cannot read ({error.strerror}).") from error
    found = [str(value).strip() for value in table.iloc[0]]
    if table.shape[1] != len(COLUMNS) or ("image_name" in found and found != list(COLUMNS)):
        raise SuiteError(
            f"{path}:1: expected {len(COLUMNS)} columns, {', '.join(COLUMNS)}; found {len(found)}: "
            f"{', '.join(found)}.",
            "Give SKU110K's own annotation files.",
        )
    table.columns = pd.Index(COLUMNS)
    table.index = table.index + 1
    if found == list(COLUMNS):
        table = table.iloc[1:]
    if table.empty:
        raise SuiteError(f"{path}: holds no box.", "Unpack SKU110K's archive again.")
    for name in _NUMBERS:
        values = pd.to_numeric(table[name], errors="coerce")
        problem = partial(_no_number, name)
        _refuse(path, table[~np.isfinite(values)], problem, "Correct these lines.")
        table = table.assign(**{name: values})
    return table


def _checked(
    path: Path, table: "pd.DataFrame", present: set[str], lenient: bool, changed: Counter[str]
) -> "pd.DataFrame":
    """The lines to keep, boxes within their images; counts what was changed to ``changed``."""
    sizes = table.groupby("image_name")[["image_width", "image_height"]].transform("first")
    width, height = sizes["image_width"], sizes["image_height"]
    other = (table["image_width"] != width) | (table["image_height"] != height)
    other |= (width < 1) | (height < 1)
    _refuse(path, table[other], _another_size, "Correct these lines.")
    absent = ~table["image_name"].isin(present)
    low, high = {"x1": 0, "y1": 0}, {"x2": width, "y2": height}
    beyond = (table[[*low]] < 0).any(axis=1) | (table["x2"] > width) | (table["y2"] > height)
    cut = table.assign(
        **{name: table[name].clip(lower=edge) for name, edge in low.items()},
        **{name: table[name].clip(upper=edge) for name, edge in high.items()},
    )
    empty = (cut["x2"] <= cut["x1"]) | (cut["y2"] <= cut["y1"])
    faults = (
        (absent, _absent, "boxes of images that are not there, left out"),
        (empty & ~absent, _empty, "empty boxes, left out"),
        (beyond & ~empty & ~absent, _beyond, "boxes cut at the borders of their image"),
    )
    for which, problem, in_words in faults:
        if not lenient:
            _refuse(path, table[which], problem, _LENIENT)
        elif which.any():
            changed[in_words] += int(which.sum())
    kept = cut[~absent & ~empty]
    if kept.empty:
        raise SuiteError(f"{path}: no box is left.", "Unpack SKU110K's images again.")
    return kept


def _no_number(name: str, row: Any) -> str:
    return f"{name} {row[name]!r} is no number"


def _another_size(row: Any) -> str:
    size = f"{row['image_width']:g} x {row['image_height']:g}"
    return f"{row['image_name']} is {size}, not as in an earlier line, or has no area"


def _absent(row: Any) -> str:
    return f"{row['image_name']} is not in images/"


def _empty(row: Any) -> str:
    return f"the box {_corners(row)} is empty within its image"


def _beyond(row: Any) -> str:
    size = f"{row['image_width']:g} x {row['image_height']:g}"
    return f"the box {_corners(row)} is beyond its image of {size}"


def _corners(row: Any) -> str:
    return "({})".format(", ".join(f"{row[name]:g}" for name in ("x1", "y1", "x2", "y2")))


def _refuse(path: Path, lines: "pd.DataFrame", problem: Callable[[Any], str], remedy: str) -> None:
    """Raise about ``lines``, the first ten by number, unless there are none."""
    if lines.empty:
        return
    shown = [f"{path}:{line}: {problem(row)}." for line, row in lines.head(_SHOWN).iterrows()]
    if len(lines) > _SHOWN:
        shown.append(f"and {len(lines) - _SHOWN} lines more.")
    raise SuiteError("\n".join(shown), remedy)


def _as_coco(table: "pd.DataFrame", categories: list[str]) -> dict[str, Any]:
    first = table.drop_duplicates("image_name")
    ids = {name: number for number, name in enumerate(first["image_name"], start=1)}
    kinds = {name: number for number, name in enumerate(categories, start=1)}
    images = [
        {"id": ids[name], "file_name": name, "width": int(width), "height": int(height)}
        for name, width, height in zip(
            first["image_name"], first["image_width"], first["image_height"], strict=True
        )
    ]
    columns = [table[name].tolist() for name in ("image_name", "class", "x1", "y1", "x2", "y2")]
    annotations = [
        {
            "id": number, "image_id": ids[image], "category_id": kinds[kind], "iscrowd": 0,
            "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1),
        }
        for number, (image, kind, x1, y1, x2, y2) in enumerate(zip(*columns, strict=True), start=1)
    ]  # fmt: skip
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in kinds.items()],
    }


def _check_link(link: Path, images: Path) -> None:
    if (link.exists() or link.is_symlink()) and link.resolve() != images.resolve():
        raise SuiteError(
            f"{link}: expected a link to {images}, or nothing; found something else.",
            "Remove it, or write the root elsewhere with --out.",
        )


def _link(link: Path, images: Path) -> None:
    if link.is_symlink():
        return
    beside = link.parent.resolve() == images.parent.resolve()
    try:
        link.symlink_to(images.name if beside else images.resolve(), target_is_directory=True)
    except OSError as error:
        raise SuiteError(
            f"{link}: cannot link ({error.strerror}).", "Write the root elsewhere with --out."
        ) from error
