"""Reading anybody's detections: COCO results as JSON, or the ``detections.parquet`` of a run."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from suite.errors import SuiteError
from suite.evaluation.ground_truth import GroundTruth, is_number, is_whole, shortened
from suite.files import read_json

DETECTION_COLUMNS = ("image_id", "category_id", "score", "x", "y", "w", "h")
SHOWN_IDS = 10
"""How many unknown ids a message lists."""

_FIELDS = ("image_id", "category_id", "score", "bbox")
_LENIENT = "Mend the file, or leave these out with --lenient, which prints how many of each kind."


@dataclass(frozen=True)
class Detections:
    """Detections of one file that can be evaluated.

    Attributes:
        frame: Columns ``image_id``, ``category_id`` (int64), ``score`` (float64, any finite number), ``x``,
            ``y``, ``w``, ``h`` (float64, pixels, top left corner, sizes above 0), in the file's order.
        dropped: Why records were left out -> how many; empty unless read leniently.
    """

    frame: pd.DataFrame = field(repr=False)
    dropped: dict[str, int]


@dataclass(frozen=True)
class Fault:
    """Detections that cannot be evaluated, all for one reason.

    Attributes:
        reason: What is wrong, in a few words.
        count: How many detections.
        example: The ids, or the position and value of the first.
    """

    reason: str
    count: int
    example: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.count:,} ({self.example})"


def load_detections(path: Path, ground_truth: GroundTruth, lenient: bool = False) -> Detections:
    """Read detections and check each of them against the ground truth.

    Args:
        path: A JSON list of records with ``image_id``, ``category_id``, ``score`` and ``bbox`` (x, y, w, h in
            pixels), as COCO's results format has it, or a ``.parquet`` file with the columns of
            :data:`DETECTION_COLUMNS`. The list may be empty: nothing was found.
        ground_truth: Knows the images and categories.
        lenient: Leave out what cannot be evaluated, and count it.

    Raises:
        SuiteError: The file is missing, empty, truncated, or not such a list. Unless ``lenient`` also: a
            field is missing or of another type, an image or category is unknown, a score or box is not
            finite, or a box has no area. The message has every reason with its count and an example.
    """
    path = Path(path)
    if path.suffix == ".parquet":
        frame, positions, unreadable = _read_parquet(path)
    else:
        frame, positions, unreadable = _read_json(path)
    masks = list(_bad_rows(frame, ground_truth))
    faults = unreadable + [_describe(frame, reason, bad, positions) for reason, bad in masks]
    if faults and not lenient:
        total = len(frame) + sum(fault.count for fault in unreadable)
        raise SuiteError(_summary(str(path), faults, total), _LENIENT)
    keep = np.ones(len(frame), dtype=bool)
    for _, bad in masks:
        keep &= ~bad
    return Detections(frame[keep].reset_index(drop=True), {fault.reason: fault.count for fault in faults})


def check_detections(ground_truth: GroundTruth, detections: pd.DataFrame) -> None:
    """Raise a SuiteError for a frame of detections that cannot be evaluated; see :func:`load_detections`."""
    missing = [column for column in DETECTION_COLUMNS if column not in detections.columns]
    if missing:
        raise SuiteError(
            f"detections: no column {', '.join(missing)}; found {', '.join(map(str, detections.columns))}."
        )
    positions = np.arange(len(detections))
    faults = [
        _describe(detections, reason, bad, positions) for reason, bad in _bad_rows(detections, ground_truth)
    ]
    if faults:
        raise SuiteError(_summary("detections", faults, len(detections)))


def _bad_rows(frame: pd.DataFrame, truth: GroundTruth) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Why rows cannot be evaluated, and which; each row for the first reason that it gives."""
    scores = frame["score"].to_numpy(dtype=np.float64)
    boxes = frame[["x", "y", "w", "h"]].to_numpy(dtype=np.float64)
    tests = {
        "image_id not in the ground truth": ~frame["image_id"].isin(truth.images["id"]).to_numpy(),
        "category_id not in the ground truth": ~frame["category_id"].isin(truth.categories["id"]).to_numpy(),
        "score is not finite": ~np.isfinite(scores),
        "bbox is not finite": ~np.isfinite(boxes).all(axis=1),
        "bbox has no area, width and height must be above 0": (boxes[:, 2:] <= 0).any(axis=1),
    }
    seen = np.zeros(len(frame), dtype=bool)
    for reason, bad in tests.items():
        bad = bad & ~seen
        if bad.any():
            yield reason, bad
        seen |= bad


def _describe(frame: pd.DataFrame, reason: str, bad: npt.NDArray[Any], positions: npt.NDArray[Any]) -> Fault:
    name = reason.split()[0]
    count = int(bad.sum())
    if name.endswith("_id"):
        ids = list(dict.fromkeys(frame[name][bad].tolist()))
        shown = ", ".join(str(one) for one in ids[:SHOWN_IDS]) + (", ..." if len(ids) > SHOWN_IDS else "")
        return Fault(reason, count, f"{len(ids):,} distinct: {shown}")
    first = int(np.argmax(bad))
    row = frame.iloc[first]
    value = [float(row[key]) for key in "xywh"] if name == "bbox" else float(row[name])
    return Fault(reason, count, f"first is record {positions[first]}: {value}")


def _summary(source: str, faults: list[Fault], total: int) -> str:
    bad = sum(fault.count for fault in faults)
    lines = "".join(f"\n  {fault}" for fault in faults)
    return f"{source}: {bad:,} of {total:,} detections cannot be evaluated:{lines}"


_Read = tuple[pd.DataFrame, npt.NDArray[Any], list[Fault]]


def _read_json(path: Path) -> _Read:
    """The readable records, their positions in the list, and what is wrong with the others."""
    if path.is_file() and not path.stat().st_size:
        raise SuiteError(
            f"{path}: the file is empty; expected a list.",
            "A detector that found nothing has an empty list: write [] into the file.",
        )
    content = read_json(path)
    if isinstance(content, dict):
        lists = [f"{key!r} ({len(value):,} entries)" for key, value in content.items() if _records_in(value)]
        raise SuiteError(
            f"{path}: expected a list of detections, found an object with the keys "
            f"{', '.join(map(repr, list(content)[:SHOWN_IDS])) or '(none)'}.",
            f"The list may be under {' or '.join(lists)}: write that list alone into the file."
            if lists
            else "COCO's results format is a list of {image_id, category_id, score, bbox}.",
        )
    if not isinstance(content, list):
        raise SuiteError(f"{path}: expected a list of detections, found {json.dumps(content)[:60]}.")
    rows: list[tuple[Any, ...]] = []
    positions: list[int] = []
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for position, record in enumerate(content):
        row = _row(record)
        if isinstance(row, tuple):
            rows.append(row)
            positions.append(position)
        else:
            counts[row] += 1
            examples.setdefault(row, f"first is record {position}: {shortened(record)}")
    columns = list(zip(*rows, strict=True)) or [()] * len(DETECTION_COLUMNS)
    frame = pd.DataFrame(
        {
            name: np.array(values, dtype=np.int64 if name.endswith("_id") else np.float64)
            for name, values in zip(DETECTION_COLUMNS, columns, strict=True)
        }
    )
    faults = [Fault(reason, count, examples[reason]) for reason, count in counts.items()]
    return frame, np.array(positions, dtype=np.int64), faults


def _records_in(value: Any) -> bool:
    return isinstance(value, list) and (not value or isinstance(value[0], dict))


def _row(record: Any) -> tuple[Any, ...] | str:
    """The record's values in the order of :data:`DETECTION_COLUMNS`, or what is wrong with it."""
    try:
        image, category, score, box = (record[name] for name in _FIELDS)
        x, y, w, h = box
    except (TypeError, KeyError, ValueError):
        if not isinstance(record, dict):
            return "record is not an object"
        missing = [name for name in _FIELDS if name not in record]
        return f"record has no {', '.join(missing)}" if missing else "bbox is not a list of 4 numbers"
    for name, value in (("image_id", image), ("category_id", category)):
        if not is_whole(value):
            return f"{name} is not a whole number"
    if not is_number(score):
        return "score is not a number"
    if not (isinstance(box, list) and all(map(is_number, box))):
        return "bbox is not a list of 4 numbers"
    return (int(image), int(category), score, x, y, w, h)


def _read_parquet(path: Path) -> _Read:
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise SuiteError(f"{path}: cannot read ({error}).", "Run the experiment again.") from error
    missing = [column for column in DETECTION_COLUMNS if column not in frame.columns]
    if missing:
        raise SuiteError(
            f"{path}: no column {', '.join(missing)}; found {', '.join(map(str, frame.columns))}."
        )
    for name in DETECTION_COLUMNS:
        whole = name.endswith("_id")
        kinds = "iu" if whole else "iuf"
        if frame[name].dtype.kind not in kinds:
            raise SuiteError(
                f"{path}: column {name} is of type {frame[name].dtype}; "
                f"expected {'whole numbers' if whole else 'numbers'}."
            )
    types = {name: np.int64 if name.endswith("_id") else np.float64 for name in DETECTION_COLUMNS}
    frame = frame[list(DETECTION_COLUMNS)].astype(types).reset_index(drop=True)
    return frame, np.arange(len(frame)), []
