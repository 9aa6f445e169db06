"""Convolution."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from saccade import ops
from saccade.ops.conv2d import Padding

__all__ = ["Conv2d"]


class Conv2d(nn.Conv2d):
    """torch.nn.Conv2d on :func:`saccade.ops.conv2d`: the same constructor, parameters and state-dict keys.

    Every ``padding_mode`` works; those other than ``"zeros"`` pad with torch first.

    >>> conv = saccade.nn.Conv2d(3, 8, 3, padding=1)
    >>> conv(torch.rand(1, 3, 5, 7)).shape
    torch.Size([1, 8, 5, 7])
    >>> _ = conv.load_state_dict(torch.nn.Conv2d(3, 8, 3, padding=1).state_dict())
    """

    def forward(self, input: Tensor) -> Tensor:
        """Convolve ``input``, ``(N, C, H, W)`` or ``(C, H, W)``."""
        padding = cast(Padding, self.padding)
        if self.padding_mode != "zeros":
            input = functional.pad(input, self._reversed_padding_repeated_twice, self.padding_mode)
            padding = 0
        return ops.conv2d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)
