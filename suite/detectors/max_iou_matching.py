"""What mmdet's MaxIoUAssigner assigns, found on the grid without the matrix of all objects and anchors.

The anchors of one shape that overlap an object by a given area at least lie in some columns and some rows
next to its centre. So the few pairs whose IoU can reach a threshold, or be the highest of an object, follow
from the distances alone; only theirs is worked out.
"""

import functools
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models.task_modules.assigners import MaxIoUAssigner
from mmdet.structures.bbox import bbox_overlaps
from torch import Tensor

from suite.detectors.grid import GridLevel

# Room for the rounding of float32 in areas and in coordinates of some thousand pixels.
_PART = 1e-4
_PIXELS = 1e-2


@dataclass(frozen=True)
class Thresholds:
    """How IoU decides, the settings of MaxIoUAssigner that the papers' methods use.

    Attributes:
        positive: From this IoU on an anchor is matched to its best object, the first of equally good ones.
        negative: Below it an anchor is background; between the two it is ignored. Above 0.
        lowest: An object whose highest IoU reaches it keeps all anchors of this IoU, even those that are
            better for another object; of several objects the last one has it. None if it keeps none.
    """

    positive: float
    negative: float
    lowest: float | None

    @classmethod
    def of(cls, assigner: Any) -> "Thresholds | None":
        """Those of an assigner of mmdet; None if it decides by anything else."""
        if (
            type(assigner) is not MaxIoUAssigner
            or not isinstance(assigner.neg_iou_thr, float)
            or min(assigner.neg_iou_thr, assigner.pos_iou_thr) <= 0
            or assigner.ignore_iof_thr > 0
            or assigner.perm_repeat_gt_cfg is not None
            or not assigner.gt_max_assign_all
        ):
            return None
        lowest = assigner.min_pos_iou if assigner.match_low_quality else None
        return cls(assigner.pos_iou_thr, assigner.neg_iou_thr, lowest)


def match_max_iou(
    levels: tuple[GridLevel, ...],
    anchors: Tensor,
    objects: Tensor,
    images: Tensor,
    batch: int,
    thresholds: Thresholds,
) -> Tensor:
    """The object of each anchor of a batch, as MaxIoUAssigner says, to the bit.

    Args:
        levels: The grid.
        anchors: Its anchors, shape (A, 4), xyxy in pixels.
        objects: The objects of all images, those of an image together, shape (n, 4), xyxy.
        images: Image of each object, shape (n,).
        batch: Number of images.
        thresholds: How IoU decides.

    Returns:
        For each anchor of each image 0 for background, -1 if ignored, or 1 + its object among the n, shape
        (batch x A,). As in mmdet, an object that no anchor overlaps has all anchors of its image if the
        lowest IoU to keep is 0.
    """
    count = batch * len(anchors)
    if not len(objects):
        return torch.zeros(count, dtype=torch.long, device=anchors.device)
    objects = objects.float()
    who, anchor = _near(levels, objects, min(thresholds.positive, thresholds.negative))
    iou = bbox_overlaps(objects[who], anchors[anchor], is_aligned=True)
    place = images[who] * len(anchors) + anchor
    best = iou.new_zeros(count).scatter_reduce_(0, place, iou, "amax")
    # Of the objects that are best for an anchor the first one; n stands for none.
    candidate = torch.where(iou == best[place], who, len(objects))
    owner = torch.full_like(best, len(objects), dtype=torch.long)
    owner.scatter_reduce_(0, place, candidate, "amin")
    found = torch.where(best >= thresholds.positive, owner + 1, -(best >= thresholds.negative).long())
    if thresholds.lowest is None:
        return found
    highest = iou.new_zeros(len(objects)).scatter_reduce_(0, who, iou, "amax")
    kept = (iou == highest[who]) & (highest[who] >= thresholds.lowest)
    last = torch.zeros_like(found).scatter_reduce_(0, place, (who + 1) * kept, "amax")
    if thresholds.lowest <= 0:
        numbers = torch.arange(1, len(objects) + 1, device=anchors.device) * (highest == 0)
        of_image = torch.zeros(batch, dtype=torch.long, device=anchors.device)
        of_image.scatter_reduce_(0, images, numbers, "amax")
        last = torch.maximum(last.view(batch, -1), of_image[:, None]).flatten()
    return torch.where(last > 0, last, found)


def _near(levels: tuple[GridLevel, ...], objects: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Pairs of object and anchor (m,), (m,): all from an IoU on, and all of the highest IoU of an object."""
    table = _table(levels)
    shapes, stride, centre, cells = table.numbers.unbind(dim=1)
    # From here on shape (n, shapes of all levels, 2), the last dimension for x and y.
    side = (objects[:, None, 2:] - objects[:, None, :2]).clamp(min=0)
    middle = (objects[:, None, :2] + objects[:, None, 2:]) / 2
    nearest = torch.minimum(((middle - centre) / stride).round().clamp(min=0), cells - 1) * stride + centre
    most = ((side + shapes) / 2 - (nearest - middle).abs()).clamp(min=0)
    most = torch.minimum(most, torch.minimum(side, shapes))
    areas = side.prod(dim=2) + shapes.prod(dim=1)
    # I / (area + area) grows with the IoU I / (area + area - I).
    share = (most.prod(dim=2) / areas).amax(dim=1, keepdim=True)
    share = torch.where(share > 0, share, 1.0).clamp(max=threshold / (1 + threshold)) * (1 - _PART)
    needed = (share * areas)[..., None] / (most.flip(2) + _PIXELS)
    reach = (side + shapes) / 2 - needed + _PIXELS
    first = ((middle - reach - centre) / stride).ceil().clamp(min=0)
    last = torch.minimum(((middle + reach - centre) / stride).floor(), cells - 1)
    possible = (needed <= most + _PIXELS).all(dim=2, keepdim=True)
    length = ((last - first + 1).clamp(min=0) * possible).long()

    numbers = length.prod(dim=2).flatten()
    total = int(numbers.sum())
    every = torch.arange(len(numbers), device=objects.device)
    pair = torch.repeat_interleave(every, numbers, output_size=total)
    inside = torch.arange(total, device=objects.device) - (numbers.cumsum(0) - numbers)[pair]
    width = length[..., 0].flatten()[pair]
    corner = first.long().flatten(0, 1)[pair]
    column, row = corner[:, 0] + inside % width, corner[:, 1] + inside.div(width, rounding_mode="floor")
    who, shape = pair.div(len(shapes), rounding_mode="floor"), pair % len(shapes)
    start, columns, slots = table.places[shape].unbind(dim=1)
    return who, start + (row * columns + column) * slots


@dataclass(frozen=True)
class _Shapes:
    """Every shape of every level: its size, its level's stride, first centre and number of cells, each for x
    and y, float32, shape (m, 4, 2); and its first anchor, the level's columns and shapes a cell, (m, 3)."""

    numbers: Tensor
    places: Tensor


# Kept, because each copy to a GPU would wait for it; grid_levels keeps the levels.
@functools.lru_cache(maxsize=1024)
def _table(levels: tuple[GridLevel, ...]) -> _Shapes:
    numbers, places = [], []
    for level in levels:
        for slot, shape in enumerate(level.shapes.tolist()):
            numbers.append([shape, level.stride, level.centre, (level.width, level.height)])
            places.append([level.first + slot, level.width, len(level.shapes)])
    device = levels[0].shapes.device
    return _Shapes(torch.tensor(numbers, device=device), torch.tensor(places, device=device))
