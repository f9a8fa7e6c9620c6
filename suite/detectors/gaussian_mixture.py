"""Gaussian mixtures of two components in one dimension, fitted to many small sets of numbers at once."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from suite.detectors.devices import asynchronous

# scikit-learn's defaults.
_REG_COVAR = 1e-6
_TOL = 1e-3
_MAX_ITER = 100


@dataclass(frozen=True)
class Mixtures:
    """One mixture per set; component 0 started at the lowest value, component 1 at the highest.

    Attributes:
        weights: Shape (n, 2), positive, a row sums to 1.
        means: Shape (n, 2).
        variances: Shape (n, 2), at least 1e-6.
    """

    weights: Tensor
    means: Tensor
    variances: Tensor

    def log_densities(self, values: Tensor) -> Tensor:
        """Log of weight x normal density of each component, shape (n, 2, m), for values of shape (n, m).

        Their difference is the log odds of the components, their ``logsumexp`` the mixture's log density.
        """
        scale = self.variances.rsqrt()
        constant = self.weights.log() + scale.log() - 0.5 * math.log(2 * math.pi)
        distance = (values[:, None] - self.means[..., None]) * scale[..., None]
        return constant[..., None] - 0.5 * distance.square()


@torch.no_grad()
def fit_mixtures(values: Tensor, valid: Tensor) -> Mixtures:
    """Fit a mixture to each set by expectation maximisation.

    The algorithm of ``sklearn.mixture.GaussianMixture(2)`` with full covariance, started with equal weights,
    variances of 1 and means at the lowest and the highest value: at most 100 iterations, until the mean log
    density changes by less than 1e-3. Each set stops at its own iteration. Works in double precision: a
    collapsed component has a variance of 1e-6, below what float32 resolves.

    Args:
        values: Shape (n, m), finite where valid; one set per row, in any order, padded.
        valid: Which values belong to the set, shape (n, m), bool. A row may hold one value or none.

    Returns:
        The mixtures, float64, on the device of ``values``. Without values finite but meaningless.
    """
    x = torch.where(valid, values.double(), 0.0)
    lowest = x.masked_fill(~valid, torch.inf).amin(dim=1)
    highest = x.masked_fill(~valid, -torch.inf).amax(dim=1)
    means = torch.stack([lowest, highest], dim=1).nan_to_num(posinf=0.0, neginf=0.0)
    fitted = torch.stack([torch.full_like(means, 0.5), means, torch.ones_like(means)])
    member = valid.double()
    bound = x.new_full((len(x),), -torch.inf)
    # Parameters of the iteration that meets the tolerance still count, as in scikit-learn.
    if asynchronous(x):
        # Nobody asks which sets are done: all go on, and those that are stand still.
        running = torch.ones_like(bound, dtype=torch.bool)
        for _ in range(_MAX_ITER):
            updated, reached = _iterate(fitted, x, member)
            fitted = torch.where(running[:, None], updated, fitted)
            running = running & ((reached - bound).abs() >= _TOL)
            bound = reached
        return Mixtures(*fitted)
    rows, active = torch.arange(len(x)), fitted
    for _ in range(_MAX_ITER):
        active, reached = _iterate(active, x, member)
        fitted[:, rows] = active
        running = (reached - bound).abs() >= _TOL
        if not running.all():
            rows, active, x, member, reached = (
                rows[running], active[:, running], x[running], member[running], reached[running]
            )  # fmt: skip
        if not len(rows):
            break
        bound = reached
    return Mixtures(*fitted)


def _iterate(parameters: Tensor, x: Tensor, member: Tensor) -> tuple[Tensor, Tensor]:
    """One step of expectation maximisation.

    Args:
        parameters: Weights, means and variances, shape (3, n, 2).
        x: Values, shape (n, m).
        member: 1 for the values of a set, 0 for padding, shape (n, m).

    Returns:
        The likelier parameters, and the mean log density of each set under the old ones, shape (n,).
    """
    weights, means, variances = parameters
    constant = weights.log() - 0.5 * (2 * math.pi * variances).log()
    offset = x[:, None] - means[..., None]
    square = offset.square()
    low, high = torch.addcmul(constant[..., None], square, (0.5 / variances)[..., None], value=-1).unbind(
        dim=1
    )
    odds = low - high
    density = ((high + F.softplus(odds)) * member).sum(dim=1) / member.sum(dim=1).clamp(min=1)
    first = torch.sigmoid(odds) * member
    responsibility = torch.stack([first, member - first], dim=1)
    mass = responsibility.sum(dim=2) + 10 * torch.finfo(x.dtype).eps
    # Moments about the old means: about the new ones they follow without a second pass over the values.
    step = (responsibility * offset).sum(dim=2) / mass
    spread = (responsibility * square).sum(dim=2) / mass - step.square()
    updated = [mass / mass.sum(dim=1, keepdim=True), means + step, spread.clamp(min=0) + _REG_COVAR]
    return torch.stack(updated), density
