"""The matching functions of LTM and FreeAnchor over a bag, in closed forms that need no epsilon.

Both papers define the Mean-max function through weights 1 / (1 - phi) that blow up as a probability phi
reaches 1. Written in log-odds ``eta = log(phi / (1 - phi))`` the weights cancel, and logsumexp and softplus
do the rest.
"""

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

NegativeMatching = Literal["eq25", "none"]
NEGATIVE_MATCHING: tuple[str, ...] = get_args(NegativeMatching)

# The largest log-probability: caps log-odds at 69, beyond which float32 gradients would overflow.
_LOG_ONE = -1e-30


def log_odds(log_probability: Tensor) -> Tensor:
    """Log-odds ``log(phi / (1 - phi))`` from ``log phi`` <= 0; any shape."""
    log_probability = log_probability.clamp(max=_LOG_ONE)
    return log_probability - torch.log(-torch.expm1(log_probability))


def positive_log_odds(logits: Tensor, localisation_loss: Tensor) -> Tensor:
    """Log-odds of phi+ = P_cls x P_loc, how well LTM and FreeAnchor find an anchor to match.

    Args:
        logits: Logit of the object's class, any shape; P_cls is its sigmoid.
        localisation_loss: The weighted localisation loss l >= 0, same shape; P_loc = exp(-l).
    """
    return log_odds(F.logsigmoid(logits) - localisation_loss)


def negative_log_odds(logits: Tensor, iou: Tensor) -> Tensor:
    """Log-odds of phi- = P_cls x (1 - IoU), the false localisation quality of LTM Eq. 5; -inf where IoU is 1.

    Args:
        logits: Logit of the object's class, any shape.
        iou: IoU, or relative IoU, in [0, 1], same shape. It gets no gradient: nothing is learnt from moving a
            box to look worse. In the released code a sparse tensor cuts the gradient just there.
    """
    miss = (1 - iou.detach()).clamp(0, 1)
    eta = log_odds(F.logsigmoid(logits) + miss.clamp(min=torch.finfo(miss.dtype).tiny).log())
    return eta.masked_fill(miss == 0, float("-inf"))


def positive_bag_loss(eta: Tensor) -> Tensor:
    """-log M+ of each bag: the Mean-max function that FreeAnchor introduces and LTM keeps.

    M+ = sum w phi / sum w with w = 1 / (1 - phi), which is the mean odds over one plus the mean odds:
    -log M+ = softplus(log n - logsumexp(eta)). About the mean of phi while all are small, the maximum once
    one is near 1. Weights carry gradient, as in the released code.

    Args:
        eta: Log-odds of phi+, shape (n, K), finite.

    Returns:
        Losses >= 0, shape (n,).
    """
    return F.softplus(math.log(eta.shape[1]) - torch.logsumexp(eta, dim=1))


def negative_bag_loss(eta: Tensor) -> Tensor:
    """-log M- of each bag, LTM Eq. 25: 1 - M- is the mean of phi- with weights phi- / (1 - phi-)^2.

    With odds x = exp(eta): M- = sum x / (sum x + sum x^2), so -log M- = softplus(logsumexp(2 eta) -
    logsumexp(eta)). Equal to the released code. Eq. 11 as printed lacks a factor phi- in the denominator and
    cannot be meant: it is p(1 - p) for a bag of one.

    Args:
        eta: Log-odds of phi-, shape (n, K); -inf for members with phi- = 0.

    Returns:
        Losses >= 0, shape (n,); 0 for a bag without any false localisation, where the released code has 0 /
        0.
    """
    empty = torch.isneginf(eta).all(dim=1, keepdim=True)
    eta = eta.masked_fill(empty, 0.0)
    loss = F.softplus(torch.logsumexp(2 * eta, dim=1) - torch.logsumexp(eta, dim=1))
    return loss.masked_fill(empty[:, 0], 0.0)
