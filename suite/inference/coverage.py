"""How well candidate boxes cover the objects before and after NMS: what NMS recall is computed from.

Two protocols:

- ``freeanchor``, that of the released FreeAnchor evaluation (FreeAnchor Table 1, LTM Table 4): every (anchor,
  class) pair above the score threshold, no limit per level or image; NMS by class at IoU 0.5; an object is
  covered by its best IoU with any box, of whatever class.
- ``deployed``, the detector as it is used: what its own thresholds and its limit per level leave for NMS,
  and its detections after NMS and its limit per image; only boxes of the object's class cover it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from mmcv.ops import nms
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor

SCORE_THRESHOLD = 0.05
NMS_IOU = 0.5
_PAIRS_AT_A_TIME = 4_000_000  # IoUs held at once: about 100 MB with what computing them takes


class Coverage(NamedTuple):
    """Best IoU of each object with the boxes of a protocol, in [0, 1]; shape (objects,)."""

    before: Tensor
    after: Tensor
    before_deployed: Tensor
    after_deployed: Tensor


def deployed_candidates(candidates: InstanceData, score_threshold: float, per_level: int) -> Tensor:
    """Which candidates a detector hands to its NMS, shape (N,), bool.

    Args:
        candidates: Of one image, from :func:`suite.inference.candidates.candidates`.
        score_threshold: On the class score.
        per_level: Most candidates of a level, those of the highest score; all if below 1.
    """
    handed = candidates.class_scores > score_threshold
    if per_level < 1 or len(candidates) <= per_level:
        return handed
    order = torch.where(handed, candidates.scores, -1.0).argsort(descending=True, stable=True)
    order = order[candidates.levels[order].argsort(stable=True)]
    counts = torch.bincount(candidates.levels)
    rank = torch.arange(len(order), device=order.device)
    rank -= (counts.cumsum(0) - counts)[candidates.levels[order]]
    within = torch.zeros_like(handed)
    within[order] = rank < per_level
    return handed & within


def survivors_of_nms(candidates: InstanceData, above: Tensor) -> Tensor:
    """Indices of the candidates ``above`` a threshold that NMS by class keeps, without limit on their number.

    One NMS per class on the boxes as they are: shifting the classes apart (mmcv's ``batched_nms``) rounds the
    coordinates, which flips IoUs close to the threshold.
    """
    kept = [candidates.labels.new_zeros(0)]
    for label in candidates.labels.unique():
        members = ((candidates.labels == label) & above).nonzero().squeeze(1)
        kept.append(members[nms(candidates.bboxes[members], candidates.scores[members], NMS_IOU)[1]])
    return torch.cat(kept)


def coverage(
    candidates: InstanceData,
    detections: InstanceData,
    objects: Tensor,
    labels: Tensor,
    test_cfg: Mapping[str, Any],
) -> Coverage:
    """Cover one image's objects with its candidates and its detections.

    Args:
        candidates: Of the image, from :func:`suite.inference.candidates.candidates`, all of those with a
            class score above the lower of the two thresholds.
        detections: ``bboxes`` (D, 4) and ``labels`` (D,) as the detector gives them.
        objects: Ground-truth boxes (G, 4) as x1 y1 x2 y2 in the same pixels.
        labels: Their classes, shape (G,).
        test_cfg: The detector's own ``score_thr`` and ``nms_pre``.
    """
    device = candidates.bboxes.device
    objects, labels = objects.to(device), labels.to(device)
    best = objects.new_zeros((4, len(objects)))
    if len(objects) == 0:
        return Coverage(*best)
    above = candidates.class_scores > SCORE_THRESHOLD
    after = torch.zeros_like(above)
    after[survivors_of_nms(candidates, above)] = True
    limits = test_cfg.get("score_thr", SCORE_THRESHOLD), test_cfg.get("nms_pre", -1)
    handed = deployed_candidates(candidates, *limits)
    boxes, found = candidates.bboxes.float(), detections.bboxes.float()
    for rows in torch.arange(len(objects), device=device).split(max(_PAIRS_AT_A_TIME // (len(boxes) + 1), 1)):
        own_class = labels[rows, None] == candidates.labels
        iou = bbox_overlaps(objects[rows], boxes)
        for row, counted in enumerate((above, after, handed & own_class)):
            best[row, rows] = _highest(iou * counted)
        own_class = labels[rows, None] == detections.labels
        best[3, rows] = _highest(bbox_overlaps(objects[rows], found) * own_class)
    return Coverage(*best)


def _highest(iou: Tensor) -> Tensor:
    """Largest of each row of (G, N), 0 where N is 0."""
    return iou.amax(dim=1) if iou.shape[1] else iou.new_zeros(len(iou))
