"""Gaussian mixtures of two components in one dimension, fitted to many small sets of numbers at once."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# scikit-learn's defaults.
_REG_COVAR = 1e-6
_TOL = 1e-3
_MAX_ITER = 100

# To ask a GPU whether all sets have converged stalls it; a few needless iterations cost less.
_ITERATIONS_PER_CHECK_ON_GPU = 8


@dataclass(frozen=True)
class Mixtures:
    """One mixture a set; component 0 started at the lowest value, component 1 at the highest.

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
        values: Shape (n, m), finite where valid; one set a row, in any order, padded.
        valid: Which values belong to the set, shape (n, m), bool. A row may hold one value or none.

    Returns:
        The mixtures, float64, on the device of ``values``. Without values finite but meaningless.
    """
    x = torch.where(valid, values.double(), 0.0)
    member = valid[:, None].double()
    count = valid.sum(dim=1).clamp(min=1)
    infinity = torch.inf
    means = torch.stack(
        [x.masked_fill(~valid, infinity).amin(dim=1), x.masked_fill(~valid, -infinity).amax(dim=1)], dim=1
    ).nan_to_num(posinf=0.0, neginf=0.0)
    fitted = Mixtures(torch.full_like(means, 0.5), means, torch.ones_like(means))
    bound = x.new_full((len(x),), -infinity)
    active = torch.ones_like(bound, dtype=torch.bool)
    check_every = _ITERATIONS_PER_CHECK_ON_GPU if x.is_cuda else 1
    for iteration in range(_MAX_ITER):
        if iteration % check_every == 0 and not active.any():
            break
        joint = fitted.log_densities(x)
        density = torch.logaddexp(joint[:, 0], joint[:, 1])
        updated = _maximise(x, (joint - density[:, None]).exp() * member)
        # Parameters of the iteration that meets the tolerance still count, as in scikit-learn.
        keep = active[:, None]
        fitted = Mixtures(
            torch.where(keep, updated.weights, fitted.weights),
            torch.where(keep, updated.means, fitted.means),
            torch.where(keep, updated.variances, fitted.variances),
        )
        previous, bound = bound, (density * valid).sum(dim=1) / count
        active = active & ((bound - previous).abs() >= _TOL)
    return fitted


def _maximise(x: Tensor, responsibilities: Tensor) -> Mixtures:
    """The likeliest mixtures for given responsibilities (n, 2, m), which are 0 outside the sets."""
    mass = responsibilities.sum(dim=2) + 10 * torch.finfo(x.dtype).eps
    means = (responsibilities * x[:, None]).sum(dim=2) / mass
    spread = (x[:, None] - means[..., None]).square()
    variances = (responsibilities * spread).sum(dim=2) / mass + _REG_COVAR
    return Mixtures(mass / mass.sum(dim=1, keepdim=True), means, variances)
