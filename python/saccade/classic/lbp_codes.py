"""Local binary patterns of blocks, as cascades of LBP features use them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade.classic.integral_image import integral_image

__all__ = ["lbp_codes"]

# Column and row of the block that sets each bit, the highest first: clockwise from the top left.
NEIGHBOURS = ((0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def lbp_codes(image: ArrayLike, block: tuple[int, int] = (1, 1)) -> NDArray[np.uint8]:
    """Compare eight blocks with the one in their middle, everywhere in an image.

    Args:
        image: ``(..., H, W)`` uint8 or int32; leading dimensions are a batch.
        block: width and height of each of the 3 x 3 blocks.

    Returns:
        ``(..., H - 3 * height + 1, W - 3 * width + 1)`` uint8: the code of the blocks whose top left pixel is there.
        From 128 for the top left block on, clockwise to 1 for the left one, a bit is set where the block's sum is at
        least that of the middle one.

    Raises:
        ValueError: where the blocks do not fit. TypeError: for other dtypes.

    Source: Ojala, Pietikäinen, Harwood, 1996; Zhang et al., Face detection based on multi-block LBP, 2007. Bits as in
    OpenCV's cascades.

    >>> lbp_codes(np.array([[9, 1, 9], [1, 5, 1], [1, 1, 5]], np.uint8))
    array([[168]], dtype=uint8)
    """
    array = np.asarray(image)
    try:
        width, height = (int(size) for size in block)
    except (TypeError, ValueError):
        raise ValueError(f"lbp_codes: block must be two integers, width and height, got {block!r}") from None
    if array.dtype not in (np.uint8, np.int32):
        raise TypeError(f"lbp_codes: image must be uint8 or int32, got {array.dtype}")
    if width < 1 or height < 1:
        raise ValueError(f"lbp_codes: block must be at least (1, 1), got {block!r}")
    if array.ndim < 2 or array.shape[-1] < 3 * width or array.shape[-2] < 3 * height:
        raise ValueError(f"lbp_codes: image must hold 3 x 3 blocks of {(width, height)}, got shape {array.shape}")
    sums = array
    if (width, height) != (1, 1):
        integral = integral_image(array)
        # Differences are right even where uint8's int32 sums wrap around.
        sums = integral[..., height:, width:] - integral[..., :-height, width:]
        sums -= integral[..., height:, :-width] - integral[..., :-height, :-width]
    rows, columns = array.shape[-2] - 3 * height + 1, array.shape[-1] - 3 * width + 1

    def at(column: int, row: int) -> NDArray[np.integer]:
        top, left = row * height, column * width
        return sums[..., top : top + rows, left : left + columns]

    codes = np.zeros((*array.shape[:-2], rows, columns), np.uint8)
    for bit, (column, row) in enumerate(NEIGHBOURS):
        codes |= (at(column, row) >= at(1, 1)).view(np.uint8) << np.uint8(7 - bit)
    return codes
