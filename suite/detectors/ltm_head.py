"""The anchor-based head of LTM (Learning to Match Anchors for Visual Object Detection, TPAMI 2021)."""

from typing import Any

from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from suite.detectors.anchor_bag_head import AnchorBagHead
from suite.detectors.matching_loss import matching_losses
from suite.detectors.mean_max import warn_of_misprint
from suite.limits import check_fields


@MODELS.register_module()
class LTMHead(AnchorBagHead):
    """RetinaNet's head, trained to match anchors by M+ and M- over bags of high IoU.

    Losses, bags and normalisers follow the released code; boxes have no +1 on their widths.

    Args:
        bag_size: K, anchors in an object's bag.
        sample_size: S, anchors drawn from the bag at random in each step (Table 3); all of them if None.
        negative_matching: ``none`` or a function of :data:`~suite.detectors.mean_max.MATCHING`.
        neg_iou: ``relative`` divides the IoU of L- by the bag's highest one (released code), ``absolute``
            does not (paper, Eq. 5).
        kwargs: RetinaHead's. ``loss_bbox`` is the localisation loss, its ``loss_weight`` LTM's beta;
            ``loss_cls`` a FocalLoss, of which ``gamma`` counts.

    Raises:
        SuiteError: An option is out of range.
    """

    def __init__(
        self,
        *args: Any,
        bag_size: int = 40,
        negative_matching: str = "eq25",
        neg_iou: str = "relative",
        **kwargs: Any,
    ) -> None:
        check_fields({"negative_matching": negative_matching, "neg_iou": neg_iou}, "model.bbox_head")
        super().__init__(*args, bag_size=bag_size, **kwargs)
        warn_of_misprint(negative_matching)
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
            cls_scores: Logits per level, each (images, anchors x classes, H, W).
            bbox_preds: Encoded boxes per level, each (images, anchors x 4, H, W).
            batch_gt_instances: ``bboxes`` and ``labels`` of each image; may be empty.
            batch_img_metas: Not used: a bag may hold anchors over the padding, as in the released code.
            batch_gt_instances_ignore: Not used; crowd regions count as background, as in the released code.

        Returns:
            See :func:`~suite.detectors.matching_loss.matching_losses`.
        """
        matched = self.match(cls_scores, bbox_preds, batch_gt_instances)
        return matching_losses(
            cls_scores,
            matched.layout,
            matched.bags,
            matched.localisation,
            matched.iou,
            gamma=self.loss_cls.gamma,
            negative_matching=self.negative_matching,
            relative_iou=self.neg_iou == "relative",
        )
