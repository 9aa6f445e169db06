"""Cross-entropies: of one decision, of one class among many, of every pixel; and the focal loss."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saccade.train.losses._checks import as_labels, reduced, require_reduction, require_same_shape, require_weight

__all__ = [
    "BinaryCrossEntropyLoss",
    "CrossEntropyLoss",
    "FocalLoss",
    "PixelCrossEntropyLoss",
    "binary_cross_entropy",
    "cross_entropy",
    "focal_loss",
    "pixel_cross_entropy",
]


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    *,
    from_logits: bool = True,
    pos_weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    validate: bool = True,
) -> Tensor:
    """``-(y log p + (1 - y) log(1 - p))``, torch's.

    Args:
        input: logits of any shape (``p`` is their sigmoid); probabilities with ``from_logits=False``, which loses
            digits where they are near 0 or 1.
        target: same shape; 0 and 1, or probabilities between. Integers and booleans are taken too.
        pos_weight: what a positive example counts, against 1 for a negative one; broadcast to the shape.
        label_smoothing: s moves targets to ``y (1 - s) + s / 2``.
        reduction: over all values.
        validate: whether the values are checked (on a GPU that waits for them; never under torch.compile).

    Raises:
        ValueError: for shapes that differ, a target (or probability) outside [0, 1], or options out of range.

    Source: the notes, cross-entropy of a logistic model.

    >>> binary_cross_entropy(torch.tensor([0.0, 2.0]), torch.tensor([1, 1]))
    tensor(0.4100)
    """
    op = "binary_cross_entropy"
    require_reduction(op, reduction)
    require_same_shape(op, input, target)
    _require_smoothing(op, label_smoothing)
    if pos_weight is not None and not from_logits:
        raise ValueError(f"{op}: pos_weight needs from_logits=True, got False")
    checked = {"target": target} if from_logits else {"target": target, "input": input}
    if validate and not torch.compiler.is_compiling():
        for name, values in checked.items():
            bad = int((~((values >= 0) & (values <= 1))).sum())
            if bad:
                raise ValueError(f"{op}: {name} must be from 0 to 1, got {bad} of {values.numel()} values outside")
    target = target.to(input.dtype)
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / 2
    if from_logits:
        return F.binary_cross_entropy_with_logits(input, target, pos_weight=pos_weight, reduction=reduction)
    return F.binary_cross_entropy(input, target, reduction=reduction)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int | None = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    validate: bool = True,
) -> Tensor:
    """``-log p`` of the true class, p being the softmax of the logits: torch's.

    Args:
        input: logits ``(N, C)`` or ``(N, C, ...)``.
        target: labels ``(N,)`` or ``(N, ...)``, or floating probabilities of the input's shape.
        weight: of each class, ``(C,)``; the mean is then the weighted one.
        ignore_index: a label that counts for nothing; None: there is none.
        label_smoothing: this share of the truth is spread over all classes alike.
        reduction: over all labels that count.
        validate: whether labels are checked (on a GPU that waits for them; never under torch.compile). Without, torch
            decides what happens.

    Returns:
        A scalar, or of the labels' shape. The mean over no label at all is 0, with a gradient of 0, where torch gives
        NaN (not without ``validate``).

    Raises:
        ValueError: for wrong shapes, labels out of range (named, with their counts), or options out of range.
        TypeError: for labels that are no integers.

    Source: the notes, cross-entropy.

    >>> cross_entropy(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([0]))
    tensor(0.4076)
    >>> cross_entropy(torch.zeros(4, 3), torch.tensor([0, 5, 5, 2]))
    Traceback (most recent call last):
    ValueError: cross_entropy: target must be from 0 to 2 or ignore_index -100, got 5 (2 times)
    """
    return _cross_entropy(
        "cross_entropy", input, target, weight, ignore_index, label_smoothing, reduction, validate, soft=True
    )


def pixel_cross_entropy(
    input: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int | None = 255,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    validate: bool = True,
) -> Tensor:
    """The cross-entropy of a classification for each pixel, averaged over the pixels that have a class.

    Args:
        input: logits ``(N, C, H, W)``: the scores of every class at every pixel.
        target: the class of every pixel, ``(N, H, W)``, of any integer dtype.
        ignore_index: the label of pixels without a class (255: PASCAL VOC's and Cityscapes'); None: all have one.
        weight, label_smoothing, reduction, validate: as for :func:`cross_entropy`, as are the results and errors.

    Source: Long et al., Fully Convolutional Networks, CVPR 2015; the notes, segmentation.

    >>> target = torch.tensor([[[0, 1], [255, 1]]], dtype=torch.uint8)
    >>> pixel_cross_entropy(torch.zeros(1, 2, 2, 2), target)
    tensor(0.6931)
    """
    op = "pixel_cross_entropy"
    if input.ndim != 4:
        raise ValueError(f"{op}: input must have shape (N, C, H, W), got {tuple(input.shape)}")
    return _cross_entropy(op, input, target, weight, ignore_index, label_smoothing, reduction, validate, soft=False)


def focal_loss(
    input: Tensor,
    target: Tensor,
    *,
    gamma: float = 2.0,
    weight: Tensor | None = None,
    ignore_index: int | None = -100,
    reduction: str = "mean",
    validate: bool = True,
) -> Tensor:
    """Cross-entropy times ``(1 - p) ** gamma``: fades for examples that the model already gets right.

    For one class among many (softmax); :func:`sigmoid_focal_loss` is the one for separate decisions.

    Args:
        input: logits ``(N, C)`` or ``(N, C, ...)``.
        target: labels ``(N,)`` or ``(N, ...)``.
        gamma: at least 0, where it is the cross-entropy.
        weight: of each class, ``(C,)`` (the paper's alpha). It does not change what the mean divides by.
        ignore_index, reduction, validate: as for :func:`cross_entropy`, as are the errors.

    Source: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.

    >>> focal_loss(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([0]))
    tensor(0.0457)
    """
    op = "focal_loss"
    require_reduction(op, reduction)
    if not gamma >= 0:
        raise ValueError(f"{op}: gamma must not be negative, got {gamma}")
    labels = as_labels(op, input, target, ignore_index, validate)
    require_weight(op, weight, input.shape[1])
    valid = torch.ones_like(labels, dtype=torch.bool) if ignore_index is None else labels != ignore_index
    labels = torch.where(valid, labels, 0)
    log_p = torch.gather(F.log_softmax(input, 1), 1, labels[:, None]).squeeze(1)
    # 1 - p from the logarithm, so that it is exact where p is nearly 1; a sure hit has gradient 0 for any gamma.
    miss = -torch.expm1(log_p)
    loss = -log_p * (miss.clamp_min(torch.finfo(miss.dtype).tiny) ** gamma if gamma else 1.0)
    if weight is not None:
        loss = loss * weight.to(loss.dtype)[labels]
    loss = torch.where(valid, loss, 0)
    if reduction == "mean":
        return loss.sum() / valid.sum().clamp_min(1)
    return reduced(loss, reduction)


def _cross_entropy(
    op: str,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int | None,
    label_smoothing: float,
    reduction: str,
    validate: bool,
    *,
    soft: bool,
) -> Tensor:
    require_reduction(op, reduction)
    _require_smoothing(op, label_smoothing)
    options: dict[str, Any] = {"weight": weight, "label_smoothing": label_smoothing, "reduction": reduction}
    if soft and target.dtype.is_floating_point:
        if input.ndim < 2:
            raise ValueError(f"{op}: input must have shape (N, C, ...), got {tuple(input.shape)}")
        require_same_shape(op, input, target)
        require_weight(op, weight, input.shape[1])
        return F.cross_entropy(input, target, **options)
    labels = as_labels(op, input, target, ignore_index, validate)
    require_weight(op, weight, input.shape[1])
    if reduction == "mean" and validate and not torch.compiler.is_compiling():
        counted = labels.numel() if ignore_index is None else (labels != ignore_index).any()
        if not counted:
            return input.flatten()[:0].sum()  # zero, and part of the graph
    return F.cross_entropy(input, labels, ignore_index=-100 if ignore_index is None else ignore_index, **options)


def _require_smoothing(op: str, label_smoothing: float) -> None:
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{op}: label_smoothing must be from 0 to 1, got {label_smoothing}")


class _Loss(nn.Module):
    """A loss with class weights, which move with the module."""

    def __init__(self, weight: Tensor | None, **options: Any) -> None:
        super().__init__()
        require_reduction(type(self).__name__, options["reduction"])
        self.register_buffer("weight", weight)
        self.weight: Tensor | None
        self.options = options

    def extra_repr(self) -> str:
        """The options."""
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())


class BinaryCrossEntropyLoss(_Loss):
    """:func:`binary_cross_entropy` as a module; ``pos_weight`` is its buffer ``weight``."""

    def __init__(
        self,
        *,
        from_logits: bool = True,
        pos_weight: Tensor | None = None,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(pos_weight, from_logits=from_logits, label_smoothing=label_smoothing, reduction=reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of ``input`` against ``target``."""
        return binary_cross_entropy(input, target, pos_weight=self.weight, **self.options)


class CrossEntropyLoss(_Loss):
    """:func:`cross_entropy` as a module."""

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        ignore_index: int | None = -100,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, ignore_index=ignore_index, label_smoothing=label_smoothing, reduction=reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of ``input`` against ``target``."""
        return cross_entropy(input, target, weight=self.weight, **self.options)


class PixelCrossEntropyLoss(_Loss):
    """:func:`pixel_cross_entropy` as a module."""

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        ignore_index: int | None = 255,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, ignore_index=ignore_index, label_smoothing=label_smoothing, reduction=reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of ``input`` against ``target``."""
        return pixel_cross_entropy(input, target, weight=self.weight, **self.options)


class FocalLoss(_Loss):
    """:func:`focal_loss` as a module."""

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        gamma: float = 2.0,
        ignore_index: int | None = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, gamma=gamma, ignore_index=ignore_index, reduction=reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of ``input`` against ``target``."""
        return focal_loss(input, target, weight=self.weight, **self.options)
