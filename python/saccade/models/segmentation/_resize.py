"""Maps at other resolutions."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

__all__ = ["resize"]


def resize(maps: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """Bilinear interpolation to ``size``, as torch does it."""
    return functional.interpolate(maps, size=size, mode="bilinear", align_corners=align_corners)
