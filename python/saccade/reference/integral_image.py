"""Integral images, plainly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def integral_image(image: NDArray[Any], padded: bool = True) -> NDArray[Any]:
    """Add up the rows from left to right, then the columns from the top, in the type of the image."""
    sums = np.cumsum(np.cumsum(image, axis=-1, dtype=image.dtype), axis=-2, dtype=image.dtype)
    return np.pad(sums, [(0, 0)] * (sums.ndim - 2) + [(1, 0), (1, 0)]) if padded else sums


def tilted_integral_image(image: NDArray[Any], padded: bool = True) -> NDArray[Any]:
    """Add up, for each point of one image, the triangle of pixels above it."""
    height, width = image.shape
    y, x = np.mgrid[:height, :width]
    sums = np.zeros((height + 1, width + 1), image.dtype)
    for row in range(1, height + 1):
        for column in range(width + 1):
            sums[row, column] = image[(y < row) & (abs(x - (column - 1)) <= row - 1 - y)].sum(dtype=image.dtype)
    return sums if padded else sums[1:, 1:]
