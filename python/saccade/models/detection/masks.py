"""Masks of boxes: from small squares to the image, and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from saccade import ops

__all__ = ["crop_masks", "paste_masks"]

_TEMPORARY = 2**22  # pixels of the masks that are pasted at once


def paste_masks(masks: Tensor, boxes: Tensor, image_size: Sequence[int], padding: int = 1) -> Tensor:
    """Put each mask into its box in an empty image.

    A mask grows by ``padding`` zeros on each side and its box by as much; corners are truncated to whole pixels and
    the lower right one belongs to the box. Values in between are bilinear. Two products of matrices for each mask, one
    for its rows and one for its columns: interpolation, position and clipping are in their weights. Masks have a
    gradient.

    Args:
        masks: ``(N, 1, S, S)`` or ``(N, S, S)``, floating.
        boxes: ``(N, 4)`` corners, in pixels of the image; may reach out of it.
        image_size: height and width.
        padding: see above.

    Returns:
        ``(N, 1, height, width)`` in the dtype of ``masks``; halves are computed in float32, under autocast too.

    Source: He et al., Mask R-CNN, 2017, section 3; torchvision's paste_masks_in_image.

    >>> paste_masks(torch.ones(1, 1, 2, 2), torch.tensor([[1.0, 0, 3, 2]]), (3, 5), padding=0)[0, 0]
    tensor([[0., 1., 1., 1., 0.],
            [0., 1., 1., 1., 0.],
            [0., 1., 1., 1., 0.]])
    """
    masks = masks.reshape(masks.shape[0], *masks.shape[-2:])
    if masks.shape[1] != masks.shape[2] or boxes.shape != (masks.shape[0], 4):
        raise ValueError(
            f"paste_masks: masks and boxes must have shapes (N, 1, S, S) and (N, 4), "
            f"got {tuple(masks.shape)} and {tuple(boxes.shape)}"
        )
    height, width = (int(side) for side in image_size)
    side = masks.shape[-1]
    centre, half = (boxes[:, 2:] + boxes[:, :2]) * 0.5, (boxes[:, 2:] - boxes[:, :2]) * 0.5
    half = half * ((side + 2 * padding) / side)
    first, last = (centre - half).long(), (centre + half).long()
    result = masks.new_empty(masks.shape[0], height, width)
    masks = functional.pad(masks, (padding,) * 4).to(torch.promote_types(masks.dtype, torch.float32))
    step = max(_TEMPORARY // max(height * width, 1), 1)
    for start in range(0, masks.shape[0], step):
        part = slice(start, start + step)
        rows = _weights(first[part, 1], last[part, 1], height, masks)
        columns = _weights(first[part, 0], last[part, 0], width, masks)
        with torch.autocast(masks.device.type, enabled=False):
            result[part] = (rows @ masks[part] @ columns.transpose(1, 2)).to(result.dtype)
    return result[:, None]


def _weights(first: Tensor, last: Tensor, length: int, masks: Tensor) -> Tensor:
    """What each of ``length`` pixels takes from each cell of a mask stretched over ``first`` to ``last``."""
    cells = masks.shape[-1]
    pixels = torch.arange(length, device=masks.device)
    sides = (last - first + 1).clamp(min=1)
    scale = cells / sides.to(masks.dtype)
    position = ((pixels - first[:, None]) + 0.5).to(masks.dtype) * scale[:, None] - 0.5
    position = position.clamp(0, cells - 1)
    weights = 1 - (position[..., None] - torch.arange(cells, device=masks.device)).abs()
    inside = (pixels >= first[:, None]) & (pixels <= last[:, None])
    return weights.clamp_(min=0) * inside[..., None]


def crop_masks(masks: Tensor, boxes: Tensor, indices: Tensor, size: int) -> Tensor:
    """What a mask branch is to say: ``masks[indices]`` within ``boxes``, brought to squares.

    Args:
        masks: ``(M, H, W)`` of an image, 0 or 1.
        boxes: ``(K, 4)`` corners.
        indices: ``(K,)``, whose mask each box is to have.
        size: side of the squares.

    Returns:
        ``(K, size, size)`` in the dtype of ``boxes``.
    """
    regions = torch.cat([indices[:, None].to(boxes), boxes], 1)
    return ops.roi_align(masks[:, None].to(boxes), regions, size)[:, 0]
