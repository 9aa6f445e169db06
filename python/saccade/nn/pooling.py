"""Pooling over windows."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from saccade import ops
from saccade.ops._pool import Size

__all__ = ["AdaptiveAvgPool2d", "AvgPool2d", "MaxPool2d", "MinPool2d"]


class MaxPool2d(nn.MaxPool2d):
    """torch.nn.MaxPool2d on :func:`saccade.ops.max_pool2d`.

    >>> saccade.nn.MaxPool2d(2)(torch.arange(16.0).reshape(1, 4, 4))
    tensor([[[ 5.,  7.],
             [13., 15.]]])
    """

    def forward(self, input: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Pool ``input``, ``(N, C, H, W)`` or ``(C, H, W)``; with ``return_indices`` also say where the maxima are."""
        return ops.max_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )


class MinPool2d(nn.Module):
    """The minimum of each window: constructor and result are those of :class:`MaxPool2d`.

    >>> saccade.nn.MinPool2d(2)(torch.arange(16.0).reshape(1, 4, 4))
    tensor([[[ 0.,  2.],
             [ 8., 10.]]])
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Pool ``input``, ``(N, C, H, W)`` or ``(C, H, W)``; with ``return_indices`` also say where the minima are."""
        return ops.min_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(nn.AvgPool2d):
    """torch.nn.AvgPool2d on :func:`saccade.ops.avg_pool2d`.

    >>> saccade.nn.AvgPool2d(2)(torch.arange(16.0).reshape(1, 4, 4))
    tensor([[[ 2.5000,  4.5000],
             [10.5000, 12.5000]]])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Pool ``input``, ``(N, C, H, W)`` or ``(C, H, W)``."""
        return ops.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class AdaptiveAvgPool2d(nn.AdaptiveAvgPool2d):
    """torch.nn.AdaptiveAvgPool2d on :func:`saccade.ops.adaptive_avg_pool2d`.

    >>> saccade.nn.AdaptiveAvgPool2d(1)(torch.arange(16.0).reshape(1, 4, 4))
    tensor([[[7.5000]]])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Pool ``input``, ``(N, C, H, W)`` or ``(C, H, W)``."""
        return ops.adaptive_avg_pool2d(input, cast(Any, self.output_size))
