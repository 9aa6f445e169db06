"""Soft non-maximum suppression, plainly."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.reference.nms import iou, score_order


def soft_nms(
    boxes: NDArray[Any],
    scores: NDArray[Any],
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    score_threshold: float = 1e-3,
    method: str = "gaussian",
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Take the best box, lower the scores of the others, and again, until no score reaches the threshold."""
    boxes, scores = np.asarray(boxes, np.float64), np.array(scores, np.float64)
    left = [i for i in range(len(boxes)) if not scores[i] < score_threshold]
    keep: list[int] = []
    while left:
        best = left.pop(score_order(scores[left])[0])
        keep.append(best)
        for i in list(left):
            overlap = iou(boxes[best], boxes[i])
            if method == "gaussian" and overlap > 0:
                scores[i] *= math.exp(-(overlap**2) / sigma)
            elif method == "linear" and overlap > iou_threshold:
                scores[i] *= 1 - overlap
            if scores[i] < score_threshold or (method == "naive" and overlap > iou_threshold):
                left.remove(i)
    return np.array(keep, np.int64), scores[keep]
