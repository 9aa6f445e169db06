"""Intersection over union of rotated boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.ops._library import call, require_tensor

__all__ = ["box_iou_rotated"]


def box_iou_rotated(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Compute the intersection over union of every pair of rotated boxes.

    Args:
        boxes1: ``(N, 5)``: centre x and y, width, height, and angle in degrees, counter-clockwise with y pointing down;
            float16, bfloat16, float32 or float64.
        boxes2: ``(M, 5)`` of the same dtype.

    Returns:
        ``(N, M)``: float64 for float64 boxes, else float32. A box of an area below 1e-14 overlaps nothing; a box with
        NaN or infinity gives NaN or 0.

    Raises:
        ValueError: on wrong shapes; TypeError: on wrong dtypes.

    Source: the convention of detectron2's pairwise_iou_rotated and of torchvision.ops.box_iou(fmt="cxcywhr").

    >>> box = torch.tensor([[0.0, 0, 2, 2, 0]])
    >>> box_iou_rotated(box, torch.tensor([[0.0, 0, 2, 2, 90], [1, 0, 2, 2, 0], [5, 0, 2, 2, 45]]))
    tensor([[1.0000, 0.3333, 0.0000]])
    """
    require_tensor("box_iou_rotated", boxes1=boxes1, boxes2=boxes2)
    result: Tensor = call(torch.ops.saccade.box_iou_rotated.default, boxes1, boxes2)
    return result


@torch.library.register_fake("saccade::box_iou_rotated")
def _(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    dtype = torch.float64 if boxes1.dtype == torch.float64 else torch.float32
    return boxes1.new_empty((boxes1.shape[0], boxes2.shape[0]), dtype=dtype)


for _device in ("cpu", "cuda"):
    torch.library.register_autocast("saccade::box_iou_rotated", _device, torch.float32)
