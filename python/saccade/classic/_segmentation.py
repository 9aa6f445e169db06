"""Figure and ground of a detection, from the patches that voted for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from saccade.classic._hough import Peak, VoteSpace
from saccade.classic._patches import resize

if TYPE_CHECKING:
    from saccade.classic.implicit_shape_model import ImplicitShapeModel

__all__ = ["figure_probability"]

Array = NDArray[Any]


def figure_probability(
    model: ImplicitShapeModel, space: VoteSpace, peak: Peak, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """p(pixel is figure | object at the peak).

    The mean, over the patches that hold the pixel and voted for the object, of their occurrences' masks, each
    weighed by its part in the score (Leibe et al., 2008, section 5).
    """
    owners, weight = space.voters(peak)
    height, width = shape
    figure, total = np.zeros((2, height, width), np.float32)
    for number in np.unique(owners[:, 1]):
        chosen = owners[:, 1] == number
        scale = space.scales[number]
        size = max(round(height / scale), 1), max(round(width / scale), 1)
        parts = _level_sums(model, owners[chosen], weight[chosen], size if scale != 1 else (height, width))
        for sums, part in zip((figure, total), parts, strict=True):
            sums += resize(part, width, height) if part.shape != sums.shape else part
    return np.where(total > 1e-6 * total.max(), np.minimum(figure / np.where(total > 0, total, 1), 1), 0)


def _level_sums(model: ImplicitShapeModel, owners: Array, weight: Array, size: tuple[int, int]) -> Array:
    """Weighted figure and weight of each pixel of a level, ``(2, h, w)``."""
    side = model.patch_size
    corners, feature = np.unique(owners[:, 2:4], axis=0, return_inverse=True)
    feature = feature.reshape(-1)
    masks = model.occurrences_.figure
    assert masks is not None
    order = np.argsort(feature, kind="stable")
    starts = np.searchsorted(feature[order], np.arange(len(corners)))
    weighed = masks[owners[order, 4]] * (weight[order] / 255)[:, None]
    patches = np.add.reduceat(weighed, starts, axis=0).reshape(-1, side, side)
    totals = np.bincount(feature, weight, len(corners))
    y = corners[:, 1, None, None] + np.arange(side)[:, None]
    x = corners[:, 0, None, None] + np.arange(side)
    pixels = (y * size[1] + x).ravel()
    sums = [
        np.bincount(pixels, values.ravel(), size[0] * size[1])
        for values in (patches, np.broadcast_to(totals[:, None, None], patches.shape))
    ]
    return np.array(sums, np.float32).reshape(2, *size)
