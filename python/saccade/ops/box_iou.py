"""Pairwise intersection over union of boxes, and its refinements."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from saccade.ops._library import call, refuse_second_derivative, require_tensor
from saccade.ops.boxes import ROTATED_FORMATS, box_convert

__all__ = ["box_iou", "complete_box_iou", "distance_box_iou", "generalized_box_iou"]

_FORMATS = ("xyxy", "xywh", "cxcywh")
_IOU, _GENERALIZED, _DISTANCE, _COMPLETE = range(4)


def box_iou(boxes1: Tensor, boxes2: Tensor, fmt: str = "xyxy") -> Tensor:
    """Intersection over union of every box of one set with every box of another.

    Differentiable in both sets. Two boxes without area give NaN (0 / 0), and so does a box with a NaN.

    Args:
        boxes1: ``(..., N, K)``; leading dimensions broadcast. Floating or integer dtype; the wider one if they differ.
        boxes2: ``(..., M, K)``.
        fmt: ``"xyxy"``, ``"xywh"``, ``"cxcywh"`` (K = 4), or, rotated by r degrees counter-clockwise, ``"cxcywhr"``,
            ``"xywhr"`` (K = 5), ``"xyxyxyxy"`` (K = 8).

    Returns:
        ``(..., N, M)``: float64 for float64 boxes, otherwise float32.

    Raises:
        ValueError: on wrong shapes or an unknown format; TypeError: on a dtype that is neither floating nor integer.

    Source: torchvision.ops.box_iou, whose float32 and float64 results it equals bit for bit. float16 and bfloat16 boxes
    are read as float32, and integer ones never wrap around: there it is closer to the truth.

    >>> boxes = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10]])
    >>> box_iou(boxes, boxes)
    tensor([[1.0000, 0.3333],
            [0.3333, 1.0000]])
    """
    if fmt in ROTATED_FORMATS:
        turned = (box_convert(boxes, fmt, "cxcywhr") for boxes in (boxes1, boxes2))
        rotated: Tensor = call(torch.ops.saccade.box_iou_rotated, *turned)
        return rotated
    if fmt not in _FORMATS:
        raise ValueError(f"box_iou: fmt must be one of {', '.join(_FORMATS + ROTATED_FORMATS)}, got {fmt!r}")
    return _pairwise("box_iou", boxes1, boxes2, _IOU, _FORMATS.index(fmt), 0.0)


def generalized_box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """IoU minus the share of the smallest enclosing box that neither box covers; in (-1, 1].

    Args:
        boxes1: ``(..., N, 4)`` corners ``x1, y1, x2, y2``; as for :func:`box_iou`.
        boxes2: ``(..., M, 4)``.

    Returns:
        ``(..., N, M)``: float64 for float64 boxes, otherwise float32.

    Raises:
        ValueError: on wrong shapes; TypeError: on a dtype that is neither floating nor integer.

    Source: Rezatofighi et al., Generalized Intersection over Union, CVPR 2019; torchvision.ops.generalized_box_iou.

    >>> generalized_box_iou(torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([[3.0, 0, 4, 1]]))
    tensor([[-0.5000]])
    """
    return _pairwise("generalized_box_iou", boxes1, boxes2, _GENERALIZED, 0, 0.0)


def distance_box_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """IoU minus the squared distance of the centres over the squared diagonal of the smallest enclosing box.

    Args:
        boxes1: ``(..., N, 4)`` corners ``x1, y1, x2, y2``; as for :func:`box_iou`.
        boxes2: ``(..., M, 4)``.
        eps: added to the squared diagonal.

    Returns:
        ``(..., N, M)``: float64 for float64 boxes, otherwise float32.

    Raises:
        ValueError: on wrong shapes; TypeError: on a dtype that is neither floating nor integer.

    Source: Zheng et al., Distance-IoU Loss, AAAI 2020; torchvision.ops.distance_box_iou.

    >>> distance_box_iou(torch.tensor([[0.0, 0, 3, 4]]), torch.tensor([[3.0, 4, 6, 8]]))
    tensor([[-0.2500]])
    """
    return _pairwise("distance_box_iou", boxes1, boxes2, _DISTANCE, 0, eps)


def complete_box_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """Distance IoU minus a penalty for different aspect ratios.

    The weight of the penalty is a constant in the derivative, as in the paper.

    Args:
        boxes1: ``(..., N, 4)`` corners ``x1, y1, x2, y2``; as for :func:`box_iou`.
        boxes2: ``(..., M, 4)``.
        eps: added to the squared diagonal and to the denominator of the penalty's weight.

    Returns:
        ``(..., N, M)``: float64 for float64 boxes, otherwise float32.

    Raises:
        ValueError: on wrong shapes; TypeError: on a dtype that is neither floating nor integer.

    Source: Zheng et al., Distance-IoU Loss, AAAI 2020; torchvision.ops.complete_box_iou (the arc tangents may differ in
    the last bit).

    >>> complete_box_iou(torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[0.0, 0, 2, 2]]))
    tensor([[1.]])
    """
    return _pairwise("complete_box_iou", boxes1, boxes2, _COMPLETE, 0, eps)


def _pairwise(op: str, boxes1: Tensor, boxes2: Tensor, kind: int, fmt: int, eps: float) -> Tensor:
    require_tensor(op, boxes1=boxes1, boxes2=boxes2)
    if boxes1.dtype != boxes2.dtype:
        dtype = torch.promote_types(boxes1.dtype, boxes2.dtype)
        boxes1, boxes2 = boxes1.to(dtype), boxes2.to(dtype)
    if (boxes1.ndim > 2 or boxes2.ndim > 2) and boxes1.shape[:-2] != boxes2.shape[:-2]:
        try:
            leading = torch.broadcast_shapes(boxes1.shape[:-2], boxes2.shape[:-2])
        except RuntimeError:
            raise ValueError(
                f"{op}: boxes1 and boxes2 must have leading dimensions that broadcast, "
                f"got {tuple(boxes1.shape)} and {tuple(boxes2.shape)}"
            ) from None
        boxes1, boxes2 = (boxes.expand(*leading, *boxes.shape[-2:]) for boxes in (boxes1, boxes2))
    result: Tensor = call(torch.ops.saccade.box_iou, boxes1, boxes2, kind, fmt, eps)
    return result


@torch.library.register_fake("saccade::box_iou")
def _(boxes1: Tensor, boxes2: Tensor, kind: int = 0, fmt: int = 0, eps: float = 0.0) -> Tensor:
    dtype = torch.float64 if boxes1.dtype == torch.float64 else torch.float32
    return boxes1.new_empty((*boxes1.shape[:-1], boxes2.shape[-2]), dtype=dtype)


@torch.library.register_fake("saccade::_box_iou_backward")
def _(grad: Tensor, boxes1: Tensor, boxes2: Tensor, kind: int = 0, fmt: int = 0, eps: float = 0.0) -> Tensor:
    return boxes1.new_empty(boxes1.shape)


def _setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int, int, float], output: Tensor) -> None:
    boxes1, boxes2, *ctx.options = inputs
    ctx.save_for_backward(boxes1, boxes2)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
    boxes1, boxes2 = ctx.saved_tensors
    backward = torch.ops.saccade._box_iou_backward
    # The functions are symmetric: the second gradient is the first with the sets exchanged.
    grad1 = backward(grad, boxes1, boxes2, *ctx.options) if ctx.needs_input_grad[0] else None
    grad2 = backward(grad.mT, boxes2, boxes1, *ctx.options) if ctx.needs_input_grad[1] else None
    return grad1, grad2, None, None, None


torch.library.register_autograd("saccade::box_iou", _backward, setup_context=_setup_context)
refuse_second_derivative("box_iou")
