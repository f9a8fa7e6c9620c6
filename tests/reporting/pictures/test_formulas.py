"""The pictures' formulas are those that the detectors compute."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mmdet.models.task_modules.prior_generators import MlvlPointGenerator

from suite.detectors import free_anchor_head, mean_max
from suite.detectors.bags import point_bags
from suite.detectors.gaussian_mixture import Mixtures, fit_mixtures
from suite.detectors.grid import grid_levels
from suite.detectors.points import StridePointGenerator
from suite.detectors.separation import separate
from suite.limits import NEGATIVE_MATCHING
from suite.reporting.pictures import functions, separation_schemes
from suite.reporting.pictures.mixture import component_densities
from suite.reporting.pictures.point_bag import STRIDES, point_bag
from suite.reporting.pictures.telemetry import evenly, iou

BAGS = arrays(float, (4, 2), elements=st.floats(0.001, 0.99))


@given(arrays(float, 30, elements=st.floats(0, 1)), st.floats(0, 0.9), st.floats(0.01, 1))
def test_saturated_linear(x: np.ndarray, t1: float, span: float) -> None:
    tensor = torch.tensor(x)
    expected = free_anchor_head.saturated_linear(tensor, t1, torch.full_like(tensor, t1 + span))
    assert functions.saturated_linear(x, t1, t1 + span) == pytest.approx(expected.numpy(), abs=1e-9)


@given(BAGS)
def test_mean_max(phi: np.ndarray) -> None:
    eta = mean_max.log_odds(torch.tensor(phi).log())
    loss = mean_max.positive_bag_loss(eta, torch.ones(eta.shape, dtype=torch.bool))
    assert functions.mean_max(phi) == pytest.approx(torch.exp(-loss).numpy(), rel=1e-6)


@pytest.mark.parametrize("name", [name for name in NEGATIVE_MATCHING if name != "none"])
@settings(max_examples=25)
@given(phi=BAGS)
def test_negative_matching(name: str, phi: np.ndarray) -> None:
    eta = mean_max.log_odds(torch.tensor(phi).log())
    loss = mean_max.negative_bag_loss(eta, torch.ones(eta.shape, dtype=torch.bool), name)
    assert functions.NEGATIVE[name](phi) == pytest.approx(torch.exp(-loss).numpy(), rel=1e-6)


def test_no_false_localisation_is_certain_to_be_none() -> None:
    assert functions.NEGATIVE["eq25"](np.zeros((1, 2))).tolist() == [1.0]


@pytest.mark.parametrize(("bag_size", "window"), [(40, 0.8), (7, 0.8), (40, 0.5), (90, 1.0)])
@pytest.mark.parametrize("box", [(101, 70, 293, 182), (60, 60, 68, 68), (10.5, 20.2, 330, 61)])
def test_point_bag(box: tuple[float, ...], bag_size: int, window: float) -> None:
    size = (384, 256)
    generator = StridePointGenerator(list(STRIDES))
    sizes = tuple((size[1] // stride, size[0] // stride) for stride in STRIDES)
    levels = grid_levels(generator, sizes, torch.device("cpu"))
    members, valid = point_bags(levels, torch.tensor([box], dtype=torch.float32), bag_size, window)
    points = torch.cat(MlvlPointGenerator(list(STRIDES)).grid_priors(sizes, device="cpu", with_stride=True))
    assert valid.all()
    expected = points[members[0], :3].numpy()
    drawn = point_bag(np.array(box), size, bag_size, window)
    found = drawn[drawn["in_bag"]]
    assert len(found) == len(expected) == bag_size
    # Which of equally distant points come last is open.
    last = found["distance"].max()
    nearer = found[found["distance"] < last - 1e-6]
    tied = drawn[(drawn["distance"] - last).abs() <= 1e-6] if np.isfinite(last) else drawn
    keys = {tuple(row) for row in expected[:, [2, 0, 1]].tolist()}
    assert {tuple(row) for row in nearer[["stride", "x", "y"]].to_numpy().tolist()} <= keys
    both = pd.concat([nearer, tied])
    assert keys <= {tuple(row) for row in both[["stride", "x", "y"]].to_numpy().tolist()}


def test_the_mixture_of_the_separation_schemes_is_what_paa_fits() -> None:
    losses = torch.tensor(separation_schemes.candidates())[None]
    fitted = fit_mixtures(losses, torch.ones_like(losses, dtype=torch.bool))
    for part, values in separation_schemes.MIXTURE.items():
        assert getattr(fitted, part)[0].tolist() == pytest.approx(values, abs=2e-6)


@pytest.mark.parametrize("scheme", separation_schemes.SCHEMES)
def test_separation_schemes_label_as_paa_does(scheme: str) -> None:
    losses = separation_schemes.candidates()
    valid = torch.ones(1, len(losses), dtype=torch.bool)
    positive, ignored, _ = separate(torch.tensor(losses)[None], valid, scheme)
    found = separation_schemes.labels(losses, scheme, separation_schemes.MIXTURE)
    assert found.tolist() == (positive.int() - ignored.int())[0].tolist()
    assert 1 in found and 0 in found and (-1 in found) == (scheme in "bd")


def test_densities_of_a_mixture() -> None:
    parts = {"weights": [0.3, 0.7], "means": [0.4, 2.0], "variances": [0.02, 0.5]}
    mixture = Mixtures(*(torch.tensor([parts[part]], dtype=torch.float64) for part in parts))
    losses = np.linspace(0, 3, 11)
    expected = mixture.log_densities(torch.tensor(losses)[None])[0].exp().numpy()
    assert component_densities(losses, parts) == pytest.approx(expected, rel=1e-9)


def test_iou_by_hand() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [3, 3, 3, 3]])
    assert iou(boxes, boxes[0]).tolist() == [1.0, 50 / 150, 0.0, 0.0]


def test_evenly_spaced_looks() -> None:
    assert evenly(9, 4) == [0, 3, 5, 8] and evenly(9, 3) == [0, 4, 8]
    assert evenly(9, 1) == [8] and evenly(2, 4) == [0, 1] and evenly(1, 3) == [0]
