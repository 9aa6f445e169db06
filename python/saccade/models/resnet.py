"""ResNet and ResNeXt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saccade.models._checks import check_images, positive
from saccade.models._fused import norm_act
from saccade.models._registry import register
from saccade.models.residual import BasicBlock, Bottleneck, NormLayer, Shortcut
from saccade.nn import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, MaxPool2d

__all__ = [
    "ResNet",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnet_small",
    "resnext50_32x4d",
    "resnext101_32x8d",
]


class ResNet(nn.Module):
    """A stem, stages of residual blocks, the mean over positions and a linear classifier: torchvision's layout.

    Args:
        block: BasicBlock or Bottleneck of :mod:`saccade.models.residual`.
        layers: blocks of each stage.
        num_classes: size of the output.
        in_channels: of the images.
        widths: channels of each stage, before the block's expansion; from the second on a stage halves the resolution.
        small_stem: a 3x3 convolution at full resolution in place of the 7x7 one with stride 2 and the pooling.
        groups, width_per_group: see Bottleneck.
        replace_stride_with_dilation: for each stage but the first, whether it keeps the resolution and dilates instead.
        zero_init_residual: let each block begin as its shortcut.
        norm_layer: makes a normalisation of a number of channels.

    Input: ``(N, in_channels, H, W)``, float; torchvision's weights expect ImageNet's mean and standard deviation taken
    off. Output: logits, ``(N, num_classes)``.

    Source: He et al., Deep Residual Learning for Image Recognition, 2015.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: Sequence[int],
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        widths: Sequence[int] = (64, 128, 256, 512),
        small_stem: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        zero_init_residual: bool = False,
        norm_layer: NormLayer = BatchNorm2d,
    ) -> None:
        super().__init__()
        positive("ResNet", num_classes=num_classes, in_channels=in_channels)
        dilate = [False] * (len(layers) - 1)
        if replace_stride_with_dilation is not None:
            dilate = list(replace_stride_with_dilation)
        if len(dilate) != len(layers) - 1:
            raise ValueError(
                f"ResNet: replace_stride_with_dilation must have {len(layers) - 1} values, "
                f"got {replace_stride_with_dilation!r}"
            )
        self.in_channels = in_channels
        self._block, self._norm_layer = block, norm_layer
        self._groups, self._width = groups, width_per_group
        kernel, stride = (3, 1) if small_stem else (7, 2)
        self.conv1 = Conv2d(in_channels, widths[0], kernel, stride, kernel // 2, bias=False)
        self.bn1 = norm_layer(widths[0])
        self.maxpool = nn.Identity() if small_stem else MaxPool2d(3, 2, 1)
        self._channels, self._dilation = widths[0], 1
        self._stages = [f"layer{number + 1}" for number in range(len(layers))]
        for name, width, depth, dilated in zip(self._stages, widths, layers, [None, *dilate], strict=True):
            self.add_module(name, self._stage(width, depth, 1 if dilated is None else 2, bool(dilated)))
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(self._channels, num_classes)
        self._initialize(zero_init_residual)

    def _stage(self, width: int, depth: int, stride: int, dilated: bool) -> nn.Sequential:
        before = self._dilation
        if dilated:
            self._dilation, stride = self._dilation * stride, 1
        out_channels = width * self._block.expansion
        blocks: list[nn.Module] = []
        for number in range(depth):
            downsample = None
            if number == 0 and (stride != 1 or self._channels != out_channels):
                downsample = Shortcut(self._channels, out_channels, stride, self._norm_layer)
            dilation = before if number == 0 else self._dilation
            blocks.append(
                self._block(
                    self._channels,
                    width,
                    stride if number == 0 else 1,
                    downsample,
                    self._groups,
                    self._width,
                    (dilation, dilation),
                    self._norm_layer,
                )
            )
            self._channels = out_channels
        return nn.Sequential(*blocks)

    def _initialize(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, (nn.modules.batchnorm._BatchNorm, nn.GroupNorm)) and module.affine:
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, (BasicBlock, Bottleneck)):
                    last = module.bn3 if isinstance(module, Bottleneck) else module.bn2
                    nn.init.zeros_(last.weight)  # type: ignore[arg-type]

    def features(self, images: Tensor) -> Tensor:
        """The last stage's feature maps, ``(N, C, H / 32, W / 32)``."""
        check_images("ResNet", images, self.in_channels)
        maps = self.maxpool(norm_act(self.bn1, self.conv1(images)))
        for name in self._stages:
            maps = getattr(self, name)(maps)
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Logits, ``(N, num_classes)``."""
        return self.fc(torch.flatten(self.avgpool(self.features(images)), 1))


@register
def resnet18(**options: Any) -> ResNet:
    """ResNet-18; ``options`` are :class:`ResNet`'s after ``layers``.

    >>> saccade.models.resnet18(num_classes=10, in_channels=1)(torch.rand(2, 1, 32, 32)).shape
    torch.Size([2, 10])
    """
    return ResNet(BasicBlock, (2, 2, 2, 2), **options)


@register
def resnet34(**options: Any) -> ResNet:
    """ResNet-34; ``options`` are :class:`ResNet`'s after ``layers``."""
    return ResNet(BasicBlock, (3, 4, 6, 3), **options)


@register
def resnet50(**options: Any) -> ResNet:
    """ResNet-50, its strides at the 3x3 convolutions; ``options`` are :class:`ResNet`'s after ``layers``."""
    return ResNet(Bottleneck, (3, 4, 6, 3), **options)


@register
def resnet101(**options: Any) -> ResNet:
    """ResNet-101, its strides at the 3x3 convolutions; ``options`` are :class:`ResNet`'s after ``layers``."""
    return ResNet(Bottleneck, (3, 4, 23, 3), **options)


@register
def resnet152(**options: Any) -> ResNet:
    """ResNet-152, its strides at the 3x3 convolutions; ``options`` are :class:`ResNet`'s after ``layers``."""
    return ResNet(Bottleneck, (3, 8, 36, 3), **options)


@register
def resnext50_32x4d(**options: Any) -> ResNet:
    """ResNeXt-50 with 32 parallel paths of 4 channels (Xie et al., 2017); ``options`` as for :func:`resnet50`."""
    return ResNet(Bottleneck, (3, 4, 6, 3), **{"groups": 32, "width_per_group": 4, **options})


@register
def resnext101_32x8d(**options: Any) -> ResNet:
    """ResNeXt-101 with 32 parallel paths of 8 channels (Xie et al., 2017); ``options`` as for :func:`resnet101`."""
    return ResNet(Bottleneck, (3, 4, 23, 3), **{"groups": 32, "width_per_group": 8, **options})


@register
def resnet_small(**options: Any) -> ResNet:
    """ResNet-20 for images of about 32 x 32 (He et al., 2015, section 4.2): 16, 32 and 64 channels, a small stem.

    Its shortcuts between stages are convolutions. ``options`` are :class:`ResNet`'s after ``layers``; num_classes
    is 10 unless given.

    >>> sum(p.numel() for p in saccade.models.resnet_small().parameters())
    272474
    """
    small = {"num_classes": 10, "widths": (16, 32, 64), "small_stem": True}
    return ResNet(BasicBlock, (3, 3, 3), **{**small, **options})
