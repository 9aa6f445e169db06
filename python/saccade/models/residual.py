"""Residual blocks: a normalisation, the sum with the shortcut and the ReLU are one pass.

So a hook of a normalisation sees what comes after the ReLU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeAlias

from torch import Tensor, nn

from saccade.models._fused import norm_act
from saccade.nn import Conv2d

__all__ = ["BasicBlock", "Bottleneck", "NormLayer", "Shortcut"]

NormLayer: TypeAlias = Callable[[int], nn.Module]


class Shortcut(nn.Sequential):
    """The 1x1 convolution and normalisation that bring a block's input to the shape of its output."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm_layer: NormLayer) -> None:
        super().__init__(Conv2d(in_channels, out_channels, 1, stride, bias=False), norm_layer(out_channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: ``relu(bn2(conv2(relu(bn1(conv1(x))))) + x)``.

    Args:
        in_channels, channels: of the input and of the output.
        stride: of the first convolution.
        downsample: what the shortcut does, None for nothing.
        groups, base_width: 1 and 64; this block has no others.
        dilation: of the first and of the second convolution.
        norm_layer: makes a normalisation of a number of channels.
        residual: whether there is a shortcut; without it ``downsample`` lies idle.

    Source: He et al., Deep Residual Learning for Image Recognition, 2015, figure 5 left.
    """

    expansion: ClassVar[int] = 1

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        downsample: nn.Module | None,
        groups: int,
        base_width: int,
        dilation: tuple[int, int],
        norm_layer: NormLayer,
        residual: bool = True,
    ) -> None:
        super().__init__()
        if groups != 1 or base_width != 64:
            raise ValueError(f"BasicBlock: groups must be 1 and base_width 64, got {groups} and {base_width}")
        first, second = dilation
        self.conv1 = Conv2d(in_channels, channels, 3, stride, first, first, bias=False)
        self.bn1 = norm_layer(channels)
        self.conv2 = Conv2d(channels, channels, 3, 1, second, second, bias=False)
        self.bn2 = norm_layer(channels)
        self.downsample = downsample
        self.residual = residual

    def forward(self, input: Tensor) -> Tensor:
        """``(N, in_channels, H, W)`` to ``(N, channels, H / stride, W / stride)``."""
        out = norm_act(self.bn1, self.conv1(input))
        shortcut = None
        if self.residual:
            shortcut = input if self.downsample is None else self.downsample(input)
        return norm_act(self.bn2, self.conv2(out), shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride) and 1x1 convolutions beside a shortcut; the arguments are those of BasicBlock.

    With ``groups`` above 1 the 3x3 convolution has that many parallel paths of ``base_width / 64 * channels`` channels
    each: ResNeXt's block. Only the second number of ``dilation`` counts.

    Source: He et al., 2015, figure 5 right, the stride at the 3x3 convolution as in torchvision; Xie et al., Aggregated
    Residual Transformations for Deep Neural Networks, 2017, figure 3c.
    """

    expansion: ClassVar[int] = 4

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        downsample: nn.Module | None,
        groups: int,
        base_width: int,
        dilation: tuple[int, int],
        norm_layer: NormLayer,
        residual: bool = True,
    ) -> None:
        super().__init__()
        width = int(channels * (base_width / 64)) * groups
        out_channels = channels * self.expansion
        self.conv1 = Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = norm_layer(width)
        self.conv2 = Conv2d(width, width, 3, stride, dilation[1], dilation[1], groups, bias=False)
        self.bn2 = norm_layer(width)
        self.conv3 = Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = norm_layer(out_channels)
        self.downsample = downsample
        self.residual = residual

    def forward(self, input: Tensor) -> Tensor:
        """``(N, in_channels, H, W)`` to ``(N, 4 * channels, H / stride, W / stride)``."""
        out = norm_act(self.bn1, self.conv1(input))
        out = norm_act(self.bn2, self.conv2(out))
        shortcut = None
        if self.residual:
            shortcut = input if self.downsample is None else self.downsample(input)
        return norm_act(self.bn3, self.conv3(out), shortcut)
