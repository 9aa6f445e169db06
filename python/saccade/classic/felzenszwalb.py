"""Graph-based segmentation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade._native import numpy_module

__all__ = ["felzenszwalb"]


def felzenszwalb(
    image: ArrayLike, scale: float = 1, sigma: float = 0.8, min_size: int = 20, *, channel_axis: int | None = -1
) -> NDArray[np.int64]:
    """Segment an image into regions whose borders are stronger than what differs within them.

    Neighbouring pixels (eight of each) are joined by ascending difference of their colours, as long as that is less
    than the greatest difference within both regions by no more than ``scale`` over their sizes; at last every region
    of fewer than ``min_size`` pixels joins a neighbour.

    Args:
        image: ``(H, W, C)``, or ``(H, W)`` with ``channel_axis=None``. uint8 is divided by 255; floats are taken as
            they are and should lie in 0 to 1.
        scale: how readily regions grow, in units of 1 / 255 of colour times pixels.
        sigma: standard deviation of the Gaussian that smooths the image first, in pixels; 0 for none.
        min_size: of a region, in pixels.
        channel_axis: the axis of the colours, None for none.

    Returns:
        ``(H, W)`` int64: the number of each pixel's region, from 0 in the order of their first pixels. Labels are
        scikit-image's where no two edges are equally strong; of equal ones those to the right come first, then down,
        down-right and up-right, each in row-major order.

    Raises:
        ValueError: for a wrong shape, an empty image, NaN or infinity, or a negative option. TypeError: for a dtype
            other than uint8, float16, float32 and float64.

    Source: Felzenszwalb and Huttenlocher, Efficient graph-based image segmentation, IJCV 2004.

    >>> image = np.zeros((4, 6))
    >>> image[:, 3:] = 1
    >>> felzenszwalb(image, scale=10, sigma=0, min_size=1, channel_axis=None)[0]
    array([0, 0, 0, 1, 1, 1])
    """
    array = np.asarray(image)
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    if channel_axis is None:
        if array.ndim != 2:
            raise ValueError(f"felzenszwalb: image must have shape (H, W) with channel_axis=None, got {array.shape}")
        array = array[:, :, None]
    elif array.ndim == 3:
        if not -3 <= channel_axis < 3:
            raise ValueError(f"felzenszwalb: channel_axis must lie in -3 to 2, got {channel_axis}")
        array = np.moveaxis(array, channel_axis, -1)
    elif array.ndim == 2:
        array = array[:, :, None]  # as scikit-image takes it
    result: NDArray[Any] = numpy_module.felzenszwalb(array, float(scale), float(sigma), int(min_size))
    return result
