"""COCO's boxes read without COCO's polygons: a few arrays, and never the whole file in memory."""

import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from suite.errors import SuiteError

_CHUNK = 2**22  # characters read at once


@dataclass(frozen=True)
class BoxAnnotations:
    """What training reads of a COCO annotation file, in arrays that forked processes share.

    Attributes:
        ids: Image ids in the file's order, shape (N,).
        names: File names, UTF-8, shape (N,).
        sizes: Width and height, shape (N, 2).
        first: Where the annotations of each image begin, and behind the last one, shape (N + 1,).
        boxes: x, y, width and height of the annotations, by image and then in the file's order, shape (M, 4).
        areas: Shape (M,).
        categories: Category ids, shape (M,).
        crowd: Shape (M,), bool.
        ignored: Annotations marked ``ignore``, shape (M,), bool.
        category_names: Category id and name in the file's order.
    """

    ids: np.ndarray
    names: np.ndarray
    sizes: np.ndarray
    first: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    categories: np.ndarray
    crowd: np.ndarray
    ignored: np.ndarray
    category_names: list[tuple[int, str]]

    def image(self, row: int) -> dict[str, Any]:
        """An image's entry as in the file, by its row."""
        width, height = (int(side) if side == int(side) else side for side in self.sizes[row].tolist())
        name = self.names[row].decode()
        return {"img_id": int(self.ids[row]), "file_name": name, "width": width, "height": height}

    def annotations(self, row: int) -> list[dict[str, Any]]:
        """The annotations of an image as in the file, without their polygons."""
        own = slice(self.first[row], self.first[row + 1])
        columns = (self.boxes, self.areas, self.categories, self.crowd, self.ignored)
        fields = ("bbox", "area", "category_id", "iscrowd", "ignore")
        values = zip(*(column[own].tolist() for column in columns), strict=True)
        return [dict(zip(fields, one, strict=True)) for one in values]


def read_boxes(path: Path) -> BoxAnnotations:
    """Read a COCO annotation file, a piece at a time.

    Annotations of images that the file does not list are left out, as by mmdet.

    Raises:
        SuiteError: The file cannot be read, is cut short or is not in COCO's format.
    """
    ids, images, numbers = array("q"), array("q"), array("q")
    sizes, boxes, areas = array("d"), array("d"), array("d")
    categories, crowd, ignored = array("q"), array("b"), array("b")
    names: list[bytes] = []
    category_names: list[tuple[int, str]] = []
    try:
        with path.open(encoding="utf-8") as stream:
            for section, entry in entries(stream):
                if section == "images":
                    ids.append(entry["id"])
                    names.append(entry["file_name"].encode())
                    sizes.extend((entry["width"], entry["height"]))
                elif section == "annotations":
                    images.append(entry["image_id"])
                    numbers.append(entry["id"])
                    x, y, width, height = entry["bbox"]
                    boxes.extend((x, y, width, height))
                    areas.append(entry["area"])
                    categories.append(entry["category_id"])
                    crowd.append(bool(entry.get("iscrowd")))
                    ignored.append(bool(entry.get("ignore")))
                elif section == "categories":
                    category_names.append((entry["id"], entry["name"]))
    except OSError as error:
        raise SuiteError(f"{path}: cannot read ({error.strerror}).") from error
    except (ValueError, KeyError, TypeError) as error:
        raise SuiteError(
            f"{path}: not a COCO annotation file ({type(error).__name__}: {error}).",
            "It may be half a download: download it again; `suite doctor` checks every entry.",
        ) from error
    if len(np.unique(numbers)) != len(numbers):
        raise SuiteError(f"{path}: ids are given to several of the annotations.", "Make them unique.")
    # Images in the order of their ids, to look up those of the annotations.
    ordered = np.argsort(ids, kind="stable")
    place = np.searchsorted(np.asarray(ids)[ordered], images)
    owner = ordered[place.clip(max=max(len(ids) - 1, 0))] if len(ids) else place
    known = np.asarray(ids)[owner] == np.asarray(images) if len(ids) else np.zeros(len(images), bool)
    # By image, and within an image in the file's order.
    by_image = np.flatnonzero(known)[np.argsort(owner[known], kind="stable")]
    counts = np.bincount(owner[known], minlength=len(ids))
    return BoxAnnotations(
        ids=np.array(ids),
        names=np.array(names, dtype=np.bytes_),
        sizes=np.array(sizes).reshape(-1, 2),
        first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes=np.asarray(boxes).reshape(-1, 4)[by_image],
        areas=np.asarray(areas)[by_image],
        categories=np.asarray(categories)[by_image],
        crowd=np.asarray(crowd, dtype=bool)[by_image],
        ignored=np.asarray(ignored, dtype=bool)[by_image],
        category_names=category_names,
    )


def entries(stream: TextIO) -> Iterator[tuple[str, Any]]:
    """Section and entry of everything in the lists of a JSON object, while the file is read.

    Raises:
        ValueError: It is not JSON, or no object.
    """
    text = _Text(stream)
    text.take("{")
    while text.next() != "}":
        section = text.value()
        text.take(":")
        if text.next() != "[":
            text.value()
        else:
            text.take("[")
            while text.next() != "]":
                yield section, text.value()
                if text.next() != "]":
                    text.take(",")
            text.take("]")
        if text.next() != "}":
            text.take(",")


class _Text:
    """The rest of a file that has not been understood yet; little of it is held at a time."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.decode = json.JSONDecoder().raw_decode
        self.text, self.position, self.ended = "", 0, False

    def _read_on(self) -> None:
        more = self.stream.read(_CHUNK)
        self.ended = not more
        self.text, self.position = self.text[self.position :] + more, 0

    def next(self) -> str:
        """The next character that is no space, which stays; empty at the end."""
        while True:
            while self.position < len(self.text):
                if self.text[self.position] not in " \t\r\n":
                    return self.text[self.position]
                self.position += 1
            if self.ended:
                return ""
            self._read_on()

    def take(self, character: str) -> None:
        """Go over a character that must come next."""
        if self.next() != character:
            raise ValueError(f"expected {character!r}, found {self.next() or 'the end of the file'!r}")
        self.position += 1

    def value(self) -> Any:
        """The next value, which is read as far as it goes."""
        self.next()
        while True:
            try:
                value, end = self.decode(self.text, self.position)
            except ValueError:
                if self.ended:
                    raise
            else:
                # A number may go on in what has not been read.
                if end < len(self.text) or self.ended:
                    self.position = end
                    return value
            self._read_on()
