"""Computes formulas.json, which the pictures of formulas are drawn from, by the functions that train.

    python -m suite.reporting.pictures.write_formulas

A report must start without torch, so it reads the file. This is the only module of the package that imports
torch, and no other imports it. A test computes the numbers again and compares them with the file's.
"""

import json
from typing import Any

import torch
from mmdet.models.task_modules.prior_generators import MlvlPointGenerator
from torch import Tensor

from suite.detectors.bags import point_bags
from suite.detectors.free_anchor_head import saturated_linear
from suite.detectors.gaussian_mixture import fit_mixtures
from suite.detectors.grid import grid_levels
from suite.detectors.mean_max import MATCHING, log_odds, negative_bag_loss, positive_bag_loss
from suite.detectors.separation import separate
from suite.files import write_atomically
from suite.reporting.pictures.formulas import FILE

_T1, _T2 = 0.5, 0.9  # FreeAnchor's Fig. 2
_SMALLEST = 1e-30  # at 0 itself a bag counts as one without members
_STRIDES = (8, 16, 32, 64, 128)
_BAG_SIZE, _WINDOW = 40, 0.8  # LTM-AF's
_IMAGE = (384, 384)
# The 40th point of this box's bag is nearer than the 41st: no tie decides which points the bag holds.
_BOX = (103.0, 131.0, 295.0, 243.0)
_AROUND = 44  # pixels around the box whose points are shown
_SCHEMES = ("a", "b", "c", "d")
_DIGITS = 7


def positive(phi: Tensor) -> Tensor:
    """M+ of bags whose members have these phi+, shape (n, K), in (0, 1]."""
    return torch.exp(-positive_bag_loss(log_odds(phi.log()), torch.ones_like(phi, dtype=torch.bool)))


def negative(phi: Tensor, function: str = "eq25") -> Tensor:
    """1 - M- of bags whose members have these phi-, shape (n, K), in (0, 1]."""
    loss = negative_bag_loss(log_odds(phi.log()), torch.ones_like(phi, dtype=torch.bool), function)
    return -torch.expm1(-loss)


def formulas() -> dict[str, dict[str, Any]]:
    """Everything in formulas.json: name -> its values."""
    return {
        "saturated_linear": _saturated_linear(),
        "matching": _matching(),
        "point_bag": _point_bag(),
        "separation": _separation(),
    }


def _saturated_linear() -> dict[str, Any]:
    x = torch.linspace(0, 1, 101, dtype=torch.float64)
    values = saturated_linear(x, _T1, torch.full_like(x, _T2))
    return {"t1": _T1, "t2": _T2, "x": _listed(x), "values": _listed(values)}


def _matching() -> dict[str, Any]:
    """M+, and 1 - M- by each function, of bags of two on a grid of phi."""
    axis = torch.linspace(0, 1, 41, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)
    bags, square = grid.flatten(0, 1).clamp(min=_SMALLEST), grid.shape[:2]
    return {
        "phi": _listed(axis),
        "positive": _listed(positive(bags).view(square)),
        "negative": {name: _listed(negative(bags, name).view(square)) for name in MATCHING},
    }


def _point_bag() -> dict[str, Any]:
    """The points around a box, by level, and which of them are in its bag."""
    generator = MlvlPointGenerator(list(_STRIDES))
    sizes = tuple((_IMAGE[1] // stride, _IMAGE[0] // stride) for stride in _STRIDES)
    levels = grid_levels(generator, sizes, torch.device("cpu"))
    members, _ = point_bags(levels, torch.tensor([_BOX]), _BAG_SIZE, _WINDOW)
    priors = generator.grid_priors(sizes, device="cpu")
    in_bag = torch.zeros(sum(map(len, priors)), dtype=torch.bool)
    in_bag[members[0]] = True
    x1, y1, x2, y2 = _BOX
    view = [x1 - _AROUND, y1 - _AROUND, x2 + _AROUND, y2 + _AROUND]
    found = {}
    for stride, points, inside in zip(_STRIDES, priors, in_bag.split([*map(len, priors)]), strict=True):
        low, high = points.new_tensor(view[:2]), points.new_tensor(view[2:])
        shown = ((points >= low) & (points <= high)).all(dim=1)
        found[str(stride)] = {"in_bag": _listed(points[inside]), "others": _listed(points[shown & ~inside])}
    return {
        "box": list(_BOX), "image": list(_IMAGE), "window": _WINDOW, "view": view, "points": found,
    }  # fmt: skip


def _separation() -> dict[str, Any]:
    """Losses of made-up candidates, the mixture that PAA fits to them, and what each scheme makes of them."""
    losses = _candidates()[None]
    valid = torch.ones_like(losses, dtype=torch.bool)
    line = torch.linspace(float(losses.min()) - 0.25, float(losses.max()) + 0.25, 160, dtype=torch.float64)
    densities = fit_mixtures(losses, valid).log_densities(line[None])[0].exp()
    labels = {}
    for scheme in _SCHEMES:
        is_positive, is_ignored, _ = separate(losses, valid, scheme)
        labels[scheme] = (is_positive.int() - is_ignored.int())[0].tolist()
    return {
        "losses": _listed(losses[0]), "labels": labels, "line": _listed(line),
        "foreground": _listed(densities[0]), "background": _listed(densities[1]),
    }  # fmt: skip


def _candidates() -> Tensor:
    """Losses of 45 candidates by rising loss, shape (45,): quantiles of two normal distributions."""
    groups = []
    for mean, deviation, count in ((0.8, 0.15, 15), (1.7, 0.3, 30)):
        quantiles = (torch.arange(count, dtype=torch.float64) + 0.5) / count
        groups.append(torch.special.ndtri(quantiles) * deviation + mean)
    return torch.cat(groups).sort().values


def _listed(values: Tensor) -> list[Any]:
    """A tensor as lists, its numbers rounded so that the file is small."""
    rounded: list[Any] = torch.round(values.double(), decimals=_DIGITS).tolist()
    return rounded


if __name__ == "__main__":
    lines = [f'"{name}": {json.dumps(values)}' for name, values in formulas().items()]
    write_atomically(FILE, "{\n" + ",\n".join(lines) + "\n}\n")
    print(FILE)
