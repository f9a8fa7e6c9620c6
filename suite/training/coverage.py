"""How well candidate boxes cover the objects before and after NMS: what NMS recall is computed from.

The definition is the one of the released FreeAnchor evaluation (FreeAnchor Table 1, LTM Table 4): every
(anchor, class) pair above the score threshold, no limit per level or image; NMS by class at IoU 0.5; an
object is covered by its best IoU with any box, of whatever class.
"""

from typing import NamedTuple

import torch
from mmcv.ops import nms
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor

SCORE_THRESHOLD = 0.05
NMS_IOU = 0.5
_PAIRS_AT_A_TIME = 4_000_000  # IoUs held at once: about 100 MB with what computing them takes


class Coverage(NamedTuple):
    """Best IoU of each object with the candidates, in [0, 1]; shape (objects,)."""

    before: Tensor
    after: Tensor


def best_iou(objects: Tensor, boxes: Tensor) -> Tensor:
    """Largest IoU of each of ``objects`` (G, 4) with any of ``boxes`` (N, 4), as x1 y1 x2 y2; else 0."""
    best = objects.new_zeros(len(objects))
    if len(objects) == 0:
        return best
    for chunk in boxes.split(max(_PAIRS_AT_A_TIME // len(objects), 1)):
        if len(chunk):
            best = torch.maximum(best, bbox_overlaps(objects, chunk).amax(dim=1))
    return best


def survivors_of_nms(candidates: InstanceData) -> Tensor:
    """Indices of the candidates that NMS by class keeps, without any limit on their number.

    One NMS a class on the boxes as they are: shifting the classes apart (mmcv's ``batched_nms``) rounds the
    coordinates, which flips IoUs close to the threshold.
    """
    kept = [candidates.labels.new_zeros(0)]
    for label in candidates.labels.unique():
        members = (candidates.labels == label).nonzero().squeeze(1)
        kept.append(members[nms(candidates.bboxes[members], candidates.scores[members], NMS_IOU)[1]])
    return torch.cat(kept)


def coverage(candidates: InstanceData, objects: Tensor) -> Coverage:
    """Cover one image's objects with its candidates.

    Args:
        candidates: ``bboxes`` (N, 4) as x1 y1 x2 y2, ``scores`` (N,) and ``labels`` (N,): one for every
            (anchor,
            class) pair above the score threshold.
        objects: Ground-truth boxes (G, 4) as x1 y1 x2 y2 in the same pixels.
    """
    boxes = candidates.bboxes.float()
    objects = objects.to(boxes)
    if len(objects) == 0:
        return Coverage(objects.new_zeros(0), objects.new_zeros(0))
    return Coverage(best_iou(objects, boxes), best_iou(objects, boxes[survivors_of_nms(candidates)]))
