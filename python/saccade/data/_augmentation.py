"""The augmentations of the notes, made of torchvision's transforms."""

from __future__ import annotations

from typing import Any

from saccade._extras import require

__all__ = ["augmentation"]


def augmentation(
    size: int | tuple[int, int] | None = None,
    *,
    resize: tuple[float, float] | None = None,
    rotate: float = 0.0,
    padding: int = 0,
    flip: float = 0.0,
    flip_vertical: float = 0.0,
    blur: tuple[float, float] | None = None,
    blur_share: float = 0.5,
    fill: Any = 0,
) -> Any:
    """Random resizing, rotation, crop, flip and blur, in this order: a torchvision.transforms.v2.Compose.

    What is left out is not done. Images, and masks and boxes wrapped in torchvision.tv_tensors, change together. All
    of it draws from torch's generator, so that :func:`saccade.data.loader` makes it reproducible.

    Args:
        size: height and width of a random crop; smaller images are padded first.
        resize: range of the image's scale (PSPNet: 0.5 to 2), where 1 just fits into ``size``, which it needs.
        rotate: greatest angle in degrees, to either side (PSPNet: 10).
        padding: pixels added on each side before the crop (CIFAR's recipe: 4).
        flip: probability of exchanging left and right.
        flip_vertical: probability of exchanging top and bottom.
        blur: range of the Gaussian's standard deviation in pixels.
        blur_share: probability of blurring.
        fill: the value of pixels from outside the image; as torchvision's, e.g. ``{tv_tensors.Image: 0,
            tv_tensors.Mask: 255}``.

    Raises:
        ValueError: for values out of range. ImportError: without torchvision.

    Source: the notes on over-fitting; Zhao et al., Pyramid Scene Parsing Network, CVPR 2017, section 5.1.

    >>> augment = saccade.data.transforms.augmentation(24, rotate=10, padding=4, flip=0.5)
    >>> augment(torch.rand(3, 24, 24)).shape
    torch.Size([3, 24, 24])
    """
    _check(size, resize, rotate, padding, {"flip": flip, "flip_vertical": flip_vertical, "blur_share": blur_share})
    v2 = require("torchvision.transforms.v2", "augmentation", "train")
    height, width = (size, size) if isinstance(size, int) else size or (0, 0)
    steps: list[Any] = []
    if resize is not None:
        steps.append(v2.ScaleJitter((width, height), resize))  # it reads the first as the width
    if rotate:
        steps.append(v2.RandomRotation(rotate, interpolation=v2.InterpolationMode.BILINEAR, fill=fill))
    if size is not None:
        steps.append(v2.RandomCrop((height, width), padding or None, pad_if_needed=True, fill=fill))
    if flip:
        steps.append(v2.RandomHorizontalFlip(flip))
    if flip_vertical:
        steps.append(v2.RandomVerticalFlip(flip_vertical))
    if blur is not None:
        # A kernel of three standard deviations to either side, never more than what the greatest needs.
        steps.append(v2.RandomApply([v2.GaussianBlur(2 * max(1, round(3 * blur[1])) + 1, blur)], blur_share))
    return v2.Compose(steps or [v2.Identity()])


def _check(size: Any, resize: Any, rotate: float, padding: int, shares: dict[str, float]) -> None:
    if resize is not None and size is None:
        raise ValueError(f"augmentation: resize needs size, which it is relative to, got {resize} and no size")
    if resize is not None and not 0 < resize[0] <= resize[1]:
        raise ValueError(f"augmentation: resize must be two ascending positive factors, got {resize}")
    if padding and size is None:
        raise ValueError(f"augmentation: padding needs size, to which is cropped, got {padding} and no size")
    if not 0 <= rotate <= 180:
        raise ValueError(f"augmentation: rotate must be from 0 to 180 degrees, got {rotate}")
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise ValueError(f"augmentation: {name} must be from 0 to 1, got {share}")
