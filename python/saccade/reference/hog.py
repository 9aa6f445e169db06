"""Histograms of oriented gradients, pixel by pixel: of an image, and the descriptor of one window."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["hog", "hog_descriptor"]


def hog(
    image: NDArray[Any], orientations: int, cell: tuple[int, int], block: tuple[int, int], block_norm: str
) -> NDArray[np.float64]:
    """Blocks ``(rows, columns, rows of cells, columns of cells, orientations)`` of an image ``(C, H, W)``."""
    values = image.astype(np.float64)
    height, width = values.shape[1:]
    rows, columns = height // cell[0], width // cell[1]
    cells = np.zeros((rows, columns, orientations))
    for y in range(rows * cell[0]):
        for x in range(columns * cell[1]):
            pairs = []
            for plane in values:
                dx = float(plane[y, x + 1] - plane[y, x - 1]) if 0 < x < width - 1 else 0.0
                dy = float(plane[y + 1, x] - plane[y - 1, x]) if 0 < y < height - 1 else 0.0
                pairs.append((dx, dy))
            dx, dy = max(pairs, key=lambda pair: math.hypot(*pair))
            angle = math.degrees(math.atan2(dy, dx)) % 180.0
            cells[y // cell[0], x // cell[1], int(angle / 180.0 * orientations)] += math.hypot(dx, dy)
    cells /= cell[0] * cell[1]
    down, across = rows - block[0] + 1, columns - block[1] + 1
    blocks = [
        [_normalised(cells[i : i + block[0], j : j + block[1]], block_norm) for j in range(across)] for i in range(down)
    ]
    return np.array(blocks)


def _normalised(block: NDArray[np.float64], block_norm: str) -> NDArray[np.float64]:
    if block_norm == "L1":
        return block / (block.sum() + 1e-5)
    if block_norm == "L1-sqrt":
        return np.sqrt(block / (block.sum() + 1e-5))
    unit = block / math.sqrt((block**2).sum() + 1e-10)
    if block_norm == "L2":
        return unit
    cut = np.minimum(unit, 0.2)
    return cut / math.sqrt((cut**2).sum() + 1e-10)


def _gradient(image: NDArray[np.float64], x: int, y: int) -> tuple[float, float]:
    """Of the channel where it is largest; the image is mirrored about its border pixels."""
    height, width = image.shape[:2]

    def at(x: int, y: int) -> NDArray[np.float64]:
        return image[_mirrored(y, height), _mirrored(x, width)]

    dx, dy = at(x + 1, y) - at(x - 1, y), at(x, y + 1) - at(x, y - 1)
    channel = int(np.argmax(dx * dx + dy * dy))
    return float(dx[channel]), float(dy[channel])


def _mirrored(i: int, size: int) -> int:
    while size > 1 and not 0 <= i < size:
        i = -i if i < 0 else 2 * (size - 1) - i
    return i if size > 1 else 0


def hog_descriptor(image: NDArray[np.uint8], x: int, y: int, parameters: dict[str, Any]) -> NDArray[np.float64]:
    """The descriptor of the window with its corner at ``(x, y)``, for the parameters of a ``HOGDescriptor``.

    The angle is exact, which OpenCV's is not.
    """
    values = image.astype(np.float64).reshape(*image.shape[:2], -1)
    if parameters["gamma_correction"]:
        values = np.sqrt(values)
    (win_w, win_h), (block_w, block_h) = parameters["win_size"], parameters["block_size"]
    step_x, step_y = parameters["block_stride"]
    blocks = [
        _block(values, x + bx, y + by, parameters)
        for bx in range(0, win_w - block_w + 1, step_x)
        for by in range(0, win_h - block_h + 1, step_y)
    ]
    return np.concatenate(blocks)


def _block(values: NDArray[np.float64], x: int, y: int, parameters: dict[str, Any]) -> NDArray[np.float64]:
    (block_w, block_h), (cell_w, cell_h) = parameters["block_size"], parameters["cell_size"]
    bins, sigma = parameters["nbins"], parameters["win_sigma"]
    if sigma < 0:
        sigma = (block_w + block_h) / 8
    across, down = block_w // cell_w, block_h // cell_h
    histogram = np.zeros((across, down, bins))
    for i in range(block_h):
        for j in range(block_w):
            dx, dy = _gradient(values, x + j, y + i)
            weight = math.hypot(dx, dy)
            weight *= math.exp(-((i - block_h / 2) ** 2 + (j - block_w / 2) ** 2) / (2 * sigma * sigma))
            turn = 2 * math.pi if parameters["signed_gradient"] else math.pi
            angle = math.atan2(dy, dx) % (2 * math.pi) / turn * bins - 0.5
            for bin_, of_bin in _shares(angle):
                for cx, of_x in _shares((j + 0.5) / cell_w - 0.5):
                    for cy, of_y in _shares((i + 0.5) / cell_h - 0.5):
                        if 0 <= cx < across and 0 <= cy < down:
                            histogram[cx, cy, bin_ % bins] += weight * of_bin * of_x * of_y
    vector = histogram.ravel()
    vector = vector / (np.linalg.norm(vector) + 0.1 * vector.size)
    vector = np.minimum(vector, parameters["l2_hys_threshold"])
    return vector / (np.linalg.norm(vector) + 1e-3)


def _shares(place: float) -> list[tuple[int, float]]:
    """The two whole numbers beside it and the share of each."""
    first = math.floor(place)
    return [(first, 1 - (place - first)), (first + 1, place - first)]
