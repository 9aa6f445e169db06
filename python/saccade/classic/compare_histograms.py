"""Measures of how alike histograms are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade.classic._estimator import named

__all__ = ["compare_histograms"]

Array = NDArray[Any]
METHODS = ("correlation", "chi_square", "intersection", "hellinger", "kl_divergence")
# OpenCV's: what counts as an empty bin, and what a filled one is measured against then.
TINY = float(np.finfo(np.float64).eps)
STAND_IN = 1e-10


def compare_histograms(a: ArrayLike, b: ArrayLike, method: str = "correlation", *, ndim: int = 1) -> Any:
    """Compare histograms, one with one or many with many.

    Args:
        a: ``(..., bins)``, finite and not negative. Leading dimensions of both are broadcast.
        b: likewise.
        method: ``"correlation"`` (1: alike, 0: unrelated, -1; 1 if one is constant), ``"intersection"`` (sum of
            minima), or a distance: ``"chi_square"`` (sum of ``(a - b)^2 / a`` where a is not 0), ``"hellinger"`` (of
            the histograms made to add up to 1; OpenCV's Bhattacharyya), ``"kl_divergence"`` (sum of ``a log(a / b)``).
        ndim: how many trailing dimensions make one histogram: 3 for the joint histogram of three channels.

    Returns:
        float64, of the leading dimensions' shape; a number if there are none.

    Raises:
        ValueError: for wrong shapes or values. TypeError: for a wrong dtype.

    Equals ``cv2.compareHist``. Source: Schiele, Crowley, Recognition without correspondence using multidimensional
    receptive field histograms, IJCV 2000.

    >>> compare_histograms([1, 2, 3], [2, 4, 6])
    1.0
    >>> compare_histograms([[1, 0], [1, 1]], [1, 1], "intersection")
    array([1., 2.])
    """
    named("compare_histograms", "method", method, METHODS)
    x, y = _flat("a", a, ndim), _flat("b", b, ndim)
    if np.shape(a)[-ndim:] != np.shape(b)[-ndim:]:
        raise ValueError(f"compare_histograms: a and b must have the same bins, got {np.shape(a)} and {np.shape(b)}")
    try:
        x, y = np.broadcast_arrays(x, y)
    except ValueError:
        raise ValueError(
            f"compare_histograms: a and b must have leading dimensions that broadcast, got {np.shape(a)} and "
            f"{np.shape(b)}"
        ) from None
    result = MEASURES[method](x, y)
    return float(result) if np.ndim(result) == 0 else result


def _flat(name: str, values: ArrayLike, ndim: int) -> NDArray[np.float64]:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"compare_histograms: {name} must be real numbers, got {array.dtype}")
    if not 1 <= ndim <= array.ndim or 0 in array.shape[-ndim:]:
        raise ValueError(f"compare_histograms: {name} must have at least ndim={ndim} dimensions, got {array.shape}")
    array = array.astype(np.float64).reshape(*array.shape[:-ndim], -1)
    if not (np.isfinite(array).all() and (array >= 0).all()):
        raise ValueError(f"compare_histograms: {name} must be finite and not negative, got {np.min(array)} as least")
    return array


def _correlation(a: Array, b: Array) -> Array:
    # Around the means rather than by sums of squares as OpenCV does: that loses digits where a bin differs little.
    x, y = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    spread = (x * x).sum(-1) * (y * y).sum(-1)
    varied = spread > TINY
    return np.where(varied, (x * y).sum(-1) / np.sqrt(np.where(varied, spread, 1)), 1.0)


def _chi_square(a: Array, b: Array) -> Array:
    filled = a > TINY
    return np.where(filled, (a - b) ** 2 / np.where(filled, a, 1), 0).sum(-1)


def _intersection(a: Array, b: Array) -> Array:
    return np.minimum(a, b).sum(-1)


def _hellinger(a: Array, b: Array) -> Array:
    product = a.sum(-1) * b.sum(-1)
    filled = product > np.finfo(np.float32).eps
    return np.sqrt(np.maximum(1 - np.sqrt(a * b).sum(-1) / np.where(filled, np.sqrt(product), 1), 0))


def _kl_divergence(a: Array, b: Array) -> Array:
    filled = a > TINY
    ratio = np.where(filled, a, 1) / np.where(b > TINY, b, STAND_IN)
    return np.where(filled, a * np.log(np.where(filled, ratio, 1)), 0).sum(-1)


MEASURES = {
    "correlation": _correlation,
    "chi_square": _chi_square,
    "intersection": _intersection,
    "hellinger": _hellinger,
    "kl_divergence": _kl_divergence,
}
