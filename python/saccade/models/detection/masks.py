"""Masks of boxes: from the image to small squares."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade import ops

__all__ = ["crop_masks"]


def crop_masks(masks: Tensor, boxes: Tensor, indices: Tensor, size: int) -> Tensor:
    """What a mask branch is to say: ``masks[indices]`` within ``boxes``, brought to squares.

    Args:
        masks: ``(M, H, W)`` of an image, 0 or 1.
        boxes: ``(K, 4)`` corners.
        indices: ``(K,)``, whose mask each box is to have.
        size: side of the squares.

    Returns:
        ``(K, size, size)`` in the dtype of ``boxes``.
    """
    regions = torch.cat([indices[:, None].to(boxes), boxes], 1)
    return ops.roi_align(masks[:, None].to(boxes), regions, size)[:, 0]
