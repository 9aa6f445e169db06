"""Masks of boxes, put into images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from saccade.ops._library import call, require_tensor

__all__ = ["paste_masks"]

_TEMPORARY = 2**22  # pixels of the gradient that are taken back at once


def paste_masks(masks: Tensor, boxes: Tensor, image_size: Sequence[int], padding: int = 1) -> Tensor:
    """Put each mask into its box in an empty image.

    A mask grows by ``padding`` zeros on each side and its box by as much; corners are truncated to whole pixels and
    the lower right one belongs to the box. Values in between are bilinear. Masks have a gradient.

    Args:
        masks: ``(N, 1, S, S)`` or ``(N, S, S)``, floating.
        boxes: ``(N, 4)`` corners, in pixels of the image; may reach out of it.
        image_size: height and width.
        padding: see above.

    Returns:
        ``(N, 1, height, width)`` in the dtype of ``masks``; halves are computed in float32.

    Raises:
        ValueError: on wrong shapes or a negative size; TypeError: on a dtype that is not floating.

    Source: He et al., Mask R-CNN, 2017, section 3; results are those of torchvision's ``paste_masks_in_image``.

    >>> paste_masks(torch.ones(1, 1, 2, 2), torch.tensor([[1.0, 0, 3, 2]]), (3, 5), padding=0)[0, 0]
    tensor([[0., 1., 1., 1., 0.],
            [0., 1., 1., 1., 0.],
            [0., 1., 1., 1., 0.]])
    """
    require_tensor("paste_masks", masks=masks, boxes=boxes)
    squares = masks.squeeze(1) if masks.ndim == 4 and masks.shape[1] == 1 else masks
    if squares.ndim != 3 or squares.shape[1] != squares.shape[2] or boxes.shape != (masks.shape[0], 4):
        raise ValueError(
            f"paste_masks: masks and boxes must have shapes (N, 1, S, S) and (N, 4), "
            f"got {tuple(masks.shape)} and {tuple(boxes.shape)}"
        )
    if squares.shape[-1] == 0:
        raise ValueError(f"paste_masks: masks must have sides of at least 1, got {tuple(masks.shape)}")
    if not masks.is_floating_point():
        raise TypeError(f"paste_masks: masks must be floating, got {str(masks.dtype).removeprefix('torch.')}")
    height, width = (int(side) for side in image_size)
    side = squares.shape[-1]
    centre, half = (boxes[:, 2:] + boxes[:, :2]) * 0.5, (boxes[:, 2:] - boxes[:, :2]) * 0.5
    half = half * ((side + 2 * padding) / side)
    corners = torch.cat([centre - half, centre + half], 1).long()
    cells = functional.pad(squares, (padding,) * 4).to(torch.promote_types(masks.dtype, torch.float32))
    pasted: Tensor = call(torch.ops.saccade.paste_masks, cells, corners, height, width)
    return pasted.to(masks.dtype)[:, None]


@torch.library.register_fake("saccade::paste_masks")
def _(masks: Tensor, corners: Tensor, height: int, width: int) -> Tensor:
    return masks.new_empty(masks.shape[0], height, width)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    masks, corners, _, _ = inputs
    ctx.save_for_backward(corners)
    ctx.side = masks.shape[-1]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Two products of matrices for each mask: pasting is linear, one matrix for its rows and one for its columns."""
    (corners,) = ctx.saved_tensors
    count, height, width = grad.shape
    step = max(_TEMPORARY // max(height * width, 1), 1)
    parts = [grad.new_zeros(0, ctx.side, ctx.side)]
    for start in range(0, count, step):
        part = slice(start, start + step)
        rows = _weights(corners[part, 1], corners[part, 3], height, ctx.side, grad)
        columns = _weights(corners[part, 0], corners[part, 2], width, ctx.side, grad)
        with torch.autocast(grad.device.type, enabled=False):
            parts.append(rows.transpose(1, 2) @ grad[part] @ columns)
    return torch.cat(parts), None, None, None


def _weights(first: Tensor, last: Tensor, length: int, cells: int, like: Tensor) -> Tensor:
    """What each of ``length`` pixels takes from each cell of a mask stretched over ``first`` to ``last``."""
    pixels = torch.arange(length, device=like.device)
    scale = cells / (last - first + 1).clamp(min=1).to(like.dtype)
    position = ((pixels - first[:, None]) + 0.5).to(like.dtype) * scale[:, None] - 0.5
    position = position.clamp(0, cells - 1)
    weights = 1 - (position[..., None] - torch.arange(cells, device=like.device)).abs()
    inside = (pixels >= first[:, None]) & (pixels <= last[:, None])
    return weights.clamp_(min=0) * inside[..., None]


torch.library.register_autograd("saccade::paste_masks", _backward, setup_context=_save)
