"""The annotations that detections are measured against."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from suite.errors import SuiteError
from suite.files import read_json, sha256

_LENIENT = "Mend the file, or use --lenient, which leaves out or completes such entries and prints how many."
_SHOWN = 10


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Boxes of one COCO ``instances`` file as frames.

    Attributes:
        images: Columns ``id`` (int64), ``width``, ``height`` (pixels), in the file's order.
        annotations: Columns ``id``, ``image_id``, ``category_id`` (int64), ``x``, ``y``, ``w``, ``h``
            (float64, pixels, top left corner), ``area`` (float64, square pixels, of the segmentation where
            the file has one), ``iscrowd`` (bool), in the file's order.
        categories: Columns ``id`` (int64) and ``name``, by ascending id.
        fingerprint: SHA-256 of the file, in hexadecimal.
        mended: What a lenient reading left out or completed -> how many entries; empty otherwise.
    """

    images: pd.DataFrame
    annotations: pd.DataFrame
    categories: pd.DataFrame
    fingerprint: str = ""
    mended: dict[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path, lenient: bool = False) -> "GroundTruth":
        """Read and check a COCO ``instances`` file; a file read before and unchanged since is not read again.

        Raises:
            SuiteError: The file is unreadable, or breaks a rule named by :meth:`from_coco`.
        """
        path = Path(path)
        try:
            state = path.stat()
        except OSError as error:
            raise SuiteError(f"{path}: cannot read ({error.strerror}).") from error
        return _load(path.resolve(), state.st_mtime_ns, state.st_size, lenient)

    @classmethod
    def from_coco(
        cls,
        content: dict[str, Any],
        source: str = "ground truth",
        fingerprint: str = "",
        lenient: bool = False,
    ) -> "GroundTruth":
        """Build from the parsed content of a COCO ``instances`` file.

        The evaluators differ or stay silent on bad input (pycocotools never matches an annotation with id 0),
        so it is refused here.

        Args:
            content: ``images``, ``annotations`` and ``categories`` as COCO defines them.
            source: Name for messages.
            fingerprint: Kept as it is.
            lenient: Mend what can be mended, and count it: a missing ``iscrowd`` is 0, a missing ``area`` is
                w * h, ids below 1 or repeated are numbered anew (an object is not lost for its id), and
                other bad entries are left out.

        Raises:
            SuiteError: A list is missing, or there is no image or category. Unless ``lenient`` also: a field
                is missing or of another type; an annotation id is below 1 or repeated; an image or category
                id is repeated or unknown; a box is not finite or has a negative size. The message has every
                fault with its count.
        """
        mender = _Mender()
        images = _frame(mender, content, "images", _IMAGE, source)
        categories = _frame(mender, content, "categories", _CATEGORY, source)
        for frame, name in ((images, "images"), (categories, "categories")):
            if not len(frame) and not mender.counts:
                raise SuiteError(f"{source}: {name} is empty; expected at least one.")
        annotations = _annotations(mender, content, source)
        images = mender.keep(images, ~images["id"].duplicated(), "images[].id used more than once: left out")
        categories = mender.keep(
            categories, ~categories["id"].duplicated(), "categories[].id used more than once: left out"
        )
        for name, known in (("image_id", images["id"]), ("category_id", categories["id"])):
            annotations = mender.keep(
                annotations,
                annotations[name].isin(known),
                f"annotations[].{name} not in the ground truth: left out",
                shown=name,
            )
        annotations = _numbered(mender, annotations)
        if mender.counts and not lenient:
            faults = "".join(
                f"\n  {reason.rsplit(':', 1)[0]}: {count:,} ({mender.examples[reason]})"
                for reason, count in mender.counts.items()
            )
            raise SuiteError(f"{source}: not as COCO's instances files are:{faults}", _LENIENT)
        for frame, name in ((images, "images"), (categories, "categories")):
            if not len(frame):
                raise SuiteError(f"{source}: {name} has no usable entry.")
        return cls(
            images=images.reset_index(drop=True),
            annotations=annotations.reset_index(drop=True),
            categories=categories.sort_values("id", ignore_index=True),
            fingerprint=fingerprint,
            mended=dict(mender.counts),
        )

    @property
    def objects(self) -> pd.DataFrame:
        """The annotations that are not crowds."""
        return self.annotations[~self.annotations["iscrowd"]]

    def subset(self, image_ids: Iterable[int]) -> "GroundTruth":
        """Return the ground truth of some images; the list of categories stays whole.

        Raises:
            SuiteError: An image is not in the ground truth.
        """
        wanted = pd.Series(sorted(set(image_ids)), dtype=np.int64)
        check_known(wanted, self.images["id"], "image ids of the slice")
        return GroundTruth(
            images=self.images[self.images["id"].isin(wanted)].reset_index(drop=True),
            annotations=self.annotations[self.annotations["image_id"].isin(wanted)].reset_index(drop=True),
            categories=self.categories,
            fingerprint=self.fingerprint,
            mended=self.mended,
        )


def check_known(ids: pd.Series, known: pd.Series, field: str) -> None:
    """Raise a SuiteError that lists the ``ids`` which are not ``known``."""
    unknown = ids[~ids.isin(known)].drop_duplicates()
    if len(unknown):
        raise SuiteError(f"{field}: {len(unknown):,} not in the ground truth: {_listed(unknown)}.")


def is_number(value: Any) -> bool:
    """Whether ``value`` is a number of float64's range, NaN and infinity included; true and false are not."""
    if isinstance(value, float):
        return True
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and abs(int(value)) < 10**300


def is_whole(value: Any) -> bool:
    """Whether ``value`` is a number without a fraction that fits into 64 bits; true and false are not."""
    if type(value) is not int:
        if not is_number(value) or not math.isfinite(value) or value != int(value):
            return False
        value = int(value)
    return bool(-(2**63) <= value < 2**63)


def _is_box(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 4 and all(map(is_number, value))


def _is_area(value: Any) -> bool:
    return is_number(value) and 0 <= value < math.inf


@dataclass(frozen=True)
class _Field:
    """What a field of a record has to be; ``filled`` says what stands in for it in a lenient reading."""

    holds: Callable[[Any], bool]
    expected: str
    filled: str = ""
    default: Any = None


_ID = _Field(is_whole, "a whole number")
_PIXELS = _Field(_is_area, "a number from 0", "taken as 0", 0)
_IMAGE = {"id": _ID, "width": _PIXELS, "height": _PIXELS}
_CATEGORY = {"id": _ID, "name": _Field(lambda value: isinstance(value, str), "text", "taken as ''", "")}
_ANNOTATION = {
    "id": _ID,
    "image_id": _ID,
    "category_id": _ID,
    "bbox": _Field(_is_box, "x, y, w, h"),
    "area": _Field(_is_area, "a finite number from 0", "taken as w * h", math.nan),
    "iscrowd": _Field(lambda value: value in (0, 1), "0 or 1", "taken as 0", 0),
}


class _Mender:
    """Collects what is wrong, so that a message or a count has all of it."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, str] = {}

    def add(self, reason: str, example: str, count: int = 1) -> None:
        self.counts[reason] += count
        self.examples.setdefault(reason, example)

    def keep(self, frame: pd.DataFrame, good: pd.Series, reason: str, shown: str = "id") -> pd.DataFrame:
        """The good rows; the others are counted, and the distinct values of a column of theirs shown."""
        if not good.all():
            values = _listed(frame[shown][~good].drop_duplicates())
            self.add(reason, f"{shown} {values}", int((~good).sum()))
        return frame[good]


def _listed(values: pd.Series) -> str:
    return ", ".join(str(value) for value in values.head(_SHOWN)) + (", ..." if len(values) > _SHOWN else "")


def _frame(
    mender: _Mender, content: dict[str, Any], name: str, fields: dict[str, _Field], source: str
) -> pd.DataFrame:
    """The records as columns; a record without a usable value is completed where possible, else left out."""
    if not isinstance(content, dict) or not isinstance(content.get(name), list):
        raise SuiteError(f"{source}: expected an object with a list {name!r}, as in COCO's instances files.")
    columns: dict[str, list[Any]] = {field: [] for field in fields}
    for position, record in enumerate(content[name]):
        if not isinstance(record, dict):
            mender.add(f"{name}[] is not an object: left out", f"{name}[{position}] is {shortened(record)}")
            continue
        row = {}
        for field_name, rule in fields.items():
            value = record.get(field_name)
            if field_name in record and rule.holds(value):
                row[field_name] = value
                continue
            where = f"{name}[{position}] (id {record.get('id')})"
            if field_name in record:
                reason = f"{name}[].{field_name} is not {rule.expected}"
                example = f"{where}.{field_name} is {shortened(value)}"
            else:
                reason, example = f"{name}[] has no {field_name}", f"first is {where}"
            mender.add(f"{reason}: {rule.filled or 'left out'}", example)
            if not rule.filled:
                break
            row[field_name] = rule.default
        else:
            for field_name, value in row.items():
                columns[field_name].append(value)
    frame = pd.DataFrame(columns)
    integers = {field: np.int64 for field in fields if field == "id" or field.endswith("_id")}
    return frame.astype(integers)


def _annotations(mender: _Mender, content: dict[str, Any], source: str) -> pd.DataFrame:
    raw = _frame(mender, content, "annotations", _ANNOTATION, source)
    boxes = np.array(raw["bbox"].tolist(), dtype=np.float64).reshape(-1, 4)
    frame = raw.drop(columns="bbox").assign(**dict(zip("xywh", boxes.T, strict=True)))
    # COCO's own files hold a few boxes of zero width or height: harmless to AP, so only worse is refused.
    bad = ~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] < 0).any(axis=1)
    frame = mender.keep(
        frame, pd.Series(~bad), "annotations[].bbox is not finite or of negative size: left out"
    )
    return frame.assign(
        area=frame["area"].astype(np.float64).fillna(frame["w"] * frame["h"]),
        iscrowd=frame["iscrowd"].astype(bool),
    )[["id", "image_id", "category_id", "x", "y", "w", "h", "area", "iscrowd"]]


def _numbered(mender: _Mender, annotations: pd.DataFrame) -> pd.DataFrame:
    """Annotations with ids from 1 up, each used once; where that is not so, the offending get new ids."""
    ids = annotations["id"]
    low, repeated = ids < 1, ids.duplicated() & (ids >= 1)
    for bad, fault in ((low, "below 1"), (repeated, "used more than once")):
        mender.keep(annotations, ~bad, f"annotations[].id {fault}: numbered anew")
    bad = low | repeated
    fresh = max(0, int(ids.max()) if len(ids) else 0) + 1 + np.arange(int(bad.sum()))
    ids = ids.copy()
    ids[bad] = fresh
    return annotations.assign(id=ids)


def shortened(value: Any) -> str:
    """``value`` as JSON of at most 120 characters, for messages."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 120 else text[:117] + "..."


@lru_cache(maxsize=8)
def _load(path: Path, modified_ns: int, size: int, lenient: bool) -> GroundTruth:
    return GroundTruth.from_coco(read_json(path), source=str(path), fingerprint=sha256(path), lenient=lenient)
