"""Pairs of predicted boxes and objects with a high IoU, found without looking at all pairs."""

import math

import torch
from mmdet.structures.bbox import bbox_overlaps
from torch import Tensor

_CELL = 8.0  # pixels
_CELLS = 1024  # from 1024 pixels left of the image on; boxes beyond share the first or the last one
_CLASSES = 96  # half octaves of area


@torch.no_grad()
def overlapping_pairs(
    boxes: Tensor, objects: Tensor, images: Tensor, threshold: float
) -> tuple[Tensor, Tensor, Tensor]:
    """All pairs of a box and an object of the same image whose IoU exceeds a threshold.

    An IoU above t bounds how far areas and centres of two boxes may differ: their areas by a factor below 1 /
    t, their centres in x by less than max(1 - t, (1 / t - 1) / 2) widths of the object. Boxes are sorted once
    by half octaves of area and by x, so that those within the bounds stand together.

    Args:
        boxes: Predicted boxes of each image, shape (images, A, 4), xyxy in pixels. Boxes that are not finite,
            or have less than 1/64 of a square pixel, are in no pair.
        objects: Shape (n, 4), xyxy.
        images: Image of each object, shape (n,).
        threshold: t, in (0, 1).

    Returns:
        For m pairs: object (m,), box as image x A + its index (m,), IoU (m,).
    """
    count = boxes.shape[1]
    flat = boxes.flatten(0, 1)
    size = flat[:, 2:] - flat[:, :2]
    area = size.clamp(min=0).prod(dim=1)
    image = torch.arange(len(boxes), device=boxes.device).repeat_interleave(count)
    octave = _octave(area)
    usable = flat.isfinite().all(dim=1) & (octave >= 0) & (octave < _CLASSES)
    key = _key(image, octave, _cell((flat[:, 0] + flat[:, 2]) / 2))
    key = torch.where(usable, key, torch.iinfo(torch.int32).max)
    key, order = key.sort()

    side = objects[:, 2:] - objects[:, :2]
    own_area = side.clamp(min=0).prod(dim=1)
    # A little more than the bounds, for the sake of rounding.
    octaves = 2 * math.log2(1 / threshold) + 1e-3
    reach = (max(1 - threshold, (1 / threshold - 1) / 2) + 1e-4) * side + 1e-3
    steps = torch.arange(math.ceil(2 * octaves) + 1, device=boxes.device)
    classes = _octave(own_area, shift=-octaves)[:, None] + steps
    middle = (objects[:, :2] + objects[:, 2:]) / 2
    first = _key(images[:, None], classes, _cell(middle[:, 0] - reach[:, 0])[:, None])
    last = _key(images[:, None], classes, _cell(middle[:, 0] + reach[:, 0])[:, None])
    start = torch.searchsorted(key, first.flatten())
    length = torch.searchsorted(key, last.flatten(), right=True) - start
    # Outside the classes the keys are those of another image.
    length = length * ((classes >= 0) & (classes < _CLASSES)).flatten()

    row = torch.repeat_interleave(torch.arange(len(length), device=boxes.device), length)
    position = torch.arange(len(row), device=boxes.device) - (length.cumsum(0) - length)[row]
    box = order[start[row] + position]
    who = row.div(len(steps), rounding_mode="floor")
    y = (flat[:, 1] + flat[:, 3]) / 2
    near = ((y[box] - middle[who, 1]).abs() <= reach[who, 1]).nonzero()[:, 0]
    box, who = box[near], who[near]
    iou = bbox_overlaps(flat[box], objects[who], is_aligned=True)
    enough = (iou > threshold).nonzero()[:, 0]  # a GPU is waited for once, not for each of the three
    return who[enough], box[enough], iou[enough]


def _octave(area: Tensor, shift: float = 0.0) -> Tensor:
    """Class of an area by half octaves, 0 from 1/64 of a square pixel on."""
    return (2 * area.clamp(min=1e-9).log2() + shift + 12).floor().int()


def _cell(x: Tensor) -> Tensor:
    behind_the_edge = _CELLS // 8
    return ((x / _CELL).nan_to_num().floor() + behind_the_edge).clamp(0, _CELLS - 1).int()


def _key(image: Tensor, octave: Tensor, cell: Tensor) -> Tensor:
    return ((image * _CLASSES + octave) * _CELLS + cell).int()
