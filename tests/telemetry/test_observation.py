"""Looking at a detector leaves no trace in its training."""

import random

import numpy as np
import pytest
import torch

from suite.telemetry.observation import evaluating, random_numbers_of_its_own


def test_modes_come_back_module_by_module() -> None:
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(2), torch.nn.Sequential(torch.nn.Dropout()))
    model[0].eval()
    before = [module.training for module in model.modules()]
    with pytest.raises(ZeroDivisionError), evaluating(model):
        assert not any(module.training for module in model.modules())
        raise ZeroDivisionError
    assert [module.training for module in model.modules()] == before == [True, False, True, True]


def test_random_numbers_of_its_own() -> None:
    def draw() -> tuple[float, float, float]:
        return float(torch.rand(1)), float(np.random.rand()), random.random()

    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    drawn = []
    for _ in range(2):
        with random_numbers_of_its_own("looking", 3):
            drawn.append(draw())
    assert drawn[0] == drawn[1]
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1] and random.getstate() == states[2]
