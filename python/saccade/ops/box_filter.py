"""Sums and means over rectangles."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from saccade.ops._library import call, require_tensor

__all__ = ["box_filter", "box_sum"]


def box_sum(integral: Tensor, boxes: Tensor) -> Tensor:
    """Sum the pixels of rectangles, four look-ups each.

    Args:
        integral: ``(..., H + 1, W + 1)`` sums as `integral_image` gives them; int32, int64, float32 or float64.
        boxes: ``(N, 4)`` int32 or int64 ``x1, y1, x2, y2``: the pixels ``x1 <= x < x2, y1 <= y < y2``, of every image
            of the batch. What lies outside the image adds nothing; a box with ``x2 <= x1`` or ``y2 <= y1`` is empty.

    Returns:
        ``(..., N)`` sums of the dtype of ``integral``. Differentiable in ``integral``.

    Raises:
        ValueError: for wrong shapes or devices. TypeError: for other dtypes.

    Source: Crow, Summed-area tables for texture mapping, 1984.

    >>> from saccade.ops import integral_image
    >>> box_sum(integral_image(torch.ones(4, 5, dtype=torch.uint8)), torch.tensor([[1, 1, 4, 3], [3, 2, 99, 99]]))
    tensor([6, 4], dtype=torch.int32)
    """
    require_tensor("box_sum", integral=integral, boxes=boxes)
    return call(torch.ops.saccade.box_sum, integral, boxes)


@torch.library.register_fake("saccade::box_sum")
def _(integral: Tensor, boxes: Tensor) -> Tensor:
    return integral.new_empty((*integral.shape[:-2], boxes.shape[0]))


@torch.library.register_fake("saccade::_box_sum_backward")
def _(grad_sums: Tensor, boxes: Tensor, rows: int, columns: int) -> Tensor:
    return grad_sums.new_empty((*grad_sums.shape[:-1], rows, columns))


def _box_sum_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    integral, boxes = inputs
    ctx.save_for_backward(boxes)
    ctx.rows, ctx.columns = integral.shape[-2:]


def _box_sum_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    (boxes,) = ctx.saved_tensors
    return torch.ops.saccade._box_sum_backward(grad, boxes, ctx.rows, ctx.columns), None


torch.library.register_autograd("saccade::box_sum", _box_sum_backward, setup_context=_box_sum_setup)


def _scatter_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])


def _scatter_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    (boxes,) = ctx.saved_tensors
    return torch.ops.saccade.box_sum(grad, boxes), None, None, None


torch.library.register_autograd("saccade::_box_sum_backward", _scatter_backward, setup_context=_scatter_setup)


def box_filter(image: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Mean over the rectangle around each pixel.

    The rectangle covers ``size // 2`` pixels before a pixel and ``(size - 1) // 2`` behind it; beyond its edge the
    image is reflected, without repeating the edge pixel. So do ``cv2.blur`` and ``scipy.ndimage.uniform_filter`` with
    ``mode="mirror"``.

    Args:
        image: ``(..., H, W)`` uint8, float32 or float64; leading dimensions are a batch.
        size: of the rectangle, 1 to 4095: one number, or ``(rows, columns)``.

    Returns:
        A tensor like ``image``. uint8: the exact mean rounded to nearest, halves up. Floats are summed in float64; NaN
        and infinite pixels reach the rectangles that hold them, no others. Differentiable for floats.

    Raises:
        ValueError: for wrong shapes or sizes. TypeError: for other dtypes.

    Source: McDonnell, Box-filtering techniques, 1981; van Herk, 1992.

    >>> box_filter(torch.tensor([[0.0, 3.0, 6.0, 9.0]]), (1, 3))
    tensor([[2., 3., 6., 7.]])
    """
    require_tensor("box_filter", image=image)
    rows, columns = (size, size) if isinstance(size, int) else size
    return call(torch.ops.saccade.box_filter, image, rows, columns)


@torch.library.register_fake("saccade::box_filter")
def _(image: Tensor, rows: int, columns: int) -> Tensor:
    return image.new_empty(image.shape)


def _box_filter_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    image, ctx.rows, ctx.columns = inputs
    ctx.height, ctx.width = image.shape[-2:]


def _box_filter_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    down = _means(ctx.height, ctx.rows, grad)
    across = _means(ctx.width, ctx.columns, grad)
    return down.mT @ grad @ across, None, None


def _means(size: int, window: int, like: Tensor) -> Tensor:
    """The filter along one axis as a matrix ``(size, size)``."""
    places = torch.arange(size, device=like.device)[:, None] + torch.arange(window, device=like.device) - window // 2
    if size > 1:
        places = places.remainder(2 * (size - 1))
        places = torch.where(places < size, places, 2 * (size - 1) - places)
    else:
        places = torch.zeros_like(places)
    counts = torch.zeros(size, size, dtype=like.dtype, device=like.device)
    return counts.scatter_add(1, places, torch.ones_like(places, dtype=like.dtype)) / window


torch.library.register_autograd("saccade::box_filter", _box_filter_backward, setup_context=_box_filter_setup)

for _device in ("cpu", "cuda"):
    for _name in ("box_filter", "box_sum"):
        torch.library.register_autocast(f"saccade::{_name}", _device, torch.float32)
