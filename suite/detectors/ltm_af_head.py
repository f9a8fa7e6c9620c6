"""The anchor-free head of LTM-AF (Learning to Match Anchors for Visual Object Detection, TPAMI 2021)."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import Scale
from mmdet.models.dense_heads.anchor_free_head import AnchorFreeHead
from mmdet.models.utils import multi_apply
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor, nn

from suite.detectors.bags import point_bags
from suite.detectors.flatten import collect_bags, flatten_levels
from suite.detectors.matching_loss import check_options, matching_losses
from suite.detectors.mean_max import NegativeMatching
from suite.detectors.points import StridePointGenerator


@MODELS.register_module()
class LTMAFHead(AnchorFreeHead):
    """One point a location, distances in units of the stride, matched by M+ and M- over bags of near points.

    Follows the released code: no centerness, a learnable scale a level, ReLU on the distances.

    Args:
        num_classes: Object classes.
        in_channels: Channels of the FPN.
        strides: Stride of each level, ascending.
        bag_size: K, points in an object's bag.
        window: Central share of a box in which points of all levels take part; see
            :func:`~suite.detectors.bags.point_bags`.
        negative_matching: ``eq25`` or ``none``; see :func:`~suite.detectors.matching_loss.matching_losses`.
        neg_iou: ``relative`` divides the IoU of L- by the bag's highest one (released code), ``absolute``
            does not (paper, Eq. 5).
        kwargs: AnchorFreeHead's. ``loss_bbox`` is a StrideGIoULoss, its ``loss_weight`` LTM-AF's beta;
            ``loss_cls`` a FocalLoss, of which ``gamma`` counts.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        strides: Sequence[int] = (8, 16, 32, 64, 128),
        bag_size: int = 40,
        window: float = 0.8,
        negative_matching: NegativeMatching = "eq25",
        neg_iou: str = "relative",
        bbox_coder: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            num_classes,
            in_channels,
            strides=strides,
            bbox_coder=bbox_coder or dict(type="StrideDistanceBBoxCoder"),
            **kwargs,
        )
        check_options(bag_size, negative_matching, neg_iou)
        self.bag_size = bag_size
        self.window = window
        self.negative_matching = negative_matching
        self.neg_iou = neg_iou
        self.prior_generator = StridePointGenerator(strides)

    def _init_layers(self) -> None:
        super()._init_layers()
        self.scales = nn.ModuleList([Scale(1.0) for _ in self.strides])

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Logits (images, classes, H, W) and distances in strides (images, 4, H, W), one of each a level."""
        return multi_apply(self.forward_single, x, self.scales)

    def forward_single(self, x: Tensor, scale: Scale) -> tuple[Tensor, Tensor]:
        """Logits and distances of one level; distances in float32, which half precision could overflow."""
        cls_score, bbox_pred, _, _ = super().forward_single(x)
        return cls_score, F.relu(scale(bbox_pred).float())

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
            cls_scores: Logits a level, each (images, classes, H, W).
            bbox_preds: Distances in strides a level, each (images, 4, H, W).
            batch_gt_instances: ``bboxes`` and ``labels`` of each image; may be empty.
            batch_img_metas: Not used.
            batch_gt_instances_ignore: Not used; crowd regions count as background, as in the released code.

        Returns:
            See :func:`~suite.detectors.matching_loss.matching_losses`.
        """
        sizes = [(score.shape[-2], score.shape[-1]) for score in cls_scores]
        points = torch.cat(self.prior_generator.grid_priors(sizes, device=cls_scores[0].device))
        logits = flatten_levels(cls_scores, self.cls_out_channels)
        distances = flatten_levels(bbox_preds, 4)
        bags, gt_bboxes = collect_bags(
            batch_gt_instances,
            len(points),
            lambda boxes: point_bags(points, boxes, self.bag_size, self.window),
        )
        members = points[bags.anchors % len(points)]
        targets = gt_bboxes[:, None].expand(*bags.anchors.shape, 4)
        predicted = distances[bags.anchors]
        with torch.no_grad():
            iou = bbox_overlaps(self.bbox_coder.decode(members, predicted), targets, is_aligned=True)
        return matching_losses(
            logits,
            bags,
            self.loss_bbox(predicted, self.bbox_coder.encode(members, targets)),
            iou,
            gamma=self.loss_cls.gamma,
            negative_matching=self.negative_matching,
            relative_iou=self.neg_iou == "relative",
        )

    def get_targets(self, *args: Any, **kwargs: Any) -> Any:
        """Required by AnchorFreeHead; LTM-AF assigns no target before the loss."""
        raise NotImplementedError("LTM-AF matches within its loss and has no targets")
