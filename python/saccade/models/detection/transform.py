"""Images of any sizes to one batch for a detector, and its findings back to the images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from saccade.ops import paste_masks

__all__ = ["DetectionTransform", "ImageBatch", "Target", "resize_boxes"]

Target = dict[str, Tensor]
Size = tuple[int, int]


@dataclass(frozen=True)
class ImageBatch:
    """Images padded to one size: ``tensors`` ``(N, C, H, W)``, and the height and width of each before padding."""

    tensors: Tensor
    sizes: list[Size]


class DetectionTransform(nn.Module):
    """Normalise, resize, pad and batch; scale boxes and masks along, and findings back.

    Args:
        min_size: the shorter side of a resized image; of several, training draws one and evaluation takes the last.
        max_size: what the longer side may be at most; then the shorter one is below ``min_size``.
        image_mean, image_std: of each channel, taken off and divided by.
        size_divisible: sides of the batch are multiples of this.

    Source: Ren et al., Faster R-CNN, 2015, section 3.3; torchvision's GeneralizedRCNNTransform, whose results it
    equals. Sides that would be rounded to 0 become 1.

    >>> transform = DetectionTransform(8, 16, [0.5], [0.5]).eval()
    >>> batch, _ = transform([torch.rand(1, 4, 6), torch.rand(1, 1, 1)])
    >>> batch.tensors.shape, batch.sizes
    (torch.Size([2, 1, 32, 32]), [(8, 12), (8, 8)])
    """

    def __init__(
        self,
        min_size: int | Sequence[int],
        max_size: int,
        image_mean: Sequence[float],
        image_std: Sequence[float],
        size_divisible: int = 32,
    ) -> None:
        super().__init__()
        self.min_size = (min_size,) if isinstance(min_size, int) else tuple(min_size)
        self.max_size, self.size_divisible = max_size, size_divisible
        if min(*self.min_size, max_size, size_divisible) < 1:
            raise ValueError(
                f"DetectionTransform: min_size, max_size and size_divisible must be at least 1, "
                f"got {min_size}, {max_size} and {size_divisible}"
            )
        if len(image_mean) != len(image_std) or min(image_std) <= 0:
            raise ValueError(
                f"DetectionTransform: image_mean and image_std must be given for each channel, image_std positive, "
                f"got {image_mean} and {image_std}"
            )
        self.image_mean, self.image_std = list(image_mean), list(image_std)

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> tuple[ImageBatch, list[Target] | None]:
        """Batch ``images``, each ``(C, H, W)``; targets are copied, not changed."""
        mean, std = (images[0].new_tensor(v)[:, None, None] for v in (self.image_mean, self.image_std))
        resized, sizes = [], []
        for image in images:
            size = self._size(image)
            normal = (image - mean) / std
            resized.append(functional.interpolate(normal[None], size, mode="bilinear", align_corners=False)[0])
            sizes.append(size)
        if targets is not None:
            targets = [
                _rescaled(target, _size_of(image), size)
                for target, image, size in zip(targets, images, sizes, strict=True)
            ]
        step = self.size_divisible
        height, width = (math.ceil(max(size[axis] for size in sizes) / step) * step for axis in (0, 1))
        batch = resized[0].new_zeros(len(images), len(self.image_mean), height, width)
        for room, image in zip(batch, resized, strict=True):
            room[:, : image.shape[1], : image.shape[2]].copy_(image)
        return ImageBatch(batch, sizes), targets if targets is None else list(targets)

    def _size(self, image: Tensor) -> Size:
        sides = _size_of(image)
        shorter = self.min_size[-1]
        if self.training:
            # One draw for each image also where there is no choice: the random numbers after it are torchvision's.
            shorter = self.min_size[int(torch.empty(1).uniform_(0, float(len(self.min_size))).item())]
        scale = min(shorter / min(sides), self.max_size / max(sides))
        height, width = (max(math.floor(side * scale), 1) for side in sides)
        return height, width

    def postprocess(
        self, detections: Sequence[Target], sizes: Sequence[Size], original_sizes: Sequence[Size]
    ) -> list[Target]:
        """Boxes in pixels of the original images, and masks pasted into them."""
        results = []
        for detection, size, original in zip(detections, sizes, original_sizes, strict=True):
            result = {**detection, "boxes": resize_boxes(detection["boxes"], size, original)}
            if "masks" in result:
                result["masks"] = paste_masks(result["masks"], result["boxes"], original)
            results.append(result)
        return results

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return (
            f"min_size={self.min_size}, max_size={self.max_size}, image_mean={self.image_mean}, "
            f"image_std={self.image_std}, size_divisible={self.size_divisible}"
        )


def _size_of(image: Tensor) -> Size:
    return image.shape[-2], image.shape[-1]


def _rescaled(target: Target, before: Size, after: Size) -> Target:
    scaled = {**target, "boxes": resize_boxes(target["boxes"], before, after)}
    if "masks" in target:
        masks = target["masks"]
        if len(masks):
            scaled["masks"] = functional.interpolate(masks[:, None].float(), after)[:, 0].byte()
        else:
            scaled["masks"] = masks.new_zeros((0, *after), dtype=torch.uint8)
    return scaled


def resize_boxes(boxes: Tensor, before: Size, after: Size) -> Tensor:
    """Boxes of an image of one size in an image of another."""
    y, x = (new / old for new, old in zip(after, before, strict=True))
    return boxes * torch.tensor([x, y, x, y], dtype=torch.float32, device=boxes.device)
