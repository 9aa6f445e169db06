"""Distances between real numbers."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saccade.train.losses._checks import reduced, require_reduction, require_same_shape

__all__ = ["MAELoss", "MSELoss", "PNormLoss", "mae_loss", "mse_loss", "p_norm_loss"]


def p_norm_loss(
    input: Tensor, target: Tensor, p: float = 2.0, *, root: bool = False, reduction: str = "mean"
) -> Tensor:
    """The p-norm of each sample's error, to the power p: the sum of ``|input - target| ** p``.

    Args:
        input: ``(N, ...)``; everything but the first dimension belongs to one sample.
        target: same shape.
        p: at least 1; ``math.inf`` (the greatest error) with ``root``.
        root: the norm itself, the p-th root. Its gradient does not fade near zero, where it is not defined (taken as
            0).
        reduction: over the samples.

    Returns:
        ``(N,)``, or a scalar.

    Raises:
        ValueError: for shapes that differ, p below 1, or an unknown reduction.

    Source: the notes, regression and the general p-norm.

    >>> p_norm_loss(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)), p_norm_loss(torch.ones(1, 3), torch.zeros(1, 3), 1)
    (tensor(25.), tensor(3.))
    >>> p_norm_loss(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2), root=True)
    tensor(5.)
    """
    require_reduction("p_norm_loss", reduction)
    require_same_shape("p_norm_loss", input, target)
    if not p >= 1 or (math.isinf(p) and not root):
        raise ValueError(f"p_norm_loss: p must be at least 1, and finite without root, got {p}")
    error = (input - target).flatten(1) if input.ndim > 1 else (input - target)[:, None]
    loss = torch.linalg.vector_norm(error, p, dim=1) if root else error.abs().pow(p).sum(1)
    return reduced(loss, reduction)


def mse_loss(input: Tensor, target: Tensor, *, weight: Tensor | None = None, reduction: str = "mean") -> Tensor:
    """Mean squared error, torch's; shapes must be equal.

    Args:
        input: any shape.
        target: same shape.
        weight: of each value, same shape; the mean is then the weighted one.
        reduction: over all values.

    Raises:
        ValueError: for shapes that differ or an unknown reduction.

    >>> mse_loss(torch.tensor([1.0, 4.0]), torch.tensor([1.0, 2.0]))
    tensor(2.)
    """
    require_reduction("mse_loss", reduction)
    require_same_shape("mse_loss", input, target)
    return F.mse_loss(input, target, reduction=reduction, weight=weight)  # type: ignore[call-arg]  # untyped yet


def mae_loss(input: Tensor, target: Tensor, *, weight: Tensor | None = None, reduction: str = "mean") -> Tensor:
    """Mean absolute error, torch's ``l1_loss``; arguments and errors as for :func:`mse_loss`.

    >>> mae_loss(torch.tensor([1.0, 4.0]), torch.tensor([1.0, 2.0]))
    tensor(1.)
    """
    require_reduction("mae_loss", reduction)
    require_same_shape("mae_loss", input, target)
    return F.l1_loss(input, target, reduction=reduction, weight=weight)  # type: ignore[call-arg]  # untyped yet


class PNormLoss(nn.Module):
    """:func:`p_norm_loss` as a module."""

    def __init__(self, p: float = 2.0, *, root: bool = False, reduction: str = "mean") -> None:
        super().__init__()
        require_reduction("p_norm_loss", reduction)
        self.p, self.root, self.reduction = p, root, reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of ``input`` against ``target``."""
        return p_norm_loss(input, target, self.p, root=self.root, reduction=self.reduction)


class MSELoss(nn.Module):
    """:func:`mse_loss` as a module."""

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        require_reduction("mse_loss", reduction)
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of ``input`` against ``target``."""
        return mse_loss(input, target, reduction=self.reduction)


class MAELoss(nn.Module):
    """:func:`mae_loss` as a module."""

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        require_reduction("mae_loss", reduction)
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of ``input`` against ``target``."""
        return mae_loss(input, target, reduction=self.reduction)
