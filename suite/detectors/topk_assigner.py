"""The hand-made assignment that LTM's Table 1 compares with: K anchors of each object are its positives."""

import torch
from mmdet.models.task_modules.assigners import AssignResult, BaseAssigner
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor

from suite.limits import check_fields

# Largest [objects, anchors] block held at once; a crowded image at COCO scale has 500 x 200,000 pairs.
_PAIRS_AT_ONCE = 2**23


@TASK_UTILS.register_module()
class TopKIoUAssigner(BaseAssigner):
    """Each object's ``topk`` anchors of highest IoU are positive, all others negative, none ignored.

    LTM (TPAMI 2021) Table 1, row "K anchors". An anchor among the K of several objects belongs to the one
    with which it has the highest IoU.

    Args:
        topk: K >= 1.

    Raises:
        SuiteError: ``topk`` is below 1.
    """

    def __init__(self, topk: int = 40) -> None:
        check_fields({"topk": topk}, "model.train_cfg.assigner")
        self.topk = topk

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        **kwargs: object,
    ) -> AssignResult:
        """Assign ``pred_instances.priors`` (A, 4) to ``gt_instances.bboxes`` (n, 4); crowds do not count.

        Returns:
            ``gt_inds`` (A,): 0 for background, 1-based index of the object otherwise.
        """
        anchors, gt_bboxes, gt_labels = pred_instances.priors, gt_instances.bboxes, gt_instances.labels
        gt_inds = gt_bboxes.new_zeros(len(anchors), dtype=torch.long)
        labels = gt_labels.new_full((len(anchors),), -1)
        best: Tensor = gt_bboxes.new_zeros(len(anchors))
        bags = top_anchors(anchors, gt_bboxes, self.topk)
        if bags.numel():
            iou = bbox_overlaps(gt_bboxes[:, None].expand(*bags.shape, 4), anchors[bags], is_aligned=True)
            best.scatter_reduce_(0, bags.flatten(), iou.flatten(), "amax")
            # Of several objects with the same highest IoU the first takes the anchor.
            owner = torch.arange(1, len(bags) + 1, device=bags.device)[:, None].expand_as(bags)
            claims = torch.where(iou == best[bags], owner, len(bags) + 1)
            gt_inds.fill_(len(bags) + 1).scatter_reduce_(0, bags.flatten(), claims.flatten(), "amin")
            gt_inds[gt_inds > len(bags)] = 0
            positive = gt_inds > 0
            labels[positive] = gt_labels[gt_inds[positive] - 1]
        return AssignResult(len(gt_bboxes), gt_inds, best, labels)


@torch.no_grad()
def top_anchors(anchors: Tensor, objects: Tensor, topk: int) -> Tensor:
    """The anchors of highest IoU with each object, of any anchors whatever.

    Of anchors on a grid :func:`~suite.detectors.bags.anchor_bags` finds the same ones sooner.

    Args:
        anchors: Shape (A, 4), xyxy in pixels.
        objects: Shape (n, 4), same frame.
        topk: K >= 1.

    Returns:
        Indices into ``anchors``, shape (n, min(K, A)), in no particular order.
    """
    at_once = max(1, _PAIRS_AT_ONCE // max(1, len(anchors)))
    size = min(topk, len(anchors))
    return torch.cat(
        [
            bbox_overlaps(some, anchors).topk(size, dim=1, sorted=False).indices
            for some in objects.split(at_once)
        ]
    )
