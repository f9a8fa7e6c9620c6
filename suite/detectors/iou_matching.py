"""Assignment by IoU thresholds, as in RetinaNet and as the first step of PAA."""

from typing import Any

import torch
from mmdet.models.task_modules.assigners import AssignResult, BaseAssigner
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor

from suite.detectors.grid import GridLevel, side_overlaps, total_areas
from suite.limits import check_fields

BACKGROUND = -1
IGNORED = -2

_PAIRS_AT_ONCE = 2**20  # of an object and an anchor


def match_by_iou(iou: Tensor, pos_iou_thr: float, neg_iou_thr: float) -> Tensor:
    """The object of each anchor: that of highest IoU, if it is high enough.

    An anchor of the highest IoU that some object has with any anchor, ties included, is matched below the
    thresholds too: to its own best object, as in the code that PAA and ATSS were released with. (mmdet
    matches it to that other object instead.)

    Args:
        iou: Shape (n, A).
        pos_iou_thr: From this IoU on an anchor is matched.
        neg_iou_thr: Below it an anchor is background; between the two it is ignored.

    Returns:
        Object index in [0, n), BACKGROUND (-1) or IGNORED (-2), shape (A,).
    """
    if not len(iou):
        return torch.full((iou.shape[1],), BACKGROUND, device=iou.device)
    best, owner = iou.max(dim=0)
    highest = iou.amax(dim=1, keepdim=True)
    kept = ((iou == highest) & (highest > 0)).any(dim=0)
    matched = torch.where(best >= pos_iou_thr, owner, IGNORED)
    return torch.where(kept, owner, torch.where(best < neg_iou_thr, BACKGROUND, matched))


def match_on_grid(levels: tuple[GridLevel, ...], objects: Tensor, threshold: float) -> Tensor:
    """:func:`match_by_iou` with one threshold, on a grid with one anchor per location.

    Overlaps along x are worked out once per column, those along y once per row; their product decides.

    Args:
        levels: The grid.
        objects: Shape (n, 4), xyxy in pixels.
        threshold: From this IoU on an anchor is matched, in (0, 1).

    Returns:
        Object index in [0, n), or BACKGROUND, shape (A,).
    """
    if not len(objects):
        return torch.cat([objects.new_full((lv.height * lv.width,), BACKGROUND).long() for lv in levels])
    # I / (area + area) grows with the IoU I / (area + area - I).
    sides = []
    for level in levels:
        across, down = side_overlaps(level, objects, *level.every_cell(len(objects)))
        sides.append((across[..., 0], down[..., 0] / total_areas(level, objects)))
    highest = torch.stack([across.amax(1) * down.amax(1) for across, down in sides]).amax(dim=0)
    found = []
    for across, down in sides:
        at_once = max(1, _PAIRS_AT_ONCE // max(1, across.numel()))
        blocks = [(some[:, :, None] * across[:, None]).max(dim=0) for some in down.split(at_once, dim=1)]
        best, owner = (torch.cat(parts) for parts in zip(*blocks, strict=True))
        # The anchors of an object's highest IoU, ties included, are some rows by some columns.
        has_highest = ((across.amax(1) * down.amax(1) == highest) & (highest > 0)).float()[:, None]
        widest = (across == across.amax(dim=1, keepdim=True)).float() * has_highest
        tallest = (down == down.amax(dim=1, keepdim=True)).float()
        kept = (tallest.t() @ widest) > 0
        found.append(torch.where((best >= threshold / (1 + threshold)) | kept, owner, BACKGROUND).flatten())
    return torch.cat(found)


@TASK_UTILS.register_module()
class CentredIoUAssigner(BaseAssigner):
    """IoU thresholds for a head of one anchor per location: PAA (ECCV 2020), Table 1 (right), rows "IoU".

    :func:`match_by_iou`; a matched anchor whose centre is not inside its object is ignored. Follows the
    released configs ``ret_R_50_FPN_1.5x`` and ``ret_iou_R_50_FPN_1.5x``.

    Args:
        pos_iou_thr: From this IoU on an anchor is positive.
        neg_iou_thr: Below it an anchor is negative; between the two it is ignored.

    Raises:
        SuiteError: A threshold is no number in [0, 1], or the negative one above the positive one.
    """

    def __init__(self, pos_iou_thr: float = 0.5, neg_iou_thr: float = 0.4) -> None:
        fields = {"type": "CentredIoUAssigner", "pos_iou_thr": pos_iou_thr, "neg_iou_thr": neg_iou_thr}
        check_fields(fields, "model.train_cfg.assigner")
        self.pos_iou_thr = pos_iou_thr
        self.neg_iou_thr = neg_iou_thr

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        **kwargs: Any,
    ) -> AssignResult:
        """Assign ``pred_instances.priors`` (A, 4) to ``gt_instances.bboxes`` (n, 4); crowds do not count.

        Returns:
            ``gt_inds`` (A,): 0 for background, -1 for ignored, 1-based index of the object otherwise.
        """
        anchors, objects = pred_instances.priors, gt_instances.bboxes
        iou = bbox_overlaps(objects, anchors)
        matched = match_by_iou(iou, self.pos_iou_thr, self.neg_iou_thr)
        if len(objects):
            centre, own = (anchors[:, :2] + anchors[:, 2:]) / 2, objects[matched.clamp(min=0)]
            inside = torch.cat([centre - own[:, :2], own[:, 2:] - centre], dim=1).amin(dim=1) > 0.01
            matched = torch.where((matched >= 0) & ~inside, IGNORED, matched)
        gt_inds = torch.where(matched == IGNORED, -1, matched + 1)
        labels = gt_instances.labels.new_full((len(anchors),), -1)
        labels[matched >= 0] = gt_instances.labels[matched[matched >= 0]]
        best = iou.amax(dim=0) if len(objects) else anchors.new_zeros(len(anchors))
        return AssignResult(len(objects), gt_inds, best, labels)
