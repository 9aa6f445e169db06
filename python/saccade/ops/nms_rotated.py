"""Non-maximum suppression of rotated boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.ops._library import call, require_tensor

__all__ = ["nms_rotated"]


def nms_rotated(boxes: Tensor, scores: Tensor, iou_threshold: float, max_output: int | None = None) -> Tensor:
    """Keep the best-scored rotated boxes, dropping those that overlap a kept one.

    Args:
        boxes: ``(N, 5)``: centre x and y, width, height, and angle in degrees, counter-clockwise with y pointing down;
            float16, bfloat16, float32 or float64.
        scores: ``(N,)`` of the same dtype.
        iou_threshold: a box whose intersection over union (`box_iou_rotated`) with a kept box is strictly greater is
            dropped.
        max_output: stop after this many boxes; ``None`` keeps all.

    Returns:
        int64 indices of the kept boxes, in descending order of score (ties: lower index first; NaN before all others).

    Raises:
        ValueError: on wrong shapes, a NaN threshold or a negative ``max_output``; TypeError: on wrong dtypes.

    Source: detectron2's nms_rotated.

    >>> boxes = torch.tensor([[0.0, 0, 10, 4, 0], [0, 0, 10, 4, 10], [0, 0, 10, 4, 90]])
    >>> nms_rotated(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)
    tensor([0, 2])
    """
    require_tensor("nms_rotated", boxes=boxes, scores=scores)
    return call(torch.ops.saccade.nms_rotated.default, boxes, scores, iou_threshold, max_output)


@torch.library.register_fake("saccade::nms_rotated")
def _(boxes: Tensor, scores: Tensor, iou_threshold: float, max_output: int | None = None) -> Tensor:
    return boxes.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int64)


for _device in ("cpu", "cuda"):
    torch.library.register_autocast("saccade::nms_rotated", _device, torch.float32)
