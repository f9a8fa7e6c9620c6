"""The head of FreeAnchor (Learning to Match Anchors for Visual Object Detection, NeurIPS 2019)."""

from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from suite.detectors.anchor_bag_head import AnchorBagHead, MatchedBags
from suite.detectors.focal import background_focal, background_term
from suite.detectors.mean_max import negative_log_odds, positive_bag_loss, positive_log_odds
from suite.detectors.overlaps import overlapping_pairs
from suite.limits import check_fields


def saturated_linear(x: Tensor, t1: float, t2: Tensor) -> Tensor:
    """0 up to t1, 1 from t2 on, linear between: FreeAnchor's Fig. 2.

    Args:
        x: Any shape.
        t1: Lower threshold.
        t2: Upper threshold, at least t1, of x's shape.
    """
    span = t2 - t1
    return torch.where(span > 0, (x - t1) / torch.where(span > 0, span, 1), (x > t1).to(x.dtype)).clamp(0, 1)


@MODELS.register_module()
class FreeAnchorHead(AnchorBagHead):
    """RetinaNet's head, trained by a detection likelihood over bags of high IoU.

    Losses, bags and normalisers follow the released code, as does mmdet's ``FreeAnchorRetinaHead``, without
    the latter's failures (fewer anchors than the bag, an IoU exactly at the threshold); boxes have no +1 on
    their widths.

    Args:
        bag_size: n, anchors in an object's bag.
        iou_threshold: t, the IoU of a predicted box with an object up to which it counts as background.
        kwargs: RetinaHead's. ``loss_bbox`` is the localisation loss, its ``loss_weight`` FreeAnchor's beta;
            ``loss_cls`` a FocalLoss, of which ``alpha`` (weight of the positive loss; the negative one has 1
            - alpha) and ``gamma`` count.

    Raises:
        SuiteError: An option is out of range.
    """

    def __init__(self, *args: Any, bag_size: int = 50, iou_threshold: float = 0.6, **kwargs: Any) -> None:
        check_fields({"type": "FreeAnchorHead", "iou_threshold": iou_threshold}, "model.bbox_head")
        super().__init__(*args, bag_size=bag_size, **kwargs)
        self.iou_threshold = iou_threshold

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict[str, Any]],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of a batch: of the bags, and of the background.

        Args:
            cls_scores: Logits per level, each (images, anchors x classes, H, W).
            bbox_preds: Encoded boxes per level, each (images, anchors x 4, H, W).
            batch_gt_instances: ``bboxes`` and ``labels`` of each image; may be empty.
            batch_img_metas: Not used: a bag may hold anchors over the padding, as in the released code.
            batch_gt_instances_ignore: Not used; crowd regions count as background, as in the released code.

        Returns:
            ``loss_positive``: alpha x -log Mean-max of the bags, averaged over the objects of this GPU;
            ``loss_negative``: (1 - alpha) x focal loss of P_cls x (1 - P{a in A+}) over all pairs, divided by
            n times the objects. A batch without objects counts as one with one; mmdet's head takes its
            negative loss n times as heavily.
        """
        matched = self.match(cls_scores, bbox_preds, batch_gt_instances)
        bags, objects = matched.bags, max(1, len(matched.bags.labels))
        pairs = bags.pairs(matched.layout)
        falling, probability = self.background_exemptions(matched)
        distinct, number = torch.unique(torch.cat([pairs.flatten(), falling]), return_inverse=True)
        exempt = probability.new_zeros(len(distinct)).scatter_reduce(
            0, number[pairs.numel() :], probability, "amax"
        )
        gamma, alpha = self.loss_cls.gamma, self.loss_cls.alpha
        total, picked = background_focal(cls_scores, distinct, gamma)

        eta = positive_log_odds(picked[number[: pairs.numel()]].view_as(pairs), matched.localisation)
        eta_background = negative_log_odds(picked, exempt)
        certain = torch.isneginf(eta_background)
        remaining = background_term(eta_background.masked_fill(certain, 0.0), gamma).masked_fill(certain, 0.0)
        negative = total - background_term(picked.double(), gamma).sum() + remaining.double().sum()
        return dict(
            loss_positive=alpha * positive_bag_loss(eta, bags.valid).sum() / objects,
            loss_negative=((1 - alpha) * negative / (objects * self.bag_size)).float(),
        )

    @torch.no_grad()
    def background_exemptions(self, matched: MatchedBags) -> tuple[Tensor, Tensor]:
        """P{a in A+}, the probability that an anchor's predicted box lies on an object of a class.

        Args:
            matched: The batch.

        Returns:
            Positions in the score maps of the pairs where it is above 0, with repetition, shape (m,), and
            the probability that the anchor falls to one object of that class, shape (m,).
        """
        bags, count = matched.bags, len(matched.anchors)
        images = matched.layout.images
        boxes = self.bbox_coder.decode(matched.anchors.repeat(images, 1), matched.deltas)
        who, box, iou = overlapping_pairs(
            boxes.view(images, count, 4), bags.boxes, bags.images, self.iou_threshold
        )
        highest = iou.new_zeros(len(bags.labels)).scatter_reduce(0, who, iou, "amax")
        pairs = matched.layout.pairs(bags.images[who], box % count, bags.labels[who])
        return pairs, saturated_linear(iou, self.iou_threshold, highest[who])
