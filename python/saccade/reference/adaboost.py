"""Discrete AdaBoost over stumps, by its definition."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Stump", "adaboost"]


class Stump(NamedTuple):
    """``alpha * polarity`` where the feature is at or above the threshold, else minus that; constant at -infinity."""

    feature: int
    threshold: float
    polarity: int
    alpha: float
    error: float

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The votes for ``(samples, features)`` values."""
        return self.alpha * self.polarity * np.where(x[:, self.feature] >= self.threshold, 1.0, -1.0)


def adaboost(x: NDArray[np.float64], labels: NDArray[np.float64], rounds: int) -> list[Stump]:
    """``rounds`` stumps for values ``(samples, features)`` and labels -1 and 1, trying every threshold and -infinity.

    Source: Freund and Schapire, 1997; Viola and Jones, 2001, table 1 (weights start equal here).
    """
    weights = np.full(len(x), 1 / len(x))
    stumps = []
    for _ in range(rounds):
        best = Stump(-1, 0.0, 1, 0.0, np.inf)
        for feature in range(x.shape[1]):
            levels = np.unique(x[:, feature])
            for threshold in (-np.inf, *(levels[:-1] + levels[1:]) / 2):
                predicted = np.where(x[:, feature] >= threshold, 1.0, -1.0)
                wrong = float(weights[predicted != labels].sum())
                for polarity, error in ((1, wrong), (-1, 1 - wrong)):
                    if error < best.error - 1e-12:
                        best = Stump(feature, float(threshold), polarity, 0.0, error)
        best = best._replace(alpha=0.5 * float(np.log((1 - best.error) / best.error)))
        stumps.append(best)
        weights = weights * np.exp(-labels * best(x))
        weights /= weights.sum()
    return stumps
