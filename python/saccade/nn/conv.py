"""Convolution and transposed convolution."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from saccade import ops
from saccade.ops.conv2d import Padding

__all__ = ["Conv2d", "ConvTranspose2d"]


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


class ConvTranspose2d(nn.ConvTranspose2d):
    """torch.nn.ConvTranspose2d on :func:`saccade.ops.conv_transpose2d`: the same constructor and state-dict keys.

    >>> up = saccade.nn.ConvTranspose2d(3, 8, 4, stride=2, padding=1)
    >>> up(torch.rand(1, 3, 5, 7)).shape
    torch.Size([1, 8, 10, 14])
    >>> up(torch.rand(1, 3, 5, 7), output_size=(11, 14)).shape
    torch.Size([1, 8, 11, 14])
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Up-sample ``input``, ``(N, C, H, W)`` or ``(C, H, W)``.

        ``output_size``: the size wanted, of those that the stride leaves open, in place of the constructor's
        ``output_padding``.
        """
        padding, kernel, dilation = (cast(list[int], size) for size in (self.padding, self.kernel_size, self.dilation))
        more = self._output_padding(input, output_size, cast(list[int], self.stride), padding, kernel, 2, dilation)
        return ops.conv_transpose2d(
            input, self.weight, self.bias, self.stride, padding, more, self.groups, self.dilation
        )  # fmt: skip
