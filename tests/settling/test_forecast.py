"""The chance that a claim is settled with more seeds."""

import numpy as np
import pytest

from suite.evaluation.contrasts import LOOKS, Look, make_look, sequential_p
from suite.settling.forecast import chance

LEVEL = 0.05 / 20


def look(effect: float, seeds: int = 3, seed_error: float = 0.4, image_error: float = 0.2) -> Look:
    return Look(seeds, effect, seed_error, image_error, df=30)


def test_large_effects_are_likely_and_small_ones_are_not():
    assert chance(look(8), 5, 0.5, LEVEL) > 0.999
    assert chance(look(-8), 5, 0.5, LEVEL) > 0.999
    assert chance(look(1.0), 5, 0.5, LEVEL) < 0.2
    assert chance(look(1.5), 5, 0.5, LEVEL) < chance(look(1.5), 8, 0.5, LEVEL)


def test_no_difference_is_settled_within_the_margin():
    assert chance(look(0.1), 20, 3, LEVEL) > 0.999
    assert chance(look(0.1), 20, 0.05, LEVEL) < 0.1


def test_images_that_vary_too_much_are_not_mended_by_seeds():
    assert chance(look(1.0, image_error=1.0), 20, 0.5, LEVEL) < 0.01


def test_the_last_look_needs_a_share_of_the_level():
    assert chance(look(2.0), 5, 0.5, LEVEL) < chance(look(2.0), 5, 0.5, 0.05)


def test_predictions_come_true_as_often_as_they_say():
    """A flat prior: effects of all sizes, of which those are asked about that look equally far."""
    rng = np.random.default_rng(0)
    sd, image, n, k, trials = 0.8, 0.25, 3, 8, 4000
    truth = rng.uniform(-4, 6, trials)
    runs = truth[:, None] + rng.normal(0, sd, (trials, k))
    now = make_look(n, 1.3, sd**2 / n, 60, image**2, 199)
    predicted = chance(now, k, 0.5, LEVEL)
    alike = np.abs(runs[:, :n].mean(axis=1) - 1.3) < 0.15
    later = [make_look(k, mean, sd**2 / k, 60 * 7 / 2, image**2, 199) for mean in runs[alike].mean(axis=1)]
    came = np.mean([sequential_p([one], 0.5) <= LEVEL for one in later])
    assert 0.2 < predicted < 0.8 and alike.sum() > 80
    assert came == pytest.approx(predicted, abs=0.16)


def test_every_later_look_has_a_chance():
    assert all(0 <= chance(look(0.7), seeds, 0.5, LEVEL) <= 1 for seeds in LOOKS if seeds > 3)
