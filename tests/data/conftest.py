"""Datasets for the tests of this folder."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite.data import shapes

_CATEGORIES = [{"id": 3, "name": "car"}, {"id": 1, "name": "person"}]
_CONTENT = {
    "images": [
        {"id": 7, "file_name": "7.jpg", "width": 40, "height": 30},
        {"id": 8, "file_name": "8.jpg", "width": 40, "height": 30},
    ],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 1, "bbox": [1, 2, 10, 20], "area": 150.5, "iscrowd": 0,
         "segmentation": [[1, 2, 11, 2, 11, 22]]},
        {"id": 2, "image_id": 8, "category_id": 3, "bbox": [0.5, 2, 9, 4.5], "area": 30, "iscrowd": 0},
        {"id": 5, "image_id": 8, "category_id": 3, "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 1},
    ],
    "categories": _CATEGORIES,
}  # fmt: skip


class CocoRoot:
    """A whole, tiny COCO root that a test can spoil."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content: dict[str, Any] = {}
        for split in shapes.SPLITS:
            (path / split).mkdir(parents=True)
            for image in _CONTENT["images"]:
                (path / split / image["file_name"]).write_bytes(b"jpeg")
            self.content[split] = copy.deepcopy(_CONTENT)
            self.write(split)

    def file(self, split: str) -> Path:
        return shapes.annotation_file(self.path, split)

    def write(self, split: str) -> None:
        self.file(split).parent.mkdir(exist_ok=True)
        self.file(split).write_text(json.dumps(self.content[split]))

    def spoil(self, split: str, change: Callable[[dict[str, Any]], Any]) -> None:
        change(self.content[split])
        self.write(split)


@pytest.fixture
def coco_root(tmp_path: Path) -> CocoRoot:
    return CocoRoot(tmp_path / "coco")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[shapes.ShapesSpec, Path]:
    """The default shapes dataset, drawn once: 400 + 200 images."""
    spec = shapes.ShapesSpec()
    root = tmp_path_factory.mktemp("data") / spec.name
    shapes.generate(spec, root, progress=False)
    return spec, root
