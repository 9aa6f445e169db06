"""HOG descriptors of windows and detection, plainly: window by window, in float64 and with the exact angle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.reference.cascade import resize
from saccade.reference.group_rectangles import groups_of
from saccade.reference.hog import hog_descriptor

__all__ = ["hog_descriptors", "hog_detect"]

Places = list[tuple[int, int]]


def hog_descriptors(
    image: NDArray[np.uint8],
    parameters: dict[str, Any],
    win_stride: tuple[int, int],
    padding: tuple[int, int] = (0, 0),
    locations: Sequence[tuple[int, int]] | None = None,
) -> NDArray[np.float64]:
    """A row for each window of the grid, or at each location, for the parameters of a ``HOGDescriptor``."""
    places = _grid(image, parameters, win_stride, padding) if locations is None else locations
    return np.array([hog_descriptor(image, x, y, parameters) for x, y in places])


def hog_detect(
    image: NDArray[np.uint8],
    parameters: dict[str, Any],
    coefficients: NDArray[np.float32],
    hit_threshold: float,
    win_stride: tuple[int, int],
    padding: tuple[int, int] = (0, 0),
    scale: float = 1.05,
    min_neighbors: int = 0,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Boxes ``x, y, width, height`` of windows of all sizes within the image, and their scores."""
    size, window = image.shape[1::-1], parameters["win_size"]
    boxes, scores = [], []
    factor = 1.0
    for level in range(parameters["nlevels"]):
        width, height = (int(np.rint(length / factor)) for length in size)
        if level > 0 and (scale <= 1 or width < window[0] or height < window[1]):
            break
        resized = _resize(image, width, height)
        for x, y in _grid(resized, parameters, win_stride, padding):
            values = np.append(hog_descriptor(resized, x, y, parameters), 1)[: len(coefficients)]
            score = float(values @ coefficients.astype(np.float64))
            if score >= hit_threshold:
                boxes.append([int(np.rint(length * factor)) for length in (x, y, *window)])
                scores.append(score)
        factor *= scale
    return _grouped(np.array(boxes, np.int32).reshape(-1, 4), np.array(scores), size, min_neighbors)


def _grid(
    image: NDArray[np.uint8], parameters: dict[str, Any], win_stride: tuple[int, int], padding: tuple[int, int]
) -> Places:
    first, end = [], []
    for k in range(2):
        step = math.gcd(win_stride[k], parameters["block_stride"][k])
        reach = -(-padding[k] // step) * step
        first.append(-reach)
        end.append(image.shape[1 - k] + reach - parameters["win_size"][k] + 1)
    rows, columns = (range(first[k], end[k], win_stride[k]) for k in (1, 0))
    return [(x, y) for y in rows for x in columns]


def _resize(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    if image.ndim == 2:
        return resize(image, width, height)
    return np.stack([resize(image[..., c], width, height) for c in range(image.shape[2])], -1)


def _grouped(
    boxes: NDArray[np.int32], scores: NDArray[np.float64], size: tuple[int, ...], min_neighbors: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    if min_neighbors > 0:
        groups = groups_of(boxes, min_neighbors)
        boxes = np.array([mean for mean, _ in groups], np.int32).reshape(-1, 4)
        scores = np.array([scores[members].max() for _, members in groups], np.float64)
    first = np.maximum(boxes[:, :2], 0)
    last = np.minimum(boxes[:, :2] + boxes[:, 2:], size)
    inside = (last > first).all(1)
    return np.hstack([first, last - first]).astype(np.int32)[inside], scores[inside]
