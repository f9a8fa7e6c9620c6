"""Which candidates of an object become positives: the boundaries of PAA's Fig. 3 and its ablations."""

import torch
from torch import Tensor

from suite.detectors.gaussian_mixture import fit_mixtures


def separate(
    losses: Tensor,
    valid: Tensor,
    scheme: str,
    fixed_number: int = 10,
    fixed_score: float = 0.1,
) -> tuple[Tensor, Tensor, Tensor]:
    """Separate the candidates of each object into positive, ignored and negative ones.

    A mixture of two Gaussians is fitted to the losses of an object's candidates; its foreground component is
    that of low loss. With the peak of a component being the candidate of highest density under the mixture
    among those likelier in the component:

    - ``a``: positive are the candidates likelier in the foreground component, all others negative.
    - ``b``: positive up to the foreground peak, negative from the background peak on, between them ignored
      (the paper's choice).
    - ``c``: positive up to the foreground peak, all others negative (the authors' choice since August 2020).
    - ``d``: positive up to the foreground peak; other candidates likelier in the foreground are ignored.
    - ``e``: positive are the candidates likelier in the foreground, negative those from the background peak
      on, between them ignored (the authors' branch ``test``).
    - ``fixed_number``: the ``fixed_number`` candidates of lowest loss (FNP).
    - ``fixed_score``: the candidates with an anchor score exp(-loss) above ``fixed_score`` (FSR).

    As in the released code, with ``a`` to ``e`` a single candidate is positive, and so are all candidates
    where none is likelier in the foreground; where none is likelier in the background, ``b`` and ``e`` ignore
    none.

    Args:
        losses: Candidates of each object by rising loss, shape (n, m).
        valid: Which candidates there are, the first of each row, shape (n, m), bool.
        scheme: One of the above.
        fixed_number: For the scheme of that name.
        fixed_score: For the scheme of that name.

    Returns:
        Positive and ignored candidates, bool, and the posterior probability of the foreground component (1
        for the positives of the fixed schemes, 0 for others), all of shape (n, m).
    """
    column = torch.arange(losses.shape[1], device=losses.device).expand_as(losses)
    if scheme == "fixed_number":
        positive = valid & (column < fixed_number)
        return positive, torch.zeros_like(valid), positive.float()
    if scheme == "fixed_score":
        positive = valid & (torch.exp(-losses) > fixed_score)
        return positive, torch.zeros_like(valid), positive.float()

    low, high = fit_mixtures(losses, valid).log_densities(losses.double()).unbind(dim=1)
    foreground, background = valid & (low >= high), valid & (low < high)
    density = torch.logaddexp(low, high)
    no_foreground = ~foreground.any(dim=1, keepdim=True)
    no_background = ~background.any(dim=1, keepdim=True)
    prefix = column <= _first_peak(density, foreground)
    beyond = column >= _first_peak(density, background)
    positive = foreground if scheme in ("a", "e") else valid & prefix
    ignored = torch.zeros_like(valid)
    if scheme == "d":
        ignored = foreground
    elif scheme in ("b", "e"):
        ignored = valid & ~beyond & ~no_background
    positive = torch.where(no_foreground | (valid.sum(dim=1, keepdim=True) == 1), valid, positive)
    posterior = torch.sigmoid(low - high).float() * valid
    return positive, ignored & ~positive, posterior


def _first_peak(density: Tensor, component: Tensor) -> Tensor:
    """Column of the highest density among a component's candidates, the first of equal ones, shape (n, 1)."""
    masked = density.masked_fill(~component, -torch.inf)
    # Equal losses may have densities that differ by rounding.
    highest = masked >= masked.amax(dim=1, keepdim=True) - 1e-9
    return highest.int().argmax(dim=1, keepdim=True)
