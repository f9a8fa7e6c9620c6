"""Numbers that sum up assignments: positives per object, entropy of the matching, ambiguous anchors."""

import statistics
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from suite.data.boxes import LARGE_FROM, SMALL_BELOW
from suite.telemetry.assignments import Assignment


def matching_entropy(confidence: Tensor, valid: Tensor) -> Tensor:
    """How evenly a bag's members are matched: 1 if all alike, 0 if one alone.

    With p_j = o_j / sum o over the odds o_j = x_j / (1 - x_j) of a bag's N valid members, it is
    -sum p_j log p_j / log N. p_j is the share of a member in the Mean-max function of FreeAnchor and LTM,
    M = sum o_j / sum 1 / (1 - x_j). A confidence of 0 or 1 counts as the float32 next to it within (0, 1).

    Args:
        confidence: x, in [0, 1], shape (n, M).
        valid: False on padding, shape (n, M), bool.

    Returns:
        Shape (n,), in [0, 1], float64; 0 for bags of one valid member or none.
    """
    limits = torch.finfo(torch.float32)
    x = confidence.double().clamp(limits.tiny, 1 - limits.eps / 2)
    log_share = (x.log() - torch.log1p(-x)).masked_fill(~valid, -torch.inf).log_softmax(dim=1)
    entropy = -(log_share.exp() * log_share).masked_fill(~valid, 0).sum(dim=1)
    members = valid.sum(dim=1)
    # Without a valid member the softmax is NaN, which no multiplication by 0 would remove.
    return torch.where(members > 1, entropy / members.clamp(min=2).log(), 0.0).clamp(0, 1)


def summary(assigned: Sequence[Assignment], boxes: Sequence[Tensor]) -> dict[str, Any]:
    """Sum up the assignments of some images.

    Args:
        assigned: One for each image.
        boxes: The objects of each image, shape (n, 4), xyxy in pixels of the network's input.

    Returns:
        ``positives``: positives per object: their mean over ``all`` objects, ``min``, ``median``, ``max``,
        and the mean over groups of objects: ``small``, ``medium``, ``large`` (COCO's limits of 32 x 32 and
        96 x 96, by the box's area in the image as trained, not in the original one), ``1-1.5``, ``1.5-3``
        and ``3+`` (by max(w / h, h / w); lower limits belong to a group). ``entropy``: mean of
        :func:`matching_entropy` over all objects; positives of a fixed assigner count as matched alike.
        ``ambiguous``: of the anchors that are positive for an object, the share that is for more than one of
        the same image. A number of no objects, or of no positives, is None.
    """
    counts = [count for image in assigned for count in image.positive.sum(dim=1).tolist()]
    groups: dict[str, list[int]] = {name: [] for name in ("small", "medium", "large", "1-1.5", "1.5-3", "3+")}
    sides = [box for image in boxes for box in image.tolist()]
    for count, (x1, y1, x2, y2) in zip(counts, sides, strict=True):
        groups[_size_group((x2 - x1) * (y2 - y1))].append(count)
        groups[_shape_group(slenderness(x2 - x1, y2 - y1))].append(count)
    entropies = [
        value for image in assigned for value in matching_entropy(image.confidence, image.valid).tolist()
    ]
    claims = [image.members[image.positive].unique(return_counts=True)[1] for image in assigned]
    claimed = sum(len(image) for image in claims)
    contested = sum(int((image > 1).sum()) for image in claims)
    return {
        "positives": {
            "all": _mean(counts),
            "min": min(counts, default=None),
            "median": statistics.median(counts) if counts else None,
            "max": max(counts, default=None),
            **{name: _mean(values) for name, values in groups.items()},
        },
        "entropy": _mean(entropies),
        "ambiguous": contested / claimed if claimed else None,
    }


def slenderness(width: float, height: float) -> float:
    """max(w / h, h / w) of a box, at least 1; infinite for a box without area."""
    short, long = sorted((width, height))
    return long / short if short > 0 else float("inf")


def _size_group(area: float) -> str:
    return "small" if area < SMALL_BELOW else "medium" if area < LARGE_FROM else "large"


def _shape_group(ratio: float) -> str:
    return "1-1.5" if ratio < 1.5 else "1.5-3" if ratio < 3 else "3+"


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None
