"""Gaussian filtering of points: all pairs, and the permutohedral lattice, plainly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def gaussian_sum(features: NDArray[Any], values: NDArray[Any]) -> Array:
    """The sum over all pairs that the lattice approximates: ``(N, d)`` and ``(N, C)``."""
    features = np.asarray(features, np.float64)
    squares = ((features[:, None] - features[None]) ** 2).sum(-1)
    return np.exp(-squares / 2) @ np.asarray(values, np.float64)


def lattice_matrices(features: NDArray[Any]) -> tuple[Array, list[Array]]:
    """Barycentric weights ``(N, M)`` of the points at the vertices, and the blur ``(M, M)`` along each axis."""
    features = np.asarray(features, np.float64)
    count, d = features.shape
    # A basis of the hyperplane of coordinates that sum to zero; the scale gives the whole filter a variance of one.
    basis = np.zeros((d + 1, d))
    for j in range(d):
        basis[: j + 1, j], basis[j + 1, j] = 1, -(j + 1)
    basis *= np.sqrt(2 / 3) * (d + 1) / np.sqrt(np.arange(1.0, d + 1) * np.arange(2.0, d + 2))
    numbers: dict[tuple[int, ...], int] = {}
    entries: list[tuple[int, int, float]] = []
    for p, elevated in enumerate(features @ basis.T):
        for vertex, weight in _simplex(elevated):
            entries.append((p, numbers.setdefault(vertex, len(numbers)), weight))
    weights = np.zeros((count, len(numbers)))
    for p, v, weight in entries:
        weights[p, v] += weight
    return weights, [_blur(numbers, axis) for axis in range(d + 1)]


def _simplex(elevated: Array) -> list[tuple[tuple[int, ...], float]]:
    """The vertices around a point and its barycentric weights, from the coordinates' order (Adams et al., 2010)."""
    size = len(elevated)
    closest = np.rint(elevated / size).astype(int) * size
    order = _falling(elevated - closest)
    while (excess := closest.sum() // size) != 0:
        # Not on the hyperplane: move the coordinate that was rounded furthest.
        closest[order[-1] if excess > 0 else order[0]] -= size * np.sign(excess)
        order = _falling(elevated - closest)
    residual = elevated - closest
    falling = residual[order] / size
    found = []
    for k in range(size):
        # Vertex k: k more everywhere, and size less where the residuals are the k smallest.
        vertex = closest + k
        vertex[order[size - k :]] -= size
        weight = falling[size - 1 - k] - falling[size - k] if k else 1 - falling[0] + falling[-1]
        found.append((tuple(int(c) for c in vertex), float(weight)))
    return found


def _falling(residual: Array) -> NDArray[np.int64]:
    """The order from the largest down; of equal ones, up to rounding, the first comes first."""
    return np.argsort(-residual.round(9), kind="stable")


def _blur(numbers: dict[tuple[int, ...], int], axis: int) -> Array:
    matrix = np.eye(len(numbers))
    for vertex, v in numbers.items():
        for sign in (1, -1):
            step = [c - sign for c in vertex]
            step[axis] += sign * len(vertex)
            if (other := numbers.get(tuple(step))) is not None:
                matrix[v, other] = 0.5
    return matrix


def permutohedral_filter(features: NDArray[Any], values: NDArray[Any]) -> Array:
    """Splat, blur along every axis, slice."""
    weights, blurs = lattice_matrices(features)
    table = weights.T @ np.asarray(values, np.float64)
    for blur in blurs:
        table = blur @ table
    return weights @ table / (1 + 2.0 ** -np.asarray(features).shape[1])
