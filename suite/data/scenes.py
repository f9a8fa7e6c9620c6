"""Scenes of the ``shapes`` dataset: how objects are placed, painted and annotated.

An annotation describes what is visible of an object, as in COCO: its box is the bounding box of the visible
pixels and its area their number. Later objects cover earlier ones, but none loses more than 35 % of itself.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from suite.data.boxes import iou
from suite.data.categories import CATEGORIES, FREQUENCIES
from suite.data.outlines import Array, Generator, outline

STRIDES_PER_IMAGE = 48.0
"""Strides of the pyramid's finest level along an image's longer side at the presets' input size: the unit in
which sizes are drawn, because an assignment sees an object in it."""

_MIN_VISIBLE = 0.65  # of the pixels of an object
_MIN_SHORT_SIDE = 1.0  # strides, also of slender objects
_FEWEST_PIXELS = 0.6  # of an object, in squares of one stride; at least four pixels
_SUBPIXEL_BITS = 4
_EDGE = 2  # pixels, of which half lie inside the object

# Objects per scene: rounded from a log-normal distribution with COCO's median and 90 % quantile.
_EMPTY = 0.015
_COUNT_MEDIAN, _COUNT_SPREAD, _MOST = 4.0, 1.15, 44
# Objects of a scene (at most) -> median size in strides, the square root of a box's area. In COCO it is 38
# for one or two objects and 8 for more than twenty; here the image is a third as large.
_MEDIANS = ((2, 38.0), (4, 30.0), (10, 16.0), (20, 9.0), (math.inf, 6.5))
_WITHIN = 1.6  # octaves, the standard deviation of sizes within a scene
_SMALLEST, _LARGEST = 1.5, 47.0  # strides
# Overlap of scenes: (share, probability that an object is placed onto another one, range of their IoU).
_OVERLAPS = {
    "sparse": (0.10, 0.0, (0.0, 0.0)),
    "medium": (0.53, 0.25, (0.22, 0.46)),
    "dense": (0.37, 0.15, (0.50, 0.80)),
}
_FREE_IOU = 0.17  # the largest of objects that are placed freely
_ACROSS_BORDER = 0.08  # share of objects that may reach over the image's border
_LONGEST = 1.15  # of the image's side, the longest side of a box before the border cuts it
_MIN_INSIDE = 0.45  # of each side of such an object's box
_PROPORTIONS = ((1.0, 1.0), (1.0, 0.875), (0.875, 1.0))
_CROWD_REGIONS = 0.025  # share of images with an ``iscrowd`` region


@dataclass
class _Object:
    category: str
    curves: list[Array]
    size: float
    box: Array  # x0, y0, x1, y1 of the whole outline
    pixels: int = 0  # of the whole mask
    visible: int = 0


def _boxed(curves: list[Array], centre: Array, size: float) -> Array:
    points = curves[0] * size + centre
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


class _Scene:
    """A canvas, its objects, and for each pixel the number of the object seen there (0: background)."""

    def __init__(self, rng: Generator, width: int, height: int) -> None:
        self.rng = rng
        self.shape = np.array([width, height])
        self.stride = max(width, height) / STRIDES_PER_IMAGE
        self.canvas = _background(rng, width, height)
        self.owner = np.zeros((height, width), np.int16)
        self.objects: list[_Object] = []
        self.crowds: list[dict[str, Any]] = []

    def seen(self, box: Array) -> Array:
        """The part of a box that lies in the image."""
        return np.concatenate([np.maximum(box[:2], 0), np.minimum(box[2:], self.shape)])

    def ious(self, box: Array) -> Array:
        """IoU of a box with the part of each object's that lies in the image."""
        boxes = np.array([self.seen(thing.box) for thing in self.objects]).reshape(-1, 4)
        return iou(box, boxes, corners=True)

    def add(self, thing: _Object) -> bool:
        """Paint an object unless too little of it or of the others would be seen."""
        x0, y0 = np.maximum(np.floor(thing.box[:2]).astype(int) - 1, 0)
        x1, y1 = np.minimum(np.ceil(thing.box[2:]).astype(int) + 1, self.shape)
        centre = (thing.box[:2] + thing.box[2:]) / 2 - (x0, y0)
        alpha = np.zeros((y1 - y0, x1 - x0), np.uint8)
        points = [
            np.round((curve * thing.size + centre - 0.5) * 2**_SUBPIXEL_BITS).astype(np.int32)
            for curve in thing.curves
        ]
        cv2.fillPoly(alpha, points, 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        edge = np.zeros_like(alpha)
        cv2.polylines(edge, points, True, 255, _EDGE, cv2.LINE_AA, _SUBPIXEL_BITS)
        mask = alpha >= 128
        if mask.sum() < max(4, _FEWEST_PIXELS * self.stride**2):
            return False  # such as a hollow object of which only the hollow lies in the image
        owner = self.owner[y0:y1, x0:x1]
        lost = np.bincount(owner[mask], minlength=len(self.objects) + 1)
        for other, count in zip(self.objects, lost[1:], strict=True):
            if count and other.visible - count < _MIN_VISIBLE * other.pixels:
                return False
        for other, count in zip(self.objects, lost[1:], strict=True):
            other.visible -= int(count)
        thing.pixels = thing.visible = int(mask.sum())
        self.objects.append(thing)
        owner[mask] = len(self.objects)
        _paint(self.canvas[y0:y1, x0:x1], alpha, np.minimum(edge, alpha), self.rng, thing.category)
        return True

    def annotations(self) -> list[dict[str, Any]]:
        """COCO annotations without ids."""
        found = list(self.crowds)
        for number, thing in enumerate(self.objects, 1):
            ys, xs = np.nonzero(self.owner == number)
            x, y = int(xs.min()), int(ys.min())
            found.append(
                {
                    "category_id": CATEGORIES.index(thing.category) + 1,
                    "bbox": [x, y, int(xs.max()) + 1 - x, int(ys.max()) + 1 - y],
                    "area": len(xs),
                    "iscrowd": 0,
                }
            )
        return found


def _colour(rng: Generator, category: str) -> Array:
    """A bright colour: mostly near the category's typical hue, as with many real things, else any."""
    typical = CATEGORIES.index(category) * 180 / len(CATEGORIES)
    hue = rng.normal(typical, 10) % 180 if rng.random() < 0.75 else rng.uniform(0, 180)
    hsv = np.array([[[hue, rng.uniform(110, 255), rng.uniform(170, 255)]]], np.uint8)
    return cast(Array, cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0].astype(np.float32))


def _stripes(rng: Generator, height: int, width: int, period: tuple[float, float]) -> Array:
    angle, length = rng.uniform(0, math.pi), rng.uniform(*period)
    ys, xs = np.mgrid[:height, :width]
    wave = np.sin((xs * math.cos(angle) + ys * math.sin(angle)) * (2 * math.pi / length))
    return cast(Array, wave.astype(np.float32))


def _background(rng: Generator, width: int, height: int) -> Array:
    base = rng.uniform(25, 90) + rng.uniform(-15, 15, 3)  # darker than objects: small nets learn in minutes
    corners = np.clip(base + rng.uniform(-20, 20, (2, 2, 3)), 0, 255).astype(np.float32)
    canvas = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    texture = rng.integers(4)
    if texture == 1:
        canvas += rng.uniform(4, 12) * _stripes(rng, height, width, (12, 60))[..., None]
    elif texture == 2:
        cells = rng.normal(0, 1, (height // 10, width // 10, 1)).astype(np.float32)
        cloud = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
        canvas += rng.uniform(4, 12) * cloud[..., None]
    canvas += rng.normal(0, rng.uniform(2, 6), (height, width, 1))
    for _ in range(int(rng.integers(0, 8))):  # clutter: faint lines and blots that are no objects
        start, span = rng.uniform(0, 1, 2) * (width, height), rng.normal(0, 25, 2)
        shade = tuple(float(v) for v in np.clip(base + rng.uniform(-30, 60, 3), 0, 255))
        first, last = start.astype(int).tolist(), (start + span).astype(int).tolist()
        if rng.random() < 0.6:
            cv2.line(canvas, first, last, shade, int(rng.integers(1, 3)), cv2.LINE_AA)
        else:
            cv2.circle(canvas, first, int(rng.integers(2, 5)), shade, -1, cv2.LINE_AA)
    return cast(Array, canvas)


def _paint(canvas: Array, alpha: Array, edge: Array, rng: Generator, category: str) -> None:
    height, width = alpha.shape
    colour = _colour(rng, category)
    paint: Array = np.broadcast_to(colour, canvas.shape).astype(np.float32)
    texture = rng.random()
    if texture < 0.1:
        paint = paint + rng.uniform(8, 20) * _stripes(rng, height, width, (5, 16))[..., None]
    elif texture < 0.3:
        paint = paint + np.linspace(-25, 25, width, dtype=np.float32)[None, :, None] * rng.choice([-1, 1])
    elif texture < 0.4:
        paint = paint + rng.normal(0, 12, (height, width, 1))
    paint = paint * (1 - 0.5 * (edge / 255.0))[..., None]  # a dark edge tells objects of one colour apart
    canvas += (alpha / 255.0)[..., None] * (paint - canvas)


def _sizes(rng: Generator, count: int) -> list[float]:
    """Square roots of the areas of a scene's boxes, in strides, the largest first.

    They are log-normal about a median that falls with the number of objects; where they come near the size
    of the image, they are bent to stay below it.
    """
    median = next(size for most, size in _MEDIANS if count <= most)
    drawn = median * 2 ** rng.normal(0, _WITHIN, count)
    bent = _LARGEST * drawn / (drawn**5 + _LARGEST**5) ** 0.2
    return sorted(np.maximum(bent, _SMALLEST).tolist(), reverse=True)


def _category(rng: Generator) -> str:
    return CATEGORIES[rng.choice(len(CATEGORIES), p=FREQUENCIES)]


def _new(rng: Generator, category: str, size: float, scene: "_Scene") -> _Object:
    """An object of a category.

    Args:
        rng: Source of all that is random in it.
        category: Its category.
        size: Square root of the area of its box, in pixels.
        scene: Where it will stand: no side of its box is longer than 1.15 times that of the scene.
    """
    curves = outline(category, rng)
    sides = np.ptp(curves[0], axis=0)
    size = min(
        max(size, _MIN_SHORT_SIDE * scene.stride / sides.min()), _LONGEST * float((scene.shape / sides).min())
    )
    return _Object(category, curves, size, _boxed(curves, np.zeros(2), size))


def _place_freely(scene: _Scene, size: float) -> bool:
    rng = scene.rng
    category = _category(rng)
    inside = _MIN_INSIDE if rng.random() < _ACROSS_BORDER else 1.0
    for _ in range(20):
        thing = _new(rng, category, size, scene)
        # Of the centre from the border: a box that is longer than the image lies across it.
        margin = np.minimum((2 * inside - 1) * thing.box[2:], scene.shape / 2)
        thing.box = _boxed(thing.curves, rng.uniform(margin, scene.shape - margin), thing.size)
        if (scene.ious(scene.seen(thing.box)) <= _FREE_IOU).all() and scene.add(thing):
            return True
        size *= 0.95
    return False


def _place_onto(scene: _Scene, wanted: tuple[float, float]) -> bool:
    """Place an object so that its largest IoU with another one lies in a range."""
    rng = scene.rng
    target = scene.objects[rng.integers(len(scene.objects))]
    centre, sides = (target.box[:2] + target.box[2:]) / 2, target.box[2:] - target.box[:2]
    same = rng.random() < 0.3
    for _ in range(40):
        category = target.category if same else _category(rng)
        thing = _new(rng, category, target.size * rng.uniform(0.8, 1.25), scene)
        offset = rng.uniform(-0.6, 0.6, 2) * sides
        if same:  # a row of equal objects, side by side
            thing.curves, thing.size = target.curves, target.size
            offset[np.argmax(sides)] *= 0.15
        thing.box = _boxed(thing.curves, centre + offset, thing.size)
        if (thing.box[:2] < 0).any() or (thing.box[2:] > scene.shape).any():
            continue
        if wanted[0] <= scene.ious(thing.box).max() <= wanted[1] and scene.add(thing):
            return True
    return False


def _add_crowd(scene: _Scene) -> None:
    """Paint a clump of one category that is annotated as a whole, as COCO does with crowds."""
    rng = scene.rng
    category = _category(rng)
    centre = rng.uniform(0.25, 0.75, 2) * scene.shape
    size = 5 * scene.stride
    clump = _Scene(rng, *scene.shape.tolist())
    clump.canvas = scene.canvas
    for _ in range(40):
        thing = _new(rng, category, size, scene)
        thing.box = _boxed(thing.curves, centre + rng.normal(0, 0.8 * size, 2), thing.size)
        if (thing.box[:2] >= 0).all() and (thing.box[2:] <= scene.shape).all():
            clump.add(thing)
        if len(clump.objects) == 10:
            break
    mask = clump.owner > 0
    if not mask.any():
        return
    ys, xs = np.nonzero(mask)
    x, y = int(xs.min()), int(ys.min())
    changes = np.flatnonzero(np.diff(mask.ravel(order="F"), prepend=False, append=False))
    runs = np.diff(np.concatenate([[0], changes, [mask.size]]))
    scene.crowds.append(
        {
            "category_id": CATEGORIES.index(category) + 1,
            "bbox": [x, y, int(xs.max()) + 1 - x, int(ys.max()) + 1 - y],
            "area": len(xs),
            "iscrowd": 1,
            "segmentation": {"size": list(mask.shape), "counts": runs.tolist()},
        }
    )


def draw(rng: Generator, image_size: int) -> tuple[Array, list[dict[str, Any]]]:
    """Draw a random scene.

    Args:
        rng: Source of everything random in the scene.
        image_size: Longer side of the image in pixels.

    Returns:
        The image, ``(h, w, 3)`` uint8 in B, G, R, and its COCO annotations without ids.
    """
    proportion = _PROPORTIONS[rng.integers(len(_PROPORTIONS))]
    scene = _Scene(rng, *(round(image_size * side / 8) * 8 for side in proportion))
    count = 0
    if rng.random() >= _EMPTY:
        count = int(np.clip(round(_COUNT_MEDIAN * math.exp(rng.normal(0, _COUNT_SPREAD))), 1, _MOST))
    kinds = list(_OVERLAPS.values())
    _, onto, wanted = kinds[rng.choice(len(kinds), p=[share for share, *_ in kinds])]
    if count > 1 and rng.random() < _CROWD_REGIONS:
        _add_crowd(scene)
    # Large objects first: small ones then stand before them, as things do on a table.
    for position, size in enumerate(_sizes(rng, count)):
        last = onto > 0 and position == count - 1  # so that a scene of two overlaps as well
        onto_another = bool(scene.objects) and (last or rng.random() < onto)
        if not (onto_another and _place_onto(scene, wanted)):
            _place_freely(scene, size * scene.stride)
    image = np.clip(np.round(scene.canvas), 0, 255).astype(np.uint8)
    return image, scene.annotations()


def draw_single(rng: Generator, side: int) -> tuple[Array, str]:
    """Draw one object before a background, as a picture to classify.

    Args:
        rng: Source of all that is random in it.
        side: Side of the picture in pixels.

    Returns:
        The picture, ``(side, side, 3)`` uint8 in B, G, R, and the object's category; all are as frequent.
    """
    drawn = side * 5 // 4  # and made smaller, as the images of the presets are
    scene = _Scene(rng, drawn, drawn)
    category = CATEGORIES[rng.integers(len(CATEGORIES))]
    thing = _new(rng, category, drawn * rng.uniform(0.3, 0.8), scene)
    half = np.minimum(thing.box[2:], drawn / 2)
    thing.box = _boxed(thing.curves, rng.uniform(half, drawn - half), thing.size)
    scene.add(thing)
    image = np.clip(np.round(scene.canvas), 0, 255).astype(np.uint8)
    return cast(Array, cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)), category


REFERENCE = (187, 5, 270, 12)
"""Seeds of the scenes that pin what is drawn; together they show every category, and a crowd."""


def reference() -> tuple[list[tuple[Array, list[dict[str, Any]]]], str]:
    """The scenes of :data:`REFERENCE`, and the SHA-256 over their pixels and annotations."""
    drawn = [draw(np.random.default_rng(seed), 96) for seed in REFERENCE]
    digest = hashlib.sha256()
    for image, annotations in drawn:
        digest.update(image.tobytes() + json.dumps([image.shape, annotations]).encode())
    return drawn, digest.hexdigest()


def write_image(folder: Path, seed: int, split: int, index: int, image_size: int) -> dict[str, Any]:
    """Draw image ``index`` of a split and write it.

    Returns:
        ``index``, ``file_name``, ``width``, ``height``, ``objects`` (annotations without ids), and the file's
        ``bytes`` and ``sha256``.
    """
    image, objects = draw(np.random.default_rng([seed, split, index]), image_size)
    payload = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
    file_name = f"{index + 1 + split * 1_000_000:012d}.jpg"
    (folder / file_name).write_bytes(payload)
    return {
        "index": index,
        "file_name": file_name,
        "height": image.shape[0],
        "width": image.shape[1],
        "objects": objects,
        "bytes": len(payload),
        "sha256": hashlib.sha256(payload).hexdigest(),
    }
