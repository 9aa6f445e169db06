"""Non-maximum suppression of axis-aligned boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.ops._library import call, require_tensor

__all__ = ["batched_nms", "nms", "nms_padded"]


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, max_output: int | None = None) -> Tensor:
    """Keep the best-scored boxes, dropping those that overlap a kept one.

    Args:
        boxes: ``(N, 4)``, corners ``x1, y1, x2, y2``; float16, bfloat16, float32 or float64.
        scores: ``(N,)`` of the same dtype.
        iou_threshold: a box whose intersection over union with a kept box is strictly greater is dropped.
        max_output: stop after this many boxes; ``None`` keeps all.

    Returns:
        int64 indices of the kept boxes, in descending order of score (ties: lower index first; NaN before all others).

    Raises:
        ValueError: on wrong shapes, a NaN threshold or a negative ``max_output``; TypeError: on wrong dtypes.

    Source: greedy suppression as in torchvision.ops.nms, whose results on the CPU it equals.

    >>> boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]])
    >>> nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)
    tensor([0, 2])
    """
    require_tensor("nms", boxes=boxes, scores=scores)
    return call(torch.ops.saccade.nms.default, boxes, scores, iou_threshold, max_output)


def batched_nms(
    boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float, max_output: int | None = None
) -> Tensor:
    """Suppress within each category: boxes of different categories never suppress each other.

    Args:
        boxes: ``(N, 4)``, corners ``x1, y1, x2, y2``; float16, bfloat16, float32 or float64. Any coordinates do: the
            boxes are really split by category, not moved apart.
        scores: ``(N,)`` of the same dtype.
        idxs: ``(N,)`` categories of any dtype; negative ones are categories too.
        iou_threshold: a box whose intersection over union with a kept box is strictly greater is dropped.
        max_output: return only the best of what is kept; ``None`` returns all.

    Returns:
        int64 indices of the kept boxes, in descending order of score (ties: lower index first; NaN before all others).

    Raises:
        ValueError: on wrong shapes, a NaN threshold or a negative ``max_output``; TypeError: on wrong dtypes.

    Source: torchvision.ops.batched_nms, without the errors of its coordinate offsets and with a stable order.

    >>> boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [1, 1, 11, 11]])
    >>> batched_nms(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 0, 1]), 0.5)
    tensor([0, 2])
    """
    require_tensor("batched_nms", boxes=boxes, scores=scores, idxs=idxs)
    return call(torch.ops.saccade.batched_nms.default, boxes, scores, idxs, iou_threshold, max_output)


def nms_padded(
    boxes: Tensor, scores: Tensor, iou_threshold: float, max_output: int, idxs: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Do what `nms`, or `batched_nms`, does, with an output of fixed size: for export and CUDA graphs.

    Args:
        boxes: ``(N, 4)``, corners ``x1, y1, x2, y2``; float16, bfloat16, float32 or float64.
        scores: ``(N,)`` of the same dtype.
        iou_threshold: a box whose intersection over union with a kept box is strictly greater is dropped.
        max_output: the length of the output.
        idxs: ``(N,)`` categories, as `batched_nms` takes them.

    Returns:
        ``(keep, count)``: ``(max_output,)`` int64, the first indices that `nms` or `batched_nms` returns, then -1; and
        how many they are, int64 of shape ``()``.

    Raises:
        ValueError: on wrong shapes, a NaN threshold or a negative ``max_output``; TypeError: on wrong dtypes.

    Source: the idea of TensorFlow's non_max_suppression_padded.

    >>> boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]])
    >>> nms_padded(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5, 4)
    (tensor([ 0,  2, -1, -1]), tensor(2))
    """
    require_tensor("nms_padded", boxes=boxes, scores=scores)
    if idxs is not None:
        require_tensor("nms_padded", idxs=idxs)
    keep, count = call(torch.ops.saccade.nms_padded.default, boxes, scores, iou_threshold, max_output, idxs)
    return keep, count


@torch.library.register_fake("saccade::nms")
def _(boxes: Tensor, scores: Tensor, iou_threshold: float, max_output: int | None = None) -> Tensor:
    return boxes.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int64)


@torch.library.register_fake("saccade::batched_nms")
def _(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float, max_output: int | None = None) -> Tensor:
    return boxes.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int64)


@torch.library.register_fake("saccade::nms_padded")
def _(
    boxes: Tensor, scores: Tensor, iou_threshold: float, max_output: int, idxs: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    return boxes.new_empty(max_output, dtype=torch.int64), boxes.new_empty((), dtype=torch.int64)


for _name in ("nms", "batched_nms", "nms_padded"):
    for _device in ("cpu", "cuda"):
        torch.library.register_autocast(f"saccade::{_name}", _device, torch.float32)
