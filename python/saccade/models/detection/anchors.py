"""Anchors: the boxes that a detector starts from, the same at every position of a feature map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["AnchorGenerator"]


class AnchorGenerator(nn.Module):
    """Anchors of given sizes and aspect ratios, centred on the cells of the maps of a pyramid.

    Args:
        sizes: for each map, the square roots of the areas, in pixels; a flat sequence gives each map one size.
        aspect_ratios: for each map, height over width; a flat sequence serves every map.

    Corners are rounded to whole pixels around the centre, to even numbers at a half. Cells lie at multiples of the
    stride (the image's side over the map's, rounded down), the first at 0.

    Raises:
        ValueError: for sizes or ratios that are not positive, and for unequal numbers of them.

    Source: Ren et al., Faster R-CNN, 2015, section 3.1.1; Lin et al., Feature Pyramid Networks, 2017, section 4.1; the
    values and the order (row, column, ratio, size) are torchvision's.

    >>> anchors = AnchorGenerator(((32,),), ((0.5, 1.0, 2.0),))
    >>> anchors((64, 64), [torch.zeros(1, 8, 1, 2)])
    tensor([[-23., -11.,  23.,  11.],
            [-16., -16.,  16.,  16.],
            [-11., -23.,  11.,  23.],
            [  9., -11.,  55.,  11.],
            [ 16., -16.,  48.,  16.],
            [ 21., -23.,  43.,  23.]])
    """

    def __init__(
        self,
        sizes: Sequence[Sequence[float] | float] = ((128, 256, 512),),
        aspect_ratios: Sequence[Sequence[float] | float] = ((0.5, 1.0, 2.0),),
    ) -> None:
        super().__init__()
        self.sizes = [tuple(size) if isinstance(size, Sequence) else (size,) for size in sizes]
        if all(isinstance(ratio, (int, float)) for ratio in aspect_ratios):
            aspect_ratios = [tuple(aspect_ratios)] * len(self.sizes)  # type: ignore[arg-type]
        self.aspect_ratios = [tuple(ratios) for ratios in aspect_ratios]  # type: ignore[arg-type]
        if len(self.sizes) != len(self.aspect_ratios):
            raise ValueError(
                f"AnchorGenerator: sizes and aspect_ratios must be given for equally many maps, "
                f"got {len(self.sizes)} and {len(self.aspect_ratios)}"
            )
        for name, values in (("sizes", self.sizes), ("aspect_ratios", self.aspect_ratios)):
            if not values or any(not level or min(level) <= 0 for level in values):
                raise ValueError(f"AnchorGenerator: {name} must be positive, at least one for each map, got {values}")
        self._kept: tuple[tuple[Any, ...], Tensor] | None = None  # of the last call
        self.cell_anchors = [_around_origin(*level) for level in zip(self.sizes, self.aspect_ratios, strict=True)]

    def num_anchors_per_location(self) -> list[int]:
        """How many anchors a cell of each map has."""
        return [len(size) * len(ratios) for size, ratios in zip(self.sizes, self.aspect_ratios, strict=True)]

    def forward(self, image_size: Sequence[int], maps: Sequence[Tensor]) -> Tensor:
        """Anchors of all maps one after the other, ``(A, 4)`` corners; float64 for float64 maps, otherwise float32.

        Args:
            image_size: height and width of the (padded) images.
            maps: ``(N, C, H, W)``, one for each map of the constructor.
        """
        if len(maps) != len(self.cell_anchors):
            raise ValueError(f"AnchorGenerator: maps must be {len(self.cell_anchors)} tensors, got {len(maps)}")
        dtype = torch.float64 if maps[0].dtype is torch.float64 else torch.float32  # halves cannot tell pixels apart
        device = maps[0].device
        sides = [(level.shape[-2], level.shape[-1]) for level in maps]
        if torch.compiler.is_compiling():
            return self._of(image_size, sides, device, dtype)
        key = (*image_size, *sides, device, dtype)
        if self._kept is None or self._kept[0] != key:
            with torch.inference_mode(False):  # training may come next, for which such tensors are no good
                self._kept = key, self._of(image_size, sides, device, dtype)
        return self._kept[1]

    def _of(
        self, image_size: Sequence[int], sides: Sequence[tuple[int, int]], device: torch.device, dtype: torch.dtype
    ) -> Tensor:
        levels = []
        for anchors, (height, width) in zip(self.cell_anchors, sides, strict=True):
            y = torch.arange(height, dtype=dtype, device=device) * (image_size[0] // height)
            x = torch.arange(width, dtype=dtype, device=device) * (image_size[1] // width)
            rows, columns = torch.meshgrid(y, x, indexing="ij")
            shifts = torch.stack([columns, rows, columns, rows], -1).reshape(-1, 1, 4)
            levels.append((shifts + anchors.to(device, dtype)).reshape(-1, 4))
        return torch.cat(levels)


def _around_origin(sizes: Sequence[float], aspect_ratios: Sequence[float]) -> Tensor:
    scales = torch.tensor(sizes, dtype=torch.float32, device="cpu")
    heights = torch.tensor(aspect_ratios, dtype=torch.float32, device="cpu").sqrt()
    h, w = (heights[:, None] * scales).flatten(), (1 / heights[:, None] * scales).flatten()
    return (torch.stack([-w, -h, w, h], 1) / 2).round()
