"""A convolution whose outputs see only some of the inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from saccade import ops
from saccade.nn.conv import Conv2d

__all__ = ["PartialConv2d"]


class PartialConv2d(Conv2d):
    """A convolution with a table of which input channels each output channel sees.

    Args:
        in_channels: channels of the input.
        connections: for each output channel, the input channels that it sees.
        kernel_size, stride, padding, bias: as for :class:`saccade.nn.Conv2d`.

    The weight has its full shape; entries without a connection are zero and get no gradient.

    Source: LeCun et al., Gradient-based learning applied to document recognition, 1998, table I.

    >>> conv = saccade.nn.PartialConv2d(3, [(0, 1), (1, 2)], 1, bias=False)
    >>> (conv.weight != 0).flatten(1).int().tolist()
    [[1, 1, 0], [0, 1, 1]]
    """

    connections: Tensor

    def __init__(
        self,
        in_channels: int,
        connections: Sequence[Sequence[int]],
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        bias: bool = True,
    ) -> None:
        for number, inputs in enumerate(connections):
            if not inputs or len(set(inputs)) != len(inputs) or not all(0 <= i < in_channels for i in inputs):
                raise ValueError(
                    f"PartialConv2d: connections must be of different channels from 0 to {in_channels - 1}, at least "
                    f"one for each output, got {tuple(inputs)} for output {number}"
                )
        super().__init__(in_channels, len(connections), kernel_size, stride, padding, bias=bias)
        table = torch.zeros(len(connections), in_channels, 1, 1)
        for number, inputs in enumerate(connections):
            table[number, list(inputs)] = 1
        self.register_buffer("connections", table, persistent=False)
        with torch.no_grad():
            self.weight.mul_(table)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve ``input``, ``(N, C, H, W)``."""
        weight = self.weight * self.connections
        padding = cast("tuple[int, int]", self.padding)
        return ops.conv2d(input, weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        """The constructor's arguments, and how many connections there are."""
        return f"{super().extra_repr()}, connections={int(self.connections.sum())}"
