"""AdaBoost over decision stumps and small trees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade._native import numpy_module
from saccade.classic._boosting import ALGORITHMS, Array, Source, Tree, boosting_round, reweighted

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.multiclass import check_classification_targets, type_of_target
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "AdaBoostClassifier: needs scikit-learn 1.6 or newer: python -m pip install 'saccade[classic]'"
    ) from error

__all__ = ["AdaBoostClassifier"]


class AdaBoostClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Two-class boosting of stumps and small trees, with scikit-learn's estimator interface.

    Args:
        n_estimators: most rounds; it stops early where a weak learner is perfect, or no better than chance. A learner
            may be a constant, where no split has a smaller error.
        algorithm: ``"discrete"``: Freund and Schapire's AdaBoost, each stump of the least weighted error, its vote
            ``alpha = log((1 - error) / error) / 2``; ``"real"``: leaves vote half the log odds; ``"gentle"``: leaves
            vote their mean label.
        max_depth: of the trees, 1 (stumps) to 3.
        learning_rate: shrinks every vote; above 0.
        thresholds: ``"exact"`` looks at every threshold of every feature, ``"histogram"`` at those between 256
            quantiles (all of them, where a feature takes no more values), with half the memory.
        weight_trim_rate: share of the weight that a round learns from, above 0, at most 1: the lightest samples that
            make up the rest are left out of it.

    Fitted, it has ``classes_``, ``estimators_`` (a `Tree` for each round), ``estimator_errors_`` (weighted training
    errors) and ``n_features_in_``. Fitting draws no random numbers; it does not depend on the number of threads.
    Of equally good splits the first feature wins, then the lowest threshold.

    Raises:
        ValueError: for parameters out of range, other than two classes, NaN or infinite values.

    Source: Freund and Schapire, A decision-theoretic generalization of on-line learning, 1997; Friedman, Hastie and
    Tibshirani, Additive logistic regression: a statistical view of boosting, 2000.

    >>> import numpy as np
    >>> from saccade.classic import AdaBoostClassifier
    >>> x = np.arange(8.0)[:, None]
    >>> y = np.array(["no", "no", "yes", "yes", "yes", "no", "no", "no"])
    >>> model = AdaBoostClassifier(n_estimators=3).fit(x, y)
    >>> [float(score) for score in model.staged_score(x, y)]
    [0.75, 0.75, 1.0]
    """

    classes_: NDArray[Any]
    estimators_: list[Tree]
    estimator_errors_: NDArray[np.float64]

    def __init__(
        self,
        n_estimators: int = 50,
        *,
        algorithm: str = "discrete",
        max_depth: int = 1,
        learning_rate: float = 1.0,
        thresholds: str = "exact",
        weight_trim_rate: float = 1.0,
    ) -> None:
        self.n_estimators = n_estimators
        self.algorithm = algorithm
        self.max_depth = max_depth
        self.learning_rate = learning_rate
        self.thresholds = thresholds
        self.weight_trim_rate = weight_trim_rate

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _check_parameters(self) -> None:
        def check(holds: bool, name: str, rule: str) -> None:
            if not holds:
                raise ValueError(f"AdaBoostClassifier: {name} must be {rule}, got {getattr(self, name)!r}")

        check(self.algorithm in ALGORITHMS, "algorithm", "'discrete', 'real' or 'gentle'")
        check(self.thresholds in ("exact", "histogram"), "thresholds", "'exact' or 'histogram'")
        check(self.n_estimators >= 1, "n_estimators", "at least 1")
        check(self.max_depth in (1, 2, 3), "max_depth", "1, 2 or 3")
        check(0 < self.learning_rate < np.inf, "learning_rate", "above 0 and finite")
        check(0 < self.weight_trim_rate <= 1, "weight_trim_rate", "above 0 and at most 1")

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> AdaBoostClassifier:
        """Boost on ``(samples, features)`` values and ``(samples,)`` labels of two classes."""
        self._check_parameters()
        x, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        if (kind := type_of_target(y)) != "binary":
            raise ValueError(
                f"AdaBoostClassifier: Only binary classification is supported. The type of the target is {kind}."
            )
        weights = _check_sample_weight(sample_weight, x, dtype=np.float64, ensure_non_negative=True)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) != 2:
            raise ValueError("AdaBoostClassifier: y must have two classes, got 1 class")
        labels = codes * 2.0 - 1.0
        weights = weights / weights.sum()
        make = numpy_module.sorted_features if self.thresholds == "exact" else numpy_module.BinnedFeatures
        source = Source(make(x), lambda feature: x[:, feature])
        self.estimators_ = []
        errors: list[float] = []
        for _ in range(self.n_estimators):
            learner = boosting_round(
                source,
                labels,
                weights,
                self.algorithm,
                self.max_depth,
                learning_rate=self.learning_rate,
                trim_rate=self.weight_trim_rate,
            )
            if learner.error >= 0.5 and self.estimators_:
                break
            self.estimators_.append(learner.tree)
            errors.append(learner.error)
            if not 0 < learner.error < 0.5:
                break
            weights = reweighted(weights, labels, learner.outputs)
        self.estimator_errors_ = np.array(errors)
        return self

    def _columns(self, X: ArrayLike) -> Array:
        check_is_fitted(self)
        x: Array = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return x

    def staged_decision_function(self, X: ArrayLike) -> Iterator[NDArray[np.float64]]:
        """The sum of votes after each round, ``(samples,)``; above 0 for ``classes_[1]``."""
        x = self._columns(X)
        votes = np.zeros(len(x))
        for tree in self.estimators_:
            votes = votes + tree.apply(lambda feature: x[:, feature], len(x))
            yield votes

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """The sum of all votes, ``(samples,)``: half the log odds that the model sees for ``classes_[1]``."""
        x = self._columns(X)
        votes = np.zeros(len(x))
        for tree in self.estimators_:
            votes += tree.apply(lambda feature: x[:, feature], len(x))
        return votes

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The class of each sample, ``(samples,)``."""
        votes = self.decision_function(X)
        return self.classes_[(votes >= 0).astype(int)]

    def staged_predict(self, X: ArrayLike) -> Iterator[NDArray[Any]]:
        """The class of each sample after each round."""
        for votes in self.staged_decision_function(X):
            yield self.classes_[(votes >= 0).astype(int)]

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probabilities of the two classes, ``(samples, 2)``, by the logistic function of twice the votes."""
        positive = 0.5 * (1 + np.tanh(self.decision_function(X)))
        return np.stack([1 - positive, positive], 1)

    def staged_score(self, X: ArrayLike, y: ArrayLike) -> Iterator[float]:
        """Accuracy after each round."""
        for predicted in self.staged_predict(X):
            yield float(np.mean(predicted == np.asarray(y)))
