"""aLRP Loss and AP Loss written from the equations: a loop over positives, in double precision."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Reference:
    loss: float
    ranks: np.ndarray
    false_positives: np.ndarray
    positive_gradients: np.ndarray
    negative_gradients: np.ndarray
    localisation: float


def ramp(difference, delta):
    return np.clip(difference / (2 * delta) + 0.5, 0, 1)


def reference(kind, positives, negatives, localisation, delta):
    count = len(positives)
    ranks, precisions, wrong = np.ones(count), np.ones(count), np.zeros(count)
    on_positives, on_negatives = np.zeros(count), np.zeros(len(negatives))
    highest = 0.0
    for i in np.argsort(positives, kind="stable"):
        above = ramp(positives - positives[i], delta)
        above[i] = 0
        false = ramp(negatives - positives[i], delta)
        wrong[i] = false.sum()
        ranks[i] = 1 + above.sum() + wrong[i]
        precision = (1 + above.sum()) / ranks[i]
        if kind == "alrp":
            precisions[i] = precision
            if wrong[i] > 1e-5:
                on_positives[i] = -((above * localisation).sum() + wrong[i]) / ranks[i]
                on_negatives += false / wrong[i] * -on_positives[i]
        else:
            if precision >= highest:
                highest = precision
                on_negatives += false / ranks[i]
            else:
                on_negatives += false / ranks[i] * (1 - highest) / (1 - precision)
            precisions[i] = highest
            on_positives[i] = -(1 - highest)
    best_first = np.argsort(-positives, kind="stable")
    term = (np.cumsum(localisation[best_first]) / ranks[best_first]).sum()
    size = max(count, 1)
    return Reference(
        (1 - precisions).sum() / size, ranks, wrong, on_positives / size, on_negatives / size, term / size
    )
