"""LTM's loss, shared by its anchor-based and its anchor-free head: L+ and L- over bags, focal loss beside."""

import torch
from torch import Tensor

from suite.detectors.bags import Bags
from suite.detectors.devices import asynchronous
from suite.detectors.focal import background_focal, background_term
from suite.detectors.mean_max import (
    negative_bag_loss,
    negative_log_odds,
    positive_bag_loss,
    positive_log_odds,
)
from suite.detectors.score_layout import ScoreLayout


def shared_iou(iou: Tensor, pairs: Tensor, valid: Tensor, relative: bool) -> Tensor:
    """The IoU that decides how falsely a bag's member localises.

    A member shared by several objects of one class takes the highest of their values: a box on any of them is
    no false positive.

    Args:
        iou: IoU of each member's predicted box with its object, shape (n, K).
        pairs: Number of each member's (anchor, class) pair, in [0, U), shape (n, K).
        valid: Which members the bags have, shape (n, K), bool.
        relative: Divide by the highest IoU of the bag, as the released code does; LTM Eq. 5 does not.

    Returns:
        IoU in [0, 1], shape (n, K), without gradient.
    """
    iou = (iou.detach() * valid).clamp(0, 1)
    if relative and iou.numel():
        iou = iou / iou.amax(dim=1, keepdim=True).clamp(min=1e-12)
    highest = iou.new_zeros(pairs.numel()).scatter_reduce(0, pairs.flatten(), iou.flatten(), "amax")
    return highest[pairs]


def distinct_pairs(pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Each pair once, and where it is found.

    Args:
        pairs: Numbers of pairs, -1 for none, of any shape.

    Returns:
        The distinct numbers by size; on a GPU as many values as there are pairs, filled up with -1, so that
        nobody waits for their count. And the place of each pair among them, of the shape of ``pairs``.
    """
    if not asynchronous(pairs):
        distinct, number = torch.unique(pairs, return_inverse=True)
        return distinct, number
    rising, order = pairs.flatten().sort()
    place = torch.zeros_like(rising)
    place[1:] = (rising[1:] != rising[:-1]).cumsum(0)
    number = torch.empty_like(place).scatter(0, order, place)
    return torch.full_like(rising, -1).scatter(0, place, rising), number.view_as(pairs)


def matching_losses(
    cls_scores: list[Tensor],
    layout: ScoreLayout,
    bags: Bags,
    localisation_loss: Tensor,
    iou: Tensor,
    *,
    gamma: float,
    negative_matching: str,
    relative_iou: bool,
) -> dict[str, Tensor]:
    """LTM's three terms: L+ = -log M+, L- = -log M- (Eq. 25) and the focal loss of the pairs in no bag.

    L+ and L- are averaged over the objects of this GPU. The focal loss is divided by the number of distinct
    (anchor, class) pairs in the bags, about K times the objects; the paper leaves that N open, this is the
    released code's. Without any object only the focal loss remains, divided as by one full bag.

    Args:
        cls_scores: Logits per level, each (images, anchors per location x classes, H, W).
        layout: Their layout.
        bags: The bags of the batch's objects.
        localisation_loss: Weighted localisation loss of each member, shape (n, K), >= 0, with gradient.
        iou: IoU of each member's predicted box with its object, shape (n, K).
        gamma: Exponent of the focal loss.
        negative_matching: A function of :data:`~suite.detectors.mean_max.MATCHING`, or ``none`` for no L-:
            members of a bag then meet no background loss.
        relative_iou: See :func:`shared_iou`.

    Returns:
        ``loss_positive``, ``loss_negative`` (absent for ``none``) and ``loss_focal``, float32 scalars.
    """
    n, size = bags.members.shape
    pairs = torch.where(bags.valid, bags.pairs(layout), -1)
    distinct, number = distinct_pairs(pairs)
    padding = distinct < 0
    total, picked = background_focal(cls_scores, distinct.clamp(min=0), gamma)
    own = background_term(picked.double(), gamma).masked_fill(padding, 0.0)
    count = (len(distinct) - padding.sum()).clamp(min=size if not n else 1)
    losses = {"loss_focal": ((total - own.sum()) / count).float()}
    logits = picked[number]
    objects = max(n, 1)
    eta = positive_log_odds(logits, localisation_loss)
    losses["loss_positive"] = positive_bag_loss(eta, bags.valid).sum() / objects
    if negative_matching != "none":
        eta = negative_log_odds(logits, shared_iou(iou, number, bags.valid, relative_iou))
        losses["loss_negative"] = negative_bag_loss(eta, bags.valid, negative_matching).sum() / objects
    return losses
