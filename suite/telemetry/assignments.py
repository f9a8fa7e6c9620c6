"""Which anchors a detector matches to which object, in one form for every head."""

import functools
import inspect
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models.dense_heads import ATSSHead
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.task_modules.prior_generators import anchor_inside_flags
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor

from suite.detectors.anchor_bag_head import AnchorBagHead
from suite.detectors.bags import Bags
from suite.detectors.flatten import flatten_levels
from suite.detectors.focal import pick
from suite.detectors.grid import grid_anchors, grid_levels
from suite.detectors.ltm_af_head import LTMAFHead
from suite.detectors.one_anchor_head import Maps, OneAnchorHead
from suite.detectors.paa_head import BatchedPAAHead
from suite.detectors.ranking_heads import RankingRetinaHead
from suite.detectors.score_layout import ScoreLayout
from suite.errors import SuiteError

# Heads with another loss (PAA, FreeAnchor) match by it; an assigner at most finds their candidates.
_LOSSES_OF_ASSIGNED = (AnchorHead.loss_by_feat, ATSSHead.loss_by_feat)


@dataclass(frozen=True)
class Assignment:
    """How one image's n objects are matched to its anchors (or points).

    All tensors are detached and on the head's device. M is the size of the largest bag of the image.

    Attributes:
        members: Indices into the image's anchors of all levels, in the prior generator's order, shape (n, M),
            int64; 0 where ``valid`` is False.
        confidence: How surely a member is matched, in [0, 1], shape (n, M): phi+ = P_cls x P_loc in a bag of
            FreeAnchor, LTM and LTM-AF; the posterior of the foreground component for PAA; 1 for a positive
            of a fixed assigner.
        positive: Shape (n, M), bool; False on padding. In a bag whose members are all matched to some degree,
            a member is positive if its phi+ is at least half of the bag's highest one.
        valid: Shape (n, M), bool; False on padding.
        iou: IoU of the member's predicted box with the object, in [0, 1], shape (n, M).
    """

    members: Tensor
    confidence: Tensor
    positive: Tensor
    valid: Tensor
    iou: Tensor


@functools.singledispatch
def assignments(
    head: BaseDenseHead,
    outs: tuple[list[Tensor], ...],
    batch_gt_instances: list[InstanceData],
    batch_img_metas: list[dict[str, Any]],
) -> list[Assignment]:
    """How ``head`` would match the objects of a batch if it trained on it now.

    The suite's own heads are known, and mmdet's heads that train on what an assigner gives them (RetinaHead,
    ATSSHead): of those the assigner is asked; the members of an object are then its positives. Crowd regions
    are not handed to it. For a head of your own, register a function with the same arguments,
    ``@assignments.register(YourHead)``, in a module apart from the head's: what is written here trains
    nothing.

    Args:
        head: A dense head with its ``train_cfg``.
        outs: What its ``forward`` gave for the batch.
        batch_gt_instances: ``bboxes`` (tensors, xyxy in pixels of the network's input) and ``labels`` of each
            image; may be empty.
        batch_img_metas: ``img_shape`` and ``pad_shape`` of each image.

    Returns:
        One for each image.

    Raises:
        SuiteError: The head is not known, and does not train on an assigner's result.
    """
    raise SuiteError(
        f"{type(head).__name__}: cannot tell which anchors it matches to an object.",
        "Register a function for it, see suite.telemetry.assignments.",
    )


def has_assignments(head: BaseDenseHead) -> bool:
    """Whether :func:`assignments` knows how ``head`` matches anchors to objects."""
    known = assignments.dispatch(type(head))
    if known is _of_assigner:
        return getattr(head, "assigner", None) is not None and type(head).loss_by_feat in _LOSSES_OF_ASSIGNED
    return known is not assignments.dispatch(object)


@assignments.register(AnchorHead)
@torch.no_grad()
def _of_assigner(
    head: Any,
    outs: tuple[list[Tensor], ...],
    batch_gt_instances: list[InstanceData],
    batch_img_metas: list[dict[str, Any]],
) -> list[Assignment]:
    if not has_assignments(head):
        return assignments.dispatch(object)(head, outs, batch_gt_instances, batch_img_metas)
    cls_scores, bbox_preds = outs[:2]
    sizes = [score.shape[-2:] for score in cls_scores]
    anchors, valid = head.get_anchors(sizes, batch_img_metas, device=cls_scores[0].device)
    result = []
    for image, (gt_instances, meta) in enumerate(zip(batch_gt_instances, batch_img_metas, strict=True)):
        levels = anchors[image]
        # As in training: an assigner sees the anchors within the padded image and the allowed border alone.
        inside = anchor_inside_flags(
            torch.cat(levels), torch.cat(valid[image]), meta["img_shape"], head.train_cfg["allowed_border"]
        )
        counts = [int(part.sum()) for part in inside.split([len(level) for level in levels])]
        owner = torch.full_like(inside, -1, dtype=torch.long)
        owner[inside] = _owners(head.assigner, torch.cat(levels)[inside], counts, gt_instances)
        predicted = torch.cat([level[image].permute(1, 2, 0).reshape(-1, 4) for level in bbox_preds])
        result.append(positives_of(head, owner, torch.cat(levels), predicted.float(), gt_instances.bboxes))
    return result


@assignments.register(AnchorBagHead)
@torch.no_grad()
def _of_anchor_bags(
    head: AnchorBagHead,
    outs: tuple[list[Tensor], ...],
    batch_gt_instances: list[InstanceData],
    batch_img_metas: list[dict[str, Any]],
) -> list[Assignment]:
    cls_scores, bbox_preds = outs
    matched = head.match(cls_scores, bbox_preds, batch_gt_instances)
    return bag_assignments(cls_scores, matched.layout, matched.bags, matched.localisation, matched.iou)


@assignments.register(LTMAFHead)
@torch.no_grad()
def _of_point_bags(
    head: LTMAFHead,
    outs: tuple[list[Tensor], ...],
    batch_gt_instances: list[InstanceData],
    batch_img_metas: list[dict[str, Any]],
) -> list[Assignment]:
    cls_scores, bbox_preds = outs
    return bag_assignments(cls_scores, *head.match(cls_scores, bbox_preds, batch_gt_instances))


@assignments.register(OneAnchorHead)
@torch.no_grad()
def _of_one_anchor(
    head: OneAnchorHead,
    outs: Maps,
    batch_gt_instances: list[InstanceData],
    batch_img_metas: list[dict[str, Any]],
) -> list[Assignment]:
    batch = head.lay_out(outs, batch_gt_instances)
    targets = head.find_targets(outs, batch, batch_gt_instances)
    count = len(batch.anchors)
    owner = torch.full((batch.layout.images * count,), -1, device=batch.deltas.device)
    owner[targets.anchors] = targets.objects
    found, first = [], 0
    for image, instances in enumerate(batch_gt_instances):
        own = slice(image * count, (image + 1) * count)
        found.append(
            positives_of(head, owner[own] - first, batch.anchors, batch.deltas[own], instances.bboxes)
        )
        first += len(instances)
    return found


@assignments.register(BatchedPAAHead)
@torch.no_grad()
def _of_paa(
    head: BatchedPAAHead,
    outs: Maps,
    batch_gt_instances: list[InstanceData],
    batch_img_metas: list[dict[str, Any]],
) -> list[Assignment]:
    """The candidates of each object, and how surely each belongs to the foreground component."""
    batch = head.lay_out(outs, batch_gt_instances)
    found = head.separate_candidates(outs[0], batch, batch_gt_instances)
    anchors = found.anchors % len(batch.anchors)
    predicted = head.bbox_coder.decode(
        batch.anchors[anchors.flatten()], batch.deltas[found.anchors.flatten()]
    ).view(*anchors.shape, 4)
    iou = bbox_overlaps(predicted, batch.boxes[:, None].expand_as(predicted), is_aligned=True)
    return [
        Assignment(*(part[own] for part in (anchors, found.confidence, found.positive, found.exists, iou)))
        for own in (batch.images == image for image in range(batch.layout.images))
    ]


@assignments.register(RankingRetinaHead)
@torch.no_grad()
def _of_ranked_anchors(
    head: RankingRetinaHead,
    outs: tuple[list[Tensor], ...],
    batch_gt_instances: list[InstanceData],
    batch_img_metas: list[dict[str, Any]],
) -> list[Assignment]:
    cls_scores, bbox_preds = outs
    layout = ScoreLayout.of(cls_scores, head.cls_out_channels)
    batch = head.ranked(cls_scores, bbox_preds, batch_gt_instances)
    anchors = grid_anchors(grid_levels(head.prior_generator, layout.sizes, cls_scores[0].device))
    owner = torch.full((layout.images * len(anchors),), -1, device=anchors.device)
    assert batch.objects is not None  # RankingRetinaHead knows them
    owner[batch.owners] = batch.objects
    encoded = flatten_levels(bbox_preds, 4).view(layout.images, -1, 4)
    found, first = [], 0
    for image, instances in enumerate(batch_gt_instances):
        own = owner.view(layout.images, -1)[image] - first
        found.append(positives_of(head, own, anchors, encoded[image], instances.bboxes))
        first += len(instances)
    return found


def bag_assignments(
    cls_scores: list[Tensor], layout: ScoreLayout, bags: Bags, localisation_loss: Tensor, iou: Tensor
) -> list[Assignment]:
    """How surely each member of a bag is matched: phi+ = P_cls x P_loc.

    Positive are the members whose phi+ is at least half of the highest one of their bag.

    Args:
        cls_scores: Logits per level, each (images, anchors per location x classes, H, W).
        layout: Their layout.
        bags: The bags of the batch's objects.
        localisation_loss: Weighted localisation loss of each member, shape (n, K), >= 0.
        iou: IoU of each member's predicted box with its object, shape (n, K).

    Returns:
        One for each image of the batch.
    """
    logits = pick(cls_scores, torch.where(bags.valid, bags.pairs(layout), 0))
    confidence = torch.sigmoid(logits) * torch.exp(-localisation_loss) * bags.valid
    positive = bags.valid & (confidence >= confidence.amax(dim=1, keepdim=True) / 2)
    return [
        Assignment(bags.members[own], confidence[own], positive[own], bags.valid[own], iou[own])
        for own in (bags.images == image for image in range(layout.images))
    ]


def _owners(assigner: Any, priors: Tensor, levels: list[int], gt_instances: InstanceData) -> Tensor:
    """Index of the object of each of the priors (P, 4), -1 or less for none, shape (P,)."""
    arguments: dict[str, Any] = {}
    if "num_level_priors" in inspect.signature(assigner.assign).parameters:
        arguments["num_level_priors"] = levels
    result = assigner.assign(
        pred_instances=InstanceData(priors=priors), gt_instances=gt_instances, **arguments
    )
    return result.gt_inds - 1


def positives_of(
    head: BaseDenseHead, owner: Tensor, anchors: Tensor, predicted: Tensor, gt_bboxes: Tensor
) -> Assignment:
    """The assignment of an image whose anchors belong to one object each, or to none, with confidence 1.

    Args:
        head: Its ``bbox_coder`` decodes.
        owner: Index of each anchor's object, negative for none, shape (A,), int64.
        anchors: Shape (A, 4).
        predicted: Encoded boxes, shape (A, 4), float32.
        gt_bboxes: The objects, xyxy, shape (n, 4).
    """
    positives = (owner >= 0).nonzero().flatten()
    positives = positives[owner[positives].argsort(stable=True)]
    row = owner[positives]
    counts = torch.bincount(row, minlength=len(gt_bboxes))
    column = torch.arange(len(row), device=row.device) - (counts.cumsum(dim=0) - counts)[row]
    shape = (len(gt_bboxes), int(counts.max()) if len(counts) else 0)

    boxes = head.bbox_coder.decode(anchors[positives], predicted[positives])
    members = row.new_zeros(shape)
    members[row, column] = positives
    valid = torch.zeros(shape, dtype=torch.bool, device=row.device)
    valid[row, column] = True
    iou = predicted.new_zeros(shape)
    iou[row, column] = bbox_overlaps(boxes, gt_bboxes.float()[row], is_aligned=True)
    return Assignment(members, valid.float(), valid.clone(), valid, iou)
