"""Box operations, plainly."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.reference.nms import iou


def box_iou(boxes1: NDArray[Any], boxes2: NDArray[Any], kind: str = "iou", eps: float = 1e-7) -> NDArray[np.float64]:
    """IoU of every pair of corner boxes; kind: iou, generalized, distance or complete."""
    boxes1, boxes2 = np.asarray(boxes1, np.float64), np.asarray(boxes2, np.float64)
    out = np.empty((len(boxes1), len(boxes2)))
    with np.errstate(all="ignore"):
        for i, a in enumerate(boxes1):
            for j, b in enumerate(boxes2):
                out[i, j] = _KINDS[kind](a, b, eps)
    return out


def _generalized(a: NDArray[Any], b: NDArray[Any], eps: float) -> float:
    hull = _hull(a, b)
    hull_area = hull[0] * hull[1]
    inter = max(min(a[2], b[2]) - max(a[0], b[0]), 0.0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    return iou(a, b) - (hull_area - union) / hull_area


def _distance(a: NDArray[Any], b: NDArray[Any], eps: float) -> float:
    hull = _hull(a, b)
    apart = ((a[0] + a[2] - b[0] - b[2]) / 2) ** 2 + ((a[1] + a[3] - b[1] - b[3]) / 2) ** 2
    return iou(a, b) - apart / (hull[0] ** 2 + hull[1] ** 2 + eps)


def _complete(a: NDArray[Any], b: NDArray[Any], eps: float) -> float:
    turn = np.arctan((a[2] - a[0]) / (a[3] - a[1])) - np.arctan((b[2] - b[0]) / (b[3] - b[1]))
    v = 4 / math.pi**2 * turn**2
    return _distance(a, b, eps) - v / (1 - iou(a, b) + v + eps) * v


def _hull(a: NDArray[Any], b: NDArray[Any]) -> tuple[float, float]:
    return max(max(a[2], b[2]) - min(a[0], b[0]), 0.0), max(max(a[3], b[3]) - min(a[1], b[1]), 0.0)


_KINDS = {
    "iou": lambda a, b, eps: iou(a, b),
    "generalized": _generalized,
    "distance": _distance,
    "complete": _complete,
}


def masks_to_boxes(masks: NDArray[Any]) -> NDArray[np.float64]:
    """First and last row and column of each mask that are not all zero; zeros if there is none."""
    boxes = np.zeros((len(masks), 4))
    for box, mask in zip(boxes, masks, strict=True):
        rows, columns = np.nonzero(mask)
        if len(rows):
            box[:] = columns.min(), rows.min(), columns.max(), rows.max()
    return boxes
