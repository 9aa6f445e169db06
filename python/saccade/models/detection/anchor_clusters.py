"""Anchors from the boxes of a data set."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["cluster_anchors"]


def shape_iou(sizes: Tensor, others: Tensor) -> Tensor:
    """IoU ``(N, M)`` of boxes of the sizes ``(N, 2)`` and ``(M, 2)`` that share their centre."""
    shared = torch.minimum(sizes[:, None], others).prod(-1)
    return shared / (sizes.prod(-1)[:, None] + others.prod(-1) - shared)


def cluster_anchors(
    sizes: Tensor, k: int, *, generator: torch.Generator | None = None, starts: int = 10, iterations: int = 300
) -> tuple[Tensor, float]:
    """k-means on the sizes of boxes, with ``1 - IoU`` for the distance.

    Euclid's distance would let large boxes make the larger errors. Starts from k sizes drawn far apart (k-means++);
    a cluster that loses its last box starts anew at the box that is farthest from its anchor. Of several starts the
    best is returned.

    Args:
        sizes: ``(N, 2)`` widths and heights, positive, in any unit.
        k: how many anchors, at most as many as there are different sizes.
        generator: of the random numbers; None for torch's own.
        starts: how many times to start.
        iterations: at most, of each start.

    Returns:
        ``(k, 2)`` anchors in order of area, and the mean over the boxes of the IoU with the best anchor.

    Raises:
        ValueError: for wrong shapes, sizes that are not positive, and a k out of range.

    Source: Redmon and Farhadi, YOLO9000, 2017, section 2 (dimension clusters); Arthur and Vassilvitskii, k-means++,
    2007.

    >>> sizes = torch.tensor([[10.0, 10], [12, 10], [10, 12], [50, 90], [52, 88]])
    >>> anchors, overlap = cluster_anchors(sizes, 2, generator=torch.Generator().manual_seed(0))
    >>> anchors
    tensor([[10.6667, 10.6667],
            [51.0000, 89.0000]])
    """
    if sizes.dim() != 2 or sizes.shape[1] != 2:
        raise ValueError(f"cluster_anchors: sizes must have shape (N, 2), got {tuple(sizes.shape)}")
    if not bool((sizes > 0).all() & sizes.isfinite().all()):
        raise ValueError("cluster_anchors: sizes must be positive and finite")
    different = len(sizes.unique(dim=0))
    if not 1 <= k <= different:
        raise ValueError(f"cluster_anchors: k must lie in 1 to {different}, the number of different sizes, got {k}")
    sizes = sizes.double()
    found = [_cluster(sizes, _far_apart(sizes, k, generator), iterations) for _ in range(starts)]
    best, highest = max(found, key=lambda each: each[1])
    return best[best.prod(1).argsort()].float(), highest


def _cluster(sizes: Tensor, anchors: Tensor, iterations: int) -> tuple[Tensor, float]:
    """Where k-means ends from the given anchors, and the mean IoU there."""
    k = len(anchors)
    overlap, nearest = shape_iou(sizes, anchors).max(1)
    for _ in range(iterations):
        counts = torch.bincount(nearest, minlength=k)
        anchors = torch.zeros_like(anchors).index_add_(0, nearest, sizes) / counts.clamp(min=1)[:, None]
        empty = counts == 0
        anchors[empty] = sizes[overlap.argsort()[: int(empty.sum())]]
        previous = nearest
        overlap, nearest = shape_iou(sizes, anchors).max(1)
        if torch.equal(nearest, previous):
            break
    return anchors, overlap.mean().item()


def _far_apart(sizes: Tensor, k: int, generator: torch.Generator | None) -> Tensor:
    """k sizes, each drawn with a probability as the square of the distance to the nearest of those before."""
    chosen = [int(torch.randint(len(sizes), (1,), generator=generator))]
    for _ in range(k - 1):
        distance = 1 - shape_iou(sizes, sizes[chosen]).amax(1)
        distance[chosen] = 0
        chosen.append(int(torch.multinomial(distance.clamp(min=0) ** 2, 1, generator=generator)))
    return sizes[chosen].clone()
