"""The head of ATSS, PAA and the one-anchor RetinaNet: a square anchor per location, an auxiliary task."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import ATSSHead
from mmdet.models.task_modules.assigners import ATSSAssigner
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmdet.utils import reduce_mean
from mmengine.structures import InstanceData
from torch import Tensor

from suite.detectors.flatten import flatten_levels
from suite.detectors.focal import background_focal, background_term, foreground_term
from suite.detectors.grid import grid_anchors, grid_levels
from suite.detectors.objects import collect
from suite.detectors.score_layout import ScoreLayout
from suite.inference.ranked_prediction import RankedPrediction
from suite.limits import check_fields

Maps = tuple[list[Tensor], list[Tensor], list[Tensor] | None]
"""Logits, encoded boxes and auxiliary logits, a list of levels of each."""


@dataclass(frozen=True)
class Targets:
    """What an assignment asks of a batch.

    Attributes:
        anchors: Anchors that may be positive, as image x A + index, shape (P,); each at most once among the
            positive ones.
        objects: Object of each, among those of the batch, shape (P,).
        positive: Which of them are positive, shape (P,), bool.
        ignored: Which of all anchors have no classification loss, shape (images x A,), bool; None if none
            has.
        sums: :func:`~suite.detectors.focal.background_sums` of the batch, if the assignment needed them.
    """

    anchors: Tensor
    objects: Tensor
    positive: Tensor
    ignored: Tensor | None
    sums: list[Tensor] | None


@dataclass(frozen=True)
class Batch:
    """A batch laid out for the loss.

    Attributes:
        layout: Layout of the score maps.
        anchors: All anchors of an image, shape (A, 4).
        deltas: Encoded boxes, shape (images x A, 4), with gradient.
        images: Image of each object, shape (n,).
        boxes: Objects, shape (n, 4).
        labels: Their classes, shape (n,).
    """

    layout: ScoreLayout
    anchors: Tensor
    deltas: Tensor
    images: Tensor
    boxes: Tensor
    labels: Tensor


@MODELS.register_module()
class OneAnchorHead(RankedPrediction, ATSSHead):
    """mmdet's ATSS head with a choice of the auxiliary task, trained on what train_cfg's assigner finds.

    Losses, normalisers and inference are those of the code released with PAA, for all its methods: all
    anchors take part, over the padding too; candidates are thresholded by their class score and ranked by
    sqrt(class x auxiliary).

    Args:
        auxiliary: What a third branch predicts: ``iou`` of its box with the object, ``centerness`` of its
            anchor in the object, or ``none`` for no branch. The box loss is weighted by the same quantity.
        score_voting: Replace the boxes of detections by :func:`~suite.inference.score_voting.vote`.
        kwargs: ATSSHead's. ``loss_cls`` is a FocalLoss of which ``alpha`` and ``gamma`` count, ``loss_bbox``
            an IoU loss; of ``loss_centerness``, the auxiliary loss, the ``loss_weight`` counts.

    Raises:
        SuiteError: An option is out of range.
    """

    def __init__(
        self, *args: Any, auxiliary: str = "centerness", score_voting: bool = False, **kwargs: Any
    ) -> None:
        check_fields({"auxiliary": auxiliary, **kwargs}, "model.bbox_head")
        self.auxiliary = auxiliary
        self.score_voting = score_voting
        super().__init__(*args, **kwargs)

    def _init_layers(self) -> None:
        super()._init_layers()
        if self.auxiliary == "none":
            del self.atss_centerness

    def forward(self, x: tuple[Tensor, ...]) -> Maps:
        """Logits, encoded boxes and auxiliary logits (None without such a task): a list of levels of each."""
        maps = [list(levels) for levels in zip(*map(self.forward_single, x, self.scales), strict=True)]
        return maps[0], maps[1], maps[2] if self.auxiliary != "none" else None

    def forward_single(self, x: Tensor, scale: Any) -> tuple[Tensor, ...]:
        """The same of one level, (images, classes, H, W), (images, 4, H, W) and (images, 1, H, W)."""
        if self.auxiliary != "none":
            found: tuple[Tensor, ...] = super().forward_single(x, scale)
            return found
        classification = regression = x
        for one, other in zip(self.cls_convs, self.reg_convs, strict=True):
            classification, regression = one(classification), other(regression)
        return self.atss_cls(classification), scale(self.atss_reg(regression)).float()

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        auxiliary_scores: list[Tensor] | None,
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict[str, Any]],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            cls_scores: Logits, a list of levels, each (images, classes, H, W).
            bbox_preds: Encoded boxes, each (images, 4, H, W).
            auxiliary_scores: Logits of the auxiliary task, each (images, 1, H, W); None without one.
            batch_gt_instances: ``bboxes`` and ``labels`` of each image, which may be empty.
            batch_img_metas: Not used.
            batch_gt_instances_ignore: Crowd regions, handed to the assigner.

        Returns:
            ``loss_cls`` and ``loss_auxiliary``, divided by the number of positives, and ``loss_bbox``,
            weighted by the auxiliary task's target and divided by its sum (without such a task by the number
            of positives); all divisors are means over the GPUs. Float32 scalars.
        """
        outs = (cls_scores, bbox_preds, auxiliary_scores)
        batch = self.lay_out(outs, batch_gt_instances)
        targets = self.find_targets(outs, batch, batch_gt_instances, batch_gt_instances_ignore)
        return self._losses(outs, batch, targets)

    def lay_out(self, outs: Maps, batch_gt_instances: list[InstanceData]) -> Batch:
        """The batch laid out for the loss; arguments as for :meth:`loss_by_feat`."""
        device = outs[0][0].device
        layout = ScoreLayout.of(outs[0], self.cls_out_channels)
        anchors = grid_anchors(grid_levels(self.prior_generator, layout.sizes, device))
        return Batch(layout, anchors, flatten_levels(outs[1], 4), *collect(batch_gt_instances, device))

    @torch.no_grad()
    def find_targets(
        self,
        outs: Maps,
        batch: Batch,
        batch_gt_instances: list[InstanceData],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> Targets:
        """Targets from the assigner of ``train_cfg``, which looks at boxes alone."""
        settings = {}
        if isinstance(self.assigner, ATSSAssigner):
            settings = {"num_level_priors": batch.layout.anchors_of_levels}
        found, first = [], 0
        for image, instances in enumerate(batch_gt_instances):
            crowds = None if batch_gt_instances_ignore is None else batch_gt_instances_ignore[image]
            result = self.assigner.assign(
                InstanceData(priors=batch.anchors),
                gt_instances=instances,
                gt_instances_ignore=crowds,
                **settings,
            )
            found.append(torch.where(result.gt_inds > 0, result.gt_inds + first, result.gt_inds))
            first += len(instances)
        assigned = torch.cat(found)
        anchors = (assigned > 0).nonzero()[:, 0]
        return Targets(
            anchors=anchors,
            objects=assigned[anchors] - 1,
            positive=torch.ones_like(anchors, dtype=torch.bool),
            ignored=assigned < 0,
            sums=None,
        )

    def _losses(self, outs: Maps, batch: Batch, targets: Targets) -> dict[str, Tensor]:
        layout, count = batch.layout, len(batch.anchors)
        label, box = batch.labels[targets.objects], batch.boxes[targets.objects]
        image = targets.anchors.div(count, rounding_mode="floor")
        weights = None
        if targets.ignored is not None:
            kept = (~targets.ignored).float().view(layout.images, count)
            weights = list(kept.split(layout.anchors_of_levels, dim=1))
        alpha, gamma = self.loss_cls.alpha, self.loss_cls.gamma
        pairs = layout.pairs(image, targets.anchors % count, label)
        total, logits = background_focal(outs[0], pairs, gamma, weights, targets.sums)
        logits = logits.double()
        own = alpha * foreground_term(logits, gamma) - (1 - alpha) * background_term(logits, gamma)
        classification = (1 - alpha) * total + (own * targets.positive).sum()

        # What is not positive stays in, with weight 0: taking it out would make a GPU wait for the count.
        anchors = batch.anchors[targets.anchors % count]
        boxes = self.bbox_coder.decode(anchors, batch.deltas[targets.anchors])
        mask = targets.positive.float()
        quality = self._quality(boxes.detach(), anchors, box) * mask
        sums = reduce_mean(torch.stack([mask.sum(), quality.sum()]))
        number = sums[0].clamp(min=1)
        # mmdet's loss of no box has no gradient, which DistributedDataParallel would wait for.
        localisation = (
            self.loss_bbox(boxes, box, reduction_override="none") if len(boxes) else boxes.sum(dim=1)
        )
        localisation = torch.where(targets.positive, localisation, 0.0) * quality
        losses = dict(
            loss_cls=(self.loss_cls.loss_weight * classification / number).float(),
            loss_bbox=localisation.sum() / (number if self.auxiliary == "none" else _positive(sums[1])),
        )
        if outs[2] is not None:
            predicted = flatten_levels(outs[2], 1)[targets.anchors, 0]
            entropy = F.binary_cross_entropy_with_logits(predicted, quality, reduction="none") * mask
            losses["loss_auxiliary"] = self.loss_centerness.loss_weight * entropy.sum() / number
        return losses

    def _quality(self, boxes: Tensor, anchors: Tensor, objects: Tensor) -> Tensor:
        """Target of the auxiliary task and weight of the box loss, in [0, 1], shape (P,)."""
        if self.auxiliary == "iou":
            return bbox_overlaps(boxes, objects, is_aligned=True)
        if self.auxiliary == "centerness":
            return centerness(anchors, objects)
        return torch.ones(len(boxes), device=boxes.device)


def centerness(anchors: Tensor, objects: Tensor) -> Tensor:
    """How central an anchor's centre lies: sqrt(min/max of left and right x min/max of top and bottom).

    Args:
        anchors: Shape (P, 4), xyxy.
        objects: Shape (P, 4), xyxy.

    Returns:
        In [0, 1], shape (P,); 0 for a centre outside the object.
    """
    centre = (anchors[:, :2] + anchors[:, 2:]) / 2
    one, other = centre - objects[:, :2], objects[:, 2:] - centre
    near, far = torch.minimum(one, other).clamp(min=0), torch.maximum(one, other)
    return (near / far.clamp(min=1e-6)).prod(dim=1).sqrt()


def _positive(divisor: Tensor) -> Tensor:
    return divisor.clamp(min=torch.finfo(divisor.dtype).eps)
