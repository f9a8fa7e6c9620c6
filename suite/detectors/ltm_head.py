"""The anchor-based head of LTM (Learning to Match Anchors for Visual Object Detection, TPAMI 2021)."""

from typing import Any

import torch
from mmdet.models.dense_heads import RetinaHead
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor

from suite.detectors.bags import anchor_bags
from suite.detectors.flatten import collect_bags, flatten_levels
from suite.detectors.matching_loss import check_options, matching_losses
from suite.detectors.mean_max import NegativeMatching


@MODELS.register_module()
class LTMHead(RetinaHead):
    """RetinaNet's head, trained to match anchors by M+ and M- over bags of high IoU.

    Losses, bags and normalisers follow the released code; boxes have no +1 on their widths.

    Args:
        bag_size: K, anchors in an object's bag.
        negative_matching: ``eq25`` or ``none``; see :func:`~suite.detectors.matching_loss.matching_losses`.
        neg_iou: ``relative`` divides the IoU of L- by the bag's highest one (released code), ``absolute``
            does not (paper, Eq. 5).
        kwargs: RetinaHead's. ``loss_bbox`` is the localisation loss, its ``loss_weight`` LTM's beta;
            ``loss_cls`` a FocalLoss, of which ``gamma`` counts.
    """

    def __init__(
        self,
        *args: Any,
        bag_size: int = 40,
        negative_matching: NegativeMatching = "eq25",
        neg_iou: str = "relative",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        check_options(bag_size, negative_matching, neg_iou)
        self.bag_size = bag_size
        self.negative_matching = negative_matching
        self.neg_iou = neg_iou

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict[str, Any]],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            cls_scores: Logits a level, each (images, anchors x classes, H, W).
            bbox_preds: Encoded boxes a level, each (images, anchors x 4, H, W).
            batch_gt_instances: ``bboxes`` and ``labels`` of each image; may be empty.
            batch_img_metas: Not used: a bag may hold anchors over the padding, as in the released code.
            batch_gt_instances_ignore: Not used; crowd regions count as background, as in the released code.

        Returns:
            See :func:`~suite.detectors.matching_loss.matching_losses`.
        """
        sizes = [score.shape[-2:] for score in cls_scores]
        anchors = torch.cat(self.prior_generator.grid_priors(sizes, device=cls_scores[0].device))
        logits = flatten_levels(cls_scores, self.cls_out_channels)
        deltas = flatten_levels(bbox_preds, 4)
        bags, gt_bboxes = collect_bags(
            batch_gt_instances, len(anchors), lambda boxes: anchor_bags(anchors, boxes, self.bag_size)
        )
        members = anchors[bags.anchors % len(anchors)].flatten(0, 1)
        targets = gt_bboxes[:, None].expand(*bags.anchors.shape, 4).flatten(0, 1)
        predicted = deltas[bags.anchors.flatten()]
        localisation = self.loss_bbox(
            predicted, self.bbox_coder.encode(members, targets), reduction_override="none"
        ).sum(dim=-1)
        with torch.no_grad():
            iou = bbox_overlaps(self.bbox_coder.decode(members, predicted), targets, is_aligned=True)
        return matching_losses(
            logits,
            bags,
            # Without objects mmdet's loss is one number, not none.
            localisation.reshape(-1).expand(bags.anchors.numel()).view_as(bags.anchors),
            iou.view_as(bags.anchors),
            gamma=self.loss_cls.gamma,
            negative_matching=self.negative_matching,
            relative_iou=self.neg_iou == "relative",
        )
