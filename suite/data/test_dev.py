"""COCO's test-dev images below a COCO root: their names and sizes, without annotations."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.errors import SuiteError
from suite.files import sha256

SPLIT = "test-dev2017"
_DOWNLOAD = (
    "Download '2017 Test images' and '2017 Testing Image info' from https://cocodataset.org/#download and "
    "unpack them into the root; test-dev are 20,288 of the 40,670 images of test2017/."
)


@dataclass(frozen=True)
class TestDev:
    """The images of test-dev.

    Attributes:
        annotations: ``annotations/image_info_test-dev2017.json``.
        sha256: Of that file.
        folder: ``test2017/``.
        images: COCO's records: ``id``, ``file_name``, ``width``, ``height``.
        categories: COCO's records by ascending ``id``.
    """

    __test__ = False  # no test, whatever pytest makes of the name

    annotations: Path
    sha256: str
    folder: Path
    images: list[dict[str, Any]]
    categories: list[dict[str, Any]]

    def as_instances(self) -> dict[str, Any]:
        """A COCO instances file of these images without any annotation."""
        return {"images": self.images, "annotations": [], "categories": self.categories}


def check_test_dev(root: Path) -> TestDev:
    """Read and check the test-dev part of a COCO root.

    Raises:
        SuiteError: It is missing, not whole, or not in COCO's format.
    """
    annotations, folder = root / "annotations" / f"image_info_{SPLIT}.json", root / "test2017"
    missing = [str(annotations)] * (not annotations.is_file()) + [f"{folder}/"] * (not folder.is_dir())
    if missing:
        raise SuiteError(f"{root}: this COCO root has no test-dev; missing: {', '.join(missing)}.", _DOWNLOAD)
    try:
        content = json.loads(annotations.read_bytes())
        images = [
            {key: row[key] for key in ("id", "file_name", "width", "height")} for row in content["images"]
        ]
        categories = [{"id": row["id"], "name": row["name"]} for row in content["categories"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SuiteError(
            f"{annotations}: not COCO's image info ({type(error).__name__}: {error}).", _DOWNLOAD
        ) from error
    if not images or len({row["id"] for row in images}) < len(images):
        raise SuiteError(f"{annotations}: no images, or two of the same id.", _DOWNLOAD)
    present = set(os.listdir(folder))
    absent = [row["file_name"] for row in images if row["file_name"] not in present]
    if absent:
        raise SuiteError(
            f"{folder}: {len(absent)} of {len(images)} test-dev images are missing: {', '.join(absent[:5])}"
            f"{', ...' if len(absent) > 5 else ''}.",
            "Unpack the archive of images again; it may have been interrupted.",
        )
    return TestDev(
        annotations, sha256(annotations), folder, images, sorted(categories, key=lambda one: one["id"])
    )
