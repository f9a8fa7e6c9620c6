"""Bags: the K anchors, or points, among which a matching method chooses for one object."""

from dataclasses import dataclass

import torch
from torch import Tensor

from suite.detectors.grid import GridLevel, cell_overlaps
from suite.detectors.score_layout import ScoreLayout

# Candidates looked at together; for a bag of 50 there are 7,000 per object.
_CANDIDATES_AT_ONCE = 2**22


@dataclass(frozen=True)
class Bags:
    """The bags of all objects of a batch.

    Attributes:
        images: Image of each object, shape (n,).
        boxes: Objects, shape (n, 4), xyxy in pixels, float32.
        labels: Class of each object, shape (n,).
        members: Indices into the anchors of the object's image, shape (n, K).
        valid: Which members there are, shape (n, K), bool; a bag may hold fewer than K, or none.
    """

    images: Tensor
    boxes: Tensor
    labels: Tensor
    members: Tensor
    valid: Tensor

    def pairs(self, layout: ScoreLayout) -> Tensor:
        """Position in the score maps of each member's score for the object's class, shape (n, K)."""
        return layout.pairs(self.images[:, None], self.members, self.labels[:, None])


@torch.no_grad()
def anchor_bags(levels: tuple[GridLevel, ...], objects: Tensor, bag_size: int) -> Tensor:
    """The anchors of highest IoU with each object, over all levels and without a threshold.

    The bags of LTM (TPAMI 2021) and FreeAnchor (NeurIPS 2019); agrees with the released code of both but for
    their box widths with +1. Looks only at anchors that can be among them (:meth:`GridLevel.near`), about one
    in thirty at COCO scale.

    Args:
        levels: The grid of anchors.
        objects: Shape (n, 4), xyxy in pixels of the network's input.
        bag_size: K >= 1. With fewer than K anchors the bag holds all of them.

    Returns:
        Indices into the image's anchors, shape (n, min(K, A)), in no particular order.
    """
    bags = []
    for some in _split(levels, objects, bag_size):
        iou, index = zip(*(cell_overlaps(level, some, bag_size) for level in levels), strict=True)
        overlaps, candidates = torch.cat(iou, dim=1), torch.cat(index, dim=1)
        best = overlaps.topk(min(bag_size, overlaps.shape[1]), dim=1, sorted=False).indices
        bags.append(candidates.gather(1, best))
    return torch.cat(bags)


@torch.no_grad()
def point_bags(
    levels: tuple[GridLevel, ...], objects: Tensor, bag_size: int, window: float = 0.8, in_box: bool = False
) -> tuple[Tensor, Tensor]:
    """The points of smallest normalised distance to each object's centre: the bags of LTM-AF.

    The distance is measured in box widths (heights) and divided by the stride, so a large box takes its
    points from coarse levels. A point outside the central ``window`` of the box takes part only on the
    lowest level, which so fills the bag of an object too small to hold K points; other points outside come
    last. Agrees with the released code, its +1 pixel on widths included.

    Args:
        levels: The grid of points.
        objects: Shape (n, 4), xyxy in pixels of the network's input.
        bag_size: K >= 1. With fewer than K points the bag holds all of them.
        window: Share of the width and height within which points count as inside, in (0, 1].
        in_box: Take points inside the box alone, of any level and without a window: the paper's "points in
            bounding box". The bag then holds fewer than K where the box does, or none.

    Returns:
        Indices into the image's points, shape (n, min(K, A)), in no particular order; which of them belong to
        the bag, same shape, bool.
    """
    lowest = min(level.stride[0] for level in levels)
    members, valid = [], []
    for some in _split(levels, objects, bag_size):
        x1, y1, x2, y2 = some[:, :, None].unbind(dim=1)
        found = []
        for level in levels:
            columns, rows, (i, j) = level.near(some, bag_size)
            x, y = level.x(columns), level.y(rows)
            dx = ((2 * x - x1 - x2).abs() / (x2 - x1 + 1))[:, i]
            dy = ((2 * y - y1 - y2).abs() / (y2 - y1 + 1))[:, j]
            farther = torch.maximum(dx, dy)
            distance = farther / level.stride[0]
            if in_box:
                inside = ((x >= x1) & (x <= x2))[:, i] & ((y >= y1) & (y <= y2))[:, j]
                distance = distance.masked_fill(~inside, torch.inf)
            elif level.stride[0] > lowest:
                distance = distance.masked_fill(farther > window, torch.inf)
            found.append((distance, level.index(columns[:, i], rows[:, j]).flatten(1)))
        distance, index = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
        best = distance.topk(min(bag_size, distance.shape[1]), dim=1, largest=False, sorted=False)
        members.append(index.gather(1, best.indices))
        valid.append(best.values.isfinite() if in_box else torch.ones_like(best.indices, dtype=torch.bool))
    return torch.cat(members), torch.cat(valid)


def draw(members: Tensor, sample_size: int) -> Tensor:
    """``sample_size`` members of each bag at random, without repetition: LTM Table 3 (S of the top K).

    Args:
        members: Shape (n, K).
        sample_size: S >= 1. A bag of fewer keeps all.

    Returns:
        Shape (n, min(S, K)).
    """
    if sample_size >= members.shape[1]:
        return members
    order = torch.rand(members.shape, device=members.device).argsort(dim=1)
    return members.gather(1, order[:, :sample_size])


def _split(levels: tuple[GridLevel, ...], objects: Tensor, bag_size: int) -> tuple[Tensor, ...]:
    """The objects in groups whose candidates fit into memory; at least one group."""
    cells = sum(min(level.height * level.width, 6 * bag_size) * len(level.shapes) for level in levels)
    return objects.split(max(1, _CANDIDATES_AT_ONCE // max(1, cells)))
