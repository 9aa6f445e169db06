"""Detections against ground truth: precision, recall and the equal-error rate."""

from __future__ import annotations

import numpy as np


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union (N, M) of boxes x, y, width, height."""
    a, b = np.asarray(a, float).reshape(-1, 1, 4), np.asarray(b, float).reshape(1, -1, 4)
    sides = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    inter = np.maximum(sides, 0).prod(-1)
    union = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - inter
    return np.where(union > 0, inter / np.where(union > 0, union, 1), 0)


def match(detections: np.ndarray, truth: np.ndarray, least: float = 0.5) -> np.ndarray:
    """The object that each detection, best first, finds (-1: none); each object can be found once."""
    found = np.full(len(detections), -1)
    free = np.ones(len(truth), bool)
    for i, overlaps in enumerate(iou(detections, truth)):
        overlaps = np.where(free, overlaps, -1)
        if len(truth) and overlaps.max() >= least:
            found[i] = overlaps.argmax()
            free[found[i]] = False
    return found


def curve(scores: np.ndarray, correct: np.ndarray, objects: int) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision at each threshold, from the strictest on; equal scores enter together."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(correct[order])
    last = np.append(np.diff(scores[order]) != 0, True) if len(order) else np.zeros(0, bool)
    counts = np.arange(1, len(order) + 1)
    return (hits / max(objects, 1))[last], (hits / counts)[last]


def equal_error_rate(recall: np.ndarray, precision: np.ndarray) -> float:
    """Recall where it equals precision: the best of min(recall, precision)."""
    return float(np.minimum(recall, precision).max(initial=0))


def average_precision(recall: np.ndarray, precision: np.ndarray) -> float:
    """The area under the curve, precision made monotonous."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0) * envelope).sum())
