"""Score voting: a detection's box is the mean of the boxes around it (PAA, ECCV 2020, Sec. 3.4)."""

import torch
from mmdet.structures.bbox import bbox_overlaps
from torch import Tensor

_SIGMA = 0.025
_OVERLAP = 0.01  # a candidate of lower IoU has no vote


def vote(
    boxes: Tensor, labels: Tensor, candidates: Tensor, candidate_labels: Tensor, candidate_scores: Tensor
) -> Tensor:
    """Mean of the candidates of a detection's class, weighted by score x exp(-(1 - IoU)^2 / 0.025).

    Args:
        boxes: Detections after NMS, shape (d, 4), xyxy.
        labels: Their classes, shape (d,).
        candidates: All boxes before NMS, shape (m, 4), xyxy.
        candidate_labels: Their classes, shape (m,).
        candidate_scores: Their scores, shape (m,), positive.

    Returns:
        New boxes of the detections, shape (d, 4); a detection without candidates keeps its own.
    """
    iou = bbox_overlaps(boxes, candidates)
    weights = torch.exp(-(1 - iou).square() / _SIGMA) * candidate_scores
    weights = weights * ((iou > _OVERLAP) & (labels[:, None] == candidate_labels))
    total = weights.sum(dim=1, keepdim=True)
    return torch.where(
        total > 0, weights @ candidates / total.clamp(min=torch.finfo(total.dtype).tiny), boxes
    )
