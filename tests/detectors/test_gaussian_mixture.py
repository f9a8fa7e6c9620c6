"""Mixtures fitted together against scikit-learn's, fitted one by one in double precision."""

import warnings

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from suite.detectors import gaussian_mixture
from suite.detectors.gaussian_mixture import fit_mixtures


def sklearn_mixture(values: np.ndarray) -> GaussianMixture:
    mixture = GaussianMixture(
        2,
        weights_init=[0.5, 0.5],
        means_init=[[values.min()], [values.max()]],
        precisions_init=[[[1.0]], [[1.0]]],
    )
    with warnings.catch_warnings(), config_context(skip_parameter_validation=True, assume_finite=True):
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(values[:, None])


def random_set(rng: np.random.Generator, kind: str) -> np.ndarray:
    size = int(rng.integers(2, 46))
    if kind == "one cluster":
        return rng.gamma(2.0, 0.7, size)
    if kind == "two clusters":
        return np.where(rng.random(size) < 0.4, rng.normal(0.8, 0.1, size), rng.normal(3, 0.6, size))
    if kind == "collapsed cluster":
        return np.where(rng.random(size) < 0.5, 2.0 + rng.normal(0, 1e-7, size), rng.gamma(2.0, 1.0, size))
    if kind == "all equal":
        return np.full(size, rng.random() * 5)
    if kind == "pair":
        return rng.random(2) * 10.0 ** rng.integers(-6, 2)
    if kind == "ties":
        return rng.integers(0, 4, size) / 2.0
    return rng.normal(0, 1, size) * 10.0 ** rng.integers(-3, 3)


KINDS = ("one cluster", "two clusters", "collapsed cluster", "all equal", "pair", "ties", "any scale")


def padded(sets: list[np.ndarray], width: int = 45) -> tuple[torch.Tensor, torch.Tensor]:
    values = torch.full((len(sets), width), torch.nan, dtype=torch.float64)
    for row, numbers in enumerate(sets):
        values[row, : len(numbers)] = torch.from_numpy(numbers)
    return values, ~values.isnan()


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_and_labels_are_those_of_scikit_learn(kind):
    rng = np.random.default_rng(KINDS.index(kind))
    sets = [random_set(rng, kind) for _ in range(150)]
    values, valid = padded(sets)
    fitted = fit_mixtures(values, valid)
    logs = fitted.log_densities(values)
    for row, numbers in enumerate(sets):
        expected = sklearn_mixture(numbers)
        for found, name in (
            (fitted.weights, "weights_"),
            (fitted.means, "means_"),
            (fitted.variances, "covariances_"),
        ):
            np.testing.assert_allclose(
                found[row].numpy(), getattr(expected, name).ravel(), rtol=1e-5, atol=1e-9, err_msg=name
            )
        low, high = logs[row, :, : len(numbers)].numpy()
        np.testing.assert_allclose(
            np.logaddexp(low, high), expected.score_samples(numbers[:, None]), rtol=1e-5, atol=1e-5
        )
        clear = abs(low - high) > 1e-6
        labels = expected.predict(numbers[:, None])
        assert ((high > low)[clear] == labels[clear].astype(bool)).all()


def test_sets_stop_at_their_own_iteration():
    """A set that scikit-learn stops early stays as it was then, next to one that needs many iterations."""
    rng = np.random.default_rng(0)
    sets = [random_set(rng, "one cluster") for _ in range(60)]
    needed = [sklearn_mixture(numbers).n_iter_ for numbers in sets]
    quick, slow = sets[int(np.argmin(needed))], sets[int(np.argmax(needed))]
    assert min(needed) <= 5 and max(needed) >= 20
    fitted = fit_mixtures(*padded([quick, slow]))
    for row, numbers in enumerate((quick, slow)):
        np.testing.assert_allclose(fitted.means[row].numpy(), sklearn_mixture(numbers).means_.ravel())


def test_a_device_that_is_not_asked_gives_the_same(monkeypatch):
    rng = np.random.default_rng(2)
    values, valid = padded([random_set(rng, KINDS[index % len(KINDS)]) for index in range(80)])
    asked = fit_mixtures(values, valid)
    monkeypatch.setattr(gaussian_mixture, "asynchronous", lambda tensor: True)
    not_asked = fit_mixtures(values, valid)
    for name in ("weights", "means", "variances"):
        torch.testing.assert_close(getattr(not_asked, name), getattr(asked, name))


def test_a_set_is_fitted_alike_in_any_company():
    rng = np.random.default_rng(1)
    sets = [random_set(rng, "two clusters") for _ in range(5)]
    together = fit_mixtures(*padded(sets))
    for row, numbers in enumerate(sets):
        alone = fit_mixtures(torch.from_numpy(numbers)[None], torch.ones(1, len(numbers), dtype=torch.bool))
        torch.testing.assert_close(alone.means[0], together.means[row])
        torch.testing.assert_close(alone.variances[0], together.variances[row])


def test_without_values_or_with_one_the_mixture_is_finite():
    values, valid = padded([np.array([]), np.array([3.5])])
    fitted = fit_mixtures(values, valid)
    assert all(part.isfinite().all() for part in (fitted.weights, fitted.means, fitted.variances))
    torch.testing.assert_close(fitted.means[1], torch.tensor([3.5, 3.5], dtype=torch.float64))
    assert fit_mixtures(torch.zeros(0, 45), torch.zeros(0, 45, dtype=torch.bool)).means.shape == (0, 2)


def test_float32_values_are_fitted_in_double_precision():
    """Losses that differ by less than float32 squares resolve: variances cancel to nothing there."""
    values = torch.tensor([[100.0, 100.00001, 100.00002, 104.0]])
    variances = fit_mixtures(values, torch.ones_like(values, dtype=torch.bool)).variances
    assert variances.dtype == torch.float64 and (variances >= 1e-6).all()
