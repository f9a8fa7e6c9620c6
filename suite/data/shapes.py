"""The ``shapes`` dataset: generated scenes in COCO's folder layout, the same for the same spec.

Twelve categories from square to 8:1 slender, some with background at the centre of their box, in scenes from
empty to crowded: the situations in which the papers say that anchor assignment matters, about as often as in
COCO. What a scene looks like is in :mod:`suite.data.scenes`.
"""

import contextlib
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from suite.data.categories import CATEGORIES
from suite.data.coco import SPLITS, annotation_file
from suite.errors import SuiteError, nearest
from suite.files import read_json, sha256, write_json
from suite.locks import locked
from suite.machine import cpu_count

if TYPE_CHECKING:
    from rich.console import Console

PIXELS = "c9de42160a0433cdfa4cc3be2936ff297a3a92c919c0e206f103d17e35de35db"
"""SHA-256 of :func:`suite.data.scenes.reference`, scenes that show all that can be drawn. A test draws them
again: where what is drawn changes, this changes, and with it every fingerprint."""

RECORD = "fingerprint.json"
"""File below a dataset's root that says what was drawn, with the hashes of what came out."""

_LIMITS = {
    "train_images": (1, 1_000_000),
    "val_images": (1, 1_000_000),
    "image_size": (96, 2048),
    "seed": (0, 2**32 - 1),
}
_CHUNK = 10
_IN_PROCESS_BELOW = 40  # starting processes costs more than drawing so few images


@dataclass(frozen=True)
class ShapesSpec:
    """What fully determines a generated dataset.

    Attributes:
        train_images: Images of the training split, 1 to 1,000,000.
        val_images: Images of the validation split, 1 to 1,000,000.
        image_size: Longer side of an image in pixels, 96 to 2048. Sizes of objects follow it.
        seed: Each image is drawn from (seed, split, index), so a longer split begins with a shorter one.

    Raises:
        SuiteError: A value is not a whole number in its range.
    """

    train_images: int = 400
    val_images: int = 200
    image_size: int = 240
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise SuiteError(
                    f"dataset.{name}: found {value!r}, expected a whole number from {low} to {high}.",
                    f"Change {name} in the preset's dataset.",
                )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "ShapesSpec":
        """Make a spec from a preset's ``dataset`` dict (its key ``type`` is left out).

        Raises:
            SuiteError: A key is unknown or a value out of range.
        """
        known = [field.name for field in fields(cls)]
        values = {key: value for key, value in config.items() if key != "type"}
        for key in values:
            if key not in known:
                raise SuiteError(
                    f"dataset.{key}: unknown field of the shapes dataset.{nearest(key, known)}",
                    f"Fields: {', '.join(known)}.",
                )
        return cls(**values)

    def fingerprint_of(self, split: str) -> str:
        """SHA-256 over all that a split's images depend on: known before anything is drawn."""
        identity = [PIXELS, CATEGORIES, split, images_of(self, split), self.image_size, self.seed]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()

    @property
    def fingerprint(self) -> str:
        """SHA-256 over both splits'."""
        return hashlib.sha256(" ".join(map(self.fingerprint_of, SPLITS)).encode()).hexdigest()

    @property
    def name(self) -> str:
        """Name of the dataset and of its folder."""
        return f"shapes-{self.fingerprint[:8]}"


def images_of(spec: ShapesSpec, split: str) -> int:
    """Number of images in a split of :data:`SPLITS`."""
    return spec.train_images if split == SPLITS[0] else spec.val_images


def _read_record(root: Path) -> dict[str, Any]:
    record = read_json(root / RECORD)
    try:
        for split in SPLITS:
            {record["splits"][split][key] for key in ("annotations_sha256", "images", "bytes", "boxes")}
    except (KeyError, TypeError) as error:
        raise SuiteError(f"{root / RECORD}: not a record of a generated dataset.") from error
    return cast(dict[str, Any], record)


def drawn_boxes(root: Path) -> dict[str, int]:
    """Number of boxes without crowds in each split of the dataset at ``root``; empty if it is not drawn."""
    try:
        record = _read_record(root)
    except SuiteError:
        return {}
    return {split: record["splits"][split]["boxes"] for split in SPLITS}


def damage(spec: ShapesSpec, root: Path) -> str | None:
    """Say what is wrong with the dataset at ``root``, or None if it is whole.

    Annotations are compared by hash, images by their number and total size.
    """
    try:
        record = _read_record(root)
    except SuiteError as error:
        return error.message
    if record.get("fingerprint") != spec.fingerprint:
        return f"{root / RECORD}: belongs to another dataset."
    for split in SPLITS:
        path, drawn = annotation_file(root, split), record["splits"][split]
        if not path.is_file():
            return f"{path}: missing."
        if sha256(path) != drawn["annotations_sha256"]:
            return f"{path}: changed since it was generated."
        folder = root / split
        sizes = [entry.stat().st_size for entry in os.scandir(folder)] if folder.is_dir() else []
        found, expected = (len(sizes), sum(sizes)), (drawn["images"], drawn["bytes"])
        if found != expected:
            return (
                f"{folder}: found {found[0]} images ({found[1]} bytes), "
                f"expected {expected[0]} ({expected[1]} bytes)."
            )
    return None


def generate(spec: ShapesSpec, root: Path, progress: bool = True, workers: int | None = None) -> None:
    """Make sure that ``root`` holds the whole dataset, drawing it if it is absent or damaged.

    The dataset is drawn in a temporary folder beside ``root`` and renamed, so ``root`` is whole or absent.
    Several processes may call this at once: one draws, the others wait. What an interrupted call left behind
    is removed.

    Args:
        spec: What to draw.
        root: Folder of the dataset.
        progress: Show progress: a bar on a terminal, plain lines elsewhere. A repair is always stated.
        workers: Processes, by default one per CPU core. The result does not depend on it.

    Raises:
        SuiteError: The folder cannot be written.
    """
    from rich.console import Console

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with locked(root.with_name(f".{root.name}.lock")):
            for leftover in root.parent.glob(f".{root.name}.tmp-*"):
                shutil.rmtree(leftover, ignore_errors=True)
            if root.exists():
                reason = damage(spec, root)
                if reason is None:
                    return
                console.print(f"{reason} Drawing {root.name} again.", markup=False)
            temporary = Path(tempfile.mkdtemp(prefix=f".{root.name}.tmp-", dir=root.parent))
            try:
                _draw(spec, temporary, console if progress else None, root.name, workers)
                temporary.chmod(0o755)
                if root.exists():
                    shutil.rmtree(root)
                temporary.rename(root)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    except BrokenProcessPool as error:
        raise SuiteError(
            f"{root}: a process that draws the shapes dataset was killed.", "Free memory and start again."
        ) from error
    except OSError as error:
        raise SuiteError(
            f"{error.filename or root}: cannot write the shapes dataset ({error.strerror}).",
            "Free disk space or make the folder writable.",
        ) from error


def _draw(spec: ShapesSpec, folder: Path, console: "Console | None", name: str, workers: int | None) -> None:
    tasks = []
    for number, split in enumerate(SPLITS):
        (folder / split).mkdir()
        count = images_of(spec, split)
        for start in range(0, count, _CHUNK):
            tasks.append((folder / split, spec, number, range(start, min(start + _CHUNK, count))))
    total = spec.train_images + spec.val_images
    if workers is None:
        workers = 1 if total < _IN_PROCESS_BELOW else int(cpu_count())

    records: dict[tuple[int, int], dict[str, Any]] = {}
    with _progress(console, name, total) as advance, _mapper(workers) as run:
        for number, chunk in run(tasks):
            records.update({(number, record["index"]): record for record in chunk})
            advance(len(chunk))

    splits = {}
    for number, split in enumerate(SPLITS):
        drawn = [records[number, index] for index in range(images_of(spec, split))]
        path = annotation_file(folder, split)
        write_json(path, _coco(drawn, number))
        splits[split] = {
            "annotations_sha256": sha256(path),
            "images_sha256": hashlib.sha256("".join(r["sha256"] for r in drawn).encode()).hexdigest(),
            "images": len(drawn),
            "bytes": sum(record["bytes"] for record in drawn),
            "boxes": sum(not box["iscrowd"] for record in drawn for box in record["objects"]),
        }
    pixels = _pixels()
    if console is not None and pixels != PIXELS:
        console.print(
            f"note: this machine's OpenCV or NumPy draws other pixels than the reference. Numbers of {name} "
            "compare with each other here, not to the bit with those of other machines.",
            markup=False,
        )
    record = {"fingerprint": spec.fingerprint, "spec": asdict(spec), "pixels": pixels}
    write_json(folder / RECORD, {**record, "splits": splits})


def _pixels() -> str:
    """What :data:`PIXELS` would be on this machine."""
    from suite.data import scenes

    return scenes.reference()[1]


def _coco(drawn: list[dict[str, Any]], split_number: int) -> dict[str, Any]:
    first_id = 1 + split_number * 1_000_000  # so that no image id is in both splits
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for record in drawn:
        image_id = first_id + record["index"]
        images.append({"id": image_id, **{key: record[key] for key in ("file_name", "width", "height")}})
        for box in record["objects"]:
            annotations.append({"id": first_id + len(annotations), "image_id": image_id, **box})
    categories = [{"id": i, "name": name, "supercategory": "shape"} for i, name in enumerate(CATEGORIES, 1)]
    return {
        "info": {"description": "generated shapes", "version": PIXELS[:12]},
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }


def _work(task: tuple[Path, ShapesSpec, int, range]) -> tuple[int, list[dict[str, Any]]]:
    from suite.data import scenes

    folder, spec, split_number, indices = task
    return split_number, [
        scenes.write_image(folder, spec.seed, split_number, index, spec.image_size) for index in indices
    ]


def _start_worker() -> None:
    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    parent = multiprocessing.parent_process()

    def leave_with_parent() -> None:
        # A worker of a killed parent would wait for tasks for ever: its siblings keep the queue open.
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()


@contextlib.contextmanager
def _mapper(workers: int) -> Iterator[Any]:
    if workers == 1:
        yield lambda tasks: map(_work, tasks)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        yield lambda tasks: (done.result() for done in as_completed([pool.submit(_work, t) for t in tasks]))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _progress(console: "Console | None", name: str, total: int) -> Iterator[Any]:
    if console is None:
        yield lambda count: None
    elif console.is_terminal:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn(f"Drawing {name}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(name, total=total)
            yield lambda count: bar.advance(task, count)
    else:
        console.print(f"Drawing {name}: {total} images.", markup=False)
        yield lambda count: None
        console.print(f"Drew {name}.", markup=False)
