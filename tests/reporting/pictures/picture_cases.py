"""Photos with one coloured rectangle an object, and the bags that runs tell of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from suite.data.dataset import Split
from suite.reporting.pictures.model import PictureInput, PictureRow

WIDTH, HEIGHT = 96, 64
OBJECT = (60, 10, 30, 40)  # x, y, w, h in the photo: right of its middle
COLOUR = (200, 30, 30)
SCALE = 0.5
BOX = [SCALE * side for side in (WIDTH - 90, 10, WIDTH - 60, 50)]  # in the flipped network input

MakeRow = Callable[..., PictureRow]
MakeInput = Callable[..., PictureInput]


def write_split(root: Path, name: str, images: int, objects: int) -> Split:
    folder = root / name
    folder.mkdir(parents=True)
    content: dict[str, Any] = {
        "images": [], "annotations": [],
        "categories": [{"id": 3, "name": "plank"}, {"id": 7, "name": "disc"}],
    }  # fmt: skip
    for image in range(1, images + 1):
        pixels = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
        file_name = f"{image:012d}.jpg"
        content["images"].append({"id": image, "file_name": file_name, "width": WIDTH, "height": HEIGHT})
        for index in range(objects):
            x, y, w, h = OBJECT if not index else (5 + 12 * index, 5, 8, 20)
            pixels[y : y + h, x : x + w] = COLOUR
            content["annotations"].append(
                dict(id=len(content["annotations"]) + 1, image_id=image, category_id=3, bbox=[x, y, w, h],
                     area=w * h, iscrowd=0)
            )  # fmt: skip
        Image.fromarray(pixels).save(folder / file_name, quality=95)
    annotations = root / f"{name}.json"
    annotations.write_text(json.dumps(content))
    return Split(annotations, folder, images, images * objects, "0")


def bag(step: int, members: int = 4, around: int = 6, **changes: Any) -> dict[str, Any]:
    """A bag whose anchor 0 is the best, and gets better with the steps."""
    x1, y1, x2, y2 = BOX
    anchors = [[x1 - at, y1, x2 - at, y2] for at in range(around)]
    growth = 0.1 + step / 100
    return {
        "image_id": 2, "object": 0, "category": "plank", "box": BOX,
        "transform": {"scale": [SCALE, SCALE], "flip": "horizontal", "shape": [HEIGHT // 2, WIDTH // 2]},
        "anchors": anchors[:members],
        "predicted": anchors[:members],
        "confidence": [growth / (at + 1) for at in range(members)],
        "iou": [1.0] * members,
        "positive": [int(at < 2) for at in range(members)],
        "losses": [0.3 + 0.5 * at for at in range(members)],
        "mixture": {"weights": [0.5, 0.5], "means": [0.5, 1.5], "variances": [0.1, 0.1]},
        "around": {
            "anchors": anchors, "predicted": anchors,
            "class_score": [growth / (at + 1) for at in range(around)],
            "localisation_loss": [0.5 * at for at in range(around)],
        },
        **changes,
    }  # fmt: skip


def without(given: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in names}
