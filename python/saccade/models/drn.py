"""Dilated residual networks A, C and D."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from saccade.models._checks import check_images, positive
from saccade.models._fused import FusedSequential, norm_act
from saccade.models._registry import register
from saccade.models.residual import BasicBlock, Bottleneck, NormLayer, Shortcut
from saccade.nn import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, MaxPool2d

__all__ = [
    "DRN",
    "DRNA",
    "drn_a_50",
    "drn_c_26",
    "drn_c_42",
    "drn_c_58",
    "drn_d_22",
    "drn_d_24",
    "drn_d_38",
    "drn_d_40",
    "drn_d_54",
    "drn_d_56",
    "drn_d_105",
]

Block = type[BasicBlock] | type[Bottleneck]


class _Dilated(nn.Module):
    """What the networks share: stages of residual blocks, initial weights."""

    def __init__(self, in_channels: int, channels: int, norm_layer: NormLayer) -> None:
        super().__init__()
        self.in_channels = in_channels
        self._channels, self._norm_layer = channels, norm_layer

    def _stage(
        self, block: Block, width: int, depth: int, stride: int, dilations: tuple[int, int], residual: bool = True
    ) -> nn.Sequential:
        """``depth`` blocks: the first with the stride and the first dilation, the others with the second."""
        out_channels = width * block.expansion
        blocks: list[nn.Module] = []
        for number in range(depth):
            downsample = None
            if number == 0 and (stride != 1 or self._channels != out_channels):
                downsample = Shortcut(self._channels, out_channels, stride, self._norm_layer)
                if not residual:  # in the checkpoints, but out of use: a distributed optimiser would wait for it
                    downsample.requires_grad_(False)
            dilation = dilations[min(number, 1)]
            blocks.append(
                block(
                    self._channels,
                    width,
                    stride if number == 0 else 1,
                    downsample,
                    1,
                    64,
                    (dilation, dilation),
                    self._norm_layer,
                    residual,
                )
            )
            self._channels = out_channels
        return nn.Sequential(*blocks)

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, math.sqrt(2 / (math.prod(module.kernel_size) * module.out_channels)))


class DRN(_Dilated):
    """DRN-C and DRN-D: eight stages, the resolution kept at 1/8, dilation 2, 4, 2 and 1 in the last four.

    Stages 7 and 8, whose blocks have no shortcut (C) or are plain convolutions (D), take away the grid that dilation
    leaves in the maps; so do the first convolutions in place of a pooling.

    Args:
        arch: ``"C"`` or ``"D"``.
        block: BasicBlock or Bottleneck, of stages 3 to 6.
        layers: blocks (or convolutions) of the eight stages.
        num_classes: size of the output.
        in_channels: of the images.
        widths: channels of the eight stages, before the block's expansion.
        strides, dilations: of the eight stages; the paper's keep the resolution at 1/8.
        norm_layer: makes a normalisation of a number of channels.

    Input: ``(N, in_channels, H, W)``; the reference's weights expect ImageNet's mean and standard deviation taken off.
    Output: logits, ``(N, num_classes)``. The reference's mean over 28 x 28 positions is one over all positions here,
    which is the same for its images of 224 x 224. State-dict keys are those of fyu/drn.

    Source: Yu, Koltun and Funkhouser, Dilated Residual Networks, 2017.
    """

    def __init__(
        self,
        arch: str,
        block: Block,
        layers: Sequence[int],
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        widths: Sequence[int] = (16, 32, 64, 128, 256, 512, 512, 512),
        strides: Sequence[int] = (1, 2, 2, 2, 1, 1, 1, 1),
        dilations: Sequence[int] = (1, 1, 1, 1, 2, 4, 2, 1),
        norm_layer: NormLayer = BatchNorm2d,
    ) -> None:
        positive(f"DRN-{arch}", num_classes=num_classes, in_channels=in_channels)
        for name, values in (("widths", widths), ("strides", strides), ("dilations", dilations)):
            if len(values) != 8:
                raise ValueError(f"DRN-{arch}: {name} must be eight, got {len(values)}")
        stem = widths[0]
        super().__init__(in_channels, stem, norm_layer)
        first = Conv2d(in_channels, stem, 7, padding=3, bias=False)
        self.arch, self.out_dim, self.output_stride = arch, widths[7], math.prod(strides)
        if arch == "C":
            self.conv1, self.bn1, self.relu = first, norm_layer(stem), nn.ReLU()
        else:
            self.layer0 = FusedSequential(first, norm_layer(stem), nn.ReLU())
        for i, (width, depth, step, dilation) in enumerate(zip(widths, layers, strides, dilations, strict=True)):
            inner = 2 <= i < 6
            stage: nn.Module
            if arch == "C" or inner:
                kind = block if inner else BasicBlock
                stage = self._stage(kind, width, depth, step, (dilation, dilation), residual=i < 6)
            else:
                stage = self._plain(width, depth, step, dilation)
            self.add_module(f"layer{i + 1}", stage)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc = Conv2d(self.out_dim, num_classes, 1)
        self._initialize()

    def _plain(self, width: int, depth: int, stride: int, dilation: int) -> nn.Sequential:
        modules: list[nn.Module] = []
        for number in range(depth):
            step = stride if number == 0 else 1
            modules += [
                Conv2d(self._channels, width, 3, step, dilation, dilation, bias=False),
                self._norm_layer(width),
                nn.ReLU(),
            ]
            self._channels = width
        return FusedSequential(*modules)

    def features(self, images: Tensor) -> Tensor:
        """The last stage's feature maps, ``(N, out_dim, H / 8, W / 8)`` with the paper's strides."""
        check_images(f"DRN-{self.arch}", images, self.in_channels)
        maps = norm_act(self.bn1, self.conv1(images)) if self.arch == "C" else self.layer0(images)
        for number in range(1, 9):
            maps = getattr(self, f"layer{number}")(maps)
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Logits, ``(N, num_classes)``."""
        return self.fc(self.avgpool(self.features(images))).flatten(1)


class DRNA(_Dilated):
    """DRN-A: a ResNet whose last two stages keep the resolution and dilate by 2 and 4; 1/8 of the input's.

    The arguments but ``layers`` (blocks of the four stages) are those of :class:`DRN`. The first block of a stage has
    no dilation.

    Source: Yu, Koltun and Funkhouser, Dilated Residual Networks, 2017.
    """

    def __init__(
        self,
        block: Block,
        layers: Sequence[int],
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        norm_layer: NormLayer = BatchNorm2d,
    ) -> None:
        positive("DRN-A", num_classes=num_classes, in_channels=in_channels)
        super().__init__(in_channels, 64, norm_layer)
        self.conv1 = Conv2d(in_channels, 64, 7, 2, 3, bias=False)
        self.bn1 = norm_layer(64)
        self.relu = nn.ReLU()
        self.maxpool = MaxPool2d(3, 2, 1)
        self.layer1 = self._stage(block, 64, layers[0], 1, (1, 1))
        self.layer2 = self._stage(block, 128, layers[1], 2, (1, 1))
        self.layer3 = self._stage(block, 256, layers[2], 1, (1, 2))
        self.layer4 = self._stage(block, 512, layers[3], 1, (1, 4))
        self.avgpool = AdaptiveAvgPool2d(1)
        self.out_dim, self.output_stride = 512 * block.expansion, 8
        self.fc = nn.Linear(self.out_dim, num_classes)
        self._initialize()

    def features(self, images: Tensor) -> Tensor:
        """The last stage's feature maps, ``(N, out_dim, H / 8, W / 8)``."""
        check_images("DRN-A", images, self.in_channels)
        maps = self.maxpool(norm_act(self.bn1, self.conv1(images)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps = stage(maps)
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Logits, ``(N, num_classes)``."""
        return self.fc(self.avgpool(self.features(images)).flatten(1))


@register
def drn_a_50(**options: Any) -> DRNA:
    """DRN-A-50; ``options`` are :class:`DRNA`'s after ``layers``.

    >>> saccade.models.drn_a_50(num_classes=10).eval().features(torch.rand(1, 3, 64, 64)).shape
    torch.Size([1, 2048, 8, 8])
    """
    return DRNA(Bottleneck, (3, 4, 6, 3), **options)


@register
def drn_c_26(**options: Any) -> DRN:
    """DRN-C-26; ``options`` are :class:`DRN`'s after ``layers``."""
    return DRN("C", BasicBlock, (1, 1, 2, 2, 2, 2, 1, 1), **options)


@register
def drn_c_42(**options: Any) -> DRN:
    """DRN-C-42; ``options`` are :class:`DRN`'s after ``layers``."""
    return DRN("C", BasicBlock, (1, 1, 3, 4, 6, 3, 1, 1), **options)


@register
def drn_c_58(**options: Any) -> DRN:
    """DRN-C-58; ``options`` are :class:`DRN`'s after ``layers``."""
    return DRN("C", Bottleneck, (1, 1, 3, 4, 6, 3, 1, 1), **options)


@register
def drn_d_22(**options: Any) -> DRN:
    """DRN-D-22; ``options`` are :class:`DRN`'s after ``layers``.

    >>> saccade.models.drn_d_22(num_classes=10).eval()(torch.rand(1, 3, 64, 64)).shape
    torch.Size([1, 10])
    """
    return DRN("D", BasicBlock, (1, 1, 2, 2, 2, 2, 1, 1), **options)


@register
def drn_d_24(**options: Any) -> DRN:
    """DRN-D-24; ``options`` are :class:`DRN`'s after ``layers``."""
    return DRN("D", BasicBlock, (1, 1, 2, 2, 2, 2, 2, 2), **options)


@register
def drn_d_38(**options: Any) -> DRN:
    """DRN-D-38; ``options`` are :class:`DRN`'s after ``layers``."""
    return DRN("D", BasicBlock, (1, 1, 3, 4, 6, 3, 1, 1), **options)


@register
def drn_d_40(**options: Any) -> DRN:
    """DRN-D-40; ``options`` are :class:`DRN`'s after ``layers``."""
    return DRN("D", BasicBlock, (1, 1, 3, 4, 6, 3, 2, 2), **options)


@register
def drn_d_54(**options: Any) -> DRN:
    """DRN-D-54; ``options`` are :class:`DRN`'s after ``layers``."""
    return DRN("D", Bottleneck, (1, 1, 3, 4, 6, 3, 1, 1), **options)


@register
def drn_d_56(**options: Any) -> DRN:
    """DRN-D-56; ``options`` are :class:`DRN`'s after ``layers``."""
    return DRN("D", Bottleneck, (1, 1, 3, 4, 6, 3, 2, 2), **options)


@register
def drn_d_105(**options: Any) -> DRN:
    """DRN-D-105; ``options`` are :class:`DRN`'s after ``layers``."""
    return DRN("D", Bottleneck, (1, 1, 3, 4, 23, 3, 1, 1), **options)
