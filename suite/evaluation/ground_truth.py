"""The annotations that detections are measured against."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from suite.errors import SuiteError
from suite.files import read_json, sha256


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
    """

    images: pd.DataFrame
    annotations: pd.DataFrame
    categories: pd.DataFrame
    fingerprint: str = ""

    @classmethod
    def load(cls, path: str | Path) -> "GroundTruth":
        """Read and check a COCO ``instances`` file; a file read before and unchanged since is not read again.

        Raises:
            SuiteError: The file is unreadable, or breaks a rule named by :meth:`from_coco`.
        """
        path = Path(path)
        try:
            state = path.stat()
        except OSError as error:
            raise SuiteError(f"{path}: cannot read ({error.strerror}).") from error
        return _load(path.resolve(), state.st_mtime_ns, state.st_size)

    @classmethod
    def from_coco(
        cls, content: dict[str, Any], source: str = "ground truth", fingerprint: str = ""
    ) -> "GroundTruth":
        """Build from the parsed content of a COCO ``instances`` file.

        The evaluators differ or stay silent on bad input (pycocotools never matches an annotation with id 0),
        so it is refused here.

        Args:
            content: ``images``, ``annotations`` and ``categories`` as COCO defines them.
            source: Name for messages.
            fingerprint: Kept as it is.

        Raises:
            SuiteError: A list or field is missing; an annotation id is below 1 or repeated; an image or
                category id is repeated or unknown; a box is not finite or has a negative size.
        """
        images = _frame(content, "images", ["id", "width", "height"], source)
        categories = _frame(content, "categories", ["id", "name"], source)
        raw = _frame(
            content, "annotations", ["id", "image_id", "category_id", "bbox", "area", "iscrowd"], source
        )
        boxes = np.array(raw["bbox"].tolist(), dtype=np.float64).reshape(-1, 4)
        annotations = raw.drop(columns="bbox").assign(
            **dict(zip("xywh", boxes.T, strict=True)),
            area=raw["area"].astype(np.float64),
            iscrowd=raw["iscrowd"].astype(bool),
        )
        for frame, name in ((images, "images"), (categories, "categories"), (annotations, "annotations")):
            _refuse(frame["id"][frame["id"].duplicated()], f"{source}: {name}[].id", "used more than once")
        ids = annotations["id"]
        _refuse(ids[ids < 1], f"{source}: annotations[].id", "below 1")
        check_known(annotations["image_id"], images["id"], f"{source}: annotations[].image_id")
        check_known(annotations["category_id"], categories["id"], f"{source}: annotations[].category_id")
        # COCO's own files hold a few boxes of zero width or height: harmless to AP, so only worse is refused.
        bad = ~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] < 0).any(axis=1)
        _refuse(ids[pd.Series(bad)], f"{source}: annotations[].bbox", "not finite or of negative size")
        order = ["id", "image_id", "category_id", "x", "y", "w", "h", "area", "iscrowd"]
        return cls(
            images=images,
            annotations=annotations[order].reset_index(drop=True),
            categories=categories.sort_values("id", ignore_index=True),
            fingerprint=fingerprint,
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
        )


def check_known(ids: pd.Series, known: pd.Series, field: str) -> None:
    """Raise a SuiteError that lists the ``ids`` which are not ``known``."""
    unknown = ids[~ids.isin(known)].drop_duplicates()
    _refuse(unknown, field, "not in the ground truth")


def _refuse(ids: pd.Series, field: str, fault: str) -> None:
    if len(ids):
        shown = ", ".join(str(value) for value in ids.head(5)) + (", ..." if len(ids) > 5 else "")
        raise SuiteError(f"{field}: {len(ids)} {fault}: {shown}.")


def _frame(content: dict[str, Any], name: str, fields: list[str], source: str) -> pd.DataFrame:
    if not isinstance(content, dict) or not isinstance(content.get(name), list):
        raise SuiteError(f"{source}: expected an object with a list {name!r}, as in COCO's instances files.")
    records = content[name]
    for position, record in enumerate(records):
        missing = [field for field in fields if field not in record]
        if missing:
            raise SuiteError(
                f"{source}: {name}[{position}] (id {record.get('id')}) has no {', '.join(missing)}."
            )
        if "bbox" in fields and len(record["bbox"]) != 4:
            raise SuiteError(
                f"{source}: {name}[{position}].bbox is {json.dumps(record['bbox'])}; expected x, y, w, h."
            )
    frame = pd.DataFrame({field: [record[field] for record in records] for field in fields})
    integers = {field: np.int64 for field in fields if field == "id" or field.endswith("_id")}
    return frame.astype(integers)


@lru_cache(maxsize=8)
def _load(path: Path, modified_ns: int, size: int) -> GroundTruth:
    return GroundTruth.from_coco(read_json(path), source=str(path), fingerprint=sha256(path))
