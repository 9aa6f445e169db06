"""Bounding boxes of masks."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.ops._library import call, require_tensor

__all__ = ["masks_to_boxes"]


def masks_to_boxes(masks: Tensor) -> Tensor:
    """Outermost pixels of each mask that are not zero.

    Args:
        masks: ``(N, H, W)``; bool, integer or floating dtype. NaN counts as not zero.

    Returns:
        float32 ``(N, 4)``: ``x1, y1, x2, y2``, both ends inclusive, so that a single pixel gives ``x1 == x2``; zeros
        for an empty mask.

    Raises:
        ValueError: on a wrong shape; TypeError: on a dtype that is none of these, or if masks is not a tensor.

    Source: torchvision.ops.masks_to_boxes, whose results it equals (N masks without pixels give N boxes, there none).

    >>> masks = torch.zeros(1, 5, 6, dtype=torch.bool)
    >>> masks[0, 1:3, 2:5] = True
    >>> masks_to_boxes(masks)
    tensor([[2., 1., 4., 2.]])
    """
    require_tensor("masks_to_boxes", masks=masks)
    boxes: Tensor = call(torch.ops.saccade.masks_to_boxes, masks)
    return boxes


@torch.library.register_fake("saccade::masks_to_boxes")
def _(masks: Tensor) -> Tensor:
    return masks.new_empty((masks.shape[0], 4), dtype=torch.float32)
