"""What the pictures read of a run's assignment.jsonl."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from suite.data.boxes import pairwise_iou
from suite.errors import SuiteError
from suite.files import read_json_lines
from suite.reporting.pictures.model import PictureRow
from suite.reporting.pictures.telemetry_lines import fault_of_bag, fault_of_line
from suite.reporting.reasons import in_one_line

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Snapshot:
    """One object's bag at one moment of a training.

    Attributes:
        step: Steps done.
        bag: As :class:`suite.telemetry.hook.AssignmentHook` wrote it.
    """

    step: int
    bag: dict[str, Any]

    def array(self, name: str, part: str | None = None) -> Array:
        """A list of the bag, or of one of its parts, as float64; unknown numbers are NaN."""
        source = self.bag if part is None else self.bag[part]
        return np.array(source[name], dtype=np.float64)

    def boxes(self, name: str, part: str | None = None) -> Array:
        """A list of boxes of the bag, or of one of its parts, shape (m, 4), xyxy."""
        return self.array(name, part).reshape(-1, 4)

    @property
    def box(self) -> Array:
        """The object, xyxy in pixels of the network's input, shape (4,)."""
        return np.array(self.bag["box"], dtype=np.float64)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the network's input."""
        height, width = self.bag["transform"]["shape"]
        return width, height


@dataclass(frozen=True)
class TrackedObject:
    """A row whose run can be drawn, with the snapshots that were chosen, by step."""

    label: str
    snapshots: list[Snapshot]


def lines_of(row: PictureRow) -> list[dict[str, Any]] | str:
    """The lines of a row's telemetry, by step; or why there are none."""
    if row.run is None:
        return f"{row.label}: {row.why}"
    file = row.run.assignment_file
    try:
        lines: list[Any] = read_json_lines(file)
    except SuiteError as error:
        return _unreadable(row, in_one_line(error))
    except (OSError, UnicodeDecodeError) as error:
        return _unreadable(row, f"{file}: cannot read ({error}).")
    if not lines:
        return _unreadable(row, f"{file} is missing or empty.")
    for number, line in enumerate(lines, start=1):
        if fault := fault_of_line(line):
            return _unreadable(row, f"{file}:{number}: {fault}.")
    return lines


def _unreadable(row: PictureRow, why: str) -> str:
    """Why a row's telemetry cannot be drawn, and what to do about it."""
    assert row.run is not None
    return (
        f"{row.label}: {why} The file is damaged, or of an older version. Delete the folder {row.run.path} "
        "and run the experiment again: it trains the run again."
    )


def evenly(count: int, wanted: int) -> list[int]:
    """``wanted`` of ``count`` indices, evenly from the first to the last; a single one is the last."""
    if wanted == 1:
        return [count - 1]
    return sorted({round(index) for index in np.linspace(0, count - 1, wanted)})


def watched(
    rows: Sequence[PictureRow], object_: int, iterations: int, needs: str
) -> tuple[list[TrackedObject], list[str]]:
    """The rows that can be drawn, all with the same object, and why the others cannot.

    Args:
        rows: The methods.
        object_: Which of the objects of the telemetry, from 0.
        iterations: How many snapshots to choose, evenly from the first to the last.
        needs: The field of a bag that the picture draws.
    """
    found: list[TrackedObject] = []
    problems = []
    for row in rows:
        lines = lines_of(row)
        if isinstance(lines, str):
            problems.append(lines)
            continue
        chosen = [lines[at] for at in evenly(len(lines), iterations)]
        fewest = min(len(line["bags"]) for line in chosen)
        if object_ >= fewest:
            problems.append(f"{row.label}: the telemetry follows {fewest} objects, none numbered {object_}.")
            continue
        snapshots = [Snapshot(line["step"], line["bags"][object_]) for line in chosen]
        faults = [(snapshot.step, fault_of_bag(snapshot.bag)) for snapshot in snapshots]
        if fault := next((f"step {step}, object {object_}: {text}" for step, text in faults if text), None):
            assert row.run is not None
            problems.append(_unreadable(row, f"{row.run.assignment_file}: {fault}."))
            continue
        if not all(needs in snapshot.bag for snapshot in snapshots):
            problems.append(f"{row.label}: its telemetry has no {needs!r}, which this method does not have.")
            continue
        if found and _key(snapshots[-1]) != _key(found[0].snapshots[-1]):
            problems.append(f"{row.label}: its telemetry follows another object than {found[0].label}'s.")
            continue
        found.append(TrackedObject(row.label, snapshots))
    return found, problems


def _key(snapshot: Snapshot) -> tuple[Any, ...]:
    return snapshot.bag["image_id"], snapshot.bag["category"], tuple(snapshot.bag["box"])


def described(snapshot: Snapshot) -> str:
    """Which object of which image a bag is of."""
    flip = ", flipped as in training" if snapshot.bag["transform"]["flip"] else ""
    category, number, image_id = snapshot.bag["category"], snapshot.bag["object"], snapshot.bag["image_id"]
    return f"The object is a {category} (object {number} of training image {image_id}{flip})."


def iou(boxes: Array, box: Array) -> Array:
    """IoU of boxes (n, 4) with a box (4,), xyxy, shape (n,)."""
    overlaps: Array = pairwise_iou(_xywh(boxes), _xywh(box[None]))[:, 0]
    return overlaps


def _xywh(boxes: Array) -> Array:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
