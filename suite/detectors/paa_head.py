"""The head of PAA (Probabilistic Anchor Assignment with IoU Prediction for Object Detection, ECCV 2020)."""

from dataclasses import dataclass
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from suite.detectors.devices import asynchronous
from suite.detectors.focal import background_sums, background_term, foreground_term, pick
from suite.detectors.grid import grid_levels
from suite.detectors.iou_matching import match_on_grid
from suite.detectors.one_anchor_head import Batch, Maps, OneAnchorHead, Targets
from suite.detectors.score_layout import ScoreLayout
from suite.detectors.separation import separate
from suite.limits import check_fields

_CANDIDATE_IOU = 0.1


@dataclass(frozen=True)
class Candidates:
    """Candidates of the objects by rising loss, image x A + index, shape (n, m), and what became of them."""

    anchors: Tensor
    exists: Tensor
    positive: Tensor
    ignored: Tensor
    confidence: Tensor
    sums: list[Tensor]


@MODELS.register_module()
class BatchedPAAHead(OneAnchorHead):
    """The head of ATSS, trained on positives that a mixture of two Gaussians chooses by the model's losses.

    Follows the released code, with the mixtures of all objects of a batch fitted at once on their device: no
    copy to the CPU, no loop over objects.

    Args:
        topk: K, candidates of an object on each level.
        scoring_weight: lambda, weight of the localisation loss against the classification loss in a
            candidate's score; 1 in the released code (mmdet: 1.3, that of the loss itself).
        separation: How candidates become positives; see :func:`~suite.detectors.separation.separate`.
        fixed_number: Positives of an object, for ``separation="fixed_number"``.
        fixed_score: Lowest anchor score of a positive, for ``separation="fixed_score"``.
        kwargs: OneAnchorHead's; ``auxiliary`` defaults to ``iou``, and ``loss_bbox`` has a weight above 0.

    Raises:
        SuiteError: An option is out of range.
    """

    def __init__(
        self,
        *args: Any,
        topk: int = 9,
        scoring_weight: float = 1.0,
        separation: str = "c",
        fixed_number: int = 10,
        fixed_score: float = 0.1,
        auxiliary: str = "iou",
        **kwargs: Any,
    ) -> None:
        fields = {
            "topk": topk, "scoring_weight": scoring_weight, "separation": separation,
            "fixed_number": fixed_number, "fixed_score": fixed_score,
        }  # fmt: skip
        check_fields({**fields, **kwargs}, "model.bbox_head")
        super().__init__(*args, auxiliary=auxiliary, **kwargs)
        self.topk = topk
        self.scoring_weight = scoring_weight
        self.separation = separation
        self.fixed_number = fixed_number
        self.fixed_score = fixed_score

    @torch.no_grad()
    def find_targets(
        self,
        outs: Maps,
        batch: Batch,
        batch_gt_instances: list[InstanceData],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> Targets:
        """Targets from the losses of this batch; crowd regions count as background, as in the released code.

        All shapes depend on the numbers of anchors and objects alone, so that a GPU never waits for one.
        """
        found = self.separate_candidates(outs[0], batch, batch_gt_instances)
        ignored = None
        if self.separation in ("b", "d", "e"):
            flags = torch.zeros(len(batch.deltas) + 1, dtype=torch.bool, device=batch.deltas.device)
            # What is not ignored goes to a place behind the anchors.
            flags[torch.where(found.ignored, found.anchors, len(batch.deltas))] = True
            ignored = flags[:-1]
        rows = torch.arange(len(found.anchors), device=found.anchors.device)
        objects = rows[:, None].expand_as(found.anchors)
        anchors, positive = found.anchors, found.positive
        if not asynchronous(anchors):
            anchors, objects, positive = anchors[positive], objects[positive], positive[positive]
        return Targets(anchors.flatten(), objects.flatten(), positive.flatten(), ignored, found.sums)

    def separate_candidates(
        self, cls_scores: list[Tensor], batch: Batch, batch_gt_instances: list[InstanceData]
    ) -> Candidates:
        """The candidates of each object and what becomes of them; arguments as :meth:`find_targets`."""
        sums = background_sums(cls_scores, self.loss_cls.gamma)
        owner = self.nearest_objects(batch, [len(instances) for instances in batch_gt_instances])
        losses = self.anchor_losses(cls_scores, batch, owner, sums)
        anchors = choose_candidates(losses, owner, batch.layout, len(batch.labels), self.topk)
        exists, anchors = anchors >= 0, anchors.clamp(min=0)
        rising, order = torch.where(exists, losses[anchors], torch.inf).sort(dim=1, stable=True)
        anchors, exists = anchors.gather(1, order), exists.gather(1, order)
        separated = separate(
            torch.where(exists, rising, 0.0),
            exists,
            self.separation,
            self.fixed_number,
            self.fixed_score,
        )
        return Candidates(anchors, exists, *separated, sums)

    def nearest_objects(self, batch: Batch, counts: list[int]) -> Tensor:
        """The object whose candidate an anchor may be, by IoU; -1 for none; shape (images x A,)."""
        levels = grid_levels(self.prior_generator, batch.layout.sizes, batch.boxes.device)
        owners, first = [], 0
        for boxes in batch.boxes.split(counts):
            owner = match_on_grid(levels, boxes, _CANDIDATE_IOU)
            owners.append(torch.where(owner >= 0, owner + first, -1))
            first += len(boxes)
        return torch.cat(owners)

    def anchor_losses(
        self, cls_scores: list[Tensor], batch: Batch, owner: Tensor, sums: list[Tensor]
    ) -> Tensor:
        """Loss of each anchor against its object, -log of the anchor score (Eq. 2).

        Returns:
            Focal loss over all classes plus lambda x (1 - GIoU), (images x A,); without meaning for anchors
            of no object.
        """
        layout, count = batch.layout, len(batch.anchors)
        if not len(batch.labels):
            return batch.deltas.new_zeros(len(owner))
        index = torch.arange(len(owner), device=owner.device)
        image, anchor = index.div(count, rounding_mode="floor"), index % count
        own = owner.clamp(min=0)
        logits = pick(cls_scores, layout.pairs(image, anchor, batch.labels[own]))
        alpha, gamma = self.loss_cls.alpha, self.loss_cls.gamma
        others = torch.cat(sums, dim=1).flatten() - background_term(logits, gamma)
        classification = alpha * foreground_term(logits, gamma) + (1 - alpha) * others
        boxes = self.bbox_coder.decode(batch.anchors.repeat(layout.images, 1), batch.deltas)
        giou = self.loss_bbox(boxes, batch.boxes[own], reduction_override="none")
        return classification + self.scoring_weight / self.loss_bbox.loss_weight * giou


def choose_candidates(
    losses: Tensor, owner: Tensor, layout: ScoreLayout, n_objects: int, topk: int
) -> Tensor:
    """The anchors of lowest loss of each object on each level.

    Args:
        losses: Shape (images x A,).
        owner: Object of each anchor, -1 for none, shape (images x A,).
        layout: Layout of the anchors.
        n_objects: n, objects of the batch.
        topk: K, of each level.

    Returns:
        Indices into the anchors, or -1, shape (n, levels x K).
    """
    levels = len(layout.sizes)
    groups = n_objects * levels
    index = torch.arange(len(owner), device=owner.device)
    level = layout.level_of(index % layout.anchors)
    group = torch.where(owner >= 0, owner * levels + level, groups).int()
    by_loss = losses.argsort(stable=True)
    sorted_group, order = group[by_loss].sort(stable=True)
    rank = index - torch.searchsorted(sorted_group, sorted_group)
    wanted = (rank < topk) & (sorted_group < groups)
    # What is not wanted goes to a place behind the table.
    place = torch.where(wanted, sorted_group * topk + rank, groups * topk)
    table = torch.full((groups * topk + 1,), -1, device=owner.device)
    table[place] = by_loss[order]
    return table[:-1].view(n_objects, levels * topk)
