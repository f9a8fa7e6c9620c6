"""Heads trained by aLRP Loss or AP Loss: RetinaNet's, FoveaBox's, and both heads of Faster R-CNN."""

from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models.dense_heads import FoveaHead, RetinaHead, RPNHead
from mmdet.models.roi_heads import Shared2FCBBoxHead
from mmdet.models.task_modules.assigners import ATSSAssigner
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor, nn

from suite.detectors.alrp_loss import ALRPLoss
from suite.detectors.devices import asynchronous
from suite.detectors.flatten import flatten_levels
from suite.detectors.grid import grid_anchors, grid_levels
from suite.detectors.max_iou_matching import Thresholds, match_max_iou
from suite.detectors.objects import collect
from suite.detectors.score_layout import ScoreLayout
from suite.limits import LARGEST_LOCALISATION_LOSS, check_fields


@dataclass(frozen=True)
class RankedBatch:
    """A batch laid out for a ranking loss.

    Attributes:
        maps: Logits per level.
        pairs: Positions of the P positives in the maps, shape (P,).
        owners: Image x A + anchor (or point) of each positive, shape (P,).
        objects: Object of each among those of the batch, shape (P,); None where the head does not know.
        encoded: Encoded box of each, with gradient, shape (P, 4).
        encoded_targets: What it should be, shape (P, 4).
        boxes: Decoded boxes, xyxy in pixels, with gradient, shape (P, 4).
        targets: The objects, xyxy in pixels, shape (P, 4).
        ignored: Anchors without classification loss, bool, one (images x S, cells) for each map; None if
            there are none.
    """

    maps: list[Tensor]
    pairs: Tensor
    owners: Tensor
    objects: Tensor | None
    encoded: Tensor
    encoded_targets: Tensor
    boxes: Tensor
    targets: Tensor
    ignored: list[Tensor] | None


def ranking_terms(loss_cls: nn.Module, loss_bbox: nn.Module, batch: RankedBatch) -> tuple[Tensor, Tensor]:
    """Classification and localisation loss of a batch.

    With AP Loss the localisation loss is that of the encoded boxes, its mean over the 4P values.
    """
    if isinstance(loss_cls, ALRPLoss):
        return loss_cls(batch.maps, batch.pairs, localisation_losses(loss_bbox, batch), batch.ignored)
    # mmdet's loss of no box is one number, not none.
    losses = (
        loss_bbox(batch.encoded, batch.encoded_targets, reduction_override="none")
        if len(batch.pairs)
        else batch.encoded
    )
    classification = loss_cls(batch.maps, batch.pairs, batch.ignored)
    return classification, losses.sum() / max(4 * len(batch.pairs), 1)


def localisation_losses(loss_bbox: nn.Module, batch: RankedBatch) -> Tensor:
    """Localisation loss of each positive over the loss's range, in [0, 1], shape (P,)."""
    if not len(batch.pairs):
        return batch.boxes.sum(dim=1)
    losses = loss_bbox(batch.boxes, batch.targets, reduction_override="none")
    return losses / LARGEST_LOCALISATION_LOSS[type(loss_bbox).__name__]


def _linear(loss_bbox: Any) -> Any:
    """mmdet's IoU loss is -log IoU, without an upper bound, unless told otherwise."""
    return {"mode": "linear", **loss_bbox} if loss_bbox["type"] == "IoULoss" else loss_bbox


class RankedAnchors:
    """What the anchor-based heads share: positives by the assigner of ``train_cfg``, over all anchors.

    As released, all anchors of all images take part, but for those that the assigner ignores.
    """

    prior_generator: Any
    bbox_coder: Any
    assigner: Any
    cls_out_channels: int

    def ranked(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> RankedBatch:
        """The batch laid out for the loss; arguments as for mmdet's ``loss_by_feat``."""
        device = cls_scores[0].device
        layout = ScoreLayout.of(cls_scores, self.cls_out_channels)
        levels = grid_levels(self.prior_generator, layout.sizes, device)
        anchors = grid_anchors(levels)
        images, objects, labels = collect(batch_gt_instances, device)
        thresholds = Thresholds.of(self.assigner)
        if thresholds is None:
            assigned = self._assigned(anchors, layout, batch_gt_instances, batch_gt_instances_ignore)
        else:
            assigned = match_max_iou(levels, anchors, objects, images, layout.images, thresholds)
        owners = (assigned > 0).nonzero()[:, 0]
        image, anchor = owners.div(len(anchors), rounding_mode="floor"), owners % len(anchors)
        number = assigned[owners] - 1
        own, targets = anchors[anchor], objects[number]
        encoded = flatten_levels(bbox_preds, 4)[owners]
        return RankedBatch(
            maps=cls_scores,
            pairs=layout.pairs(image, anchor, labels[number]),
            owners=owners,
            objects=number,
            encoded=encoded,
            encoded_targets=self.bbox_coder.encode(own, targets),
            boxes=self.bbox_coder.decode(own, encoded),
            targets=targets,
            ignored=self._ignored(assigned < 0, layout),
        )

    @torch.no_grad()
    def _assigned(
        self,
        anchors: Tensor,
        layout: ScoreLayout,
        batch_gt_instances: list[InstanceData],
        batch_gt_instances_ignore: list[InstanceData] | None,
    ) -> Tensor:
        """Of each anchor 0, -1 if ignored, or 1 + its object among those of the batch, (images x A,)."""
        settings = {}
        if isinstance(self.assigner, ATSSAssigner):
            settings = {"num_level_priors": layout.anchors_of_levels}
        found, first = [], 0
        for image, instances in enumerate(batch_gt_instances):
            crowds = None if batch_gt_instances_ignore is None else batch_gt_instances_ignore[image]
            indices = self.assigner.assign(
                InstanceData(priors=anchors),
                gt_instances=instances,
                gt_instances_ignore=crowds,
                **settings,
            ).gt_inds
            found.append(torch.where(indices > 0, indices + first, indices))
            first += len(instances)
        return torch.cat(found)

    def _ignored(self, flags: Tensor, layout: ScoreLayout) -> list[Tensor] | None:
        if isinstance(self.assigner, ATSSAssigner) or not (asynchronous(flags) or flags.any()):
            return None
        levels = flags.view(layout.images, -1).split(layout.anchors_of_levels, dim=1)
        slots = layout.per_location
        return [
            level.view(layout.images, -1, slots).transpose(1, 2).reshape(layout.images * slots, -1)
            for level in levels
        ]


@MODELS.register_module()
class RankingRetinaHead(RankedAnchors, RetinaHead):
    """RetinaNet's head trained by a ranking loss.

    Args:
        kwargs: RetinaHead's. ``loss_cls`` is an ALRPLoss, with ``loss_bbox`` one of
            :data:`~suite.limits.LARGEST_LOCALISATION_LOSS`; or an APLoss, with a loss of encoded boxes.

    Raises:
        SuiteError: An option is out of range.
    """

    def __init__(self, *args: Any, loss_bbox: dict[str, Any], **kwargs: Any) -> None:
        check_fields({"loss_bbox": loss_bbox, **kwargs}, "model.bbox_head")
        super().__init__(*args, loss_bbox=_linear(loss_bbox), **kwargs)

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict[str, Any]],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """``loss_cls`` and ``loss_bbox`` of a batch; images without objects are welcome."""
        batch = self.ranked(cls_scores, bbox_preds, batch_gt_instances, batch_gt_instances_ignore)
        classification, localisation = ranking_terms(self.loss_cls, self.loss_bbox, batch)
        return dict(loss_cls=classification, loss_bbox=localisation)


@MODELS.register_module()
class RankingRPNHead(RankedAnchors, RPNHead):
    """The region proposal network trained by a ranking loss.

    Args:
        kwargs: RPNHead's, with the losses of :class:`RankingRetinaHead`.

    Raises:
        SuiteError: An option is out of range.
    """

    def __init__(self, *args: Any, loss_bbox: dict[str, Any], **kwargs: Any) -> None:
        check_fields({"loss_bbox": loss_bbox, **kwargs}, "model.rpn_head")
        super().__init__(*args, loss_bbox=_linear(loss_bbox), **kwargs)

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict[str, Any]],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """``loss_rpn_cls`` and ``loss_rpn_bbox`` of a batch."""
        batch = self.ranked(cls_scores, bbox_preds, batch_gt_instances, batch_gt_instances_ignore)
        classification, localisation = ranking_terms(self.loss_cls, self.loss_bbox, batch)
        return dict(loss_rpn_cls=classification, loss_rpn_bbox=localisation)


@MODELS.register_module()
class RankingFoveaHead(FoveaHead):
    """FoveaBox's head trained by a ranking loss.

    Args:
        kwargs: FoveaHead's, with the losses of :class:`RankingRetinaHead`.

    Raises:
        SuiteError: An option is out of range.
    """

    def __init__(self, *args: Any, loss_bbox: dict[str, Any], **kwargs: Any) -> None:
        check_fields({"loss_bbox": loss_bbox, **kwargs}, "model.bbox_head")
        super().__init__(*args, loss_bbox=_linear(loss_bbox), **kwargs)

    def ranked(
        self, cls_scores: list[Tensor], bbox_preds: list[Tensor], batch_gt_instances: list[InstanceData]
    ) -> RankedBatch:
        """The batch laid out for the loss; arguments as for mmdet's ``loss_by_feat``."""
        device = cls_scores[0].device
        layout = ScoreLayout.of(cls_scores, self.cls_out_channels)
        sizes = [torch.Size(size) for size in layout.sizes]
        points = self.prior_generator.grid_priors(sizes, device=device)
        labels, encoded_targets = self.get_targets(batch_gt_instances, sizes, points)
        # mmdet goes by level, image and point; here it is image, level and point.
        counts = [layout.images * count for count in layout.anchors_of_levels]
        rows = [level.view(layout.images, -1) for level in labels.split(counts)]
        labels = torch.cat(rows, dim=1).flatten()
        rows = [level.view(layout.images, -1, 4) for level in encoded_targets.split(counts)]
        encoded_targets = torch.cat(rows, dim=1).flatten(0, 1)

        owners = (labels < self.num_classes).nonzero()[:, 0]
        image, point = owners.div(layout.anchors, rounding_mode="floor"), owners % layout.anchors
        encoded, targets = flatten_levels(bbox_preds, 4)[owners], encoded_targets[owners]
        centre = torch.cat(points)[point]
        edge = torch.tensor(self.base_edge_list, device=device)[layout.level_of(point), None]
        return RankedBatch(
            maps=cls_scores,
            pairs=layout.pairs(image, point, labels[owners]),
            owners=owners,
            objects=None,
            encoded=encoded,
            encoded_targets=targets,
            boxes=decode_edges(centre, encoded, edge),
            targets=decode_edges(centre, targets, edge),
            ignored=None,
        )

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict[str, Any]],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """``loss_cls`` and ``loss_bbox`` of a batch."""
        batch = self.ranked(cls_scores, bbox_preds, batch_gt_instances)
        classification, localisation = ranking_terms(self.loss_cls, self.loss_bbox, batch)
        return dict(loss_cls=classification, loss_bbox=localisation)


@MODELS.register_module()
class RankingBBoxHead(Shared2FCBBoxHead):
    """The box head of Faster R-CNN trained by aLRP Loss: one logit a class, scores by their sigmoid.

    Args:
        kwargs: Shared2FCBBoxHead's, with ``reg_decoded_bbox``; ``loss_cls`` is an ALRPLoss.

    Raises:
        SuiteError: An option is out of range.
    """

    custom_cls_channels = True

    def __init__(self, *args: Any, loss_bbox: dict[str, Any], **kwargs: Any) -> None:
        check_fields({"loss_bbox": loss_bbox, **kwargs}, "model.roi_head.bbox_head")
        super().__init__(*args, loss_bbox=_linear(loss_bbox), **kwargs)

    def loss(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        rois: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        bbox_weights: Tensor,
        reduction_override: str | None = None,
    ) -> dict[str, Tensor]:
        """``loss_cls`` and ``loss_bbox`` of a batch's proposals.

        Args:
            cls_score: Logits (R, C).
            bbox_pred: Encoded boxes (R, 4 x C).
            rois: Image and box of each proposal (R, 5).
            labels: Class of each, C for the background (R,).
            label_weights: Not used: every proposal takes part.
            bbox_targets: Boxes of their objects, xyxy (R, 4).
            bbox_weights: Not used.
            reduction_override: Not used.
        """
        owners = (labels < self.num_classes).nonzero()[:, 0]
        encoded = bbox_pred.view(len(bbox_pred), -1, 4)
        encoded = encoded[owners, labels[owners] if encoded.shape[1] > 1 else 0].float()
        own, targets = rois[owners, 1:], bbox_targets[owners]
        batch = RankedBatch(
            maps=[cls_score],
            pairs=owners * self.num_classes + labels[owners],
            owners=owners,
            objects=None,
            encoded=encoded,
            encoded_targets=self.bbox_coder.encode(own, targets),
            boxes=self.bbox_coder.decode(own, encoded),
            targets=targets,
            ignored=None,
        )
        classification, localisation = ranking_terms(self.loss_cls, self.loss_bbox, batch)
        return dict(loss_cls=classification, loss_bbox=localisation)


def decode_edges(points: Tensor, encoded: Tensor, edge: Tensor) -> Tensor:
    """Boxes of FoveaBox: the distances to left, top, right and bottom are the level's edge x exp(encoded).

    Args:
        points: Shape (m, 2), in pixels.
        encoded: Shape (m, 4).
        edge: Base edge of each point's level, shape (m, 1).

    Returns:
        xyxy in pixels, shape (m, 4).
    """
    distances = edge * encoded.exp()
    return torch.cat([points - distances[:, :2], points + distances[:, 2:]], dim=1)
