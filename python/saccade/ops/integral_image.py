"""Integral images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from saccade.ops._library import call, require_tensor

__all__ = ["integral_image"]


def integral_image(image: Tensor, squared: bool = False, tilted: bool = False) -> Tensor | tuple[Tensor, ...]:
    """Sums of all pixels above and to the left of each point (a summed-area table).

    Args:
        image: ``(..., H, W)``: bool, uint8, int32, float32 or float64; leading dimensions are a batch.
        squared: also return the sums of squared pixels.
        tilted: also return the sums over triangles: entry ``(Y, X)`` adds the pixels ``(x, y)`` with ``y < Y`` and
            ``|x - (X - 1)| <= Y - 1 - y``, from which sums over rectangles turned by 45 degrees follow.

    Returns:
        ``(..., H + 1, W + 1)`` sums, row 0 and column 0 being zero; with ``squared`` or ``tilted`` a tuple of sums,
        squared, tilted, as far as asked for. Sums are int32 for bool and uint8, int64 for int32, float64 for floats;
        squares always float64. Integers wrap around. Differentiable for floats.

    Raises:
        ValueError: if ``image`` has fewer than two dimensions or more than 2**40 pixels. TypeError: for other dtypes.

    Source: Crow, Summed-area tables for texture mapping, 1984; Viola and Jones, 2001; tilted: Lienhart and Maydt, 2002.

    >>> integral_image(torch.ones(2, 3, dtype=torch.uint8))
    tensor([[0, 0, 0, 0],
            [0, 1, 2, 3],
            [0, 2, 4, 6]], dtype=torch.int32)
    """
    require_tensor("integral_image", image=image)
    sums, squares, slanted = call(torch.ops.saccade.integral_image, image, squared, tilted)
    if not (squared or tilted):
        return sums
    return (sums, *([squares] if squared else []), *([slanted] if tilted else []))


_DTYPES = {torch.bool: torch.int32, torch.uint8: torch.int32, torch.int32: torch.int64}


@torch.library.register_fake("saccade::integral_image")
def _(image: Tensor, squared: bool = False, tilted: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    shape = (*image.shape[:-2], image.shape[-2] + 1, image.shape[-1] + 1)
    dtype = _DTYPES.get(image.dtype, torch.float64)
    return (
        image.new_empty(shape, dtype=dtype),
        image.new_empty(shape if squared else (0,), dtype=torch.float64),
        image.new_empty(shape if tilted else (0,), dtype=dtype),
    )


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    image, ctx.squared, ctx.tilted = inputs
    if ctx.squared:
        ctx.save_for_backward(image)
    ctx.dtype = image.dtype


def _backward(ctx: Any, grad_sum: Tensor, grad_square: Tensor, grad_tilted: Tensor) -> tuple[Tensor, None, None]:
    """Each pixel collects from the sums that it is in: integral images of the gradients from the other end."""
    grad = _reverse_sums(grad_sum)
    if ctx.squared:
        (image,) = ctx.saved_tensors
        grad = grad + 2 * image.to(torch.float64) * _reverse_sums(grad_square)
    if ctx.tilted:
        # The triangle below a pixel is one above it once rows are turned round; column X sums around pixel X - 1.
        turned = grad_tilted[..., 1:, :].flip(-2)
        grad = grad + torch.ops.saccade.integral_image(turned, False, True)[2][..., 1:, 2:].flip(-2)
    return grad.to(ctx.dtype), None, None


def _reverse_sums(grad: Tensor) -> Tensor:
    return torch.ops.saccade.integral_image(grad[..., 1:, 1:].flip(-1, -2))[0][..., 1:, 1:].flip(-1, -2)


torch.library.register_autograd("saccade::integral_image", _backward, setup_context=_setup)

for _device in ("cpu", "cuda"):
    torch.library.register_autocast("saccade::integral_image", _device, torch.float32)
