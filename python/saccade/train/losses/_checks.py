"""Checks that the losses share."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.data._labels import require_labels

__all__ = ["as_labels", "reduced", "require_reduction", "require_same_shape", "require_weight"]


def require_reduction(op: str, reduction: str) -> None:
    """One of the three that there are."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{op}: reduction must be 'none', 'mean' or 'sum', got {reduction!r}")


def require_same_shape(op: str, input: Tensor, target: Tensor) -> None:
    """Equal shapes: torch would broadcast ``(N, 1)`` with ``(N,)`` to ``(N, N)``."""
    if input.shape != target.shape:
        raise ValueError(
            f"{op}: input and target must have the same shape, got {tuple(input.shape)} and {tuple(target.shape)}"
        )


def require_weight(op: str, weight: Tensor | None, classes: int) -> None:
    """One weight for each class."""
    if weight is not None and weight.shape != (classes,):
        raise ValueError(f"{op}: weight must have shape ({classes},), got {tuple(weight.shape)}")


def as_labels(op: str, input: Tensor, target: Tensor, ignore_index: int | None, validate: bool) -> Tensor:
    """The labels as int64, of the input's shape without its classes, and in range."""
    if input.ndim < 2:
        raise ValueError(f"{op}: input must have shape (N, C, ...), got {tuple(input.shape)}")
    if target.dtype.is_floating_point or target.dtype == torch.bool:
        raise TypeError(f"{op}: target must be integer labels, got {target.dtype}")
    expected = (input.shape[0], *input.shape[2:])
    if target.shape != expected:
        raise ValueError(
            f"{op}: target must have shape {expected} for an input of {tuple(input.shape)}, got {tuple(target.shape)}"
        )
    labels = target.long()
    if validate and not torch.compiler.is_compiling():
        # On a GPU torch would end the process's CUDA context instead of saying which label it was.
        require_labels(op, "target", labels, input.shape[1], ignore_index)
    return labels


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """Reduce, where every value counts alike."""
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()
