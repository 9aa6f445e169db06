"""Haar features: weighted sums over rectangles of a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from saccade.ops._library import call, require_tensor

if TYPE_CHECKING:
    from saccade.classic import HaarFeatureSet

__all__ = ["haar_features"]


def haar_features(image: Tensor, features: HaarFeatureSet, windows: Tensor | None = None) -> Tensor:
    """Evaluate Haar features on one or many windows. Not differentiable.

    Args:
        image: ``(H, W)`` or a batch ``(N, H, W)``; bool, uint8, int32, float32 or float64.
        features: a `saccade.classic.HaarFeatureSet`, made once.
        windows: int64 corners ``(M, 2)`` as x, y in one image, or ``(M, 3)`` as image, x, y in a batch. ``None``:
            every image is one window, of exactly the features' size.

    Returns:
        ``(M, F)`` values, without normalisation: int32 for bool and uint8, int64 for int32, float64 for floats.
        For one image and no ``windows``: ``(F,)``.

    Raises:
        ValueError: for wrong shapes, or windows that reach beyond their image (on CUDA those give zeros).
        TypeError: for other dtypes.

    Source: Viola and Jones, Rapid object detection using a boosted cascade of simple features, 2001.

    >>> from saccade.classic import HaarFeatureSet
    >>> haar_features(torch.tensor([[1, 2], [5, 7]], dtype=torch.uint8), HaarFeatureSet(2, 2))
    tensor([1, 3, 2, 4, 9, 5, 1], dtype=torch.int32)
    """
    require_tensor("haar_features", image=image)
    if image.ndim not in (2, 3):
        raise ValueError(f"haar_features: image must have shape (H, W) or (N, H, W), got {tuple(image.shape)}")
    single = image.ndim == 2 and windows is None
    corners = _corners(image, features, windows)
    tilted = any(kind.tilted for kind in features._kinds)
    batch = image if image.ndim == 3 else image[None]
    sums, _, slanted = call(torch.ops.saccade.integral_image, batch, False, tilted)
    table = [torch.from_numpy(part).to(image.device) for part in features._table]
    arguments = (sums, slanted if tilted else None, *table, features.width, features.height, corners)
    values: Tensor = call(torch.ops.saccade.haar_features, *arguments)
    return values[0] if single else values


def _corners(image: Tensor, features: HaarFeatureSet, windows: Tensor | None) -> Tensor:
    shape = tuple(image.shape)
    if windows is None:
        if shape[-2:] != (features.height, features.width):
            raise ValueError(
                f"haar_features: image must have the features' size ({features.height}, {features.width}) where no "
                f"windows are given, got {shape}"
            )
        count = shape[0] if len(shape) == 3 else 1
        first = torch.arange(count, device=image.device)
        return torch.stack([first, torch.zeros_like(first), torch.zeros_like(first)], 1)
    if windows.ndim != 2 or windows.shape[1] != len(shape):
        raise ValueError(f"haar_features: windows must have shape (M, {len(shape)}), got {tuple(windows.shape)}")
    if windows.dtype != torch.int64:
        raise TypeError(f"haar_features: windows must be int64, got {str(windows.dtype).removeprefix('torch.')}")
    return windows if len(shape) == 3 else torch.nn.functional.pad(windows, (1, 0))


@torch.library.register_fake("saccade::haar_features")
def _(
    sum: Tensor,
    tilted: Tensor | None,
    kinds: Tensor,
    offsets: Tensor,
    columns: Tensor,
    width: int,
    height: int,
    windows: Tensor,
) -> Tensor:
    return sum.new_empty((windows.shape[0], columns.shape[0]))
