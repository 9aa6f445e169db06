"""A denoising auto-encoder, the noise that it learns to take away, and what its encoder is good for afterwards."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from saccade.models._checks import check_images, positive
from saccade.models._fused import FusedSequential
from saccade.models._registry import register
from saccade.nn import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, ConvTranspose2d

__all__ = ["DenoisingAutoencoder", "add_noise", "denoising_autoencoder"]

NOISES = ("gaussian", "masking", "salt_and_pepper")


class DenoisingAutoencoder(nn.Module):
    """Convolutions that halve the resolution at each width but the first, and transposed ones that bring it back.

    Args:
        in_channels: of the images.
        widths: channels at each resolution.
        skip: add the input to the output, so that the network learns the noise (Zhang et al., Beyond a Gaussian
            Denoiser, 2017) rather than the image. It makes a better denoiser; without it, all that the output knows
            passes through the code, which makes a better encoder.

    Input and output: ``(N, in_channels, H, W)``, sides multiples of ``2^(len(widths) - 1)``.

    Train it to give back ``x`` for ``add_noise(x)`` (mean squared error); then :meth:`classifier` takes the encoder
    along to a task with labels.

    Source: Vincent et al., Extracting and Composing Robust Features with Denoising Autoencoders, 2008.
    """

    def __init__(self, *, in_channels: int = 1, widths: Sequence[int] = (32, 64, 128), skip: bool = False) -> None:
        super().__init__()
        positive("denoising_autoencoder", in_channels=in_channels)
        if not widths:
            raise ValueError("denoising_autoencoder: widths must hold at least one number, got ()")
        for width in widths:
            positive("denoising_autoencoder", widths=width)
        self.in_channels, self.code_channels, self.skip = in_channels, widths[-1], skip
        self._multiple = 2 ** (len(widths) - 1)
        down: OrderedDict[str, nn.Module] = OrderedDict()
        channels = in_channels
        for number, width in enumerate(widths):
            stride = 1 if number == 0 else 2
            conv = Conv2d(channels, width, 3, stride, 1, bias=False)
            down[f"stage{number + 1}"] = FusedSequential(conv, BatchNorm2d(width), nn.ReLU())
            channels = width
        self.encoder = nn.Sequential(down)
        up: OrderedDict[str, nn.Module] = OrderedDict()
        for number, width in reversed(list(enumerate(widths[:-1]))):
            back = ConvTranspose2d(channels, width, 4, 2, 1, bias=False)
            up[f"stage{number + 1}"] = FusedSequential(back, BatchNorm2d(width), nn.ReLU())
            channels = width
        up["image"] = Conv2d(channels, in_channels, 3, padding=1)
        self.decoder = nn.Sequential(up)

    def forward(self, images: Tensor) -> Tensor:
        """Images without their noise."""
        check_images("DenoisingAutoencoder", images, self.in_channels, multiple=self._multiple)
        clean: Tensor = self.decoder(self.encoder(images))
        return images + clean if self.skip else clean

    def classifier(self, num_classes: int, *, freeze: bool = False) -> nn.Sequential:
        """A copy of the encoder, the mean over positions, a new linear classifier.

        Args:
            num_classes: size of the output.
            freeze: whether the encoder's weights stay as they are. (In training mode its batch normalisations still
                follow the data.)

        >>> model = saccade.models.denoising_autoencoder().classifier(10, freeze=True)
        >>> [name for name, weight in model.named_parameters() if weight.requires_grad]
        ['fc.weight', 'fc.bias']
        """
        positive("DenoisingAutoencoder.classifier", num_classes=num_classes)
        encoder = copy.deepcopy(self.encoder).requires_grad_(not freeze)
        head = nn.Linear(self.code_channels, num_classes).to(next(self.parameters()))
        return nn.Sequential(
            OrderedDict(encoder=encoder, avgpool=AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=head)
        )  # fmt: skip


def add_noise(
    images: Tensor,
    kind: Literal["gaussian", "masking", "salt_and_pepper"] = "gaussian",
    amount: float = 0.1,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Corrupt images.

    Args:
        images: ``(N, C, H, W)``, float; not changed.
        kind: ``"gaussian"``: noise of standard deviation ``amount`` is added. ``"masking"``: a share ``amount`` of the
            pixels becomes 0 in all channels. ``"salt_and_pepper"``: a share ``amount`` of the pixels becomes the
            smallest or the largest value of the batch.
        amount: 0 or more; at most 1 where it is a share.
        generator: of random numbers, on the images' device.

    Source: Vincent et al., Stacked Denoising Autoencoders, 2010, section 3.3.

    >>> (add_noise(torch.ones(1, 3, 100, 100), "masking", 0.3) == 0).float().mean().round(decimals=1)
    tensor(0.3000)
    """
    if kind not in NOISES:
        raise ValueError(f"add_noise: kind must be one of {', '.join(NOISES)}, got {kind!r}")
    if images.dim() != 4 or not images.is_floating_point():
        raise ValueError(
            f"add_noise: images must be floats of shape (N, C, H, W), got {images.dtype}, {tuple(images.shape)}"
        )
    if not 0 <= amount <= (float("inf") if kind == "gaussian" else 1):
        raise ValueError(f"add_noise: amount must be 0 or more, and at most 1 where it is a share, got {amount!r}")
    if kind == "gaussian":
        noise = torch.empty_like(images, requires_grad=False).normal_(generator=generator)
        return images + amount * noise
    where = torch.empty_like(images[:, :1], requires_grad=False).uniform_(generator=generator)
    if kind == "masking":
        return images.masked_fill(where < amount, 0)
    if images.numel() == 0:
        return images.clone()
    low, high = images.detach().aminmax()
    return torch.where(where < amount / 2, low, torch.where(where < amount, high, images))


@register
def denoising_autoencoder(
    *, in_channels: int = 1, widths: Sequence[int] = (32, 64, 128), skip: bool = False
) -> DenoisingAutoencoder:
    """A denoising auto-encoder: :class:`DenoisingAutoencoder`, whose arguments these are.

    >>> model = saccade.models.denoising_autoencoder()
    >>> model(saccade.models.add_noise(torch.rand(2, 1, 8, 8))).shape
    torch.Size([2, 1, 8, 8])
    """
    return DenoisingAutoencoder(in_channels=in_channels, widths=widths, skip=skip)
