"""Boosting rounds over any source of features: trees, their weights and those of the samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

ALGORITHMS = ("discrete", "real", "gentle")
_LEAST_ERROR = 1e-10
_LEAST_SHARE = 1e-5  # of either class in a leaf, so that its logarithm stays finite


class Source(NamedTuple):
    """Feature values of the samples: a C++ finder of splits, and the values of one feature, ``(n,)``."""

    finder: Any
    values: Callable[[int], Array]


class Tree(NamedTuple):
    """A decision tree as cascade files hold it, nodes level by level.

    A child above 0 is a node, else minus the number of a leaf; a tree without nodes is its one leaf.
    A sample goes left where its value is below the threshold.
    """

    features: NDArray[np.int64]
    thresholds: Array
    children: NDArray[np.int32]
    leaves: NDArray[np.float64]

    def apply(self, values: Callable[[int], Array], count: int) -> NDArray[np.float64]:
        """The leaf's value for each of ``count`` samples."""
        at = np.zeros(count, np.int32)
        if len(self.features) == 0:
            return np.full(count, self.leaves[0])
        for node, (feature, threshold) in enumerate(zip(self.features.tolist(), self.thresholds, strict=True)):
            here = np.flatnonzero(at == node) if node else slice(None)  # leaves are at or below 0, seen after the root
            right = (values(feature)[here] >= threshold).astype(np.int8)
            at[here] = self.children[node][right]
        return self.leaves[-at]


class Round(NamedTuple):
    """One weak learner: its tree with weighted leaves, what it gives each sample, and its weighted error."""

    tree: Tree
    outputs: NDArray[np.float64]
    error: float


def midpoint(low: Any, high: Any) -> Any:
    """A threshold with ``low < threshold <= high``, in the values' own dtype."""
    middle = low / high.dtype.type(2) + high / high.dtype.type(2)
    return middle if middle > low else high


def grow_tree(
    source: Source, signed: Array, max_depth: int, *, squares: bool, leaf: Callable[[float, float], float]
) -> tuple[Tree, NDArray[np.int32]]:
    """Split the samples of weight not 0 level by level; also returns every sample's leaf, -1 for the others.

    ``leaf`` makes a leaf's value from the sum of the signed weights and that of their amounts.
    """
    features: list[int] = []
    thresholds: list[Any] = []
    children: list[list[int]] = []
    leaves: list[float] = []
    leaf_of = np.full(len(signed), -1, np.int32)
    pending: list[tuple[Array, int, tuple[int, int] | None]] = [(signed != 0, 0, None)]
    for members, depth, parent in pending:
        split = _split(source, signed, members, squares) if depth < max_depth else None
        if split is None:
            number = -len(leaves)
            leaf_of[members] = len(leaves)
            leaves.append(leaf(float(signed[members].sum()), float(np.abs(signed[members]).sum())))
        else:
            number = len(features)
            feature, left = split
            values = source.values(feature)
            features.append(feature)
            thresholds.append(midpoint(values[members & left].max(), values[members & ~left].min()))
            children.append([0, 0])
            pending += [(members & left, depth + 1, (number, 0)), (members & ~left, depth + 1, (number, 1))]
        if parent is not None:
            children[parent[0]][parent[1]] = number
    tree = Tree(
        np.array(features, np.int64),
        np.array(thresholds),
        np.array(children, np.int32).reshape(-1, 2),
        np.array(leaves),
    )
    return tree, leaf_of


def _split(source: Source, signed: Array, members: Array, squares: bool) -> tuple[int, NDArray[np.bool_]] | None:
    """The feature and the left side of the best split, or None where none is better than leaving all together."""
    weights = np.where(members, signed, 0.0)
    total, mass = abs(float(weights.sum())), float(np.abs(weights).sum())
    if mass == 0 or total >= mass * (1 - 1e-12):
        return None
    worth, feature, place = source.finder.best_split(weights, squares)
    if feature < 0 or worth <= (total * total / mass if squares else total) + 1e-12 * mass:
        return None
    left: NDArray[np.bool_] = source.finder.left(feature, place)
    return feature, left


def trimmed(weights: Array, rate: float) -> Array:
    """The weights, with the smallest ones that together hold ``1 - rate`` of the mass set to 0."""
    if rate >= 1:
        return weights
    order = np.sort(weights)
    least = order[np.searchsorted(np.cumsum(order), (1 - rate) * order.sum())]
    return np.where(weights >= least, weights, 0.0)


def boosting_round(
    source: Source,
    labels: Array,
    weights: Array,
    algorithm: str,
    max_depth: int,
    *,
    learning_rate: float = 1.0,
    trim_rate: float = 1.0,
) -> Round:
    """Fit one weak learner to labels of -1 and 1 and weights that sum to 1.

    discrete: Freund and Schapire's AdaBoost, leaves of plus or minus alpha; a stump has the least weighted error, a
    deeper tree is grown by the squared error, which is what Gini's impurity amounts to. real: leaves of half the log
    odds. gentle: leaves of the mean label.
    """

    def sign(total: float, mass: float) -> float:
        return 1.0 if total >= 0 else -1.0

    def half_log_odds(total: float, mass: float) -> float:
        share = np.clip((mass + total) / (2 * mass), _LEAST_SHARE, 1 - _LEAST_SHARE)
        return 0.5 * float(np.log(share / (1 - share)))

    def mean(total: float, mass: float) -> float:
        return total / mass

    leaf = {"discrete": sign, "real": half_log_odds, "gentle": mean}[algorithm]
    squares = algorithm != "discrete" or max_depth > 1
    used = trimmed(weights, trim_rate)
    tree, leaf_of = grow_tree(source, labels * used, max_depth, squares=squares, leaf=leaf)
    outputs = tree.leaves[leaf_of]
    if (leaf_of < 0).any():
        outputs = tree.apply(source.values, len(labels))
    error = float(weights[(outputs >= 0) != (labels > 0)].sum())
    factor = learning_rate
    if algorithm == "discrete":
        bounded = max(error, _LEAST_ERROR)
        factor *= 0.5 * np.log((1 - bounded) / bounded)
    return Round(tree._replace(leaves=tree.leaves * factor), outputs * factor, error)


def reweighted(weights: Array, labels: Array, outputs: Array) -> NDArray[np.float64]:
    """The samples' weights for the next round; they sum to 1."""
    result = weights * np.exp(-labels * outputs)
    return np.asarray(result / result.sum())
