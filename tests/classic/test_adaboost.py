import pickle
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from saccade._numpy import BinnedFeatures, sorted_features
from sklearn.datasets import load_breast_cancer, make_hastie_10_2
from sklearn.ensemble import AdaBoostClassifier as SklearnAdaBoost
from sklearn.model_selection import cross_val_score
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

from saccade.classic import AdaBoostClassifier
from saccade.classic._boosting import Source, grow_tree, midpoint
from saccade.reference.adaboost import adaboost
from tests.util.threads import with_threads

NOT_ZERO = "best_split: weights must be finite and not all zero, got a sum of"


def problem(samples, features, seed=0, levels=None):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, features))
    if levels:
        x = np.round(x * levels) / levels
    y = np.where(x[:, 0] + np.abs(x[:, 1 % features]) + rng.normal(size=samples) > 0.7, 1.0, -1.0)
    return x, y


@parametrize_with_checks([AdaBoostClassifier(n_estimators=10), AdaBoostClassifier(10, algorithm="gentle", max_depth=2)])
def test_scikit_learns_estimator_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("thresholds", ["exact", "histogram"])
@pytest.mark.parametrize(("samples", "features", "levels"), [(40, 5, None), (60, 17, 2), (33, 1, 1), (200, 33, None)])
def test_discrete_equals_its_definition(samples, features, levels, thresholds):
    x, y = problem(samples, features, samples, levels)
    stumps = adaboost(x, y, 8)
    model = AdaBoostClassifier(8, thresholds=thresholds).fit(x, y)
    np.testing.assert_allclose(model.estimator_errors_, [stump.error for stump in stumps], rtol=1e-9)
    np.testing.assert_allclose(model.decision_function(x), sum(stump(x) for stump in stumps), rtol=1e-9, atol=1e-12)
    for tree, stump in zip(model.estimators_, stumps, strict=True):
        split = (int(tree.features[0]), tree.thresholds[0]) if len(tree.features) else (0, -np.inf)
        assert split == (stump.feature, pytest.approx(stump.threshold))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_trees_split_as_scikit_learns(depth, dtype):
    x, y = problem(300, 20, 1)
    x = x.astype(dtype)
    weights = np.random.default_rng(2).uniform(0.5, 1.5, 300)
    tree = DecisionTreeRegressor(max_depth=depth).fit(x, y, weights)
    ours, leaf_of = grow_tree(
        Source(sorted_features(x), lambda feature: x[:, feature]),
        y * weights,
        depth,
        squares=True,
        leaf=lambda total, mass: total / mass,
    )
    np.testing.assert_allclose(ours.leaves[leaf_of], tree.predict(x), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.apply(lambda feature: x[:, feature], 300), tree.predict(x), rtol=1e-9, atol=1e-12)
    assert sorted(ours.features) == sorted(tree.tree_.feature[tree.tree_.feature >= 0])


def test_real_stumps_split_by_gini():
    x, y = problem(500, 12, 3)
    model = AdaBoostClassifier(1, algorithm="real").fit(x, y)
    tree = DecisionTreeClassifier(max_depth=1).fit(x, y)
    assert model.estimators_[0].features[0] == tree.tree_.feature[0]
    assert model.estimators_[0].thresholds[0] == pytest.approx(tree.tree_.threshold[0], abs=1e-6)
    share = tree.predict_proba(x)[:, 1]
    np.testing.assert_allclose(model.decision_function(x), 0.5 * np.log(share / (1 - share)))


@pytest.mark.parametrize("algorithm", ["discrete", "real", "gentle"])
@pytest.mark.parametrize("thresholds", ["exact", "histogram"])
def test_accuracy_is_that_of_scikit_learn(algorithm, thresholds):
    x, y = load_breast_cancer(return_X_y=True)
    ours = cross_val_score(AdaBoostClassifier(40, algorithm=algorithm, thresholds=thresholds), x, y, cv=4).mean()
    theirs = cross_val_score(SklearnAdaBoost(n_estimators=40), x, y, cv=4).mean()
    assert ours >= theirs - 0.015


def test_deeper_trees_learn_what_stumps_cannot():
    x = np.random.default_rng(0).uniform(-1, 1, (400, 2))
    y = x[:, 0] * x[:, 1] > 0
    assert AdaBoostClassifier(40).fit(x, y).score(x, y) < 0.8
    assert AdaBoostClassifier(40, max_depth=2, algorithm="gentle").fit(x, y).score(x, y) > 0.95


@pytest.mark.parametrize("make", [sorted_features, BinnedFeatures])
@pytest.mark.parametrize("samples", [2, 15, 16, 17, 255, 256, 257, 1000])
@pytest.mark.parametrize("squares", [False, True])
def test_finders_find_the_best_split(make, samples, squares):
    x, y = problem(samples, 19, samples, 8)
    y[:2] = 1, -1
    weights = y * np.random.default_rng(1).exponential(size=samples)
    finder = make(x)
    worth, feature, place = finder.best_split(weights, squares)

    def value(left):
        inside, outside = weights[left], weights[~left]
        if squares:
            return sum(part.sum() ** 2 / np.abs(part).sum() for part in (inside, outside) if len(part))
        return abs(inside.sum() - outside.sum())

    candidates = [(value(x[:, f] < t), -f) for f in range(19) for t in np.unique(x[:, f])[1:]]
    assert worth == pytest.approx(max(candidates)[0], rel=1e-9)
    assert value(finder.left(feature, place)) == pytest.approx(worth, rel=1e-9)


@pytest.mark.parametrize("make", [sorted_features, BinnedFeatures])
def test_threads_do_not_matter(make):
    x, y = problem(3000, 200, 5)
    weights = y * np.random.default_rng(1).exponential(size=3000)
    found = set(with_threads(lambda: make(x).best_split(weights, True)))
    assert len(found) == 1


@pytest.mark.native
def test_more_samples_than_sixteen_bits_count():
    x, y = make_hastie_10_2(70_000, random_state=0)
    model = AdaBoostClassifier(20, algorithm="real").fit(x, y)
    stump = DecisionTreeClassifier(max_depth=1)
    theirs = SklearnAdaBoost(stump, n_estimators=20).fit(x, y)
    assert model.score(x, y) >= theirs.score(x, y) - 0.005


def test_bins_of_more_values_than_256_are_quantiles():
    x = np.random.default_rng(0).permutation(5120.0 * np.arange(2560))[:, None]
    bins = BinnedFeatures(x)
    for place in (0, 100, 254):
        assert bins.left(0, place).sum() == 10 * (place + 1)
    assert bins.bytes == 2560
    assert sorted_features(x).bytes == 2560 * 16 * 2 + 2560 * 2


def test_stops_where_nothing_is_left_to_learn():
    x = np.array([[0.0], [1], [2], [3]])
    perfect = AdaBoostClassifier().fit(x, [0, 0, 1, 1])
    assert len(perfect.estimators_) == 1
    assert perfect.score(x, [0, 0, 1, 1]) == 1
    constant = AdaBoostClassifier().fit(np.ones((4, 3)), [0, 1, 1, 1])
    assert constant.predict(np.zeros((2, 3))).tolist() == [1, 1]


def test_infinite_gaps_and_neighbouring_floats_are_separated():
    for low, high in ((-1.7e308, 1.7e308), (1.0, np.nextafter(1.0, 2)), (-0.0, 5e-324)):
        threshold = midpoint(np.float64(low), np.float64(high))
        assert low < threshold <= high
        x = np.array([[low], [high]])
        assert AdaBoostClassifier().fit(x, [0, 1]).predict(x).tolist() == [0, 1]


def test_trimming_leaves_out_the_lightest():
    x, y = problem(400, 10, 7)
    full = AdaBoostClassifier(60, algorithm="gentle").fit(x, y)
    trimmed = AdaBoostClassifier(60, algorithm="gentle", weight_trim_rate=0.9).fit(x, y)
    assert trimmed.score(x, y) >= full.score(x, y) - 0.05
    assert any(a.features[0] != b.features[0] for a, b in zip(full.estimators_, trimmed.estimators_, strict=True))


def test_pickle_keeps_the_model():
    x, y = problem(100, 6)
    model = AdaBoostClassifier(10, algorithm="real", max_depth=3).fit(x, y)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).decision_function(x), model.decision_function(x))


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 2**32 - 1), st.sampled_from(["exact", "histogram"]))
@example(5, 1, 7, "histogram")  # classes that weigh the same but for rounding
@settings(max_examples=40, deadline=None)
def test_training_error_falls_below_the_product_of_the_rounds(samples, features, seed, thresholds):
    """Freund and Schapire's bound: the error is at most the product of 2 sqrt(e (1 - e))."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 4, (samples, features)).astype(np.float32)
    y = rng.integers(0, 2, samples)
    if len(np.unique(y)) < 2:
        return
    model = AdaBoostClassifier(12, thresholds=thresholds).fit(x, y)
    errors = model.estimator_errors_
    assert 1 - model.score(x, y) <= np.prod(2 * np.sqrt(errors * (1 - errors))) + 1e-9


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"algorithm": "logit"}, "algorithm must be 'discrete', 'real' or 'gentle', got 'logit'"),
        ({"max_depth": 4}, "max_depth must be 1, 2 or 3, got 4"),
        ({"n_estimators": 0}, "n_estimators must be at least 1, got 0"),
        ({"learning_rate": 0}, "learning_rate must be above 0 and finite, got 0"),
        ({"thresholds": "all"}, "thresholds must be 'exact' or 'histogram', got 'all'"),
        ({"weight_trim_rate": 0.0}, "weight_trim_rate must be above 0 and at most 1, got 0.0"),
    ],
)
def test_wrong_parameters(parameters, message):
    with pytest.raises(ValueError, match=f"^AdaBoostClassifier: {re.escape(message)}$"):
        AdaBoostClassifier(**parameters).fit([[0.0], [1.0]], [0, 1])


def test_wrong_data():
    x = np.zeros((4, 2))
    with pytest.raises(ValueError, match=r"^AdaBoostClassifier: y must have two classes, got 1 class$"):
        AdaBoostClassifier().fit(x, [1, 1, 1, 1])
    with pytest.raises(
        ValueError,
        match=r"^AdaBoostClassifier: Only binary classification is supported\. The type of the target is multiclass\.$",
    ):
        AdaBoostClassifier().fit(x, [1, 2, 3, 1])
    with pytest.raises(ValueError, match="NaN"):
        AdaBoostClassifier().fit(np.full((4, 2), np.nan), [0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"^Sample weights must contain at least one non-zero number\.$"):
        AdaBoostClassifier().fit(x, [0, 1, 0, 1], np.zeros(4))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.zeros(5), True), ValueError, "best_split: weights must have shape (samples,), got (5,)"),
        ((np.zeros(4, np.float32), True), TypeError, "best_split: weights must be float64, got float32"),
        ((np.zeros(4), True), ValueError, f"{NOT_ZERO} 0"),
        (
            (np.full(4, np.inf), True),
            ValueError,
            "best_split: weights must be finite and not all zero, got a sum of inf",
        ),
    ],
)
def test_wrong_weights(arguments, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        sorted_features(np.zeros((4, 2))).best_split(*arguments)


@pytest.mark.parametrize("make", [sorted_features, BinnedFeatures])
def test_wrong_samples(make):
    with pytest.raises(ValueError, match=re.escape("SplitFinder: x must have shape (samples, features), got (3,)")):
        make(np.zeros(3))
    with pytest.raises(TypeError, match=re.escape("SplitFinder: x must be float32 or float64, got int32")):
        make(np.zeros((3, 2), np.int32))
    with pytest.raises(ValueError, match=re.escape("left: feature must be from 0 to 1, got 2")):
        make(np.zeros((3, 2))).left(2, 0)
