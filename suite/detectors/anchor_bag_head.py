"""What the heads of FreeAnchor and LTM share: RetinaNet's head, and a bag of anchors for each object."""

from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models.dense_heads import RetinaHead
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor

from suite.detectors.bags import Bags, anchor_bags, draw
from suite.detectors.flatten import flatten_levels
from suite.detectors.grid import grid_anchors, grid_levels
from suite.detectors.objects import collect
from suite.detectors.score_layout import ScoreLayout
from suite.limits import check_fields


@dataclass(frozen=True)
class MatchedBags:
    """The bags of a batch and how well each member's prediction fits its object.

    Attributes:
        bags: The bags.
        layout: Layout of the score maps.
        anchors: All anchors of an image, shape (A, 4).
        deltas: Encoded boxes of all images, shape (images x A, 4), with gradient.
        localisation: Weighted localisation loss of each member, shape (n, K), with gradient.
        iou: IoU of each member's predicted box with its object, shape (n, K).
    """

    bags: Bags
    layout: ScoreLayout
    anchors: Tensor
    deltas: Tensor
    localisation: Tensor
    iou: Tensor


class AnchorBagHead(RetinaHead):
    """RetinaNet's head with a bag of the anchors of highest IoU for each object.

    Args:
        bag_size: Anchors in an object's bag.
        sample_size: Anchors drawn from each bag at random; all if None.
        kwargs: RetinaHead's. ``loss_bbox`` is the localisation loss, its ``loss_weight`` the papers' beta;
            ``loss_cls`` a FocalLoss.

    Raises:
        SuiteError: An option is out of range.
    """

    def __init__(self, *args: Any, bag_size: int, sample_size: int | None = None, **kwargs: Any) -> None:
        fields = {"bag_size": bag_size, "sample_size": sample_size, **kwargs}
        check_fields(fields, "model.bbox_head")
        super().__init__(*args, **kwargs)
        self.bag_size = bag_size
        self.sample_size = sample_size

    def match(
        self, cls_scores: list[Tensor], bbox_preds: list[Tensor], batch_gt_instances: list[InstanceData]
    ) -> MatchedBags:
        """The bags of a batch, and the fit of their members' predictions; arguments as ``loss_by_feat``."""
        device = cls_scores[0].device
        layout = ScoreLayout.of(cls_scores, self.cls_out_channels)
        levels = grid_levels(self.prior_generator, layout.sizes, device)
        anchors = grid_anchors(levels)
        deltas = flatten_levels(bbox_preds, 4)
        images, boxes, labels = collect(batch_gt_instances, device)
        members = anchor_bags(levels, boxes, self.bag_size)
        if self.sample_size is not None:
            members = draw(members, self.sample_size)
        bags = Bags(images, boxes, labels, members, torch.ones_like(members, dtype=torch.bool))
        own = anchors[members].flatten(0, 1)
        targets = boxes[:, None].expand(*members.shape, 4).flatten(0, 1)
        predicted = deltas[(images[:, None] * len(anchors) + members).flatten()]
        encoded = self.bbox_coder.encode(own, targets)
        with torch.no_grad():
            iou = bbox_overlaps(self.bbox_coder.decode(own, predicted), targets, is_aligned=True)
        # mmdet's loss of no box is one number, not none.
        localisation = (
            self.loss_bbox(predicted, encoded, reduction_override="none") if len(own) else predicted
        )
        localisation = localisation.sum(dim=-1).view_as(members)
        return MatchedBags(bags, layout, anchors, deltas, localisation, iou.view_as(members))
