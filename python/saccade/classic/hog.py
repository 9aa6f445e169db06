"""Histograms of oriented gradients, as scikit-image's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade._hog import norm_index, whole, whole_pair
from saccade._native import numpy_module

__all__ = ["hog"]

Features = NDArray[np.floating[Any]]


def hog(
    image: ArrayLike,
    orientations: int = 9,
    pixels_per_cell: tuple[int, int] = (8, 8),
    cells_per_block: tuple[int, int] = (3, 3),
    block_norm: str = "L2-Hys",
    visualize: bool = False,
    transform_sqrt: bool = False,
    feature_vector: bool = True,
    *,
    channel_axis: int | None = None,
) -> Features | tuple[Features, Features]:
    """Histograms of oriented gradients of an image.

    Args:
        image: ``(H, W)``, or with channels where `channel_axis` says so; integers, booleans or floats.
        orientations: bins of the histogram, over 180 degrees.
        pixels_per_cell: rows and columns of a cell, which has one histogram. What is left over at the right and at the
            bottom belongs to no cell.
        cells_per_block: rows and columns of a block of cells, normalised together. Blocks stand at every cell.
        block_norm: ``"L1"``, ``"L1-sqrt"``, ``"L2"`` or ``"L2-Hys"``: L2, values above 0.2 cut, and L2 again.
        visualize: also return an image with a line for every cell and orientation, as bright as its value.
        transform_sqrt: take the square root of the image first; not for negative values.
        feature_vector: one-dimensional result.
        channel_axis: where the channels are. A pixel's gradient is the longest of theirs.

    Returns:
        ``(rows, columns, rows of cells, columns of cells, orientations)`` of blocks, or its values in that order;
        float32 for float32 and float16 images, otherwise float64. With ``visualize`` also the image ``(H, W)``.

    Raises:
        ValueError: for an image of less than a block, wrong shapes or parameters; TypeError: for a wrong dtype.

    Equals ``skimage.feature.hog`` of scikit-image 0.26 to 1e-10 of the largest value in float64, and adds up cells in
    float32 as it does. A gradient within rounding of the edge between two bins, as at 45 degrees in an image divided by
    255 with 8 orientations, is in the bin that the C library's ``atan2`` gives; NumPy's, and with it scikit-image's,
    depends on the processor.

    Source: N. Dalal, B. Triggs, "Histograms of oriented gradients for human detection", CVPR 2005.

    >>> import numpy as np
    >>> image = np.tile(np.arange(24.0), (24, 1))  # brighter to the right: 0 degrees
    >>> hog(image, block_norm="L2", feature_vector=False)[0, 0, 1, 1].round(3)
    array([0.363, 0.   , 0.   , 0.   , 0.   , 0.   , 0.   , 0.   , 0.   ])
    """
    norm = norm_index(block_norm)
    planes = _planes(np.asarray(image), channel_axis, transform_sqrt)
    cell, block = whole_pair("pixels_per_cell", pixels_per_cell), whole_pair("cells_per_block", cells_per_block)
    bins = whole("orientations", orientations)
    features, histogram = numpy_module.hog(planes, bins, cell, block, norm)
    if feature_vector:
        features = features.ravel()
    return (features, _drawn(histogram, cell, planes.shape[1:], features.dtype)) if visualize else features


def _planes(image: NDArray[Any], channel_axis: int | None, transform_sqrt: bool) -> NDArray[Any]:
    """``(C, H, W)`` in a type that the kernels read."""
    expected, shape = ("(H, W)", 2) if channel_axis is None else ("(H, W) and channels", 3)
    if image.ndim != shape:
        raise ValueError(f"hog: image must have shape {expected}, got {image.shape}")
    if channel_axis is None:
        image = image[None]
    else:
        axis = whole("channel_axis", channel_axis)
        if not -3 <= axis < 3:
            raise ValueError(f"hog: channel_axis must be from -3 to 2, got {axis}")
        image = np.moveaxis(image, axis, 0)
        if image.shape[0] == 0:
            raise ValueError(f"hog: image must have a channel, got {image.shape[1:]} and 0 channels")
    if image.dtype.kind not in "biuf":
        raise TypeError(f"hog: image must be real numbers, got {image.dtype}")
    kind = np.float32 if image.dtype.kind == "f" and image.dtype.itemsize <= 4 else np.float64
    if transform_sqrt:
        with np.errstate(invalid="ignore"):
            return np.ascontiguousarray(np.sqrt(image.astype(kind)))
    return np.ascontiguousarray(image, np.uint8 if image.dtype == np.uint8 else kind)


def _drawn(histogram: NDArray[Any], cell: tuple[int, int], shape: tuple[int, ...], dtype: Any) -> Features:
    rows, columns, bins = histogram.shape
    image = np.zeros(shape, dtype)
    radius = max(0, min(cell) // 2 - 1)  # scikit-image fails where it is negative
    middle_row = (np.arange(rows) * cell[0] + cell[0] // 2)[:, None]
    middle_column = (np.arange(columns) * cell[1] + cell[1] // 2)[None]
    for o in range(bins):
        angle = np.pi * (o + 0.5) / bins
        down, right = radius * np.sin(angle), radius * np.cos(angle)
        # The line is at a right angle to the gradient. int() drops the fraction.
        first = np.trunc(middle_row - right).astype(int), np.trunc(middle_column + down).astype(int)
        last = np.trunc(middle_row + right).astype(int), np.trunc(middle_column - down).astype(int)
        delta_rows, delta_columns = last[0] - first[0], last[1] - first[1]
        for i in np.unique(delta_rows):
            for j in np.unique(delta_columns):
                y, x = np.nonzero((delta_rows == i) & (delta_columns == j))
                for r, c in _line(int(i), int(j)):
                    image[first[0][y, 0] + r, first[1][0, x] + c] += histogram[y, x, o]
    return image


def _line(rows: int, columns: int) -> list[tuple[int, int]]:
    """The pixels from (0, 0) to (rows, columns) (J. Bresenham, 1965)."""
    down, right = (1 if rows > 0 else -1), (1 if columns > 0 else -1)
    steep = abs(rows) > abs(columns)
    long, short = max(abs(rows), abs(columns)), min(abs(rows), abs(columns))
    pixels, error, aside = [], 2 * short - long, 0
    for i in range(long):
        pixels.append((i * down, aside * right) if steep else (aside * down, i * right))
        while error >= 0:
            aside += 1
            error -= 2 * long
        error += 2 * short
    return [*pixels, (rows, columns)]
