"""What users write with NumPy where no library has the operator."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Numbers = NDArray[np.int64]


def nms_of_overlaps(overlaps: Floats, scores: Floats, threshold: float) -> Numbers:
    """Greedy suppression by a matrix of overlaps."""
    order = np.argsort(-scores, kind="stable")
    keep = []
    while len(order):
        keep.append(order[0])
        order = order[1:][~(overlaps[order[0], order[1:]] > threshold)]
    return np.array(keep, np.int64)


def soft_nms(boxes: Floats, scores: Floats, sigma: float, score_threshold: float) -> tuple[Numbers, Floats]:
    """Gaussian soft suppression, one row of overlaps at a time."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = np.flatnonzero(scores >= score_threshold)
    lowered = scores[left]
    keep, kept = [], []
    while len(left):
        best = lowered.argmax()
        taken = left[best]
        keep.append(taken)
        kept.append(lowered[best])
        left, lowered = np.delete(left, best), np.delete(lowered, best)
        sides = np.minimum(boxes[taken, 2:], boxes[left, 2:]) - np.maximum(boxes[taken, :2], boxes[left, :2])
        overlap = sides.clip(0).prod(1)
        iou = overlap / (areas[taken] + areas[left] - overlap)
        lowered = lowered * np.exp(-(iou**2) / sigma)
        left, lowered = left[lowered >= score_threshold], lowered[lowered >= score_threshold]
    return np.array(keep, np.int64), np.array(kept, boxes.dtype)
