"""PSPNet in the layout of hszhao's semseg."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from saccade.models._checks import check_images, positive
from saccade.models._fused import FusedSequential
from saccade.models._registry import register
from saccade.models.drn import Block, _Dilated
from saccade.models.residual import BasicBlock, Bottleneck, NormLayer
from saccade.models.segmentation._resize import resize
from saccade.nn import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, MaxPool2d

__all__ = ["PSPNet", "pspnet50", "pspnet101", "pspnet_small"]


class _PyramidPooling(nn.Module):
    """Means over 1, 2 x 2, ... cells of the maps, convolved, up-sampled and laid beside the maps."""

    def __init__(self, in_channels: int, width: int, bins: Sequence[int], norm_layer: NormLayer) -> None:
        super().__init__()
        self.features = nn.ModuleList(
            FusedSequential(
                AdaptiveAvgPool2d(bin), Conv2d(in_channels, width, 1, bias=False), norm_layer(width), nn.ReLU(True)
            )
            for bin in bins
        )

    def forward(self, input: Tensor) -> Tensor:
        size = input.shape[2:]
        levels = [resize(level(input), size, align_corners=True) for level in self.features]
        return torch.cat([input, *levels], 1)


class PSPNet(_Dilated):
    """A dilated ResNet with a stem of three convolutions, a pyramid of means, a class for each position.

    Args:
        block, layers: BasicBlock or Bottleneck of :mod:`saccade.models.residual`; blocks of each stage.
        classes: the background included.
        in_channels: of the images.
        bins: cells along a side of each level of the pyramid.
        zoom_factor: 1, 2, 4 or 8: of the output beside the maps, which have 1/8 of the resolution in the paper.
        dropout: probability that a channel is dropped before the last convolution.
        widths: channels of each stage, before the block's expansion.
        stem: channels of the first two convolutions, and of the third.
        hidden: channels before the last convolution; half of them in the auxiliary classifier.
        output_stride: pixels between positions of the last maps: 8 as in the paper, or 4.
        norm_layer: makes a normalisation of a number of channels.

    Input: ``(N, in_channels, H, W)``, sides of ``8 k + 1`` from 9 on: 473 or 713 in the paper, of which the corners of
    maps and images coincide. Output: logits, ``(N, classes, H, W)`` with ``zoom_factor=8``; in training a pair: these,
    and those of an auxiliary classifier on the last stage but one, whose loss counts 0.4 in the paper. Training needs
    two images at least, as the mean over an image is normalised by the batch.

    Source: Zhao et al., Pyramid Scene Parsing Network, 2017.
    """

    def __init__(
        self,
        block: Block,
        layers: Sequence[int],
        *,
        classes: int = 2,
        in_channels: int = 3,
        bins: Sequence[int] = (1, 2, 3, 6),
        zoom_factor: int = 8,
        dropout: float = 0.1,
        widths: Sequence[int] = (64, 128, 256, 512),
        stem: tuple[int, int] = (64, 128),
        hidden: int = 512,
        output_stride: int = 8,
        norm_layer: NormLayer = BatchNorm2d,
    ) -> None:
        positive("PSPNet", classes=classes, in_channels=in_channels)
        if zoom_factor not in (1, 2, 4, 8):
            raise ValueError(f"PSPNet: zoom_factor must be 1, 2, 4 or 8, got {zoom_factor!r}")
        if output_stride not in (4, 8):
            raise ValueError(f"PSPNet: output_stride must be 4 or 8, got {output_stride!r}")
        super().__init__(in_channels, stem[1], norm_layer)
        self.zoom_factor = zoom_factor
        first, second = stem
        self.layer0 = FusedSequential(
            Conv2d(in_channels, first, 3, 2, 1, bias=False), norm_layer(first), nn.ReLU(True),
            Conv2d(first, first, 3, 1, 1, bias=False), norm_layer(first), nn.ReLU(True),
            Conv2d(first, second, 3, 1, 1, bias=False), norm_layer(second), nn.ReLU(True),
            MaxPool2d(3, 2, 1),
        )  # fmt: skip
        self.layer1 = self._stage(block, widths[0], layers[0], 1, (1, 1))
        self.layer2 = self._stage(block, widths[1], layers[1], output_stride // 4, (1, 1))
        # Unlike torchvision's dilated ResNet, the first block of a stage dilates as the others do.
        self.layer3 = self._stage(block, widths[2], layers[2], 1, (2, 2))
        self.layer4 = self._stage(block, widths[3], layers[3], 1, (4, 4))
        self._initialize()
        channels = widths[3] * block.expansion
        self.ppm = _PyramidPooling(channels, channels // len(bins), bins, norm_layer)
        channels += channels // len(bins) * len(bins)
        self.cls = _classifier(channels, hidden, classes, dropout, norm_layer)
        self.aux = _classifier(widths[2] * block.expansion, hidden // 2, classes, dropout, norm_layer)

    def forward(self, images: Tensor) -> Any:
        """Logits, ``(N, classes, H, W)``; in training also the auxiliary classifier's."""
        check_images("PSPNet", images, self.in_channels)
        size = images.shape[2:]
        if not issubclass(type(images), fx.Proxy) and any(side < 9 or side % 8 != 1 for side in size):
            raise ValueError(f"PSPNet: sides of the images must be 8 k + 1 from 9 on, got {tuple(size)}")
        zoomed = [(side - 1) // 8 * self.zoom_factor + 1 for side in (size[0], size[1])]
        before = self.layer3(self.layer2(self.layer1(self.layer0(images))))
        found = self._zoomed(self.cls(self.ppm(self.layer4(before))), zoomed)
        return (found, self._zoomed(self.aux(before), zoomed)) if self.training else found

    def _zoomed(self, scores: Tensor, size: Sequence[int]) -> Tensor:
        return scores if self.zoom_factor == 1 else resize(scores, size, align_corners=True)


def _classifier(channels: int, hidden: int, classes: int, dropout: float, norm_layer: NormLayer) -> nn.Module:
    return FusedSequential(
        Conv2d(channels, hidden, 3, padding=1, bias=False),
        norm_layer(hidden),
        nn.ReLU(True),
        nn.Dropout2d(dropout),
        Conv2d(hidden, classes, 1),
    )


@register
def pspnet50(**options: Any) -> PSPNet:
    """PSPNet on ResNet-50; ``options`` are :class:`PSPNet`'s after ``layers``."""
    return PSPNet(Bottleneck, (3, 4, 6, 3), **options)


@register
def pspnet101(**options: Any) -> PSPNet:
    """PSPNet on ResNet-101; ``options`` are :class:`PSPNet`'s after ``layers``."""
    return PSPNet(Bottleneck, (3, 4, 23, 3), **options)


@register
def pspnet_small(**options: Any) -> PSPNet:
    """PSPNet on a ResNet of one block in each stage, at 1/4 of the resolution.

    ``options`` are :class:`PSPNet`'s after ``layers``.

    >>> model = saccade.models.pspnet_small(classes=4)
    >>> [maps.shape for maps in model(torch.rand(2, 3, 33, 41))]
    [torch.Size([2, 4, 33, 41]), torch.Size([2, 4, 33, 41])]
    """
    small = {"widths": (16, 32, 32, 64), "stem": (8, 16), "hidden": 32, "bins": (1, 2, 3), "output_stride": 4}
    return PSPNet(BasicBlock, (1, 1, 1, 1), **{**small, **options})
