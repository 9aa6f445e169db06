"""Integral images."""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade._numpy import integral_image as _integral_image

__all__ = ["integral_image"]

Array = NDArray[Any]


@overload
def integral_image(
    image: ArrayLike, *, squared: Literal[False] = ..., tilted: Literal[False] = ..., padded: bool = ...
) -> Array: ...
@overload
def integral_image(image: ArrayLike, *, squared: bool = ..., tilted: bool = ..., padded: bool = ...) -> Any: ...
def integral_image(image: ArrayLike, *, squared: bool = False, tilted: bool = False, padded: bool = True) -> Any:
    """Sums of all pixels above and to the left of each point (a summed-area table).

    Args:
        image: ``(..., H, W)``: bool, uint8, int32, float32 or float64; leading dimensions are a batch.
        squared: also return the sums of squared pixels.
        tilted: also return the sums over triangles: entry ``(Y, X)`` adds the pixels ``(x, y)`` with ``y < Y`` and
            ``|x - (X - 1)| <= Y - 1 - y``, from which sums over rectangles turned by 45 degrees follow.
        padded: OpenCV's layout ``(..., H + 1, W + 1)``, whose row 0 and column 0 hold the sums of nothing: the pixels
            ``x1 <= x < x2, y1 <= y < y2`` add up to ``s[y2, x2] - s[y1, x2] - s[y2, x1] + s[y1, x1]``.
            ``False``: scikit-image's ``(..., H, W)``, each entry including its own pixel.

    Returns:
        The sums; with ``squared`` or ``tilted`` a tuple of sums, squared, tilted, as far as asked for. Sums are int32
        for bool and uint8, int64 for int32, float64 for floats; squares always float64. Integers wrap around, as
        OpenCV's; a rectangle's sum is right all the same as long as it fits itself.

    Raises:
        ValueError: if ``image`` has fewer than two dimensions or more than 2**40 pixels. TypeError: for other dtypes.

    Source: Crow, Summed-area tables for texture mapping, 1984; Viola and Jones, 2001; tilted: Lienhart and Maydt, 2002.

    >>> integral_image(np.ones((2, 3), np.uint8))
    array([[0, 0, 0, 0],
           [0, 1, 2, 3],
           [0, 2, 4, 6]], dtype=int32)
    """
    return _integral_image(np.asarray(image), squared, tilted, padded)
