"""PSPNet's augmentation of an image and its classes together."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from saccade._extras import require

__all__ = ["SegmentationAugmentation"]

_OP = "SegmentationAugmentation"


class SegmentationAugmentation:
    """Random resizing, rotation, blur, flip and crop of an image with its classes.

    Args:
        crop: height and width of the result, or its side; None: no crop.
        resize: range of the factor of the sides; drawn uniformly on a logarithmic scale. PSPNet: (0.5, 2).
        rotate: greatest angle in degrees, to either side. PSPNet: 10.
        flip: probability of exchanging left and right.
        flip_vertical: probability of exchanging top and bottom.
        blur: range of the Gaussian's standard deviation in pixels; None: no blur.
        blur_share: probability of blurring.
        fill: of the image where there is none after rotation, or where the crop is larger: a value for each channel or
            one for all, best the mean of the images.
        ignore_index: label of those pixels.

    Call it with an image ``(C, H, W)`` and classes ``(H, W)``; it returns both. Classes are never interpolated. It
    draws from torch's generator, so that :func:`saccade.data.loader` makes it reproducible, with any number of workers.

    Raises:
        ValueError: for options out of range, classes of another size than the image. ImportError: without torchvision.

    Source: Zhao et al., Pyramid Scene Parsing Network, CVPR 2017, section 5.1.

    >>> augment = saccade.data.transforms.SegmentationAugmentation(33, fill=0.5)
    >>> image, classes = augment(torch.rand(3, 20, 40), torch.zeros(20, 40, dtype=torch.int64))
    >>> image.shape, classes.shape
    (torch.Size([3, 33, 33]), torch.Size([33, 33]))
    """

    def __init__(
        self,
        crop: int | tuple[int, int] | None = None,
        *,
        resize: tuple[float, float] | None = (0.5, 2.0),
        rotate: float = 10.0,
        flip: float = 0.5,
        flip_vertical: float = 0.0,
        blur: tuple[float, float] | None = (0.1, 1.0),
        blur_share: float = 0.5,
        fill: Any = 0,
        ignore_index: int = 255,
    ) -> None:
        self.crop = (crop, crop) if isinstance(crop, int) else crop
        if self.crop is not None and min(self.crop) < 1:
            raise ValueError(f"{_OP}: crop must be positive, got {crop}")
        for name, pair in (("resize", resize), ("blur", blur)):
            if pair is not None and not 0 < pair[0] <= pair[1]:
                raise ValueError(f"{_OP}: {name} must be two ascending positive numbers, got {pair}")
        if not 0 <= rotate <= 180:
            raise ValueError(f"{_OP}: rotate must be from 0 to 180 degrees, got {rotate}")
        for name, share in (("flip", flip), ("flip_vertical", flip_vertical), ("blur_share", blur_share)):
            if not 0 <= share <= 1:
                raise ValueError(f"{_OP}: {name} must be from 0 to 1, got {share}")
        require("torchvision.transforms.v2", _OP, "train")
        self.resize, self.rotate, self.flip, self.flip_vertical = resize, rotate, flip, flip_vertical
        self.blur, self.blur_share, self.fill, self.ignore_index = blur, blur_share, fill, ignore_index

    def __call__(self, image: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Both, changed together."""
        if classes.shape != image.shape[1:]:
            size = tuple(image.shape[1:])
            raise ValueError(f"{_OP}: classes must be as large as the image, {size}, got {tuple(classes.shape)}")
        v2 = require("torchvision.transforms.v2", _OP, "train").functional
        tv_tensors = require("torchvision.tv_tensors", _OP, "train")
        pair: list[Any] = [tv_tensors.Image(image), tv_tensors.Mask(classes[None])]
        fills: list[Any] = [self.fill, self.ignore_index]
        if self.resize is not None:
            low, high = (math.log(factor) for factor in self.resize)
            factor = math.exp(_uniform(low, high))
            scaled = [max(1, round(side * factor)) for side in image.shape[1:]]
            pair[0] = v2.resize(pair[0], scaled, antialias=True)
            # torchvision takes the pixel to the left of the exact place: half a pixel off at boundaries.
            exact = torch.nn.functional.interpolate(pair[1][None].float(), scaled, mode="nearest-exact")[0]
            pair[1] = tv_tensors.Mask(exact.to(classes.dtype))
        if self.rotate:
            angle = _uniform(-self.rotate, self.rotate)
            ways = ("bilinear", "nearest")
            pair = [
                v2.rotate(part, angle, interpolation=_way(way), fill=_filled(part, fill))
                for part, way, fill in zip(pair, ways, fills, strict=True)
            ]
        if self.blur is not None and _uniform(0, 1) < self.blur_share:
            sigma = _uniform(*self.blur)
            # Three standard deviations to either side; a kernel may not reach beyond the opposite border.
            reach = max(0, min(math.ceil(3 * sigma), min(pair[0].shape[1:]) - 1))
            if reach:
                pair[0] = v2.gaussian_blur(pair[0], [2 * reach + 1] * 2, [sigma] * 2)
        if _uniform(0, 1) < self.flip:
            pair = [v2.horizontal_flip(part) for part in pair]
        if _uniform(0, 1) < self.flip_vertical:
            pair = [v2.vertical_flip(part) for part in pair]
        tensors = [part.as_subclass(Tensor) for part in pair]
        if self.crop is not None:
            tensors = self._cropped(tensors, [_filled(part, fill) for part, fill in zip(pair, fills, strict=True)])
        return tensors[0], tensors[1][0]

    def _cropped(self, pair: list[Tensor], fills: list[list[float]]) -> list[Tensor]:
        assert self.crop is not None
        sides = list(zip(self.crop, pair[0].shape[1:], strict=True))
        top, left = (int(torch.randint(max(0, side - wanted) + 1, ())) for wanted, side in sides)
        cropped = [part[:, top : top + self.crop[0], left : left + self.crop[1]] for part in pair]
        return [_centred(part, self.crop, fill) for part, fill in zip(cropped, fills, strict=True)]


def _centred(part: Tensor, size: tuple[int, int], fill: list[float]) -> Tensor:
    """``part`` amid so many rows and columns."""
    if part.shape[1:] == size:
        return part.contiguous()
    canvas = torch.tensor(fill, dtype=torch.float64).to(part.dtype)[:, None, None].repeat(1, *size)
    top, left = (size[0] - part.shape[1]) // 2, (size[1] - part.shape[2]) // 2
    canvas[:, top : top + part.shape[1], left : left + part.shape[2]] = part
    return canvas


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), dtype=torch.float64))


def _way(name: str) -> Any:
    return require("torchvision.transforms", _OP, "train").InterpolationMode(name)


def _filled(part: Any, fill: Any) -> list[float]:
    values = torch.as_tensor(fill, dtype=torch.float64).flatten().tolist()
    return [float(value) for value in (values * part.shape[0] if len(values) == 1 else values)]
