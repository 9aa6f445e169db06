"""Means over sliding windows, and over as many windows as are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from saccade.ops._library import call, refuse_second_derivative, require_tensor
from saccade.ops._pool import Size, images, output_shape, pair, stride_pair
from saccade.ops._roi import is_channels_last, memory_format

__all__ = ["adaptive_avg_pool2d", "avg_pool2d"]


def avg_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Take the mean of each window.

    Args:
        input: ``(N, C, H, W)``, contiguous or channels_last, or ``(C, H, W)``; float16, bfloat16, float32 or float64.
        kernel_size: cells of a window: one number, or ``(height, width)``. So with the sizes below.
        stride: from one window to the next; ``kernel_size`` where None.
        padding: cells around the input, which are zero; at most half of the kernel.
        ceil_mode: whether a last window may reach beyond the padded input, where it counts no cell.
        count_include_pad: whether the cells of the padding count.
        divisor_override: what to divide the sums by instead of the number of cells; not 0.

    Returns:
        ``(N, C, out_h, out_w)`` in the dtype and memory format of ``input``; halves are summed in float32. Results and
        gradients are the same, bit for bit, for any number of threads.

    Raises:
        ValueError: on wrong shapes or sizes; TypeError: on wrong dtypes.

    Source: results equal torch.nn.functional.avg_pool2d's, but for the order of the sums.

    >>> ramp = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> avg_pool2d(ramp, 2)
    tensor([[[[ 2.5000,  4.5000],
              [10.5000, 12.5000]]]])
    >>> avg_pool2d(ramp, 3, stride=2, padding=1, count_include_pad=False)
    tensor([[[[ 2.5000,  4.0000],
              [ 8.5000, 10.0000]]]])
    """
    require_tensor("avg_pool2d", input=input)
    kernel = pair("avg_pool2d", "kernel_size", kernel_size)
    sizes = kernel, stride_pair("avg_pool2d", stride, kernel), pair("avg_pool2d", "padding", padding)
    batch = images("avg_pool2d", input)
    output: Tensor = call(torch.ops.saccade.avg_pool2d, batch, *sizes, ceil_mode, count_include_pad, divisor_override)
    return output.squeeze(0) if input.dim() == 3 else output


def adaptive_avg_pool2d(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """Take the means of ``output_size`` windows, which cover the input.

    Args:
        input: ``(N, C, H, W)``, contiguous or channels_last, or ``(C, H, W)``; float16, bfloat16, float32 or float64.
        output_size: one number, or ``(out_h, out_w)``; None stands for the length of the input. Along each axis window
            ``p`` holds the cells from ``floor(p * length / out)`` up to ``ceil((p + 1) * length / out)``.

    Returns:
        ``(N, C, out_h, out_w)`` in the dtype and memory format of ``input``; halves are summed in float32. Results and
        gradients are the same, bit for bit, for any number of threads.

    Raises:
        ValueError: on wrong shapes or sizes; TypeError: on wrong dtypes.

    Source: results equal torch.nn.functional.adaptive_avg_pool2d's, but for the order of the sums.

    >>> ramp = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> adaptive_avg_pool2d(ramp, 1)
    tensor([[[[7.5000]]]])
    >>> adaptive_avg_pool2d(ramp, (None, 3))
    tensor([[[[ 0.5000,  1.5000,  2.5000],
              [ 4.5000,  5.5000,  6.5000],
              [ 8.5000,  9.5000, 10.5000],
              [12.5000, 13.5000, 14.5000]]]])
    """
    require_tensor("adaptive_avg_pool2d", input=input)
    batch = images("adaptive_avg_pool2d", input)
    asked = list(output_size) if isinstance(output_size, Sequence) else [output_size, output_size]
    if len(asked) != 2:
        got = tuple(asked)
        raise ValueError(f"adaptive_avg_pool2d: output_size must be an int or a pair of ints, got {got}")
    size = [length if out is None else out for out, length in zip(asked, batch.shape[2:], strict=True)]
    output: Tensor = call(torch.ops.saccade.adaptive_avg_pool2d, batch, size)
    return output.squeeze(0) if input.dim() == 3 else output


@torch.library.register_fake("saccade::avg_pool2d")
def _(
    input: Tensor,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    shape = output_shape(input, kernel_size, stride, padding, [1, 1], ceil_mode)
    return torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=memory_format(input))


@torch.library.register_fake("saccade::adaptive_avg_pool2d")
def _(input: Tensor, output_size: list[int]) -> Tensor:
    shape = [*input.shape[:2], *output_size]
    return torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=memory_format(input))


def _fake_gradient(grad: Tensor, input_shape: list[int], *rest: Any) -> Tensor:
    layout = torch.channels_last if rest[-1] else torch.contiguous_format
    return torch.empty(input_shape, dtype=grad.dtype, device=grad.device, memory_format=layout)


torch.library.register_fake("saccade::_avg_pool2d_backward")(_fake_gradient)
torch.library.register_fake("saccade::_adaptive_avg_pool2d_backward")(_fake_gradient)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, *ctx.arguments = inputs
    ctx.input_shape, ctx.channels_last = input.shape, is_channels_last(input)


def _sliding_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    operator = torch.ops.saccade._avg_pool2d_backward
    return operator(grad, ctx.input_shape, *ctx.arguments, ctx.channels_last), *(None,) * 6


def _adaptive_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    operator = torch.ops.saccade._adaptive_avg_pool2d_backward
    return operator(grad, ctx.input_shape, *ctx.arguments, ctx.channels_last), None


torch.library.register_autograd("saccade::avg_pool2d", _sliding_backward, setup_context=_save)
torch.library.register_autograd("saccade::adaptive_avg_pool2d", _adaptive_backward, setup_context=_save)
refuse_second_derivative("avg_pool2d")
refuse_second_derivative("adaptive_avg_pool2d")
