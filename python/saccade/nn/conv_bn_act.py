"""Convolution, batch normalisation and activation as one module."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from saccade import ops
from saccade.nn.batch_norm import BatchNorm2d
from saccade.nn.conv import Conv2d
from saccade.ops._activation import Activation, require_activation
from saccade.ops._folded import folded_batch_norm
from saccade.ops.conv2d import Padding

__all__ = ["ConvBNAct"]


class ConvBNAct(nn.Module):
    """``activation(batch_norm(conv(input)) + residual)``.

    In training the convolution is followed by one pass that normalises, adds and activates; in evaluation all of it is
    one call of :func:`saccade.ops.conv2d_fused`, with the normalisation folded into an affine map per channel.

    Args:
        in_channels, out_channels, kernel_size, stride, dilation, groups: as for torch.nn.Conv2d.
        padding: as for torch.nn.Conv2d; None keeps the size with stride 1 (odd kernels).
        activation: ``"relu"``, ``"leaky_relu"`` (slope 0.01), ``"elu"``, ``"sigmoid"`` or None.
        eps, momentum: as for torch.nn.BatchNorm2d.
        bias: whether the convolution has a bias, which the normalisation makes redundant.

    State-dict keys: ``conv.weight``, ``bn.weight``, ``bn.running_mean`` and so on.

    >>> block = saccade.nn.ConvBNAct(8, 8, 3).eval()
    >>> x = torch.rand(1, 8, 6, 6)
    >>> block(x, residual=x).shape
    torch.Size([1, 8, 6, 6])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str | None = None,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        *,
        activation: Activation = "relu",
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        require_activation("ConvBNAct", activation)
        if padding is None:
            kernel = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
            steps = dilation if isinstance(dilation, tuple) else (dilation, dilation)
            padding = (kernel[0] - 1) // 2 * steps[0], (kernel[1] - 1) // 2 * steps[1]
        self.conv = Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        self.bn = BatchNorm2d(out_channels, eps, momentum)
        self.activation = activation

    def forward(self, input: Tensor, residual: Tensor | None = None) -> Tensor:
        """Convolve ``input``, ``(N, C, H, W)``; ``residual`` has the shape of the result."""
        conv, bn = self.conv, self.bn
        if self.training or bn.running_mean is None or bn.running_var is None:
            return bn.normalize(conv(input), residual, self.activation)
        scale, shift = folded_batch_norm(bn.running_mean, bn.running_var, bn.weight, bn.bias, bn.eps)
        return ops.conv2d_fused(
            input,
            conv.weight,
            conv.bias,
            stride=conv.stride,
            padding=cast(Padding, conv.padding),
            dilation=conv.dilation,
            groups=conv.groups,
            scale=scale,
            shift=shift,
            residual=residual,
            activation=self.activation,
        )

    def extra_repr(self) -> str:
        """The activation."""
        return f"activation={self.activation!r}"
