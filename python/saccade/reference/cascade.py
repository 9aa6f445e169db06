"""Cascade detection, plainly: every window of every level, tree by tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from saccade.reference.group_rectangles import groups_of

if TYPE_CHECKING:
    from saccade.classic import CascadeClassifier

Arrays = dict[str, NDArray[Any]]
Int = NDArray[np.int64]


def cascade_detect(
    image: NDArray[np.uint8], cascade: CascadeClassifier, scale_factor: float = 1.1, min_neighbors: int = 3
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Boxes ``x, y, w, h`` of objects of any size, within a grey image, and their scores."""
    arrays = cascade._impl.arrays()
    boxes, scores = detect_raw(cascade.feature_type == "HAAR", *cascade.window_size, arrays, image, scale_factor)
    if min_neighbors > 0:
        groups = groups_of(boxes, min_neighbors)
        boxes = np.array([mean for mean, _ in groups], np.int32).reshape(-1, 4)
        scores = np.array([scores[members].max() for _, members in groups], np.float64)
    first = np.maximum(boxes[:, :2], 0)
    last = np.minimum(boxes[:, :2] + boxes[:, 2:], [image.shape[1], image.shape[0]])
    inside = (last > first).all(1)
    return np.hstack([first, last - first]).astype(np.int32)[inside], scores[inside]


def detect_raw(
    haar: bool, width: int, height: int, arrays: Arrays, image: NDArray[np.uint8], scale_factor: float = 1.1
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Boxes ``x, y, w, h`` of all windows that pass, before clipping and grouping, and their scores.

    ``arrays`` describes the cascade as ``csrc/ops/cascade_model.h`` says; ``image`` is grey.
    """
    boxes, scores = [], []
    stripes = None
    factor = 1.0
    while np.rint(width * factor) <= image.shape[1] and np.rint(height * factor) <= image.shape[0]:
        scale = np.float32(factor)
        factor *= scale_factor
        level = resize(image, int(np.rint(image.shape[1] / scale)), int(np.rint(image.shape[0] / scale)))
        step = 1 if scale >= 2 else 2
        reach_x, reach_y = max(level.shape[1] + 1 - width, 0), max(level.shape[0] + 1 - height, 0)
        if stripes is None:
            stripes = -(-reach_x // 32)
        if stripes == 0:
            break
        # OpenCV cuts a level into bands of whole rows of windows, and the last row can be left over.
        reach_y = min(reach_y, stripes * max((reach_y // step + stripes - 1) // stripes, 1) * step)
        window = _Windows(haar, width, height, level)
        size = [int(np.rint(width * scale)), int(np.rint(height * scale))]
        for y in range(0, reach_y, step):
            x = np.arange(0, reach_x, step)
            for hit, score in _row(window, arrays, x, np.full_like(x, y)):
                boxes.append([int(np.rint(np.float32(hit) * scale)), int(np.rint(np.float32(y) * scale)), *size])
                scores.append(score)
    return np.array(boxes, np.int32).reshape(-1, 4), np.array(scores, np.float64)


def resize(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Bilinear interpolation with weights in 1/256, rounded once."""
    y, wy = _taps(image.shape[0], height)
    x, wx = _taps(image.shape[1], width)
    padded = np.pad(image, ((0, 1), (0, 1)), mode="edge").astype(np.int64)
    rows = padded[:, x] * (256 - wx) + padded[:, x + 1] * wx
    sums = rows[y] * (256 - wy)[:, None] + rows[y + 1] * wy[:, None]
    return ((sums + 2**15) // 2**16).astype(np.uint8)


def _taps(source: int, size: int) -> tuple[Int, Int]:
    position = 1 / (size / source) * (np.arange(size) + 0.5) - 0.5
    index = np.floor(position).astype(np.int64)
    weight = np.rint((position - index) * 256).astype(np.int64)
    inside = (index >= 0) & (index < source - 1)
    return np.clip(index, 0, source - 1), np.where(inside, weight, 0)


class _Windows:
    """The integral images of one level, and what is computed from them."""

    def __init__(self, haar: bool, width: int, height: int, level: NDArray[np.uint8]) -> None:
        self.haar, self.width, self.height = haar, width, height
        pixels = level.astype(np.int64)
        self.sum, self.squares = self._integral(pixels), self._integral(pixels**2)
        self.tilted = self._tilted(pixels)

    @staticmethod
    def _integral(pixels: Int) -> Int:
        return np.pad(pixels.cumsum(0).cumsum(1), ((1, 0), (1, 0)))

    @staticmethod
    def _tilted(pixels: Int) -> Int:
        """T(X, Y): the pixels above row Y within |x - X + 1| <= Y - y - 1."""
        height, width = pixels.shape
        result = np.zeros((height + 1, width + 1), np.int64)
        row_sums = np.pad(pixels.cumsum(1), ((0, 0), (1, 0)))
        x = np.arange(width + 1)
        for bottom in range(1, height + 1):
            for y in range(bottom):
                reach = bottom - y - 1
                first, last = np.clip(x - 1 - reach, 0, width), np.clip(x + reach, 0, width)
                result[bottom] += row_sums[y, last] - row_sums[y, first]
        return result

    @staticmethod
    def rect(integral: Int, x: Int, y: Int, r: Any) -> Int:
        rx, ry, w, h = (int(v) for v in r)
        x, y = x + rx, y + ry
        return integral[y, x] - integral[y, x + w] - integral[y + h, x] + integral[y + h, x + w]

    @staticmethod
    def tilted_rect(integral: Int, x: Int, y: Int, r: Any) -> Int:
        rx, ry, w, h = (int(v) for v in r)
        x, y = x + rx, y + ry
        return integral[y, x] - integral[y + h, x - h] - integral[y + w, x + w] + integral[y + w + h, x + w - h]

    def scale(self, x: Int, y: Int) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Which windows have enough contrast, and the factor that normalises it."""
        if not self.haar:
            return np.ones(len(x), bool), np.ones(len(x), np.float32)
        inner = (1, 1, self.width - 2, self.height - 2)
        area = inner[2] * inner[3]
        total = self.rect(self.sum, x, y, inner)
        variance = area * self.rect(self.squares, x, y, inner).astype(np.float64) - total.astype(np.float64) ** 2
        scale = (1 / np.sqrt(np.where(variance > 0, variance, 1.0))).astype(np.float32)
        return (variance > 0) & ((np.float32(area) * scale).astype(np.float64) < 0.1), scale

    def left(self, arrays: Arrays, node: int, x: Int, y: Int, scale: NDArray[np.float32]) -> NDArray[np.bool_]:
        feature = arrays["nodes"][node, 2]
        rects = arrays["rects"][feature]
        if not self.haar:
            rx, ry, w, h = rects[0].tolist()
            cells = [self.rect(self.sum, x, y, (rx + i * w, ry + j * h, w, h)) for j in range(3) for i in range(3)]
            clockwise = [cells[k] >= cells[4] for k in (0, 1, 2, 5, 8, 7, 6, 3)]
            code = sum(bit.astype(np.int64) << (7 - k) for k, bit in enumerate(clockwise))
            words = arrays["subsets"][node].astype(np.int64)
            return (words[code >> 5] >> (code & 31)) & 1 == 1
        tilted = arrays["tilted"][feature] != 0
        value = np.zeros(len(x), np.float32)
        for r, weight in zip(rects, arrays["weights"][feature], strict=True):
            if weight != 0:
                total = self.tilted_rect(self.tilted, x, y, r) if tilted else self.rect(self.sum, x, y, r)
                value = value + weight * total.astype(np.float32)
        return value * scale < arrays["thresholds"][node]


def _stage_sum(window: _Windows, arrays: Arrays, first: int, count: int, x: Int, y: Int, scale: Any) -> Any:
    total = np.zeros(len(x))
    for tree in range(first, first + count):
        first_node = int(arrays["tree_nodes"][:tree].sum())
        at = np.zeros(len(x), np.int64)  # the node each window is at, or minus its leaf
        leaf = np.zeros(len(x), bool)
        while not leaf.all():
            for node in np.unique(at[~leaf]):
                here = ~leaf & (at == node)
                left = window.left(arrays, first_node + int(node), x[here], y[here], scale[here])
                at[here] = np.where(left, *arrays["nodes"][first_node + int(node), :2])
                leaf[here] = at[here] <= 0
        total += arrays["leaves"][first_node + tree - at].astype(np.float64)
    return total


def _row(window: _Windows, arrays: Arrays, x: Int, y: Int) -> list[tuple[int, float]]:
    """The windows of a row that pass all stages, and the sums of their last stages."""
    keep, scale = window.scale(x, y)
    total = np.zeros(len(x))
    tree = 0
    for stage, count in enumerate(arrays["stage_trees"].tolist()):
        total = _stage_sum(window, arrays, tree, count, x, y, scale)
        tree += count
        passed = total >= np.float64(arrays["stage_thresholds"][stage] - np.float32(1e-5))
        if stage == 0:
            rejected, skip = keep & ~passed, False
            for k in range(len(x)):  # the window behind a rejected one is stepped over
                keep[k] &= not skip
                skip = bool(rejected[k]) and not skip
        keep &= passed
    return [(int(column), float(score)) for column, score in zip(x[keep], total[keep], strict=True)]
