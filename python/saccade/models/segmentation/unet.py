"""U-Net in milesial's layout."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from saccade.models._checks import check_images, positive
from saccade.models._fused import FusedSequential
from saccade.models._registry import register
from saccade.models.checkpoint import RENAMINGS
from saccade.nn import BatchNorm2d, Conv2d, ConvTranspose2d, MaxPool2d

__all__ = ["UNet", "unet", "unet_small"]


class _DoubleConv(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, between: int | None = None) -> None:
        super().__init__()
        width = between or out_channels
        self.double_conv = FusedSequential(
            Conv2d(in_channels, width, 3, padding=1, bias=False), BatchNorm2d(width), nn.ReLU(inplace=True),
            Conv2d(width, out_channels, 3, padding=1, bias=False), BatchNorm2d(out_channels), nn.ReLU(inplace=True),
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        return self.double_conv(input)


class _Down(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(MaxPool2d(2), _DoubleConv(in_channels, out_channels))

    def forward(self, input: Tensor) -> Tensor:
        return self.maxpool_conv(input)


class _Up(nn.Module):
    """Up-sampling to the size of the skip (odd sides: a row or column of zeros more), both concatenated, two layers."""

    def __init__(self, in_channels: int, out_channels: int, bilinear: bool) -> None:
        super().__init__()
        self.up: nn.Module
        if bilinear:
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.conv = _DoubleConv(in_channels, out_channels, in_channels // 2)
        else:
            self.up = ConvTranspose2d(in_channels, in_channels // 2, 2, 2)
            self.conv = _DoubleConv(in_channels, out_channels)

    def forward(self, input: Tensor, skip: Tensor) -> Tensor:
        maps = self.up(input)
        rows, columns = skip.shape[2] - maps.shape[2], skip.shape[3] - maps.shape[3]
        border = [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2]
        return self.conv(torch.cat([skip, functional.pad(maps, border)], 1))


class _OutConv(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, out_channels, 1)

    def forward(self, input: Tensor) -> Tensor:
        return self.conv(input)


class UNet(nn.Module):
    """Four halvings with two convolutions each, and back up with the maps of the same size from the way down.

    Args:
        n_channels: of the images.
        n_classes: of the output; 1 for a logit of foreground.
        bilinear: up-sample by interpolation in place of transposed convolutions, with half the channels at the bottom.
        width: channels at full resolution, a multiple of 2.

    Input: ``(N, n_channels, H, W)``, sides of at least 16. Output: logits, ``(N, n_classes, H, W)``: convolutions are
    padded, where the paper's shrink the maps.

    Keys are those of milesial/Pytorch-UNet. Its older files have biases before the normalisations; those are folded
    into the running means by :func:`saccade.models.load_checkpoint`.

    Source: Ronneberger, Fischer and Brox, U-Net: Convolutional Networks for Biomedical Image Segmentation, 2015.
    """

    def __init__(self, n_channels: int, n_classes: int, bilinear: bool = False, *, width: int = 64) -> None:
        super().__init__()
        positive("UNet", n_channels=n_channels, n_classes=n_classes, width=width)
        if width % 2:
            raise ValueError(f"UNet: width must be a multiple of 2, got {width}")
        self.n_channels, self.n_classes, self.bilinear = n_channels, n_classes, bilinear
        less = 2 if bilinear else 1
        self.inc = _DoubleConv(n_channels, width)
        self.down1 = _Down(width, 2 * width)
        self.down2 = _Down(2 * width, 4 * width)
        self.down3 = _Down(4 * width, 8 * width)
        self.down4 = _Down(8 * width, 16 * width // less)
        self.up1 = _Up(16 * width, 8 * width // less, bilinear)
        self.up2 = _Up(8 * width, 4 * width // less, bilinear)
        self.up3 = _Up(4 * width, 2 * width // less, bilinear)
        self.up4 = _Up(2 * width, width, bilinear)
        self.outc = _OutConv(width, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, ``(N, n_classes, H, W)``."""
        check_images("UNet", images, self.n_channels, least=16)
        skips = [self.inc(images)]
        for down in (self.down1, self.down2, self.down3):
            skips.append(down(skips[-1]))
        maps = self.down4(skips[-1])
        for up in (self.up1, self.up2, self.up3, self.up4):
            maps = up(maps, skips.pop())
        return self.outc(maps)


def _with_biases(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """milesial's U-Net before 2022: a bias before a normalisation only moves the mean that is taken off again."""
    biases = [key for key in state if ".double_conv." in key and key.endswith((".0.bias", ".3.bias"))]
    if not biases or biases[0] in own:
        return state
    state = dict(state)
    for key in biases:
        block, number, _ = key.rsplit(".", 2)
        mean = f"{block}.{int(number) + 1}.running_mean"
        if mean in state:
            state[mean] = state[mean] - state.pop(key)
    return state


RENAMINGS["milesial U-Net with biases"] = _with_biases


@register
def unet(n_channels: int = 3, n_classes: int = 2, bilinear: bool = False) -> UNet:
    """U-Net: :class:`UNet`, whose arguments these are."""
    return UNet(n_channels, n_classes, bilinear)


@register
def unet_small(n_channels: int = 3, n_classes: int = 2, bilinear: bool = False) -> UNet:
    """U-Net with an eighth of the channels: :class:`UNet` with ``width=8``.

    >>> saccade.models.unet_small(1, 4)(torch.rand(2, 1, 33, 48)).shape
    torch.Size([2, 4, 33, 48])
    """
    return UNet(n_channels, n_classes, bilinear, width=8)
