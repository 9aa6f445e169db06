"""FCN and DeepLabv3 on dilated ResNets: torchvision's layout."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saccade.models._checks import check_images, positive
from saccade.models._fused import FusedSequential, norm_act
from saccade.models._registry import register
from saccade.models.residual import BasicBlock, Bottleneck, NormLayer
from saccade.models.resnet import ResNet
from saccade.models.segmentation._resize import resize
from saccade.nn import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Dropout

__all__ = [
    "ResNetSegmenter",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "deeplabv3_small",
    "fcn_resnet50",
    "fcn_resnet101",
    "fcn_resnet_small",
]


class _Backbone(ResNet):
    """A ResNet without its classifier, whose last two stages dilate where they would halve the resolution."""

    def __init__(self, block: type[BasicBlock] | type[Bottleneck], layers: Sequence[int], **options: Any) -> None:
        super().__init__(block, layers, replace_stride_with_dilation=(False, True, True), **options)
        self.out_channels = self.fc.in_features  # drawn and dropped: the head's initial weights are then torchvision's
        del self.fc, self.avgpool

    def forward(self, images: Tensor) -> Any:
        """The maps of the last stage but one and of the last."""
        maps = self.maxpool(norm_act(self.bn1, self.conv1(images)))
        for name in self._stages[:-1]:
            maps = getattr(self, name)(maps)
        return maps, getattr(self, self._stages[-1])(maps)


class _FCNHead(FusedSequential):
    def __init__(self, in_channels: int, num_classes: int, norm_layer: NormLayer) -> None:
        width = in_channels // 4
        super().__init__(
            Conv2d(in_channels, width, 3, padding=1, bias=False),
            norm_layer(width),
            nn.ReLU(),
            Dropout(0.1),
            Conv2d(width, num_classes, 1),
        )


class _ImagePooling(FusedSequential):
    """The mean over all positions, convolved and handed to each position."""

    def forward(self, input: Tensor) -> Tensor:
        return resize(super().forward(input), input.shape[-2:])


class _ASPP(nn.Module):
    """Atrous spatial pyramid pooling: parallel convolutions with several dilations, and the mean over the image."""

    def __init__(self, in_channels: int, rates: Sequence[int], width: int, norm_layer: NormLayer) -> None:
        super().__init__()

        def after(convolution: nn.Module) -> tuple[nn.Module, ...]:
            return convolution, norm_layer(width), nn.ReLU()

        branches: list[nn.Module] = [FusedSequential(*after(Conv2d(in_channels, width, 1, bias=False)))]
        for rate in rates:
            dilated = Conv2d(in_channels, width, 3, padding=rate, dilation=rate, bias=False)
            branches.append(FusedSequential(*after(dilated)))
        branches.append(_ImagePooling(AdaptiveAvgPool2d(1), *after(Conv2d(in_channels, width, 1, bias=False))))
        self.convs = nn.ModuleList(branches)
        self.project = FusedSequential(
            *after(Conv2d(len(branches) * width, width, 1, bias=False)), Dropout(0.5)
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        return self.project(torch.cat([branch(input) for branch in self.convs], 1))


class _DeepLabHead(FusedSequential):
    def __init__(
        self, in_channels: int, num_classes: int, rates: Sequence[int], width: int, norm_layer: NormLayer
    ) -> None:
        super().__init__(
            _ASPP(in_channels, rates, width, norm_layer),
            Conv2d(width, width, 3, padding=1, bias=False),
            norm_layer(width),
            nn.ReLU(),
            Conv2d(width, num_classes, 1),
        )


class ResNetSegmenter(nn.Module):
    """A dilated ResNet at 1/8 of the resolution, a classifier of its positions, bilinear up-sampling.

    Args:
        head: ``"fcn"`` (a 3x3 convolution of a quarter of the channels) or ``"deeplabv3"`` (a pyramid of dilations).
        block, layers: of the ResNet, see :class:`saccade.models.resnet.ResNet`.
        num_classes: the background included.
        aux_loss: whether a second classifier, of the last stage but one, is there to help training.
        in_channels: of the images.
        widths, small_stem: see ResNet.
        rates, head_width: dilations and channels of DeepLabv3's pyramid.
        norm_layer: makes a normalisation of a number of channels.

    Input: ``(N, in_channels, H, W)``, float; torchvision's weights expect ImageNet's mean and standard deviation taken
    off. Output: a dict of logits ``(N, num_classes, H, W)``: ``"out"`` and, with ``aux_loss``, ``"aux"``. Training
    DeepLabv3 needs two images at least, as the mean over an image is normalised by the batch.

    Source: Long, Shelhamer and Darrell, Fully Convolutional Networks for Semantic Segmentation, 2015; Chen et al.,
    Rethinking Atrous Convolution for Semantic Image Segmentation, 2017.
    """

    def __init__(
        self,
        head: str,
        block: type[BasicBlock] | type[Bottleneck],
        layers: Sequence[int],
        *,
        num_classes: int = 21,
        aux_loss: bool = False,
        in_channels: int = 3,
        widths: Sequence[int] = (64, 128, 256, 512),
        small_stem: bool = False,
        rates: Sequence[int] = (12, 24, 36),
        head_width: int = 256,
        norm_layer: NormLayer = BatchNorm2d,
    ) -> None:
        super().__init__()
        if head not in ("fcn", "deeplabv3"):
            raise ValueError(f"ResNetSegmenter: head must be 'fcn' or 'deeplabv3', got {head!r}")
        self._op = "FCN" if head == "fcn" else "DeepLabV3"
        positive(self._op, num_classes=num_classes, in_channels=in_channels)
        self.in_channels = in_channels
        options: dict[str, Any] = {"widths": widths, "small_stem": small_stem, "norm_layer": norm_layer}
        self.backbone = _Backbone(block, layers, in_channels=in_channels, **options)
        channels = self.backbone.out_channels
        before = widths[-2] * block.expansion
        aux = _FCNHead(before, num_classes, norm_layer) if aux_loss else None
        self.classifier: nn.Module
        if head == "fcn":
            self.classifier = _FCNHead(channels, num_classes, norm_layer)
        else:
            self.classifier = _DeepLabHead(channels, num_classes, rates, head_width, norm_layer)
        self.aux_classifier = aux

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits, ``(N, num_classes, H, W)``, under ``"out"`` and perhaps ``"aux"``."""
        check_images(self._op, images, self.in_channels)
        size = images.shape[-2:]
        before, last = self.backbone(images)
        found = OrderedDict(out=resize(self.classifier(last), size))
        if self.aux_classifier is not None:
            found["aux"] = resize(self.aux_classifier(before), size)
        return found


@register
def fcn_resnet50(**options: Any) -> ResNetSegmenter:
    """FCN on ResNet-50; ``options`` are :class:`ResNetSegmenter`'s after ``layers``."""
    return ResNetSegmenter("fcn", Bottleneck, (3, 4, 6, 3), **options)


@register
def fcn_resnet101(**options: Any) -> ResNetSegmenter:
    """FCN on ResNet-101; ``options`` are :class:`ResNetSegmenter`'s after ``layers``."""
    return ResNetSegmenter("fcn", Bottleneck, (3, 4, 23, 3), **options)


@register
def deeplabv3_resnet50(**options: Any) -> ResNetSegmenter:
    """DeepLabv3 on ResNet-50; ``options`` are :class:`ResNetSegmenter`'s after ``layers``."""
    return ResNetSegmenter("deeplabv3", Bottleneck, (3, 4, 6, 3), **options)


@register
def deeplabv3_resnet101(**options: Any) -> ResNetSegmenter:
    """DeepLabv3 on ResNet-101; ``options`` are :class:`ResNetSegmenter`'s after ``layers``."""
    return ResNetSegmenter("deeplabv3", Bottleneck, (3, 4, 23, 3), **options)


_SMALL: dict[str, Any] = {"widths": (16, 32, 64, 64), "small_stem": True, "rates": (2, 4, 6), "head_width": 32}


@register
def fcn_resnet_small(**options: Any) -> ResNetSegmenter:
    """FCN on a ResNet of ten layers at half the resolution, for images of about 64 x 64.

    ``options`` are :class:`ResNetSegmenter`'s after ``layers``.

    >>> saccade.models.fcn_resnet_small(num_classes=4)(torch.rand(2, 3, 32, 48))["out"].shape
    torch.Size([2, 4, 32, 48])
    """
    return ResNetSegmenter("fcn", BasicBlock, (1, 1, 1, 1), **{**_SMALL, **options})


@register
def deeplabv3_small(**options: Any) -> ResNetSegmenter:
    """DeepLabv3 with the backbone of :func:`fcn_resnet_small`, dilations 2, 4 and 6."""
    return ResNetSegmenter("deeplabv3", BasicBlock, (1, 1, 1, 1), **{**_SMALL, **options})
