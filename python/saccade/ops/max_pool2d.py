"""Maximum and minimum over sliding windows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from saccade.ops._library import call, refuse_second_derivative, require_tensor
from saccade.ops._pool import Size, images, output_shape, pair, stride_pair
from saccade.ops._roi import is_channels_last, memory_format

__all__ = ["max_pool2d", "min_pool2d"]


def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Take the maximum of each window.

    Args:
        input: ``(N, C, H, W)``, contiguous or channels_last, or ``(C, H, W)``; float16, bfloat16, float32 or float64.
        kernel_size: cells of a window: one number, or ``(height, width)``. So with the sizes below.
        stride: from one window to the next; ``kernel_size`` where None.
        padding: cells around the input, which are never the maximum; at most half of the kernel.
        dilation: from one cell of a window to the next.
        ceil_mode: whether a last window may reach beyond the padded input.
        return_indices: whether to return, too, where each maximum is.

    Returns:
        ``(N, C, out_h, out_w)`` in the dtype and memory format of ``input``; with ``return_indices`` also ``row * W +
        column`` of each maximum, int64. A NaN is larger than every number. The index is that of the first of equal
        maxima in row order (of several NaN: the last), and the gradient goes there; it is the same, bit for bit, for
        any number of threads.

    Raises:
        ValueError: on wrong shapes or sizes; TypeError: on wrong dtypes.

    Source: results equal torch.nn.functional.max_pool2d's.

    >>> ramp = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> max_pool2d(ramp, 2)
    tensor([[[[ 5.,  7.],
              [13., 15.]]]])
    >>> max_pool2d(ramp, 3, stride=2, padding=1, return_indices=True)[1]
    tensor([[[[ 5,  7],
              [13, 15]]]])
    """
    return _pool("max_pool2d", input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def min_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Take the minimum of each window: arguments, results and rules are those of :func:`max_pool2d`.

    >>> min_pool2d(torch.arange(16.0).reshape(1, 1, 4, 4), 2, return_indices=True)
    (tensor([[[[ 0.,  2.],
              [ 8., 10.]]]]), tensor([[[[ 0,  2],
              [ 8, 10]]]]))
    """
    return _pool("min_pool2d", input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _pool(
    op: str,
    input: Tensor,
    kernel_size: Size,
    stride: Size | None,
    padding: Size,
    dilation: Size,
    ceil_mode: bool,
    return_indices: bool,
) -> Tensor | tuple[Tensor, Tensor]:
    require_tensor(op, input=input)
    kernel = pair(op, "kernel_size", kernel_size)
    sizes = stride_pair(op, stride, kernel), pair(op, "padding", padding), pair(op, "dilation", dilation)
    # Indices cost as much memory as two outputs: they are left out where neither the caller nor a gradient needs them.
    indexed = return_indices or (torch.is_grad_enabled() and input.requires_grad)
    operator = getattr(torch.ops.saccade, op)
    output: Tensor
    output, indices = call(operator, images(op, input), kernel, *sizes, ceil_mode, indexed)
    if input.dim() == 3:
        output, indices = output.squeeze(0), indices.squeeze(0)
    return (output, indices) if return_indices else output


def _fake(
    input: Tensor,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    ceil_mode: bool,
    return_indices: bool,
) -> tuple[Tensor, Tensor]:
    shape, layout = output_shape(input, kernel_size, stride, padding, dilation, ceil_mode), memory_format(input)
    output = torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=layout)
    if not return_indices:
        return output, torch.empty(0, dtype=torch.int64, device=input.device)
    return output, torch.empty(shape, dtype=torch.int64, device=input.device, memory_format=layout)


torch.library.register_fake("saccade::max_pool2d")(_fake)
torch.library.register_fake("saccade::min_pool2d")(_fake)


@torch.library.register_fake("saccade::_max_pool2d_backward")
def _(
    grad: Tensor,
    indices: Tensor,
    input_shape: list[int],
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    ceil_mode: bool,
    channels_last: bool,
) -> Tensor:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(input_shape, dtype=grad.dtype, device=grad.device, memory_format=layout)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    input, *ctx.sizes, ctx.indexed = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[1])
    ctx.input_shape, ctx.channels_last = input.shape, is_channels_last(input)


def _backward(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 7
    if not ctx.indexed:
        raise RuntimeError("max_pool2d: a gradient needs return_indices=True")
    (indices,) = ctx.saved_tensors
    grad_input = torch.ops.saccade._max_pool2d_backward(grad, indices, ctx.input_shape, *ctx.sizes, ctx.channels_last)
    return grad_input, *(None,) * 6


torch.library.register_autograd("saccade::max_pool2d", _backward, setup_context=_save)
torch.library.register_autograd("saccade::min_pool2d", _backward, setup_context=_save)
refuse_second_derivative("max_pool2d")
