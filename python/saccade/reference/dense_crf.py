"""The mean field of a fully connected CRF, plainly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.reference.permutohedral import permutohedral_filter

Array = NDArray[np.float64]


def softmax(logits: Array) -> Array:
    """Over the labels, the first axis."""
    powers = np.exp(logits - logits.max(0))
    return powers / powers.sum(0)


def image_features(shape: tuple[int, int], sxy: float, image: NDArray[Any] | None = None, srgb: float = 1) -> Array:
    """``(H * W, 2 + C)`` places and colours of an image ``(C, H, W)``."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    columns = [x.ravel() / sxy, y.ravel() / sxy]
    if image is not None:
        columns += [channel.ravel() / srgb for channel in np.asarray(image, np.float64)]
    return np.stack(columns, 1)


def dense_crf(
    unary: NDArray[Any],
    terms: list[tuple[Array, NDArray[Any]]],
    iterations: int,
    normalization: str = "symmetric",
    kernel: Callable[[Array, Array], Array] = permutohedral_filter,
) -> Array:
    """Costs ``(L, N)`` and terms of features ``(N, d)`` and compatibility ``(L, L)``: what pairs of labels cost."""
    unary = np.asarray(unary, np.float64)
    scaled = []
    for features, costs in terms:
        total = kernel(features, np.ones((len(features), 1)))[:, 0]
        factor = {"none": np.ones_like(total), "symmetric": total**-0.5}.get(normalization, 1 / total)
        one = np.ones_like(total)
        before, after = one if normalization == "after" else factor, one if normalization == "before" else factor
        scaled.append((features, np.asarray(costs, np.float64), before, after))
    q = softmax(-unary)
    for _ in range(iterations):
        logits = -unary
        for features, costs, before, after in scaled:
            logits = logits - costs @ (after * kernel(features, (q * before).T).T)
        q = softmax(logits)
    return q
