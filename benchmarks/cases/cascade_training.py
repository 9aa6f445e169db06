"""One weak learner of a cascade's stage, beside scikit-learn's stump on a part of the features."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from saccade.benchmarking import Case, Difference, Work, reference


def cases(quick: bool) -> Iterator[Case]:
    windows = 600 if quick else 6000
    for name, step in (("part", 100), ("all", 1)):
        if quick and name == "all":
            continue
        yield Case(
            name=f"cascade_training/weak-learner-{name}",
            operation="cascade_training",
            size=f"a gentle stump, {len(range(0, 162_336, step)):,} features × {windows:,} windows",
            threads=(1, 2),
            prepare=partial(_weak_learner, windows, step),
        )


def _weak_learner(count: int, step: int) -> Work:
    from saccade.classic import HaarFeatureSet
    from saccade.classic._boosting import boosting_round
    from saccade.classic.cascade_trainer import haar_source

    rng = np.random.default_rng(0)
    windows = np.cumsum(np.cumsum(rng.normal(size=(count, 24, 24)), 1), 2)
    windows -= windows.min((1, 2), keepdims=True)
    windows = np.round(windows / windows.max((1, 2), keepdims=True) * 255).astype(np.uint8)
    labels = np.where(windows[:, 6, 6] + rng.normal(0, 60, count) > windows[:, 18, 18], 1.0, -1.0)
    weights = np.full(count, 1 / count)
    source = haar_source(windows, HaarFeatureSet(24, 24)[::step])
    if step == 1:
        why = "the matrix of all features would take 3.9 GB"
        return Work(lambda: boosting_round(source, labels, weights, "gentle", 1).outputs, {"scikit-learn": why})
    values = np.stack([source.values(feature) for feature in range(source.finder.features)], 1)

    def verify(mine: NDArray[np.float64], theirs: NDArray[np.float64]) -> Difference:
        """Between quantiles there may be no better threshold than between all values, but nearly as good a one."""
        errors = [float(np.mean((labels - outputs) ** 2)) for outputs in (mine, theirs)]
        return Difference(errors[0] - errors[1], errors[0] <= errors[1] + 0.01)

    return Work(
        ours=lambda: boosting_round(source, labels, weights, "gentle", 1).outputs,
        references={
            "scikit-learn": reference(
                "sklearn.tree",
                lambda tree: lambda: tree.DecisionTreeRegressor(max_depth=1).fit(values, labels).predict(values),
            )
        },
        verify=verify,
    )
