"""Boosted stumps, beside scikit-learn's."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from functools import partial

import numpy as np

from saccade.benchmarking import Case, Difference, Work, reference


def cases(quick: bool) -> Iterator[Case]:
    if importlib.util.find_spec("sklearn") is None:
        return  # AdaBoostClassifier is an estimator of its kind
    samples, features, rounds = (500, 400, 20) if quick else (2000, 5000, 50)
    for thresholds in ("exact", "histogram"):
        yield Case(
            name=f"adaboost/discrete-{thresholds}",
            operation="adaboost",
            size=f"{samples:,} × {features:,}, {rounds} rounds, {thresholds} thresholds",
            threads=(1, 2),
            bar=150.0 if thresholds == "exact" and not quick else None,
            prepare=partial(_boosting, samples, features, rounds, thresholds),
        )


def _boosting(samples: int, features: int, rounds: int, thresholds: str) -> Work:
    from saccade.classic import AdaBoostClassifier

    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, features)).astype(np.float32)
    y = x[:, :20].sum(1) + rng.normal(0, 4, samples) > 0
    # Stumps of the least error are not scikit-learn's, which split by impurity: what must agree is how well they fit.
    return Work(
        ours=lambda: AdaBoostClassifier(rounds, thresholds=thresholds).fit(x, y).score(x, y),
        references={
            "scikit-learn": reference(
                "sklearn.ensemble",
                lambda ensemble: lambda: ensemble.AdaBoostClassifier(n_estimators=rounds).fit(x, y).score(x, y),
            )
        },
        verify=_as_accurate,
    )


def _as_accurate(mine: float, theirs: float) -> Difference:
    return Difference(abs(mine - theirs), mine >= theirs - 0.02)
