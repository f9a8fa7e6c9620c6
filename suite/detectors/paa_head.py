"""The head of PAA (Probabilistic Anchor Assignment with IoU Prediction for Object Detection, ECCV 2020)."""

from typing import Any

import torch
from mmdet.models.dense_heads import PAAHead
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmdet.utils import reduce_mean
from mmengine.structures import InstanceData
from torch import Tensor

from suite.detectors.flatten import flatten_levels
from suite.detectors.gaussian_mixture import fit_mixtures
from suite.errors import SuiteError

# Keeps the weight of a box without overlap positive, so that it still has a gradient; mmdet's value.
_SMALLEST_IOU = 1e-12


@MODELS.register_module()
class BatchedPAAHead(PAAHead):
    """mmdet's PAA head, with the mixtures of all objects of a batch fitted at once on their device.

    Assigns and normalises as the authors' code where mmdet does not: the weight of the localisation loss in a
    candidate's score is an option of its own; positive is every candidate up to the peak, of whichever
    component; an object with a single candidate has it as a positive; and the losses are normalised by means
    over all GPUs. Prediction is mmdet's.

    Args:
        topk: K, candidates of an object on each level.
        scoring_weight: Of the localisation loss against the classification loss in a candidate's score;
            1 in the authors' code, 1.3 (that of the loss itself) in mmdet.
        kwargs: PAAHead's.

    Raises:
        SuiteError: ``topk`` is below 1 or ``scoring_weight`` negative.
    """

    def __init__(self, *args: Any, topk: int = 9, scoring_weight: float = 1.0, **kwargs: Any) -> None:
        if topk < 1:
            raise SuiteError(f"model.bbox_head.topk: expected at least 1, found {topk}.")
        if scoring_weight < 0:
            raise SuiteError(f"model.bbox_head.scoring_weight: expected at least 0, found {scoring_weight}.")
        super().__init__(*args, topk=topk, **kwargs)
        self.scoring_weight = scoring_weight

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        iou_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict[str, Any]],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of a batch, in float32.

        Args:
            cls_scores: Logits a level, each (images, classes, H, W).
            bbox_preds: Encoded boxes a level, each (images, 4, H, W).
            iou_preds: Logits of the predicted IoU a level, each (images, 1, H, W).
            batch_gt_instances: ``bboxes`` and ``labels`` of each image; may be empty.
            batch_img_metas: ``pad_shape`` of each image.
            batch_gt_instances_ignore: Passed to the assigner of ``train_cfg``.

        Returns:
            ``loss_cls`` and ``loss_iou``, divided by the number of positives, and ``loss_bbox``, weighted by
            the positives' IoU and divided by its sum; both divisors are means over the GPUs.
        """
        sizes = [score.shape[-2:] for score in cls_scores]
        anchor_list, valid = self.get_anchors(sizes, batch_img_metas, device=cls_scores[0].device)
        labels, label_weights, targets, _, matched, objects = self.get_targets(
            anchor_list, valid, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore
        )
        levels = [len(level) for level in anchor_list[0]]
        anchors = torch.cat([torch.cat(image) for image in anchor_list])
        label = torch.cat(labels)
        target = torch.cat(targets)
        logits = flatten_levels(cls_scores, self.cls_out_channels)
        deltas = flatten_levels(bbox_preds, 4)

        initial = torch.cat([index + image * sum(levels) for image, index in enumerate(matched)])
        with torch.no_grad():
            score = self._candidate_losses(
                logits[initial], deltas[initial], anchors[initial], label[initial], target[initial]
            )
            chosen = choose_positives(
                score,
                _count_on(objects, [len(instances) for instances in batch_gt_instances]),
                _level_of(initial % sum(levels), levels),
                self.topk,
                len(levels),
                sum(len(instances) for instances in batch_gt_instances),
            )
            label[initial[~chosen]] = self.num_classes
        positive = initial[chosen]

        boxes = self.bbox_coder.decode(anchors[positive], deltas[positive])
        iou = bbox_overlaps(boxes.detach(), target[positive], is_aligned=True)
        sums = reduce_mean(torch.stack([iou.new_tensor(len(positive)), iou.sum()]))
        count = sums[0].clamp(min=1)
        return dict(
            loss_cls=self.loss_cls(logits, label, torch.cat(label_weights), avg_factor=count),
            loss_bbox=self.loss_bbox(
                boxes, target[positive], iou.clamp(min=_SMALLEST_IOU), avg_factor=sums[1]
            ),
            loss_iou=self.loss_centerness(
                flatten_levels(iou_preds, 1)[positive], iou[:, None], avg_factor=count
            ),
        )

    def _candidate_losses(
        self, logits: Tensor, deltas: Tensor, anchors: Tensor, labels: Tensor, targets: Tensor
    ) -> Tensor:
        """Classification plus weighted localisation loss of each anchor against its object, shape (P,)."""
        classification = self.loss_cls(logits, labels, reduction_override="none").sum(dim=-1)
        boxes = self.bbox_coder.decode(anchors, deltas)
        localisation = self.loss_bbox(boxes, targets, reduction_override="none")
        return classification + self.scoring_weight / self.loss_bbox.loss_weight * localisation


@torch.no_grad()
def choose_positives(
    losses: Tensor, objects: Tensor, levels: Tensor, topk: int, n_levels: int, n_objects: int
) -> Tensor:
    """Which of the anchors that belong to an object are its positives.

    The candidates of an object are the ``topk`` anchors of lowest loss on each level. A mixture of two
    Gaussians is fitted to their losses; positive are those up to the likeliest candidate, under the mixture,
    of the component of low loss: separation (c) of the paper's Fig. 3, the authors' choice since August 2020.
    Where no candidate is likelier in that component, all are positive.

    Args:
        losses: Shape (P,).
        objects: Object of each anchor, in [0, n_objects), shape (P,).
        levels: Level of each anchor, in [0, n_levels), shape (P,).
        topk: Candidates a level, >= 1.
        n_levels: Levels of the pyramid.
        n_objects: Objects of the batch; some may have no anchor.

    Returns:
        Shape (P,), bool.
    """
    by_loss = losses.argsort(stable=True)
    order = by_loss[(objects * n_levels + levels)[by_loss].argsort(stable=True)]
    group = (objects * n_levels + levels)[order]
    candidates = order[_rank(group, n_objects * n_levels) < topk]
    # Of each object, all levels together, again by rising loss.
    candidates = candidates[losses[candidates].argsort(stable=True)]
    candidates = candidates[objects[candidates].argsort(stable=True)]
    row = objects[candidates]
    column = _rank(row, n_objects)

    values = losses.new_zeros((n_objects, topk * n_levels), dtype=torch.float64)
    values[row, column] = losses[candidates].double()
    valid = torch.zeros_like(values, dtype=torch.bool)
    valid[row, column] = True
    low, high = fit_mixtures(values, valid).log_densities(values).unbind(dim=1)
    foreground = (low >= high) & valid
    density = torch.logaddexp(low, high).masked_fill(~foreground, -torch.inf)
    last = torch.where(foreground.any(dim=1), density.argmax(dim=1), topk * n_levels)
    chosen = torch.zeros_like(losses, dtype=torch.bool)
    chosen[candidates] = column <= last[row]
    return chosen


def _rank(group: Tensor, n_groups: int) -> Tensor:
    """Position of each element within its group, for sorted group indices of shape (P,)."""
    sizes = torch.bincount(group, minlength=n_groups)
    starts = sizes.cumsum(dim=0) - sizes
    return torch.arange(len(group), device=group.device) - starts[group]


def _count_on(objects: list[Tensor], counts: list[int]) -> Tensor:
    """Indices into the objects of each image as indices into those of the batch, shape (P,)."""
    offsets = [sum(counts[:image]) for image in range(len(counts))]
    return torch.cat([index + offset for index, offset in zip(objects, offsets, strict=True)])


def _level_of(anchors: Tensor, levels: list[int]) -> Tensor:
    """Level of each anchor index of an image whose levels hold so many anchors, shape (P,)."""
    ends = torch.tensor(levels, device=anchors.device).cumsum(dim=0)
    return torch.bucketize(anchors, ends, right=True)
