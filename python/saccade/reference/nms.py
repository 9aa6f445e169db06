"""Non-maximum suppression, plainly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def nms(
    boxes: NDArray[Any], scores: NDArray[Any], iou_threshold: float, max_output: int | None = None
) -> NDArray[np.int64]:
    """Keep boxes in descending order of score unless they overlap a kept one by more than the threshold."""
    return batched_nms(boxes, scores, np.zeros(len(boxes)), iou_threshold, max_output)


def batched_nms(
    boxes: NDArray[Any], scores: NDArray[Any], idxs: NDArray[Any], iou_threshold: float, max_output: int | None = None
) -> NDArray[np.int64]:
    """Do the same, where only boxes of one category can drop each other."""
    boxes = np.asarray(boxes, np.float64)
    keep: list[int] = []
    for i in score_order(scores):
        if max_output is not None and len(keep) >= max_output:
            break
        if all(idxs[i] != idxs[j] or not iou(boxes[i], boxes[j]) > iou_threshold for j in keep):
            keep.append(i)
    return np.array(keep, dtype=np.int64)


def score_order(scores: NDArray[Any]) -> NDArray[np.int64]:
    """Indices in descending order of score: NaN first, equal scores as they stand."""
    scores = np.asarray(scores, np.float64)
    return np.argsort(np.where(np.isnan(scores), -np.inf, -scores), kind="stable")


def iou(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Intersection over union of two boxes; NaN where both are empty."""
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0.0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.float64(width * height) / (area - width * height))
