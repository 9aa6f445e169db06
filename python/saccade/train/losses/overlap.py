"""Losses that measure the overlap of regions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saccade.train.losses._checks import as_labels, require_reduction, require_same_shape

__all__ = ["DiceLoss", "dice_loss"]


def dice_loss(
    input: Tensor,
    target: Tensor,
    *,
    smooth: float = 1.0,
    ignore_index: int | None = 255,
    per_sample: bool = False,
    reduction: str = "mean",
    validate: bool = True,
) -> Tensor:
    """One minus the Dice coefficient ``(2 sum(p y) + smooth) / (sum(p) + sum(y) + smooth)`` of each class.

    Args:
        input: logits ``(N, C, ...)``, with the softmax over C as probabilities p; or, for one foreground, ``(N, 1,
            ...)``, with the sigmoid.
        target: labels ``(N, ...)``; for one foreground 0 and 1, ``(N, ...)`` or ``(N, 1, ...)``.
        smooth: keeps the coefficient of a class that neither has at 1, and gradients finite.
        ignore_index: the label of pixels that count for nothing; None: there is none.
        per_sample: whether sums are taken for each sample, or over the whole batch.
        reduction: over classes (and samples).
        validate: as for :func:`cross_entropy`.

    Returns:
        A scalar; ``(C,)``, or ``(N, C)`` if per_sample, for ``"none"``.

    Raises:
        ValueError: for wrong shapes, labels out of range (named, with their counts), or a negative ``smooth``.
        TypeError: for labels that are no integers.

    Source: Milletari et al., V-Net, 3DV 2016, with sums in place of sums of squares (Sudre et al., 2017).

    >>> sure = 20.0 * torch.tensor([[[1.0, 1, -1, -1]]])
    >>> dice_loss(sure, torch.tensor([[1, 0, 0, 0]]), smooth=0.0)
    tensor(0.3333)
    """
    op = "dice_loss"
    require_reduction(op, reduction)
    if not smooth >= 0:
        raise ValueError(f"{op}: smooth must not be negative, got {smooth}")
    if input.ndim >= 2 and input.shape[1] == 1:
        labels = target.reshape(input.shape[0], *input.shape[2:]) if target.shape == input.shape else target
        two = input.expand(-1, 2, *input.shape[2:])  # as if there were two classes, to check against
        labels = as_labels(op, two, labels.long() if labels.dtype == torch.bool else labels, ignore_index, validate)
        p = torch.sigmoid(input)
    else:
        labels = as_labels(op, input, target, ignore_index, validate)
        p = torch.softmax(input, 1)
    valid = torch.ones_like(labels, dtype=torch.bool) if ignore_index is None else labels != ignore_index
    labels = torch.where(valid, labels, 0)
    y = labels[:, None] if p.shape[1] == 1 else F.one_hot(labels, p.shape[1]).movedim(-1, 1)
    y = torch.where(valid[:, None], y, 0).to(p.dtype)
    p = torch.where(valid[:, None], p, 0)
    require_same_shape(op, p, y)
    over = tuple(d for d in range(p.ndim) if d != 1 and not (per_sample and d == 0))
    both, either = (p * y).sum(over), p.sum(over) + y.sum(over)
    loss = 1 - (2 * both + smooth) / (either + smooth).clamp_min(torch.finfo(p.dtype).tiny)
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


class DiceLoss(nn.Module):
    """:func:`dice_loss` as a module."""

    def __init__(
        self,
        *,
        smooth: float = 1.0,
        ignore_index: int | None = 255,
        per_sample: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        require_reduction("dice_loss", reduction)
        self.smooth, self.ignore_index = smooth, ignore_index
        self.per_sample, self.reduction = per_sample, reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of ``input`` against ``target``."""
        return dice_loss(
            input,
            target,
            smooth=self.smooth,
            ignore_index=self.ignore_index,
            per_sample=self.per_sample,
            reduction=self.reduction,
        )
