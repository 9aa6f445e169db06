"""Sums and means over rectangles, plainly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def box_sum(image: NDArray[Any], boxes: NDArray[Any]) -> NDArray[Any]:
    """Add up the pixels of each box of one image, in the type of the image."""
    image = np.asarray(image)
    clipped = np.clip(boxes, 0, [image.shape[1], image.shape[0]] * 2) if len(boxes) else boxes
    return np.array([image[y1:y2, x1:x2].sum(dtype=image.dtype) for x1, y1, x2, y2 in clipped], image.dtype)


def box_filter(image: NDArray[Any], rows: int, columns: int) -> NDArray[np.float64]:
    """Mean over the rectangle around each pixel of one image."""
    wide = np.asarray(image, np.float64)
    padding = ((rows // 2, (rows - 1) // 2), (columns // 2, (columns - 1) // 2))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(wide, padding, "reflect"), (rows, columns))
    return windows.mean((-2, -1))
