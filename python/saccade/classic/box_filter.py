"""Sums and means over rectangles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade._numpy import box_filter as _box_filter
from saccade._numpy import box_sum as _box_sum

__all__ = ["box_filter", "box_sum"]


def box_sum(integral: ArrayLike, boxes: ArrayLike) -> NDArray[Any]:
    """Sum the pixels of rectangles, four look-ups each.

    Args:
        integral: ``(..., H + 1, W + 1)`` sums as `integral_image` gives them (``padded=True``); int32, int64, float32
            or float64.
        boxes: ``(N, 4)`` int32 or int64 ``x1, y1, x2, y2``: the pixels ``x1 <= x < x2, y1 <= y < y2``, of every image
            of the batch. What lies outside the image adds nothing; a box with ``x2 <= x1`` or ``y2 <= y1`` is empty.

    Returns:
        ``(..., N)`` sums of the dtype of ``integral``.

    Raises:
        ValueError: for wrong shapes. TypeError: for other dtypes.

    Source: Crow, Summed-area tables for texture mapping, 1984.

    >>> from saccade.classic import integral_image
    >>> box_sum(integral_image(np.ones((4, 5), np.uint8)), [[1, 1, 4, 3], [3, 2, 99, 99]])
    array([6, 4], dtype=int32)
    """
    return _box_sum(np.asarray(integral), np.asarray(boxes))


def box_filter(image: ArrayLike, size: int | tuple[int, int]) -> NDArray[Any]:
    """Mean over the rectangle around each pixel.

    The rectangle covers ``size // 2`` pixels before a pixel and ``(size - 1) // 2`` behind it; beyond its edge the
    image is reflected, without repeating the edge pixel. So do ``cv2.blur`` and ``scipy.ndimage.uniform_filter`` with
    ``mode="mirror"``.

    Args:
        image: ``(..., H, W)`` uint8, float32 or float64; leading dimensions are a batch.
        size: of the rectangle, 1 to 4095: one number, or ``(rows, columns)``.

    Returns:
        An array like ``image``. uint8: the exact mean rounded to nearest, halves up. Floats are summed in float64; NaN
        and infinite pixels reach the rectangles that hold them, no others.

    Raises:
        ValueError: for wrong shapes or sizes. TypeError: for other dtypes.

    Source: McDonnell, Box-filtering techniques, 1981; van Herk, 1992.

    >>> box_filter(np.array([[0.0, 3.0, 6.0, 9.0]]), (1, 3))
    array([[2., 3., 6., 7.]])
    """
    rows, columns = (size, size) if isinstance(size, (int, np.integer)) else size
    return _box_filter(np.asarray(image), rows, columns)
