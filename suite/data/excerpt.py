"""A few images of a COCO root as a COCO root of their own, to rehearse on."""

import json
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from suite.data import coco
from suite.files import write_json

FULLEST = 0.25
"""Share of the images that are those with the most boxes, which need the most memory."""


def excerpt(root: Path, folder: Path, train_images: int, val_images: int) -> None:
    """Write a small COCO root: some of a root's images, linked, and their annotations.

    A quarter of each split are the images with the most boxes; the rest are spread evenly over the ids, in
    validation whether they have a box or not. All categories stay. Nothing is written where the folder is
    there.

    Args:
        root: A COCO root, checked (:func:`suite.data.coco.check_root`).
        folder: The folder to make; it appears whole or not at all.
        train_images: Training images at most, 1 or more.
        val_images: Validation images at most, 1 or more.

    Raises:
        SuiteError: An annotation file cannot be read.
    """
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    made.chmod(0o755)
    try:
        for split, count in zip(coco.SPLITS, (train_images, val_images), strict=True):
            source = coco.annotation_file(root, split)
            content = _few(json.loads(source.read_bytes()), count, with_boxes=split == coco.SPLITS[0])
            write_json(coco.annotation_file(made, split), content)
            for image in content["images"]:
                link = made / split / image["file_name"]
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to((root / split / image["file_name"]).resolve())
        try:
            os.rename(made, folder)
        except OSError:  # somebody else was faster
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _few(content: dict[str, Any], count: int, with_boxes: bool) -> dict[str, Any]:
    """The content of an annotation file for some of its images."""
    boxes = Counter(row["image_id"] for row in content["annotations"] if not row["iscrowd"])
    images = [image for image in content["images"] if boxes[image["id"]] or not with_boxes]
    fullest = sorted(images, key=lambda image: -boxes[image["id"]])[: max(1, round(FULLEST * count))]
    chosen = {image["id"] for image in fullest}
    others = sorted((image for image in images if image["id"] not in chosen), key=lambda image: image["id"])
    wanted = min(count - len(chosen), len(others))
    chosen |= {others[number * len(others) // wanted]["id"] for number in range(wanted)}
    return {
        **{key: value for key, value in content.items() if key in ("info", "licenses", "categories")},
        "images": [image for image in content["images"] if image["id"] in chosen],
        "annotations": [row for row in content["annotations"] if row["image_id"] in chosen],
    }
