"""Grouping of similar rectangles, plainly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def group_rectangles(
    boxes: NDArray[np.int32], min_neighbors: int, eps: float = 0.2
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Means of the groups of more than ``min_neighbors`` similar boxes, and the numbers of their members."""
    if min_neighbors <= 0:
        return boxes, np.ones(len(boxes), np.int32)
    kept = groups_of(boxes, min_neighbors, eps)
    return (
        np.array([mean for mean, _ in kept], np.int32).reshape(-1, 4),
        np.array([len(members) for _, members in kept], np.int32),
    )


def groups_of(
    boxes: NDArray[np.int32], min_neighbors: int, eps: float = 0.2
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The mean of each of these groups, and which boxes are its members."""
    label = list(range(len(boxes)))
    for i in range(len(boxes)):
        for j in range(i):
            if _similar(boxes[i].tolist(), boxes[j].tolist(), eps) and label[i] != label[j]:
                merged = {label[i], label[j]}
                label = [min(merged) if k in merged else k for k in label]
    groups = []
    for group in sorted(set(label)):
        members = np.flatnonzero(np.array(label) == group)
        sums = boxes[members].astype(np.int64).sum(0)
        mean = np.rint(sums.astype(np.float32) * (np.float32(1) / np.float32(len(members))))
        groups.append((mean.astype(np.int64), members))
    large = [group for group in groups if len(group[1]) > min_neighbors]
    return [group for group in large if not any(_inside(group, other, eps) for other in large if other is not group)]


def _similar(a: list[int], b: list[int], eps: float) -> bool:
    delta = eps * (min(a[2], b[2]) + min(a[3], b[3])) * 0.5
    edges = [(r[0], r[1], r[0] + r[2], r[1] + r[3]) for r in (a, b)]
    return all(abs(p - q) <= delta for p, q in zip(*edges, strict=True))


def _inside(
    group: tuple[NDArray[np.int64], NDArray[np.int64]], other: tuple[NDArray[np.int64], NDArray[np.int64]], eps: float
) -> bool:
    (x, y, w, h), count = group[0], len(group[1])
    (ox, oy, ow, oh), other_count = other[0], len(other[1])
    dx, dy = np.rint(ow * eps), np.rint(oh * eps)
    inside = x >= ox - dx and y >= oy - dy and x + w <= ox + ow + dx and y + h <= oy + oh + dy
    return bool(inside) and (other_count > max(3, count) or count < 3)
