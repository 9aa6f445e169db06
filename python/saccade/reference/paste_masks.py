"""Masks put into images, pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["paste_masks"]


def paste_masks(
    masks: NDArray[Any], boxes: NDArray[Any], image_size: tuple[int, int], padding: int = 1
) -> NDArray[np.float64]:
    """``(N, S, S)`` masks in their ``(N, 4)`` boxes: ``(N, height, width)``."""
    side = masks.shape[1]
    cells = np.pad(masks, ((0, 0), (padding,) * 2, (padding,) * 2)).astype(np.float64)
    out = np.zeros((len(masks), *image_size))
    for image, mask, (x1, y1, x2, y2) in zip(out, cells, boxes, strict=True):
        half_x, half_y = ((high - low) / 2 * (side + 2 * padding) / side for low, high in ((x1, x2), (y1, y2)))
        x0, x3 = (int((x1 + x2) / 2 + half) for half in (-half_x, half_x))
        y0, y3 = (int((y1 + y2) / 2 + half) for half in (-half_y, half_y))
        for y in range(max(y0, 0), min(y3 + 1, image_size[0])):
            for x in range(max(x0, 0), min(x3 + 1, image_size[1])):
                image[y, x] = _bilinear(mask, _cell(y, y0, y3, len(mask)), _cell(x, x0, x3, len(mask)))
    return out


def _cell(pixel: int, first: int, last: int, cells: int) -> float:
    position = (pixel - first + 0.5) * cells / max(last - first + 1, 1) - 0.5
    return min(max(position, 0.0), cells - 1.0)


def _bilinear(mask: NDArray[np.float64], y: float, x: float) -> float:
    row, column = int(y), int(x)
    below, right = min(row + 1, len(mask) - 1), min(column + 1, len(mask) - 1)
    upper = mask[row, column] * (1 - (x - column)) + mask[row, right] * (x - column)
    lower = mask[below, column] * (1 - (x - column)) + mask[below, right] * (x - column)
    return float(upper * (1 - (y - row)) + lower * (y - row))
