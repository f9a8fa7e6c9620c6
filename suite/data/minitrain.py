"""COCO minitrain: 25,000 training images of a COCO root with the whole's distributions, as a root of its own.

The published script draws images at random again and again and keeps the draw in which the share of the boxes
that was drawn differs least between the groups of a category and a size. So here, with a seed.
"""

import csv
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from suite.data import coco
from suite.data.boxes import LARGE_FROM, SMALL_BELOW, objects_per_image
from suite.errors import SuiteError
from suite.files import write_json

IMAGES = 25_000
DRAWS = 1000
_SIZES = ("small", "medium", "large")
_OBJECTS = (0, 1, 2, 4, 8, 11, 21, 31, np.inf)


@dataclass(frozen=True)
class Statistic:
    """How closely a distribution is met.

    Attributes:
        name: What is distributed.
        groups: In how many groups.
        largest_difference: Largest difference of a group's share between the whole and the draw, in
            percentage points.
        at: The group of that difference.
        whole: Its share of the whole, in percent.
        drawn: Its share of the draw, in percent.
    """

    name: str
    groups: int
    largest_difference: float
    at: str
    whole: float
    drawn: float


@dataclass(frozen=True)
class Minitrain:
    """What was written.

    Attributes:
        root: The COCO root.
        images: Its training images.
        boxes: Their boxes.
        statistics: How closely the whole is met.
    """

    root: Path
    images: int
    boxes: int
    statistics: list[Statistic]


def minitrain(
    root: Path,
    out: Path | None = None,
    images: int = IMAGES,
    seed: int = 0,
    ids: Path | None = None,
    draws: int = DRAWS,
) -> Minitrain:
    """Draw training images of a COCO root and write them as a root: annotations, and links to the images.

    Images without boxes are not drawn. How it was drawn stands in the annotations (``info.minitrain``), and
    so in the dataset's fingerprint. The validation split is the whole's.

    Args:
        root: The COCO root.
        out: The folder to make; by default beside ``root``, with ``-minitrain`` after its name.
        images: How many training images.
        seed: Seed of the draws.
        ids: A file of image ids to take in place of a draw: a JSON list, COCO annotations, or text with an id
            or a file name at the start of each line, as the original project has them.
        draws: How many draws to choose from.

    Raises:
        SuiteError: The root is no COCO root, has fewer images with boxes than asked for, lacks an id, or the
            folder is there already.
    """
    out = out or root.resolve().with_name(f"{root.resolve().name}-minitrain")
    if out.exists():
        raise SuiteError(f"{out}: is there already.", "Remove it, or give another folder with --out.")
    if images < 1:
        raise SuiteError(f"--images: expected a whole number of at least 1, found {images}.")
    coco.check_root(root)
    train, val = (coco.annotation_file(root, split) for split in coco.SPLITS)
    content = json.loads(train.read_bytes())
    boxes = pd.DataFrame(content["annotations"])
    if ids is not None:
        chosen = _listed_ids(ids, {image["id"] for image in content["images"]}, train)
        how: dict[str, Any] = {"ids": len(chosen)}
    else:
        candidates = np.unique(boxes["image_id"].to_numpy())
        if len(candidates) < images:
            raise SuiteError(
                f"{train}: has {len(candidates):,} images with boxes, fewer than the {images:,} asked for.",
                "Give the root of the whole data set, or ask for fewer with --images.",
            )
        chosen = draw(boxes, candidates, images, seed, draws)
        how = {"images": images, "seed": seed, "draws": draws}
    kept = set(chosen.tolist())
    subset = {
        **content,
        "info": {**(content.get("info") or {}), "minitrain": how},
        "images": [image for image in content["images"] if image["id"] in kept],
        "annotations": [row for row in content["annotations"] if row["image_id"] in kept],
    }
    _write(out, root, subset, val)
    names = {category["id"]: category["name"] for category in content["categories"]}
    found = boxes[boxes["image_id"].isin(kept)]
    every = [image["id"] for image in content["images"]]
    return Minitrain(out, len(kept), len(found), statistics(boxes, found, every, sorted(kept), names))


def draw(boxes: pd.DataFrame, candidates: np.ndarray, images: int, seed: int, draws: int) -> np.ndarray:
    """Image ids of the draw whose groups of category and size are met most evenly.

    Args:
        boxes: ``image_id``, ``category_id``, ``bbox`` of all annotations, crowds included.
        candidates: Ids to draw from, ascending.
        images: How many to draw.
        seed: Of the draws.
        draws: How many draws to choose from. A draw without any box of a group that the whole has is worse
            than all others.
    """
    group = pd.factorize(boxes["category_id"].astype(str) + _size(boxes))[0]
    row = np.searchsorted(candidates, boxes["image_id"].to_numpy())
    counts = np.zeros((len(candidates), group.max() + 1), dtype=np.int32)
    np.add.at(counts, (row, group), 1)
    whole = counts.sum(axis=0)
    rng = np.random.default_rng(seed)
    best: npt.NDArray[np.int64] = np.arange(0)
    least = np.inf
    for _ in range(draws):
        some = rng.permutation(len(candidates))[:images]
        share = counts[some].sum(axis=0) / whole
        spread = float(share.max() - share.min()) + float((share == 0).any())
        if spread < least:
            best, least = some, spread
    return np.sort(candidates[best])


def statistics(
    whole: pd.DataFrame,
    drawn: pd.DataFrame,
    whole_ids: list[int],
    drawn_ids: list[int],
    names: dict[int, str],
) -> list[Statistic]:
    """How closely the draw meets the whole in categories, sizes, both, and objects per image."""
    category = [frame["category_id"].map(names) for frame in (whole, drawn)]
    size = [_size(frame) for frame in (whole, drawn)]
    both = [one + ", " + other for one, other in zip(category, size, strict=True)]
    objects = [
        pd.cut(
            objects_per_image(_with_fields(frame), ids), list(_OBJECTS), right=False, labels=_object_labels()
        ).astype(str)
        for frame, ids in ((whole, whole_ids), (drawn, drawn_ids))
    ]
    parts = {"category": category, "size": size, "category and size": both, "objects per image": objects}
    return [_compared(name, *pair) for name, pair in parts.items()]


def _compared(name: str, whole: pd.Series, drawn: pd.Series) -> Statistic:
    shares = pd.DataFrame(
        {"whole": 100 * whole.value_counts(normalize=True), "drawn": 100 * drawn.value_counts(normalize=True)}
    ).fillna(0.0)
    difference = (shares["drawn"] - shares["whole"]).abs()
    at = str(difference.idxmax())
    return Statistic(
        name, len(shares), float(difference[at]), at, float(shares["whole"][at]), float(shares["drawn"][at])
    )


def _size(boxes: pd.DataFrame) -> pd.Series:
    """Size of each box by width x height, as the published script has it, not by the area of the outline."""
    area = np.array([box[2] * box[3] for box in boxes["bbox"]])
    return pd.Series(np.select([area < SMALL_BELOW, area < LARGE_FROM], _SIZES[:2], _SIZES[2]), boxes.index)


def _with_fields(boxes: pd.DataFrame) -> pd.DataFrame:
    return boxes.assign(iscrowd=boxes.get("iscrowd", 0))


def _object_labels() -> list[str]:
    bounded = [
        str(low) if high == low + 1 else f"{low}-{high - 1}"
        for low, high in itertools.pairwise(_OBJECTS[:-1])
    ]
    return [*bounded, f"{_OBJECTS[-2]}+"]


def _listed_ids(path: Path, known: set[int], annotations: Path) -> np.ndarray:
    """The image ids of a file; see :func:`minitrain`."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path}: cannot read the list of image ids ({error}).") from error
    try:
        content = json.loads(text)
    except ValueError:
        content = [row[0] for row in csv.reader(text.splitlines()) if row]
    values: Iterable[Any] = content
    if isinstance(content, dict):
        values = [image["id"] for image in content.get("images", [])]
    elif not isinstance(content, list):
        values = [content]
    try:
        found = sorted({int(str(value).strip().removesuffix(".jpg")) for value in values})
    except ValueError as error:
        raise SuiteError(f"{path}: expected image ids or names like 000000000139.jpg ({error}).") from error
    if not found:
        raise SuiteError(f"{path}: has no image ids.")
    if missing := [one for one in found if one not in known]:
        raise SuiteError(
            f"{path}: {len(missing):,} of its {len(found):,} image ids are not in {annotations}: "
            f"{', '.join(map(str, missing[:5]))}{' ...' if len(missing) > 5 else ''}.",
            "Give the root that the list was made from: COCO 2017.",
        )
    return np.array(found)


def _write(out: Path, root: Path, subset: dict[str, Any], val: Path) -> None:
    """Write the root; it appears whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    made.chmod(0o755)
    try:
        write_json(coco.annotation_file(made, coco.SPLITS[0]), subset)
        coco.annotation_file(made, coco.SPLITS[1]).symlink_to(val.resolve())
        for split in coco.SPLITS:
            (made / split).symlink_to((root / split).resolve(), target_is_directory=True)
        os.rename(made, out)
    finally:
        shutil.rmtree(made, ignore_errors=True)
