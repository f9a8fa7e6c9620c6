"""The matching functions of LTM and FreeAnchor over a bag, in closed forms that need no epsilon.

Both papers define the Mean-max function through weights 1 / (1 - phi) that blow up as a probability phi
reaches 1. Written in log-odds ``eta = log(phi / (1 - phi))`` the weights cancel, and logsumexp and softplus
do the rest.
"""

import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# The largest log-probability: caps log-odds at 69, beyond which float32 gradients would overflow.
_LOG_ONE = -1e-30
_NEVER = float("-inf")


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


def negative_log_odds(logits: Tensor, localised: Tensor) -> Tensor:
    """Log-odds of phi- = P_cls x (1 - P), the false localisation quality; -inf where P is 1.

    P is the IoU in LTM (Eq. 5), and in FreeAnchor the probability that the anchor's box lies on some object
    of the class, P{a in A+}.

    Args:
        logits: Logit of the object's class, any shape.
        localised: P in [0, 1], same shape. It gets no gradient: nothing is learnt from moving a box to look
            worse. FreeAnchor's released code says so; in LTM's a sparse tensor cuts the gradient just there.
    """
    miss = (1 - localised.detach()).clamp(0, 1)
    eta = log_odds(F.logsigmoid(logits) + miss.clamp(min=torch.finfo(miss.dtype).tiny).log())
    return eta.masked_fill(miss == 0, _NEVER)


def positive_bag_loss(eta: Tensor, valid: Tensor) -> Tensor:
    """-log M+ of each bag: the Mean-max function that FreeAnchor introduces and LTM keeps.

    M+ = sum w phi / sum w with w = 1 / (1 - phi), which is the mean odds over one plus the mean odds:
    -log M+ = softplus(log n - logsumexp(eta)). About the mean of phi while all are small, the maximum once
    one is near 1. Weights carry gradient, as in the released code.

    Args:
        eta: Log-odds of phi+, shape (n, K), finite.
        valid: Which members the bag has, shape (n, K), bool.

    Returns:
        Losses >= 0, shape (n,); 0 for a bag without members.
    """
    eta, empty = _members(eta, valid)
    return F.softplus(_log_count(valid, eta.dtype) - torch.logsumexp(eta, dim=1)).masked_fill(empty, 0.0)


def negative_bag_loss(eta: Tensor, valid: Tensor, function: str = "eq25") -> Tensor:
    """-log M- of each bag by one of :data:`MATCHING`; M- is the probability that none falsely localises.

    Args:
        eta: Log-odds of phi-, shape (n, K); -inf for members with phi- = 0.
        valid: Which members the bag has, shape (n, K), bool.
        function: Name of the function; ``eq25`` is the released code's.

    Returns:
        Losses >= 0, shape (n,); 0 for a bag without members, and for one without any false localisation,
        where the released code's Eq. 25 is 0 / 0.
    """
    eta, empty = _members(eta, valid)
    return MATCHING[function](eta, valid).masked_fill(empty, 0.0)


def eq25(eta: Tensor, valid: Tensor) -> Tensor:
    """LTM Eq. 25 and its released code: 1 - M- is the mean of phi- with weights phi- / (1 - phi-)^2.

    With odds x = exp(eta): M- = sum x / (sum x + sum x^2), so -log M- = softplus(logsumexp(2 eta) -
    logsumexp(eta)). Not monotone: a member whose odds are below half of sum x^2 / sum x is pushed up a
    little.
    """
    return F.softplus(torch.logsumexp(2 * eta, dim=1) - torch.logsumexp(eta, dim=1))


def eq25_detached(eta: Tensor, valid: Tensor) -> Tensor:
    """Eq. 25 with weights that carry no gradient: every member is pushed down by its weight."""
    weights = torch.log_softmax((eta + F.softplus(eta)).detach(), dim=1)
    return -torch.logsumexp(weights - F.softplus(eta), dim=1)


def meanmax2(eta: Tensor, valid: Tensor) -> Tensor:
    """M- = mean of 1 - phi- with weights 1 / (1 - phi-)^2: what the caption of LTM Fig. 2(b) describes."""
    inverse = F.softplus(eta).masked_fill(~valid, _NEVER)  # log of 1 / (1 - phi-)
    return torch.logsumexp(2 * inverse, dim=1) - torch.logsumexp(inverse, dim=1)


def one_minus_meanmax(eta: Tensor, valid: Tensor) -> Tensor:
    """M- = 1 - Mean-max(phi-), the harmonic mean of 1 - phi-."""
    return F.softplus(torch.logsumexp(eta, dim=1) - _log_count(valid, eta.dtype))


def maximum(eta: Tensor, valid: Tensor) -> Tensor:
    """M- = 1 - max phi-."""
    return F.softplus(eta.amax(dim=1))


def noisy_or(eta: Tensor, valid: Tensor) -> Tensor:
    """M- = product of 1 - phi-: each member for itself."""
    return F.softplus(eta).sum(dim=1)


def eq11_literal(eta: Tensor, valid: Tensor) -> Tensor:
    """LTM Eq. 11 as printed, a misprint: sum phi / (1 - phi) over sum 1 / (1 - phi)^2.

    It lacks a factor phi- in the denominator: at most 1/4, so the loss is at least log 4, and without bound
    where nothing localises falsely; every small phi- is pushed up.
    """
    inverse = F.softplus(eta).masked_fill(~valid, _NEVER)
    return torch.logsumexp(2 * inverse, dim=1) - torch.logsumexp(eta, dim=1)


MATCHING: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "eq25": eq25,
    "meanmax2": meanmax2,
    "one_minus_meanmax": one_minus_meanmax,
    "max": maximum,
    "noisy_or": noisy_or,
    "eq25_detached": eq25_detached,
    "eq11_literal": eq11_literal,
}
"""Name -> -log M- of bags (n, K) with at least one member that is not -inf."""


def _members(eta: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Log-odds with -inf outside the bag, and which bags have nothing above it; those get zeros."""
    eta = eta.masked_fill(~valid, _NEVER)
    empty = torch.isneginf(eta).all(dim=1)
    return eta.masked_fill(empty[:, None], 0.0), empty


def _log_count(valid: Tensor, dtype: torch.dtype) -> Tensor:
    return valid.sum(dim=1, dtype=dtype).clamp(min=1).log()


def warn_of_misprint(function: str) -> None:
    """Say so if a head is asked to train with the misprinted equation."""
    if function == "eq11_literal":
        warnings.warn(
            "negative_matching='eq11_literal' is LTM's Eq. 11 as printed, a misprint that pushes all scores "
            "of a bag up; what the authors trained with is 'eq25'.",
            stacklevel=3,
        )
