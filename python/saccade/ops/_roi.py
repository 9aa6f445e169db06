"""What the region-of-interest operators share: their boxes, their output size, their memory format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

Boxes: TypeAlias = "Tensor | list[Tensor] | tuple[Tensor, ...]"
OutputSize: TypeAlias = "int | Sequence[int]"


def size_pair(op: str, output_size: OutputSize) -> tuple[int, int]:
    """``(height, width)`` from one number or two."""
    if isinstance(output_size, (tuple, list, torch.Size)):
        if len(output_size) == 1:
            return output_size[0], output_size[0]
        if len(output_size) != 2:
            raise ValueError(f"{op}: output_size must be an int or a pair of ints, got {tuple(output_size)}")
        return output_size[0], output_size[1]
    return output_size, output_size  # type: ignore[return-value]


def rois_of(op: str, boxes: Boxes, images: int) -> Tensor:
    """``(K, 5)`` regions from ``(K, 5)`` as they are, or from one ``(L, 4)`` tensor per image."""
    if isinstance(boxes, Tensor):
        return boxes
    if not isinstance(boxes, (list, tuple)) or not all(isinstance(b, Tensor) for b in boxes):
        raise TypeError(f"{op}: boxes must be a (K, 5) tensor or a list of (L, 4) tensors, got {type(boxes).__name__}")
    if not boxes or len(boxes) > images:
        raise ValueError(f"{op}: boxes must hold one tensor per image, got {len(boxes)} for {images}")
    for b in boxes:
        if b.dim() != 2 or b.shape[1] != 4:
            raise ValueError(f"{op}: every tensor of boxes must have shape (L, 4), got {tuple(b.shape)}")
    index = torch.cat([b.new_full((b.shape[0], 1), i) for i, b in enumerate(boxes)])
    return torch.cat([index, torch.cat(list(boxes))], dim=1)


def is_channels_last(tensor: Tensor) -> bool:
    """Whether results take the channels_last format: the tensor has it, and is not contiguous as well."""
    return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


def memory_format(tensor: Tensor) -> torch.memory_format:
    """The format of results made from ``tensor``, as the compiled operators choose it."""
    return torch.channels_last if tensor.dim() == 4 and is_channels_last(tensor) else torch.contiguous_format


def check_fake(op: str, input: Tensor, rois: Tensor) -> None:
    """The shape rules that a traced graph relies on; the compiled operator checks everything else."""
    if input.dim() != 4:
        raise ValueError(f"{op}: input must have shape (N, C, H, W), got {tuple(input.shape)}")
    if rois.dim() != 2 or rois.shape[1] != 5:
        raise ValueError(f"{op}: boxes must have shape (K, 5), got {tuple(rois.shape)}")
