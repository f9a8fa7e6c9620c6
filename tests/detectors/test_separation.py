"""Separation against the released code's steps with scikit-learn, one set at a time, in double precision."""

import numpy as np
import pytest
import torch
from test_gaussian_mixture import KINDS, padded, random_set, sklearn_mixture

from suite.detectors.separation import separate

SCHEMES = ("a", "b", "c", "d", "e")


def released(losses: np.ndarray, components: np.ndarray, density: np.ndarray, scheme: str) -> np.ndarray:
    """Labels of sorted candidates: 1 positive, 0 negative, -1 ignored; as the authors' code sets them."""
    everything = np.arange(len(losses))
    if len(losses) == 1:
        return np.ones(1, dtype=int)
    labels = np.zeros(len(losses), dtype=int)
    fgs, bgs = components == 0, components == 1
    if not fgs.any():
        return np.ones(len(losses), dtype=int)
    peak = np.flatnonzero(fgs & (density == density[fgs].max())).min()
    positive, grey, negative = everything[: peak + 1], None, None
    if scheme == "c":
        negative = everything
    elif scheme == "a":
        positive = everything[fgs]
    elif scheme == "d":
        grey = everything[fgs]
        negative = everything[bgs] if bgs.any() else None
    else:
        if scheme == "e":
            positive = everything[fgs]
        if bgs.any():
            grey = everything
            negative = everything[np.flatnonzero(bgs & (density == density[bgs].max())).min() :]
    if grey is not None:
        labels[grey] = -1
    if negative is not None:
        labels[negative] = 0
    labels[positive] = 1
    return labels


def found_labels(losses: torch.Tensor, valid: torch.Tensor, scheme: str) -> np.ndarray:
    positive, ignored, confidence = separate(losses, valid, scheme)
    assert not (positive & ignored).any() and not ((positive | ignored) & ~valid).any()
    assert ((confidence >= 0) & (confidence <= 1)).all()
    return (positive.int() - ignored.int()).numpy()


def decided(sets, mixtures) -> np.ndarray:
    """Sets in which rounding decides neither a component nor a peak."""
    result = []
    for numbers, mixture in zip(sets, mixtures, strict=True):
        odds = np.diff(np.log(mixture.predict_proba(numbers[:, None]) + 1e-300), axis=1)
        components, density = mixture.predict(numbers[:, None]), mixture.score_samples(numbers[:, None])
        clear = bool((np.abs(odds) > 1e-6).all())
        for component in (0, 1):
            own = components == component
            if own.any():
                peak = own & (density > density[own].max() - 1e-6)
                clear &= len(np.unique(numbers[peak])) == 1
        result.append(clear)
    return np.array(result)


def test_labels_are_those_of_the_released_code_on_thousands_of_sets():
    rng = np.random.default_rng(0)
    sets = [np.sort(random_set(rng, KINDS[index % len(KINDS)])) for index in range(2800)]
    mixtures = [sklearn_mixture(numbers) for numbers in sets]
    clear = decided(sets, mixtures)
    # Of some kinds few are: those of equal candidates, and of clusters narrower than the tolerance.
    assert clear.mean() > 0.6
    values, valid = padded(sets)
    values = values.nan_to_num()
    for scheme in SCHEMES:
        labels = found_labels(values, valid, scheme)
        for row in np.flatnonzero(clear):
            numbers, mixture = sets[row], mixtures[row]
            expected = released(
                numbers,
                mixture.predict(numbers[:, None]),
                mixture.score_samples(numbers[:, None]),
                scheme,
            )
            assert labels[row, : len(numbers)].tolist() == expected.tolist(), (scheme, numbers)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_collapsed_sets_have_positives_and_break_nothing(scheme):
    sets = [np.full(9, 2.0), np.array([1.0, 1.0, 1.0, 5.0]), np.array([3.0] * 8 + [3.0 + 1e-12])]
    values, valid = padded(sets)
    labels = found_labels(values.nan_to_num(), valid, scheme)
    assert (labels[:, 0] == 1).all()
    assert labels[1, 3] == 0  # the far one is never positive


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_candidate_is_positive_and_none_is_nothing(scheme):
    values, valid = padded([np.array([2.5]), np.array([])])
    labels = found_labels(values.nan_to_num(), valid, scheme)
    assert labels[0, 0] == 1 and not labels[0, 1:].any() and not labels[1].any()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_without_a_candidate_of_low_loss_all_are_positive(monkeypatch, scheme):
    class Reversed:
        def log_densities(self, values):
            return torch.stack([torch.full_like(values, -5.0), torch.full_like(values, -1.0)], dim=1)

    monkeypatch.setattr("suite.detectors.separation.fit_mixtures", lambda values, valid: Reversed())
    valid = torch.tensor([[True, True, True, False]])
    assert found_labels(torch.arange(4.0)[None], valid, scheme).tolist() == [[1, 1, 1, 0]]


@pytest.mark.parametrize("scheme", ["b", "d", "e"])
def test_without_a_candidate_of_high_loss(monkeypatch, scheme):
    class Low:
        def log_densities(self, values):
            low = torch.tensor([[-2.0, -1.0, -3.0]], dtype=values.dtype)
            return torch.stack([low, low - 9], dim=1)

    monkeypatch.setattr("suite.detectors.separation.fit_mixtures", lambda values, valid: Low())
    expected = {"b": [1, 1, 0], "d": [1, 1, -1], "e": [1, 1, 1]}
    valid = torch.ones(1, 3, dtype=torch.bool)
    assert found_labels(torch.arange(3.0)[None], valid, scheme).tolist() == [expected[scheme]]


def test_fixed_numbers_and_fixed_scores():
    losses = torch.tensor([[0.1, 0.5, 0.9, 0.0], [0.2, 0.3, 0.0, 0.0]])
    valid = torch.tensor([[True, True, True, False], [True, True, False, False]])
    positive, ignored, _ = separate(losses, valid, "fixed_number", fixed_number=2)
    assert positive.int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0]] and not ignored.any()
    # exp(-0.1), exp(-0.5), exp(-0.9) and exp(-0.2), exp(-0.3): .90, .61, .41 and .82, .74.
    positive, ignored, _ = separate(losses, valid, "fixed_score", fixed_score=0.6)
    assert positive.int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0]] and not ignored.any()
    positive, ignored, _ = separate(losses, valid, "fixed_score", fixed_score=0.78)
    assert positive.int().tolist() == [[1, 0, 0, 0], [1, 0, 0, 0]] and not ignored.any()
