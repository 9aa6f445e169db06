"""Minimum cuts on grids."""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade._numpy import graph_cut as _graph_cut

__all__ = ["graph_cut"]


@overload
def graph_cut(
    unary: ArrayLike, pairwise: ArrayLike, *, connectivity: int = 4, return_energy: Literal[False] = False
) -> NDArray[np.uint8]: ...
@overload
def graph_cut(
    unary: ArrayLike, pairwise: ArrayLike, *, connectivity: int = 4, return_energy: Literal[True]
) -> tuple[NDArray[np.uint8], float]: ...
def graph_cut(
    unary: ArrayLike, pairwise: ArrayLike, *, connectivity: int = 4, return_energy: bool = False
) -> NDArray[np.uint8] | tuple[NDArray[np.uint8], float]:
    """Label the pixels of a grid 0 or 1 with the least energy, by a minimum cut.

    The energy is the sum of ``unary[label[p], p]`` over the pixels, and of the weight of each two neighbours whose
    labels differ. Of several minima the one with the fewest ones is taken (with floats: up to rounding).

    Args:
        unary: ``(2, H, W)``, or ``(2, D, H, W)`` for a volume: the costs of label 0 and of label 1, of any sign. With
            floats ``inf`` forbids a label.
        pairwise: weights, at least 0: one number, ``(K,)`` or ``(K, H, W)`` (``(K, D, H, W)``) for the ``K`` directions
            of the connectivity. ``pairwise[k, p]`` stands between a pixel ``p`` and its neighbour in direction ``k``;
            where that lies outside the grid it is not read.
        connectivity: 4 or 8 in an image, 6 or 26 in a volume. The directions are, as steps in the order of the axes:
            4: (1, 0), (0, 1); 8: also (1, 1), (1, -1); 6: (1, 0, 0), (0, 1, 0), (0, 0, 1); 26: the 13 of
            {-1, 0, 1}³ that follow (0, 0, 0) in row-major order.
        return_energy: give the energy as well.

    Returns:
        ``(H, W)`` or ``(D, H, W)`` uint8 labels; with ``return_energy`` also the energy of these labels, an int where
        the costs and weights are integers. Integers are computed with exactly, in 32 bits; float16 and float32 in
        float32, float64 and mixtures with integers in float64.

    Raises:
        ValueError: for wrong shapes; NaN, -inf, or inf for both labels of a pixel; weights that are negative or not
            finite; integers too large (a weight, or the difference of a pixel's costs, of 2³⁰ or more). TypeError: for
            other dtypes.

    Source: Greig, Porteous and Seheult, Exact maximum a posteriori estimation for binary images, 1989; Goldberg,
    Hed, Kaplan, Tarjan and Werneck, Maximum flows by incremental breadth-first search, 2011.

    >>> costs = np.array([[[5, 5, 0, 5]], [[0, 2, 4, 0]]])
    >>> graph_cut(costs, 3, return_energy=True)
    (array([[1, 1, 1, 1]], dtype=uint8), 6)
    >>> graph_cut(costs, 1)
    array([[1, 1, 0, 1]], dtype=uint8)
    """
    costs, weights = np.asarray(unary), np.asarray(pairwise)
    for name, array in (("unary", costs), ("pairwise", weights)):
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            raise TypeError(f"graph_cut: {name} must be real numbers of at most 64 bits, got {array.dtype}")
    dtype = _common(costs.dtype, weights.dtype, isinstance(pairwise, (int, float)))
    labels, energy = _graph_cut(
        _as(costs, "unary", dtype), _as(weights, "pairwise", dtype), _integer(connectivity), bool(return_energy)
    )
    return (labels, energy) if return_energy else labels


def _common(costs: np.dtype[Any], weights: np.dtype[Any], weak: bool) -> np.dtype[Any]:
    """The type to compute in; a Python number does not widen floats."""
    if weak and costs.kind == "f":
        weights = costs
    kinds = costs.kind + weights.kind
    if "f" not in kinds:
        return np.dtype(np.int32)
    narrow = all(dtype.kind == "f" and dtype.itemsize <= 4 for dtype in (costs, weights))
    return np.dtype(np.float32 if narrow else np.float64)


def _as(array: NDArray[Any], name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "i" and array.dtype.itemsize >= 4 and array.dtype != dtype and array.size:
        low, high = int(array.min()), int(array.max())
        if low < -(2**31) or high >= 2**31:
            raise ValueError(f"graph_cut: {name} must fit in 32 bits where all is integer, got {low} to {high}")
    with np.errstate(over="ignore"):
        return np.asarray(array, dtype, order="C")


def _integer(connectivity: Any) -> int:
    if isinstance(connectivity, (bool, np.bool_)) or not isinstance(connectivity, (int, np.integer)):
        raise TypeError(f"graph_cut: connectivity must be an integer, got {connectivity!r}")
    return int(connectivity)
