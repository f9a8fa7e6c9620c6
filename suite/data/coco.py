"""COCO folders, checked before any training: every complaint names the file, the ids and the values."""

import contextlib
import hashlib
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from suite.data.images import Forgotten, images_fingerprint
from suite.errors import SuiteError
from suite.files import read_json, write_json

SPLITS = ("train2017", "val2017")
_SHOWN = 10
_FORMAT = 2  # of the cache: raise it when the checks change
_FIELDS = {
    "images": ("id", "file_name", "width", "height"),
    "annotations": ("id", "image_id", "category_id", "bbox", "area", "iscrowd"),
    "categories": ("id", "name"),
}


@dataclass(frozen=True)
class CheckedSplit:
    """What the check of one annotation file found.

    Attributes:
        sha256: Of the annotation file.
        images: Number of images.
        boxes: Number of boxes that count: not crowd, not ignored.
        categories: Pairs of category id and name by ascending id.
        notices: What is worth stating although it is no error, such as boxes that training ignores.
    """

    sha256: str
    images: int
    boxes: int
    categories: tuple[tuple[int, str], ...]
    notices: tuple[str, ...]
    images_sha256: str = ""
    """Of the images' names and contents, see :mod:`suite.data.images`."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 that changes with the annotations and with any image."""
        return hashlib.sha256(f"{self.sha256} {self.images_sha256}".encode()).hexdigest()


def annotation_file(root: Path, split: str) -> Path:
    """Annotation file of a split below a root in COCO's layout."""
    return root / "annotations" / f"instances_{split}.json"


def check_root(root: Path, cache: Path | None = None) -> tuple[CheckedSplit, CheckedSplit]:
    """Check a COCO root: ``annotations/instances_{train,val}2017.json``, ``train2017/`` and ``val2017/``.

    A bbox that is negative or not finite is an error. One of zero width or height is an error in the
    validation split; in the training split (COCO 2017 has a few), boxes that training leaves out, as mmdet
    does, are stated in the notices: see :func:`is_ignored`.

    Args:
        root: Folder of the dataset.
        cache: JSON file that remembers passed checks by path, size and time of change of the annotation files
            and the image folders, so that 450 MB of annotations are read once. Beside it, a file for each
            split remembers the images' hashes.

    Returns:
        The checked training and validation splits.

    Raises:
        SuiteError: Something is missing, truncated or inconsistent.
    """
    _check_layout(root)
    train, val = (_check_cached(root, split, cache) for split in SPLITS)
    if train.categories != val.categories:
        differing = sorted(set(train.categories) ^ set(val.categories))
        files = " and ".join(str(annotation_file(root, split)) for split in SPLITS)
        raise SuiteError(
            f"{files}: the categories differ: {_listed(f'{number} {name!r}' for number, name in differing)}.",
            "Give both files the same ids and names.",
        )
    return train, val


def _listed(values: Iterable[Any]) -> str:
    shown = [str(value) for value in values]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more


def _check_layout(root: Path) -> None:
    missing = [f"{root / split}/" for split in SPLITS if not (root / split).is_dir()]
    missing += [str(path) for split in SPLITS if not (path := annotation_file(root, split)).is_file()]
    if not root.is_dir():
        raise SuiteError(
            f"{root}: this COCO folder does not exist.",
            "Set dataset.root to the folder that has annotations/, train2017/ and val2017/.",
        )
    if missing:
        raise SuiteError(
            f"{root}: not a whole COCO 2017 folder; missing: {', '.join(missing)}.",
            "Download and unpack them from https://cocodataset.org/#download, or correct dataset.root.",
        )


def _check_cached(root: Path, split: str, cache: Path | None) -> CheckedSplit:
    path = annotation_file(root, split)
    state, folder = path.stat(), (root / split).stat()
    key = [_FORMAT, state.st_size, state.st_mtime_ns, folder.st_mtime_ns]
    name = str(path.resolve())
    memory = (
        None
        if cache is None
        else cache.parent / f"images-{hashlib.sha256(name.encode()).hexdigest()[:16]}.tsv"
    )
    entry = _read_cache(cache).get(name)
    if isinstance(entry, dict) and entry.get("key") == key:
        found = entry["found"]
        pairs = tuple((number, label) for number, label in found["categories"])
        checked = CheckedSplit(**{**found, "categories": pairs, "notices": tuple(found["notices"])})
        with contextlib.suppress(Forgotten):
            return replace(checked, images_sha256=images_fingerprint(root / split, None, memory, _say))
    content, digest = read_annotations(path)
    checked = _checked(path, content, digest, root / split, training=split == SPLITS[0])
    names = [image["file_name"] for image in content["images"]]
    images = images_fingerprint(root / split, names, memory, _say)
    if cache is not None:  # last: with it, the names in the memory are those of these annotations
        write_json(cache, {**_read_cache(cache), name: {"key": key, "found": asdict(checked)}})
    return replace(checked, images_sha256=images)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _read_cache(cache: Path | None) -> dict[str, Any]:
    if cache is None or not cache.is_file():
        return {}
    try:
        remembered = read_json(cache)
    except SuiteError:  # only a cache: made anew
        return {}
    return remembered if isinstance(remembered, dict) else {}


def read_annotations(path: Path) -> tuple[dict[str, Any], str]:
    """Read an annotation file without its segmentations, which take most of the memory.

    Returns:
        The content and the SHA-256 of the file.

    Raises:
        SuiteError: The file is not readable, truncated, or not in COCO's format.
    """

    def without_segmentation(value: dict[str, Any]) -> dict[str, Any]:
        value.pop("segmentation", None)
        return value

    try:
        payload = path.read_bytes()
        content = json.loads(payload, object_hook=without_segmentation)
    except OSError as error:
        raise SuiteError(f"{path}: cannot read ({error.strerror}).") from error
    except ValueError as error:
        raise SuiteError(
            f"{path}: not valid JSON ({error}); its {path.stat().st_size} bytes may be half a download.",
            "Download the file again.",
        ) from error
    for section, required in _FIELDS.items():
        rows = content.get(section) if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise SuiteError(f"{path}: no list of {section}; this is not a COCO instances file.")
        for field in required:
            bad = [row.get("id", f"number {i}") for i, row in enumerate(rows, 1) if field not in row]
            if bad:
                raise SuiteError(
                    f"{path}: {field!r} is missing in {len(bad)} {section}: {_listed(bad)}.",
                    "Use COCO's instances files, or add 'iscrowd': 0 and an area to annotations of your own.",
                )
        bad = [row["id"] for row in rows if isinstance(row["id"], bool) or not isinstance(row["id"], int)]
        if bad:
            raise SuiteError(f"{path}: ids of {section} must be whole numbers, found {_listed(bad)}.")
    return content, hashlib.sha256(payload).hexdigest()


def _checked(
    path: Path, content: dict[str, Any], digest: str, images_folder: Path, training: bool
) -> CheckedSplit:
    """What is found in a split's annotations; ``digest`` is the SHA-256 of their file."""
    images, annotations = content["images"], content["annotations"]
    _check_ids(path, content)
    _check_images(path, images_folder, images)
    _check_boxes(path, annotations, training)
    by_id = {row["id"]: row for row in images}
    ignored = [row for row in annotations if training and is_ignored(row, by_id[row["image_id"]])]
    notices: tuple[str, ...] = ()
    if ignored:
        reason = "narrower or lower than a pixel, without area, outside of their image or marked 'ignore'"
        notices = (f"{path}: training ignores {len(ignored)} annotations {reason}: {_described(ignored)}.",)
    boxes = sum(not row["iscrowd"] for row in annotations) - sum(not row["iscrowd"] for row in ignored)
    if not boxes:
        raise SuiteError(f"{path}: no box in {len(images)} images; nothing can be trained or evaluated.")
    categories = tuple(sorted((row["id"], row["name"]) for row in content["categories"]))
    return CheckedSplit(digest, len(images), boxes, categories, notices)


def _check_ids(path: Path, content: dict[str, Any]) -> None:
    for section in _FIELDS:
        doubled = [key for key, n in Counter(row["id"] for row in content[section]).items() if n > 1]
        if doubled:
            raise SuiteError(
                f"{path}: {len(doubled)} ids are given to several of the {section}: {_listed(doubled)}.",
                f"Make the ids of {section} unique.",
            )
    low = [row["id"] for row in content["annotations"] if row["id"] <= 0]
    if low:
        raise SuiteError(
            f"{path}: annotation ids must be 1 or more, found {_listed(low)}.",
            "Number the annotations from 1: COCO's evaluator takes id 0 for 'not matched'.",
        )
    for field, section in (("image_id", "images"), ("category_id", "categories")):
        known = {row["id"] for row in content[section]}
        bad = [f"{row['id']} ({row[field]!r})" for row in content["annotations"] if row[field] not in known]
        if bad:
            raise SuiteError(
                f"{path}: {len(bad)} annotations have a {field} not among the {section}: {_listed(bad)}.",
                f"Remove these annotations or add the {section}.",
            )
    annotations = content["annotations"]
    bad = [f"{row['id']} ({row['iscrowd']!r})" for row in annotations if row["iscrowd"] not in (0, 1)]
    if bad:
        raise SuiteError(f"{path}: iscrowd must be 0 or 1, found in annotations {_listed(bad)}.")


def _check_images(path: Path, folder: Path, images: list[dict[str, Any]]) -> None:
    sides = [(row["id"], row[side]) for row in images for side in ("width", "height")]
    bad = [f"{key} ({side!r})" for key, side in sides if not isinstance(side, int | float) or not side > 0]
    if bad:
        raise SuiteError(f"{path}: width and height must be above 0, found in images {_listed(bad)}.")
    present = set(os.listdir(folder))
    absent = [row["file_name"] for row in images if row["file_name"] not in present]
    if absent:
        raise SuiteError(
            f"{folder}: {len(absent)} of {len(images)} images of {path.name} are missing: {_listed(absent)}.",
            "Unpack the archive of images again; it may have been interrupted.",
        )


def is_ignored(row: dict[str, Any], image: dict[str, Any]) -> bool:
    """Whether training leaves an annotation of an image out, as mmdet's COCO dataset does.

    That is one marked ``ignore``, narrower or lower than a pixel, without area, or outside of its image.
    """
    x, y, w, h = row["bbox"]
    inside = min(x + w, image["width"]) > max(x, 0) and min(y + h, image["height"]) > max(y, 0)
    return bool(row.get("ignore")) or min(w, h) < 1 or row["area"] <= 0 or not inside


def _is_box(row: dict[str, Any]) -> bool:
    box = row["bbox"]
    if not isinstance(box, list) or len(box) != 4:
        return False
    numbers = [*box, row["area"]]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in numbers):
        return False
    return all(map(math.isfinite, numbers)) and min(*box[2:], row["area"]) >= 0


def _described(rows: list[dict[str, Any]]) -> str:
    return _listed(f"{row['id']} (bbox {row['bbox']}, area {row['area']})" for row in rows)


def _check_boxes(path: Path, annotations: list[dict[str, Any]], training: bool) -> None:
    unusable = [row for row in annotations if not _is_box(row)]
    if unusable:
        raise SuiteError(
            f"{path}: {len(unusable)} annotations have a negative, infinite or non-numeric bbox or area: "
            f"{_described(unusable)}.",
            "Correct or remove them; a bbox is [x, y, width, height] in pixels.",
        )
    empty = [row for row in annotations if min(row["bbox"][2:]) == 0 and not row["iscrowd"]]
    if empty and not training:
        raise SuiteError(
            f"{path}: {len(empty)} annotations have a bbox of zero width or height: {_described(empty)}.",
            "Correct or remove them: they cannot be detected, but would count as missed.",
        )
