"""Losses of box regression and dense classification, one value for each pair: composed from torch operations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from saccade.ops._library import require_tensor

__all__ = ["complete_box_iou_loss", "distance_box_iou_loss", "generalized_box_iou_loss", "sigmoid_focal_loss"]


def generalized_box_iou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """One minus the generalized IoU of each box with its partner.

    Args:
        boxes1: ``(N, 4)`` or ``(4,)`` corners ``x1, y1, x2, y2``; dtypes other than float64 are computed in float32.
        boxes2: the partners, same shape.
        reduction: ``"none"``, ``"mean"`` (zero for no boxes) or ``"sum"``.
        eps: added to the denominators.

    Returns:
        ``(N,)``, or a scalar if reduced.

    Raises:
        ValueError: on a wrong shape or reduction; TypeError: if an argument is not a tensor.

    Source: Rezatofighi et al., Generalized Intersection over Union, CVPR 2019; torchvision.ops, with equal results.

    >>> generalized_box_iou_loss(torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([[3.0, 0, 4, 1]]))
    tensor([1.5000])
    """
    a, b = _prepare("generalized_box_iou_loss", boxes1, boxes2, reduction)
    inter, around = _inter_union(a, b)
    hull = _area(_hull_sides(a, b))
    loss = 1 - (inter / (around + eps) - (hull - around) / (hull + eps))
    return _reduce(loss, reduction, zero_if_empty=True)


def distance_box_iou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """One minus the distance IoU of each box with its partner.

    Arguments, result and errors as for :func:`generalized_box_iou_loss`.

    Source: Zheng et al., Distance-IoU Loss, AAAI 2020; torchvision.ops, whose results it equals.

    >>> distance_box_iou_loss(torch.tensor([[0.0, 0, 3, 4]]), torch.tensor([[3.0, 4, 6, 8]]))
    tensor([1.2500])
    """
    a, b = _prepare("distance_box_iou_loss", boxes1, boxes2, reduction)
    loss, _ = _distance_loss(a, b, eps)
    return _reduce(loss, reduction, zero_if_empty=True)


def complete_box_iou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """One minus the complete IoU of each box with its partner.

    Arguments, result and errors as for :func:`generalized_box_iou_loss`; the weight of the aspect-ratio penalty is a
    constant in the derivative.

    Source: Zheng et al., Distance-IoU Loss, AAAI 2020; torchvision.ops, whose results it equals (it too applies ``eps``
    to the penalty's weight only, and 1e-7 elsewhere).

    >>> complete_box_iou_loss(torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[0.0, 0, 2, 2]]))
    tensor([0.])
    """
    a, b = _prepare("complete_box_iou_loss", boxes1, boxes2, reduction)
    loss, iou = _distance_loss(a, b, 1e-7)
    sides_a, sides_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    turn = torch.atan(sides_b[..., 0] / sides_b[..., 1]) - torch.atan(sides_a[..., 0] / sides_a[..., 1])
    v = (4 / torch.pi**2) * turn**2
    alpha = (v / (1 - iou + v + eps)).detach()
    return _reduce(loss + alpha * v, reduction, zero_if_empty=True)


def sigmoid_focal_loss(
    inputs: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2, reduction: str = "none"
) -> Tensor:
    """Binary cross-entropy that fades for examples the model already gets right.

    Args:
        inputs: logits of any shape; floating dtype.
        targets: labels between 0 and 1, same shape and dtype.
        alpha: weight of the positive examples in [0, 1] (negative ones weigh one minus it), or -1 for no weights.
        gamma: exponent of the fading factor ``1 - p``.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
        A tensor of the same shape, or a scalar if reduced.

    Raises:
        ValueError: on an alpha out of range or an unknown reduction; TypeError: if an argument is not a tensor.

    Source: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017; torchvision.ops, whose results it equals.

    >>> sigmoid_focal_loss(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 1.0]))
    tensor([0.0433, 0.0057])
    """
    op = "sigmoid_focal_loss"
    require_tensor(op, inputs=inputs, targets=targets)
    _require_reduction(op, reduction)
    if alpha != -1 and not 0 <= alpha <= 1:
        raise ValueError(f"{op}: alpha must be between 0 and 1, or -1, got {alpha}")
    p = torch.sigmoid(inputs)
    p_true = p * targets + (1 - p) * (1 - targets)
    loss = F.binary_cross_entropy_with_logits(inputs, targets, reduction="none") * (1 - p_true) ** gamma
    if alpha >= 0:
        loss = (alpha * targets + (1 - alpha) * (1 - targets)) * loss
    return _reduce(loss, reduction, zero_if_empty=False)


def _prepare(op: str, boxes1: Tensor, boxes2: Tensor, reduction: str) -> tuple[Tensor, Tensor]:
    require_tensor(op, boxes1=boxes1, boxes2=boxes2)
    _require_reduction(op, reduction)
    for name, boxes in (("boxes1", boxes1), ("boxes2", boxes2)):
        if boxes.ndim == 0 or boxes.shape[-1] != 4:
            raise ValueError(f"{op}: {name} must have shape (..., 4), got {tuple(boxes.shape)}")
    if boxes1.shape != boxes2.shape:
        raise ValueError(
            f"{op}: boxes1 and boxes2 must have the same shape, got {tuple(boxes1.shape)} and {tuple(boxes2.shape)}"
        )
    wide = (torch.float32, torch.float64)
    return boxes1 if boxes1.dtype in wide else boxes1.float(), boxes2 if boxes2.dtype in wide else boxes2.float()


def _require_reduction(op: str, reduction: str) -> None:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{op}: reduction must be 'none', 'mean' or 'sum', got {reduction!r}")


def _reduce(loss: Tensor, reduction: str, zero_if_empty: bool) -> Tensor:
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" and not (zero_if_empty and loss.numel() == 0) else loss.sum()


def _area(sides: Tensor) -> Tensor:
    return sides[..., 0] * sides[..., 1]


def _hull_sides(a: Tensor, b: Tensor) -> Tensor:
    return torch.max(a[..., 2:], b[..., 2:]) - torch.min(a[..., :2], b[..., :2])


def _inter_union(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    sides = torch.min(a[..., 2:], b[..., 2:]) - torch.max(a[..., :2], b[..., :2])
    inter = torch.where((sides > 0).all(-1), _area(sides), 0)
    return inter, _area(a[..., 2:] - a[..., :2]) + _area(b[..., 2:] - b[..., :2]) - inter


def _distance_loss(a: Tensor, b: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    inter, around = _inter_union(a, b)
    iou = inter / (around + eps)
    diagonal = (_hull_sides(a, b) ** 2).sum(-1) + eps
    apart = (((a[..., 2:] + a[..., :2]) / 2 - (b[..., :2] + b[..., 2:]) / 2) ** 2).sum(-1)
    return 1 - iou + apart / diagonal, iou
