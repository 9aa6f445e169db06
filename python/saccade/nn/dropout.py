"""Drop-out in both conventions."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Dropout"]


class Dropout(nn.Dropout):
    """Set each value to zero with probability ``p`` in training; torch.nn.Dropout's constructor and one argument more.

    Args:
        p: probability of a value to be dropped.
        inplace: overwrite the input.
        scale_at: when the missing sum is made up for. ``"train"``: values kept in training are divided by ``1 - p``
            ("inverted", as torch does). ``"test"``: values are multiplied by ``1 - p`` in evaluation, which is what the
            lecture notes do to the weights that read them.

    Source: Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, 2014.

    >>> drop = saccade.nn.Dropout(0.5, scale_at="test")
    >>> drop(torch.ones(4)).unique()
    tensor([0., 1.])
    >>> drop.eval()(torch.ones(4))
    tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """

    def __init__(self, p: float = 0.5, inplace: bool = False, *, scale_at: Literal["train", "test"] = "train") -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p must be from 0 to 1, got {p!r}")
        if scale_at not in ("train", "test"):
            raise ValueError(f"Dropout: scale_at must be 'train' or 'test', got {scale_at!r}")
        super().__init__(p, inplace)
        self.scale_at = scale_at

    def forward(self, input: Tensor) -> Tensor:
        """Drop values of ``input``, of any shape."""
        if self.scale_at == "train":
            return functional.dropout(input, self.p, self.training, self.inplace)
        if self.training:
            kept = torch.empty_like(input, requires_grad=False).bernoulli_(1 - self.p)
            return input.mul_(kept) if self.inplace else input * kept
        return input.mul_(1 - self.p) if self.inplace else input * (1 - self.p)

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return f"{super().extra_repr()}, scale_at={self.scale_at!r}"
