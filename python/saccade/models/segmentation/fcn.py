"""FCN-32s, FCN-16s and FCN-8s on VGG-16."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from saccade.models._checks import check_images, positive
from saccade.models._registry import register
from saccade.models.checkpoint import RENAMINGS
from saccade.nn import Conv2d, ConvTranspose2d, Dropout, MaxPool2d, init

__all__ = ["FCN", "fcn8s", "fcn8s_small", "fcn16s", "fcn16s_small", "fcn32s", "fcn32s_small"]

_VGG16 = (64, 2), (128, 2), (256, 3), (512, 3), (512, 3)


class FCN(nn.Module):
    """VGG with convolutions for full connections, scores of shallower layers added, learned up-sampling.

    Args:
        stride: pixels between the positions of the finest scores: 32, 16 (pool4 is scored too) or 8 (pool3 too).
        num_classes: the background included.
        in_channels: of the images.
        stages: channels and convolutions of the five stages, each of which ends in a pooling.
        hidden: channels of fc6 and fc7.
        kernel: side of fc6's kernel, odd.
        padding: around the images at the first convolution. It makes up for what ``kernel`` takes away: 100 for 7.
        dropout: probability, after fc6 and fc7.
        enlarge: how many times images are enlarged before and logits are averaged down after: finer scores for small
            images, at the cost of larger ones.

    Input: ``(N, in_channels, H, W)``. Output: logits, ``(N, num_classes, H, W)``. Layers have the names of the
    authors' Caffe model; :func:`saccade.models.load_checkpoint` translates torchvision's VGG-16 to them (with
    ``strict=False``: what scores and up-samples is not in it). A coarser network's weights fit a finer one likewise,
    which is how the paper trains: 32s, then 16s, then 8s.

    Each transposed convolution begins as bilinear interpolation and learns from there; scores begin at zero. What the
    padding adds is cropped: 19, 27 or 31 rows and columns at the end, 5 of pool4's scores and 9 of pool3's.

    Source: Long, Shelhamer and Darrell, Fully Convolutional Networks for Semantic Segmentation, 2015.
    """

    def __init__(
        self,
        stride: int,
        *,
        num_classes: int = 21,
        in_channels: int = 3,
        stages: Sequence[tuple[int, int]] = _VGG16,
        hidden: int = 4096,
        kernel: int = 7,
        padding: int = 100,
        dropout: float = 0.5,
        enlarge: int = 1,
    ) -> None:
        super().__init__()
        if stride not in (8, 16, 32):
            raise ValueError(f"FCN: stride must be 8, 16 or 32, got {stride!r}")
        self._op = f"FCN-{stride}s"
        positive(self._op, num_classes=num_classes, in_channels=in_channels, hidden=hidden, kernel=kernel)
        if kernel % 2 == 0:
            raise ValueError(f"{self._op}: kernel must be odd, got {kernel}")
        least = 16 * (kernel - 1) + 1  # leaves fc6 a position of a single pixel
        if padding < least:
            raise ValueError(f"{self._op}: padding must be at least {least} for kernel={kernel}, got {padding}")
        if len(stages) != 5:
            raise ValueError(f"{self._op}: stages must be five, got {len(stages)}")
        positive(self._op, enlarge=enlarge)
        self.stride, self.in_channels, self.enlarge = stride, in_channels, enlarge
        self._convolutions(stages, padding)
        widest = stages[-1][0]
        self.fc6, self.drop6 = Conv2d(widest, hidden, kernel), Dropout(dropout)
        self.fc7, self.drop7 = Conv2d(hidden, hidden, 1), Dropout(dropout)
        self.relu = nn.ReLU(True)
        self.score_fr = Conv2d(hidden, num_classes, 1)
        self._upscores(stages, kernel, padding)
        for name, module in self.named_modules():
            if isinstance(module, Conv2d):
                init.he_normal_(module)
                if name.startswith("score"):
                    nn.init.zeros_(module.weight)

    def _upscores(self, stages: Sequence[tuple[int, int]], kernel: int, padding: int) -> None:
        """Up-sampling and scores of shallower layers, and how they lie to each other."""
        classes = self.score_fr.out_channels
        # The place in the image of the first score: pixels have whole numbers, a pooling moves its output half a step
        # to the right and a transposed convolution by half its kernel to the left.
        first = 0.5 * 31 + 1 - padding + 32 * (kernel - 1) / 2
        self._skips: list[tuple[str, str, int]] = []
        for level in (4, 3)[: {32: 0, 16: 1, 8: 2}[self.stride]]:
            up, skip, jump = ("upscore2" if level == 4 else "upscore_pool4"), f"score_pool{level}", 2**level
            self.add_module(up, _upscore(classes, 2))
            self.add_module(skip, Conv2d(stages[level - 1][0], classes, 1))
            first -= 1.5 * jump
            own = 0.5 * (jump - 1) + 1 - padding
            self._skips.append((up, skip, round((first - own) / jump)))
            first = max(first, own)
        self._last = "upscore" if self.stride == 32 else f"upscore{self.stride}"
        self.add_module(self._last, _upscore(classes, self.stride))
        self._offset = round(self.stride - 0.5 - first)

    def _convolutions(self, stages: Sequence[tuple[int, int]], padding: int) -> None:
        channels = self.in_channels
        self._order: list[list[str]] = []
        for stage, (width, depth) in enumerate(stages, 1):
            names = [f"conv{stage}_{number + 1}" for number in range(depth)]
            for name in names:
                self.add_module(name, Conv2d(channels, width, 3, padding=padding if name == "conv1_1" else 1))
                channels = width
            self._order.append(names)
        self.pool = MaxPool2d(2, 2, ceil_mode=True)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, ``(N, num_classes, H, W)``."""
        check_images(self._op, images, self.in_channels)
        if self.enlarge > 1:
            images = functional.interpolate(images, scale_factor=float(self.enlarge), mode="bilinear")
        maps, pooled = images, []
        for names in self._order:
            for name in names:
                maps = self.relu(getattr(self, name)(maps))
            maps = self.pool(maps)
            pooled.append(maps)
        maps = self.drop6(self.relu(self.fc6(maps)))
        scores = self.score_fr(self.drop7(self.relu(self.fc7(maps))))
        for (up, skip, offset), features in zip(self._skips, (pooled[3], pooled[2]), strict=False):
            scores = _add(getattr(self, up)(scores), getattr(self, skip)(features), offset)
        scores = getattr(self, self._last)(scores)
        scores = _crop(scores, self._offset, images)
        return functional.avg_pool2d(scores, self.enlarge) if self.enlarge > 1 else scores


def _upscore(classes: int, factor: int) -> nn.Module:
    return init.bilinear_(ConvTranspose2d(classes, classes, 2 * factor, factor, bias=False))


def _crop(maps: Tensor, offset: int, like: Tensor) -> Tensor:
    height, width = like.shape[-2:]
    return maps[:, :, offset : offset + height, offset : offset + width]


def _add(coarse: Tensor, fine: Tensor, offset: int) -> Tensor:
    """The sum where both are: position 0 of ``coarse`` lies at ``offset`` of ``fine``, which may be negative."""
    before, after = max(0, -offset), max(0, offset)
    rows, columns = (fine.shape[axis] - after for axis in (2, 3))
    coarse = coarse[:, :, before : before + rows, before : before + columns]
    return coarse + _crop(fine, after, coarse)


def _torchvision_vgg(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's VGG-16 for an FCN: convolutions by their stage, full connections as convolutions."""
    if "features.0.weight" not in state or "conv1_1.weight" not in own:
        return state
    convolutions = [key for key in own if key.startswith("conv") and key.endswith(".weight")]
    numbers = [key for key in state if key.startswith("features.") and key.endswith(".weight")]
    pairs = zip(numbers, convolutions, strict=False)  # another VGG's are listed as not fitting
    names = {key.removesuffix(".weight"): to.removesuffix(".weight") for key, to in pairs}
    names |= {"classifier.0": "fc6", "classifier.3": "fc7", "classifier.6": "score_fr"}
    renamed = {}
    for key, value in state.items():
        layer, _, kind = key.rpartition(".")
        to = f"{names.get(layer, layer)}.{kind}"
        if to in own and layer.startswith("classifier") and value.numel() == own[to].numel():
            value = value.reshape(own[to].shape)
        renamed[to] = value
    return renamed


RENAMINGS["torchvision VGG"] = _torchvision_vgg


@register
def fcn32s(**options: Any) -> FCN:
    """FCN-32s on VGG-16; ``options`` are :class:`FCN`'s after ``stride``."""
    return FCN(32, **options)


@register
def fcn16s(**options: Any) -> FCN:
    """FCN-16s on VGG-16; ``options`` are :class:`FCN`'s after ``stride``."""
    return FCN(16, **options)


@register
def fcn8s(**options: Any) -> FCN:
    """FCN-8s on VGG-16; ``options`` are :class:`FCN`'s after ``stride``."""
    return FCN(8, **options)


_SMALL: dict[str, Any] = {
    "stages": ((16, 1), (32, 1), (64, 1), (64, 1), (64, 1)), "hidden": 128, "kernel": 1, "padding": 1,
}  # fmt: skip


@register
def fcn32s_small(**options: Any) -> FCN:
    """FCN-32s on five convolutions, without the wide padding; ``options`` are :class:`FCN`'s after ``stride``."""
    return FCN(32, **{**_SMALL, **options})


@register
def fcn16s_small(**options: Any) -> FCN:
    """FCN-16s on five convolutions, without the wide padding; ``options`` are :class:`FCN`'s after ``stride``."""
    return FCN(16, **{**_SMALL, **options})


@register
def fcn8s_small(**options: Any) -> FCN:
    """FCN-8s on five convolutions, without the wide padding; ``options`` are :class:`FCN`'s after ``stride``.

    >>> saccade.models.fcn8s_small(num_classes=4)(torch.rand(2, 3, 40, 56)).shape
    torch.Size([2, 4, 40, 56])
    """
    return FCN(8, **{**_SMALL, **options})
