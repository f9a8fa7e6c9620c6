"""What a head predicts for one object's anchors: the boxes, scores and mixtures behind its matching."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmdet.models.task_modules.prior_generators import MlvlPointGenerator
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor

from suite.detectors.flatten import flatten_levels
from suite.detectors.focal import background_sums
from suite.detectors.gaussian_mixture import Mixtures, fit_mixtures
from suite.detectors.paa_head import BatchedPAAHead
from suite.telemetry.assignments import Assignment

SURROUNDINGS = 50
"""Anchors around an object: as many as FreeAnchor's bag holds, the largest of the published ones."""

_SMOOTH_L1_BETA = 0.11
_WITHOUT_MIXTURE = ("fixed_number", "fixed_score")


@dataclass(frozen=True)
class Surroundings:
    """The K anchors of highest IoU with an object, by falling IoU, and what the head predicts there.

    Heads with the same anchors have the same surroundings, matched or not, so that methods can be compared.
    The first n of them are FreeAnchor's or LTM's bag of n, ties aside.

    Attributes:
        anchors: Shape (K, 4), xyxy in pixels of the network's input.
        predicted: Decoded boxes, shape (K, 4).
        class_score: P_cls, the score of the object's class, in [0, 1], shape (K,).
        localisation_loss: Smooth L1 loss (beta 0.11) of the predicted box, summed over the four deltas with
            standard deviations 0.1, 0.1, 0.2, 0.2 as FreeAnchor and LTM encode them, shape (K,). P_loc =
            exp(-beta x it) with beta 0.75 in FreeAnchor (exactly its confidence) and 0.5 in LTM (whose
            smooth L1 loss has 1/9 for 0.11).
    """

    anchors: Tensor
    predicted: Tensor
    class_score: Tensor
    localisation_loss: Tensor


@dataclass(frozen=True)
class Explanation:
    """What is behind the matching of one object.

    Attributes:
        predicted: Decoded box of each member of the bag, shape (m, 4), xyxy in pixels of the network's input.
        surroundings: What is around it; None for a head of points.
        losses: Loss of each member, -log of its anchor score (PAA, Eq. 2), shape (m,); None for other heads.
        mixture: The mixture fitted to the losses; None for other heads and schemes without one.
    """

    predicted: Tensor
    surroundings: Surroundings | None
    losses: Tensor | None
    mixture: Mixtures | None

    def record(self) -> dict[str, Any]:
        """The same as values that JSON holds; absent what is None."""
        found: dict[str, Any] = {"predicted": rounded_boxes(self.predicted)}
        if self.surroundings is not None:
            around = self.surroundings
            found["around"] = {
                "anchors": rounded_boxes(around.anchors),
                "predicted": rounded_boxes(around.predicted),
                "class_score": significant(around.class_score),
                "localisation_loss": significant(around.localisation_loss),
            }
        if self.losses is not None:
            found["losses"] = significant(self.losses, 6)
        if self.mixture is not None:
            parts = ("weights", "means", "variances")
            found["mixture"] = {part: significant(getattr(self.mixture, part)[0], 6) for part in parts}
        return found


@torch.no_grad()
def explain(
    head: BaseDenseHead,
    outs: tuple[list[Tensor], ...],
    batch_gt_instances: Sequence[InstanceData],
    found: Sequence[Assignment],
    rows: Sequence[int | None],
) -> list[Explanation | None]:
    """Explain the matching of at most one object of each image of a batch.

    Args:
        head: A head with sigmoid scores, one ``prior_generator`` and one ``bbox_coder``.
        outs: What its ``forward`` gave for the batch.
        batch_gt_instances: ``bboxes`` (xyxy in pixels of the network's input) and ``labels`` of each image.
        found: How the head matches each image.
        rows: Index of the object of each image, or None for an image without.

    Returns:
        One for each image; None where there is no object.
    """
    sizes = [score.shape[-2:] for score in outs[0]]
    priors = torch.cat(head.prior_generator.grid_priors(sizes, device=outs[0][0].device))
    deltas = flatten_levels(outs[1], 4).view(len(found), len(priors), 4)
    losses = _anchor_losses(head, outs, list(batch_gt_instances))
    explanations: list[Explanation | None] = []
    for image, (gt_instances, assignment, row) in enumerate(
        zip(batch_gt_instances, found, rows, strict=True)
    ):
        if row is None:
            explanations.append(None)
            continue
        members = assignment.members[row][assignment.valid[row]]
        predicted = head.bbox_coder.decode(priors[members], deltas[image, members])
        around = None
        if not isinstance(head.prior_generator, MlvlPointGenerator):
            box, label = gt_instances.bboxes[row : row + 1].float(), int(gt_instances.labels[row])
            around = _surroundings(head, outs[0], image, priors, deltas[image], box, label)
        own = None if losses is None else losses[image, members]
        explanations.append(Explanation(predicted, around, own, _mixture(head, own)))
    return explanations


def prior_boxes(head: BaseDenseHead, cls_scores: list[Tensor]) -> Tensor:
    """The anchors of an image, or the squares of stride size around its points, xyxy, shape (A, 4)."""
    sizes = [score.shape[-2:] for score in cls_scores]
    device = cls_scores[0].device
    if not isinstance(head.prior_generator, MlvlPointGenerator):
        return torch.cat(head.prior_generator.grid_priors(sizes, device=device))
    points = torch.cat(head.prior_generator.grid_priors(sizes, device=device, with_stride=True))
    return torch.cat([points[:, :2] - points[:, 2:] / 2, points[:, :2] + points[:, 2:] / 2], dim=1)


def _surroundings(
    head: Any, cls_scores: list[Tensor], image: int, priors: Tensor, deltas: Tensor, box: Tensor, label: int
) -> Surroundings:
    overlap = bbox_overlaps(box, priors)[0]
    nearest = overlap.sort(descending=True, stable=True).indices[:SURROUNDINGS]
    anchors = priors[nearest]
    predicted = head.bbox_coder.decode(anchors, deltas[nearest])
    own = [level[image : image + 1] for level in cls_scores]
    logits = flatten_levels(own, head.cls_out_channels)[nearest, label]
    # Encoded in one way for all heads, whatever deltas they predict.
    coder = DeltaXYWHBBoxCoder(target_stds=(0.1, 0.1, 0.2, 0.2))
    encoded = coder.encode(anchors, predicted.clone())
    target = coder.encode(anchors, box.expand_as(anchors))
    loss = F.smooth_l1_loss(encoded, target, reduction="none", beta=_SMOOTH_L1_BETA).sum(dim=1)
    return Surroundings(anchors, predicted, logits.sigmoid(), loss)


def _anchor_losses(head: Any, outs: Any, instances: list[InstanceData]) -> Tensor | None:
    """Loss of each anchor against the object whose candidate it may be, shape (images, A); PAA alone."""
    if not isinstance(head, BatchedPAAHead):
        return None
    batch = head.lay_out(outs, instances)
    owner = head.nearest_objects(batch, [len(own) for own in instances])
    sums = background_sums(outs[0], head.loss_cls.gamma)
    return head.anchor_losses(outs[0], batch, owner, sums).view(len(instances), -1)


def _mixture(head: Any, losses: Tensor | None) -> Mixtures | None:
    if losses is None or not len(losses) or head.separation in _WITHOUT_MIXTURE:
        return None
    return fit_mixtures(losses[None], torch.ones_like(losses, dtype=torch.bool)[None])


def rounded_boxes(boxes: Tensor) -> list[list[float | None]]:
    """Boxes (m, 4) to a tenth of a pixel; None for a side that JSON has no number for."""
    return [[round(side, 1) if math.isfinite(side) else None for side in box] for box in boxes.tolist()]


def significant(values: Tensor, digits: int = 4) -> list[float | None]:
    """Values (m,) to so many significant digits; None for one that JSON has no number for."""
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in values.tolist()]
