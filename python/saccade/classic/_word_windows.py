"""Windows whose histogram of visual words correlates with the object's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from saccade.classic._patches import Level

if TYPE_CHECKING:
    from saccade.classic.implicit_shape_model import ImplicitShapeModel

__all__ = ["correlate_windows", "window_correlations"]

Array = NDArray[Any]


def window_correlations(counts: Array, template: Array, across: int, down: int) -> Array:
    """Correlation of ``template`` ``(K,)`` with the histogram of each window of ``down`` by ``across`` cells.

    ``counts`` ``(rows, columns, K)`` are the words of each cell. Equal to ``compare_histograms(window, template,
    "correlation")``, but 0 for a histogram without variation.
    """
    rows, columns, n_words = counts.shape
    sums = np.zeros((rows + 1, columns + 1, n_words), np.int32)
    np.cumsum(counts, axis=0, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    windows = (sums[down:, across:] - sums[down:, :-across] - sums[:-down, across:] + sums[:-down, :-across]).astype(
        np.float32
    )
    # The words' total and squares are integers, far below 2^24.
    total = windows.sum(2, dtype=np.float64)
    squares = np.einsum("rck,rck->rc", windows, windows).astype(np.float64)
    centred = template - template.mean()
    spread = squares - total * total / n_words
    length = np.sqrt(np.maximum(spread, 0) * (centred @ centred))
    return np.where(length > 0, (windows @ centred.astype(np.float32)) / np.where(length > 0, length, 1), 0)


def correlate_windows(
    model: ImplicitShapeModel, levels: Iterable[Level], threshold: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Boxes ``(N, 4)`` x, y, width, height and correlations of the windows that reach the threshold."""
    step, n_words = model._histogram_step(), len(model.codebook_.words_)
    across, down = (max(round(size / step), 1) for size in model.object_size_)
    boxes, scores = [np.zeros((0, 4))], [np.zeros(0)]
    for level in levels:
        rows, columns = (size // step for size in level.image.shape)
        if rows < down or columns < across:
            continue
        patches = model._patches(level, step)
        words = model._match(patches.pixels)
        column, row = ((patches.corners + model.patch_size // 2) // step).T
        words[(row >= rows) | (column >= columns)] = -1
        feature, _ = np.nonzero(words >= 0)
        cells = (row[feature] * columns + column[feature]) * n_words + words[words >= 0]
        counts = np.bincount(cells, minlength=rows * columns * n_words).reshape(rows, columns, n_words)
        values = window_correlations(counts, model.word_histogram_, across, down)
        y, x = np.nonzero(values >= threshold)
        size = np.broadcast_to([across, down], (len(x), 2))
        boxes.append(np.concatenate([np.stack([x, y], 1), size], 1) * (step * level.scale))
        scores.append(values[y, x].astype(np.float64))
    return np.concatenate(boxes), np.concatenate(scores)
