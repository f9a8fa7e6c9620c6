"""Bags: the K anchors, or points, among which a matching method chooses for one object."""

import torch
from mmdet.structures.bbox import bbox_overlaps
from torch import Tensor

# Largest [objects, anchors] block held at once; a crowded image at COCO scale has 500 x 200,000 pairs.
_PAIRS_AT_ONCE = 2**23


@torch.no_grad()
def anchor_bags(anchors: Tensor, gt_bboxes: Tensor, bag_size: int) -> Tensor:
    """The anchors of highest IoU with each object, over all levels and without a threshold.

    The bags of LTM (TPAMI 2021) and FreeAnchor (NeurIPS 2019); agrees with the released code of both
    but for their box widths with +1.

    Args:
        anchors: Shape (A, 4), xyxy in pixels of the network's input.
        gt_bboxes: Shape (n, 4), same frame.
        bag_size: K >= 1. With fewer than K anchors the bag holds all of them.

    Returns:
        Indices into ``anchors``, shape (n, min(K, A)), in no particular order.
    """
    size = min(bag_size, len(anchors))
    bags = [
        bbox_overlaps(boxes, anchors).topk(size, dim=1, sorted=False).indices
        for boxes in gt_bboxes.split(_objects_at_once(len(anchors)))
        if len(boxes)
    ]
    return torch.cat(bags) if bags else gt_bboxes.new_zeros((0, size), dtype=torch.long)


@torch.no_grad()
def point_bags(points: Tensor, gt_bboxes: Tensor, bag_size: int, window: float = 0.8) -> Tensor:
    """The points of smallest normalised distance to each object's centre: the bags of LTM-AF.

    The distance is measured in box widths (heights) and divided by the stride, so a large box takes its
    points from coarse levels. A point outside the central ``window`` of the box takes part only on the
    lowest level, which so fills the bag of an object too small to hold K points; other points outside come
    last. Agrees with the released code, its +1 pixel on widths included (the paper says "points in bounding
    box").

    Args:
        points: Shape (A, 3 or 4): x, y in pixels of the network's input, then the stride.
        gt_bboxes: Shape (n, 4), xyxy in the same frame.
        bag_size: K >= 1. With fewer than K points the bag holds all of them.
        window: Share of the width and height within which points count as inside, in (0, 1].

    Returns:
        Indices into ``points``, shape (n, min(K, A)), in no particular order.
    """
    size = min(bag_size, len(points))
    x, y, stride = points[:, 0], points[:, 1], points[:, 2]
    above_lowest = stride > stride.min()
    bags = []
    for boxes in gt_bboxes.split(_objects_at_once(len(points))):
        if not len(boxes):
            continue
        x1, y1, x2, y2 = boxes[:, :, None].unbind(dim=1)
        dx = (2 * x - x1 - x2).abs() / (x2 - x1 + 1)
        dy = (2 * y - y1 - y2).abs() / (y2 - y1 + 1)
        farther = torch.maximum(dx, dy)
        distance = (farther / stride).masked_fill_((farther > window) & above_lowest, float("inf"))
        bags.append(distance.topk(size, dim=1, largest=False, sorted=False).indices)
    return torch.cat(bags) if bags else gt_bboxes.new_zeros((0, size), dtype=torch.long)


def _objects_at_once(n_anchors: int) -> int:
    return max(1, _PAIRS_AT_ONCE // max(1, n_anchors))
