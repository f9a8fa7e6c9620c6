"""How a detector ranks its positives, and how well the score of a positive tells the quality of its box."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmengine.structures import InstanceData
from torch import Tensor

from suite.detectors.alrp_loss import ALRPLoss, APLoss
from suite.detectors.focal import pick
from suite.detectors.ranking_losses import alrp
from suite.detectors.score_layout import ScoreLayout
from suite.telemetry.assignments import Assignment

_QUANTILES = {"median": 0.5, "p90": 0.9, "largest": 1.0}


@torch.no_grad()
def ranking_record(
    head: BaseDenseHead,
    outs: tuple[list[Tensor], ...],
    batch_gt_instances: list[InstanceData],
    found: list[Assignment],
) -> dict[str, Any]:
    """Numbers of one batch about the scores of its positives.

    Args:
        head: A dense head.
        outs: What its ``forward`` gave for the batch.
        batch_gt_instances: ``labels`` of each image.
        found: The assignment of each image.

    Returns:
        Nothing for a head that does not say how many classes its logits are of. Else ``quality``: over the
        positives the mean of their own class's ``score``, the mean ``iou`` of their boxes with their
        objects, and Spearman's ``correlation`` of the two; None with fewer than two. Of a head with a
        ranking loss also ``ranking``: number of ``positives``; the ``ranks`` (median, 90 % quantile,
        largest) of the positives among all logits of the batch; ``negatives_above``, the share of negatives
        whose logit is above the lowest positive's; and ``self_balance``, the localisation term's weight now.
    """
    if not hasattr(head, "cls_out_channels"):
        return {}
    maps = outs[0]
    layout = ScoreLayout.of(maps, head.cls_out_channels)
    pairs, overlaps = [], []
    for image, (own, instances) in enumerate(zip(found, batch_gt_instances, strict=True)):
        row, column = own.positive.nonzero(as_tuple=True)
        pairs.append(
            layout.pairs(torch.full_like(row, image), own.members[row, column], instances.labels[row])
        )
        overlaps.append(own.iou[row, column])
    places, iou = torch.cat(pairs), torch.cat(overlaps)
    logits = pick(maps, places)
    record: dict[str, Any] = {"quality": quality(logits.sigmoid(), iou)}
    loss = getattr(head, "loss_cls", None)
    if isinstance(loss, (ALRPLoss, APLoss)):
        record["ranking"] = _ranking(loss, maps, places, logits)
    return record


def mean_record(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of each number over the records that have it, in a mapping of their form."""
    mean: dict[str, Any] = {}
    for name in records[0] if records else ():
        values = [record[name] for record in records if record[name] is not None]
        if values and isinstance(values[0], Mapping):
            mean[name] = mean_record(values)
        else:
            mean[name] = float(f"{sum(values) / len(values):.5g}") if values else None
    return mean


def quality(scores: Tensor, iou: Tensor) -> dict[str, float] | None:
    """Means of scores and IoUs, shape (m,) each, and their rank correlation.

    None for fewer than two, and for those of a diverged detector, which are not finite.
    """
    if len(scores) < 2 or not torch.isfinite(scores + iou).all():
        return None
    both = torch.stack([_mid_ranks(scores), _mid_ranks(iou)])
    correlation = float(torch.corrcoef(both)[0, 1])
    return {
        "score": round(float(scores.mean()), 4),
        "iou": round(float(iou.mean()), 4),
        # Equal values on one side have none.
        "correlation": round(correlation, 4) if correlation == correlation else 0.0,
    }


def _mid_ranks(values: Tensor) -> Tensor:
    """Rank of each value, equal ones sharing their mean rank, float64."""
    ordered = values.sort().values
    low, high = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
    return (low + high).double() / 2


def _ranking(loss: Any, maps: list[Tensor], places: Tensor, logits: Tensor) -> dict[str, Any]:
    numbers: dict[str, Any] = {"positives": len(places), "ranks": None, "negatives_above": None}
    if len(places) and torch.isfinite(logits).all():
        ranks = alrp(maps, places, torch.zeros(len(places), device=places.device), delta=loss.delta).ranks
        numbers["ranks"] = {
            name: round(float(ranks.quantile(share)), 1) for name, share in _QUANTILES.items()
        }
        lowest = logits.min()
        above = sum(int((level > lowest).sum()) for level in maps) - int((logits > lowest).sum())
        negatives = sum(level.numel() for level in maps) - len(places)
        numbers["negatives_above"] = float(f"{above / max(negatives, 1):.4g}")
    if isinstance(loss, ALRPLoss):
        weight = float(loss.localisation_weight)
        numbers["self_balance"] = round(weight, 4) if math.isfinite(weight) else None
    return numbers
