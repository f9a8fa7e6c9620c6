"""LTM's loss, shared by its anchor-based and its anchor-free head: L+ and L- over bags, focal loss beside."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from suite.detectors.mean_max import (
    NEGATIVE_MATCHING,
    NegativeMatching,
    negative_bag_loss,
    negative_log_odds,
    positive_bag_loss,
    positive_log_odds,
)
from suite.errors import SuiteError, nearest

# A logit whose sigmoid, loss and gradient are exactly 0 in float32.
_CERTAIN_BACKGROUND = -1e4


@dataclass(frozen=True)
class Bags:
    """The bags of all objects of a batch.

    Attributes:
        anchors: Index of each member among all anchors of the batch (image x A + anchor), shape (n, K).
        labels: Class of each object, shape (n,).
    """

    anchors: Tensor
    labels: Tensor

    def pairs(self, num_classes: int) -> Tensor:
        """Index of each member's (anchor, class of the object) pair in the flattened scores, shape (n, K)."""
        return self.anchors * num_classes + self.labels[:, None]


def shared_iou(iou: Tensor, pairs: Tensor, relative: bool) -> tuple[Tensor, Tensor]:
    """The IoU that decides how falsely a bag's member localises, and the distinct pairs of the bags.

    A member shared by several objects of one class takes the highest of their values: a box on any of them is
    no false positive.

    Args:
        iou: IoU of each member's predicted box with its object, shape (n, K).
        pairs: Index of each member's (anchor, class) pair, shape (n, K).
        relative: Divide by the highest IoU of the bag, as the released code does; LTM Eq. 5 does not.

    Returns:
        IoU in [0, 1], shape (n, K), without gradient; distinct values of ``pairs``, shape (U,), sorted.
    """
    iou = iou.detach()
    if relative and iou.numel():
        iou = iou / iou.amax(dim=1, keepdim=True).clamp(min=1e-12)
    unique, inverse = torch.unique(pairs, return_inverse=True)
    highest = iou.new_zeros(len(unique)).scatter_reduce(0, inverse.flatten(), iou.flatten(), "amax")
    return highest[inverse].clamp(0, 1), unique


def negative_focal_loss(logits: Tensor, gamma: float) -> Tensor:
    """Focal loss of background, p^gamma x -log(1 - p) with p = sigmoid(logits), summed; a scalar."""
    background = F.softplus(logits)
    return (torch.exp(gamma * (logits - background)) * background).sum()


def matching_losses(
    logits: Tensor,
    bags: Bags,
    localisation_loss: Tensor,
    iou: Tensor,
    *,
    gamma: float,
    negative_matching: NegativeMatching,
    relative_iou: bool,
) -> dict[str, Tensor]:
    """LTM's three terms: L+ = -log M+, L- = -log M- (Eq. 25) and the focal loss of the pairs in no bag.

    L+ and L- are averaged over the objects of this GPU. The focal loss is divided by the number of distinct
    (anchor, class) pairs in the bags, about K times the objects; the paper leaves that N open, this is the
    released code's. Without any object only the focal loss remains, divided as if there were one.

    Args:
        logits: Scores of all (anchor, class) pairs, shape (images x A, C), float32.
        bags: The bags of the batch's objects.
        localisation_loss: Weighted localisation loss of each member, shape (n, K), >= 0, with gradient.
        iou: IoU of each member's predicted box with its object, shape (n, K).
        gamma: Exponent of the focal loss.
        negative_matching: ``eq25``, or ``none`` for no L-: members of a bag then meet no background loss.
        relative_iou: See :func:`shared_iou`.

    Returns:
        ``loss_positive``, ``loss_negative`` (absent for ``none``) and ``loss_focal``, scalars.
    """
    n, size = bags.anchors.shape
    pairs = bags.pairs(logits.shape[1])
    scores = logits.flatten()
    bag_logits = scores[pairs]
    highest_iou, unique = shared_iou(iou, pairs, relative_iou)
    outside = scores.index_fill(0, unique, _CERTAIN_BACKGROUND)
    losses = {"loss_focal": negative_focal_loss(outside, gamma) / max(len(unique), size, 1)}
    objects = max(n, 1)
    positive = positive_log_odds(bag_logits, localisation_loss)
    losses["loss_positive"] = positive_bag_loss(positive).sum() / objects
    if negative_matching == "eq25":
        eta = negative_log_odds(bag_logits, highest_iou)
        losses["loss_negative"] = negative_bag_loss(eta).sum() / objects
    return losses


def check_options(bag_size: int, negative_matching: str, neg_iou: str) -> None:
    """Check what a config sets.

    Raises:
        SuiteError: An option of an LTM head has a value that it does not know.
    """
    if bag_size < 1:
        raise SuiteError(f"model.bbox_head.bag_size: expected at least 1, found {bag_size}.")
    for name, value, known in (
        ("negative_matching", negative_matching, NEGATIVE_MATCHING),
        ("neg_iou", neg_iou, ("relative", "absolute")),
    ):
        if value not in known:
            raise SuiteError(
                f"model.bbox_head.{name}: expected one of {', '.join(known)}, found {value!r}."
                f"{nearest(value, known)}"
            )
