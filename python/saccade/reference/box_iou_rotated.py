"""Rotated boxes, plainly: their overlap by clipping polygons, and suppression."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.reference.nms import score_order

Point = tuple[float, float]


def box_iou_rotated(boxes1: NDArray[Any], boxes2: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union of every pair."""
    return np.array([[iou_rotated(a, b) for b in boxes2] for a in boxes1]).reshape(len(boxes1), len(boxes2))


def nms_rotated(
    boxes: NDArray[Any], scores: NDArray[Any], iou_threshold: float, max_output: int | None = None
) -> NDArray[np.int64]:
    """Keep boxes in descending order of score unless they overlap a kept one by more than the threshold."""
    keep: list[int] = []
    for i in score_order(scores):
        if max_output is not None and len(keep) >= max_output:
            break
        if all(not iou_rotated(boxes[j], boxes[i]) > iou_threshold for j in keep):
            keep.append(i)
    return np.array(keep, dtype=np.int64)


def iou_rotated(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Intersection over union of two boxes; 0 where one is empty."""
    area_a, area_b = float(a[2]) * float(a[3]), float(b[2]) * float(b[3])
    if area_a < 1e-14 or area_b < 1e-14:
        return 0.0
    polygon, clip = corners(a), corners(b)
    for k in range(4):
        polygon = clip_half_plane(polygon, clip[k], clip[(k + 1) % 4])
    intersection = abs(polygon_area(polygon))
    return intersection / (area_a + area_b - intersection)


def corners(box: NDArray[Any]) -> list[Point]:
    """The corners, in an order that keeps the box on the left."""
    cx, cy, width, height, angle = (float(v) for v in box)
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    width, height = abs(width) / 2, abs(height) / 2
    signs = ((1, 1), (-1, 1), (-1, -1), (1, -1))
    return [(cx + i * width * cos + j * height * sin, cy - i * width * sin + j * height * cos) for i, j in signs]


def clip_half_plane(polygon: list[Point], start: Point, end: Point) -> list[Point]:
    """What lies to the left of a line (Sutherland and Hodgman, 1974)."""

    def side(p: Point) -> float:
        return (end[0] - start[0]) * (p[1] - start[1]) - (end[1] - start[1]) * (p[0] - start[0])

    result: list[Point] = []
    for p, q in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        at_p, at_q = side(p), side(q)
        if at_p >= 0:
            result.append(p)
        if (at_p > 0) != (at_q > 0) and at_p != at_q:
            t = at_p / (at_p - at_q)
            result.append((p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])))
    return result


def polygon_area(polygon: list[Point]) -> float:
    """Signed area (the shoelace formula)."""
    pairs = zip(polygon, polygon[1:] + polygon[:1], strict=True)
    return 0.5 * sum(p[0] * q[1] - q[0] * p[1] for p, q in pairs)
