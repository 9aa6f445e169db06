"""What proposals and detections have in common."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from saccade import ops
from saccade.models._fused import FusedSequential
from saccade.models.residual import NormLayer
from saccade.nn import Conv2d

__all__ = ["best_of_each", "clip_boxes", "conv_block", "rows_of", "suppress"]


def conv_block(in_channels: int, out_channels: int, norm_layer: NormLayer | None = None) -> nn.Sequential:
    """A 3x3 convolution, a normalisation where one is given (then no bias), and ReLU."""
    norm = [] if norm_layer is None else [norm_layer(out_channels)]
    return FusedSequential(Conv2d(in_channels, out_channels, 3, padding=1, bias=not norm), *norm, nn.ReLU())


def rows_of(maps: Tensor, columns: int) -> Tensor:
    """``(N, A * columns, H, W)`` to ``(N, H * W * A, columns)``."""
    return maps.unflatten(1, (-1, columns)).permute(0, 3, 4, 1, 2).flatten(1, 3)


def clip_boxes(boxes: Tensor, image: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Boxes ``(..., 4)`` clipped to the images of the indices ``image``, ``(...)``."""
    limits = boxes.new_tensor([[width, height, width, height] for height, width in sizes])
    return torch.minimum(boxes.clamp(min=0), limits[image])


def suppress(
    boxes: Tensor, scores: Tensor, image: Tensor, group: Tensor, images: int, iou_threshold: float, best: int
) -> list[Tensor]:
    """Non-maximum suppression within each image and group, of all images in one call.

    Returns, for each image, the indices of its ``best`` boxes in descending order of score.
    """
    if images == 1:
        return [ops.batched_nms(boxes, scores, group, iou_threshold, max_output=best)]
    keep = ops.batched_nms(boxes, scores, group * images + image, iou_threshold)
    owner = image[keep]
    counts = torch.bincount(owner, minlength=images).tolist()
    return [kept[:best] for kept in keep[owner.argsort(stable=True)].split(counts)]


def best_of_each(
    boxes: Tensor, scores: Tensor, group: Tensor, iou_threshold: float, best: int
) -> tuple[Tensor, Tensor]:
    """As :func:`suppress` for ``(N, K)`` boxes of N images, with a result of fixed size.

    Args:
        boxes: ``(N, K, 4)``.
        scores: ``(N, K)``; -1 for what is no box.
        group: ``(N, K)``, within which boxes suppress each other.
        iou_threshold: IoU above which the lower-scored box is dropped.
        best: how many of an image.

    Returns:
        ``(N, best)`` indices in descending order of score, and as many booleans: whether there is such a box.
    """
    n, count = scores.shape
    image = torch.arange(n, device=scores.device)[:, None]
    keep, _ = ops.nms_padded(
        boxes.flatten(0, 1), scores.flatten(), iou_threshold, n * count, (group * n + image).flatten()
    )
    kept = torch.zeros(n * count + 1, dtype=torch.bool, device=scores.device)
    kept[keep] = True  # -1, where none is left, is the one too many
    merit = torch.where(kept[:-1].view(n, count), scores, -1)
    values, index = merit.sort(stable=True, dim=1, descending=True)
    missing = (0, max(best - count, 0))
    values = functional.pad(values[:, :best], missing, value=-1)
    index = functional.pad(index[:, :best], missing)
    return index, values >= 0
