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

from suite.detectors.bags import Bags, point_bags
from suite.detectors.flatten import flatten_levels
from suite.detectors.grid import grid_levels
from suite.detectors.matching_loss import matching_losses
from suite.detectors.mean_max import warn_of_misprint
from suite.detectors.objects import collect
from suite.detectors.points import StridePointGenerator
from suite.detectors.score_layout import ScoreLayout
from suite.limits import check_fields


@MODELS.register_module()
class LTMAFHead(AnchorFreeHead):
    """One point per location, distances in units of the stride, matched by M+ and M- over bags of points.

    Follows the released code: no centerness, a learnable scale per level, ReLU on the distances.

    Args:
        num_classes: Object classes.
        in_channels: Channels of the FPN.
        strides: Stride of each level, ascending.
        bag_size: K, points in an object's bag.
        points: ``released`` fills the bags as the released code, ``in_box`` with points inside the box alone
            (paper); see :func:`~suite.detectors.bags.point_bags`. Then an object without a point
            inside is not learnt.
        window: Central share of a box in which points of all levels take part, for ``released``.
        negative_matching: ``none`` or a function of :data:`~suite.detectors.mean_max.MATCHING`.
        neg_iou: ``relative`` divides the IoU of L- by the bag's highest one (released code), ``absolute``
            does not (paper, Eq. 5).
        kwargs: AnchorFreeHead's. ``loss_bbox`` is a StrideGIoULoss, its ``loss_weight`` LTM-AF's beta;
            ``loss_cls`` a FocalLoss, of which ``gamma`` counts.

    Raises:
        SuiteError: An option is out of range.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        strides: Sequence[int] = (8, 16, 32, 64, 128),
        bag_size: int = 40,
        points: str = "released",
        window: float = 0.8,
        negative_matching: str = "eq25",
        neg_iou: str = "relative",
        bbox_coder: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        fields = {
            "bag_size": bag_size, "points": points, "window": window,
            "negative_matching": negative_matching, "neg_iou": neg_iou,
        }  # fmt: skip
        check_fields({**fields, **kwargs}, "model.bbox_head")
        super().__init__(
            num_classes,
            in_channels,
            strides=strides,
            bbox_coder=bbox_coder or dict(type="StrideDistanceBBoxCoder"),
            **kwargs,
        )
        warn_of_misprint(negative_matching)
        self.bag_size = bag_size
        self.points = points
        self.window = window
        self.negative_matching = negative_matching
        self.neg_iou = neg_iou
        self.prior_generator = StridePointGenerator(strides)

    def _init_layers(self) -> None:
        super()._init_layers()
        self.scales = nn.ModuleList([Scale(1.0) for _ in self.strides])

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Logits (images, classes, H, W) and distances in strides (images, 4, H, W) of each level."""
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
            cls_scores: Logits per level, each (images, classes, H, W).
            bbox_preds: Distances in strides per level, each (images, 4, H, W).
            batch_gt_instances: ``bboxes`` and ``labels`` of each image; may be empty.
            batch_img_metas: Not used.
            batch_gt_instances_ignore: Not used; crowd regions count as background, as in the released code.

        Returns:
            See :func:`~suite.detectors.matching_loss.matching_losses`.
        """
        layout, bags, localisation, iou = self.match(cls_scores, bbox_preds, batch_gt_instances)
        return matching_losses(
            cls_scores,
            layout,
            bags,
            localisation,
            iou,
            gamma=self.loss_cls.gamma,
            negative_matching=self.negative_matching,
            relative_iou=self.neg_iou == "relative",
        )

    def match(
        self, cls_scores: list[Tensor], bbox_preds: list[Tensor], batch_gt_instances: list[InstanceData]
    ) -> tuple[ScoreLayout, Bags, Tensor, Tensor]:
        """Layout and bags of a batch, and localisation loss and IoU of each member's box, (n, K) each."""
        device = cls_scores[0].device
        layout = ScoreLayout.of(cls_scores, self.cls_out_channels)
        points = torch.cat(self.prior_generator.grid_priors(layout.sizes, device=device))
        images, boxes, labels = collect(batch_gt_instances, device)
        members, valid = point_bags(
            grid_levels(self.prior_generator, layout.sizes, device),
            boxes,
            self.bag_size,
            self.window,
            in_box=self.points == "in_box",
        )
        targets = boxes[:, None].expand(*members.shape, 4)
        predicted = flatten_levels(bbox_preds, 4)[images[:, None] * len(points) + members]
        localisation = self.loss_bbox(predicted, self.bbox_coder.encode(points[members], targets))
        with torch.no_grad():
            iou = bbox_overlaps(self.bbox_coder.decode(points[members], predicted), targets, is_aligned=True)
        return layout, Bags(images, boxes, labels, members, valid), localisation, iou

    def get_targets(self, *args: Any, **kwargs: Any) -> Any:
        """Required by AnchorFreeHead; LTM-AF assigns no target before the loss."""
        raise NotImplementedError("LTM-AF matches within its loss and has no targets")
