"""2-D transposed convolution."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from saccade.ops._activation import ACTIVATIONS, Activation, activate
from saccade.ops._library import call, refuse_second_derivative, require_tensor
from saccade.ops._packed import packed_weight
from saccade.ops._pool import Size, images, pair
from saccade.ops._roi import is_channels_last, memory_format

__all__ = ["conv_transpose2d"]


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """Add up the weights of each cell, times its value, in windows of the output: learned up-sampling.

    Args:
        input: ``(N, C, H, W)``, contiguous or channels_last, or ``(C, H, W)``; float16, bfloat16, float32 or float64.
        weight: ``(C, out_channels / groups, kernel_h, kernel_w)``, of the dtype of ``input``.
        bias: ``(out_channels,)``, or None; of that dtype or, beside halves, float32.
        stride: from one cell's window to the next one's: one number, or ``(along the rows, along the columns)``. So
            with the sizes below.
        padding: rows and columns that are cut off the output on each side.
        output_padding: rows and columns more at the bottom and on the right; less than ``stride`` or ``dilation``.
        groups: into how many groups the channels are divided; each output channel sees one.
        dilation: from one cell of a window to the next.

    Returns:
        ``(N, out_channels, out_h, out_w)`` with ``out_h = (H - 1) * stride - 2 * padding + dilation * (kernel_h - 1) +
        output_padding + 1``, in the dtype and memory format of ``input``; the same, bit for bit, for any number of
        threads. Halves are accumulated in float32. Differentiable once with respect to ``input``, ``weight`` and
        ``bias``. The weight is put into the order of the kernels once and kept until it changes; a change through
        ``weight.data``, which torch does not count, goes unseen.

    Raises:
        ValueError: on wrong shapes or sizes; TypeError: on wrong dtypes.

    Source: results are those of torch.nn.functional.conv_transpose2d up to rounding.

    >>> conv_transpose2d(torch.tensor([[[[1.0, 2.0]]]]), torch.ones(1, 1, 2, 4), stride=2, padding=(0, 1))
    tensor([[[[1., 3., 3., 2.],
              [1., 3., 3., 2.]]]])
    """
    arguments = _arguments(input, weight, bias, stride, padding, output_padding, groups, dilation)
    output: Tensor = call(torch.ops.saccade.conv_transpose2d, *arguments)
    return output.squeeze(0) if input.dim() == 3 else output


def conv_transpose2d_fused(
    input: Tensor, *args: Any, scale: Tensor | None, shift: Tensor | None, activation: Activation, **kwargs: Any
) -> Tensor:
    """``activation(conv_transpose2d(...) * scale + shift)``, scale and shift per channel, for accelerated models."""
    tensors = [t for t in (input, *args, *kwargs.values(), scale, shift) if isinstance(t, Tensor)]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        result = conv_transpose2d(input, *args, **kwargs)
        if scale is not None and shift is not None:
            result = result * scale.to(result.dtype)[:, None, None] + shift.to(result.dtype)[:, None, None]
        return activate(result, activation)
    arguments = _arguments(input, *args, **kwargs)
    output: Tensor = call(
        torch.ops.saccade._conv_transpose2d_fused, *arguments, scale, shift, ACTIVATIONS[activation]
    )  # fmt: skip
    return output.squeeze(0) if input.dim() == 3 else output


def _arguments(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> tuple[Any, ...]:
    op = "conv_transpose2d"
    require_tensor(op, input=input, weight=weight)
    if torch.is_autocast_enabled(input.device.type):
        dtype = torch.get_autocast_dtype(input.device.type)
        input, weight = input.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    batch = images(op, input)
    names = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    steps, margins, more, dilations = (pair(op, name, size) for name, size in names.items())
    sizes = steps, margins, more, groups, dilations
    last = is_channels_last(batch)

    def pack() -> Tensor:
        packed: Tensor = call(torch.ops.saccade._conv_transpose2d_pack, weight, list(batch.shape), last, *sizes)
        return packed

    # The order of the weights depends on which taps meet, which these sizes say, not on the image.
    packed = packed_weight(weight, (op, last, groups, *steps, *margins, *dilations), pack)
    return batch, weight, bias, packed, *sizes


@torch.library.register_fake("saccade::conv_transpose2d")
def _(
    input: Tensor, weight: Tensor, bias: Tensor | None, packed: Tensor | None, stride: list[int], padding: list[int],
    output_padding: list[int], groups: int, dilation: list[int],
) -> Tensor:  # fmt: skip
    return _empty_output(input, weight, stride, padding, output_padding, groups, dilation)


@torch.library.register_fake("saccade::_conv_transpose2d_fused")
def _(
    input: Tensor, weight: Tensor, bias: Tensor | None, packed: Tensor | None, stride: list[int], padding: list[int],
    output_padding: list[int], groups: int, dilation: list[int], scale: Tensor | None, shift: Tensor | None,
    activation: int,
) -> Tensor:  # fmt: skip
    return _empty_output(input, weight, stride, padding, output_padding, groups, dilation)


def _empty_output(
    input: Tensor, weight: Tensor, stride: list[int], padding: list[int], output_padding: list[int], groups: int,
    dilation: list[int],
) -> Tensor:  # fmt: skip
    shape = [input.shape[0], weight.shape[1] * groups]
    for d in range(2):
        reach = dilation[d] * (weight.shape[2 + d] - 1) + 1
        shape.append((input.shape[2 + d] - 1) * stride[d] - 2 * padding[d] + reach + output_padding[d])
    return torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=memory_format(input))


@torch.library.register_fake("saccade::_conv_transpose2d_pack")
def _(
    weight: Tensor, input_shape: list[int], channels_last: bool, stride: list[int], padding: list[int],
    output_padding: list[int], groups: int, dilation: list[int],
) -> Tensor:  # fmt: skip
    # How much room the order takes is the kernels' affair.
    return weight.new_empty((torch.library.get_ctx().new_dynamic_size(),))


@torch.library.register_fake("saccade::_conv_transpose2d_backward")
def _(
    grad: Tensor, input: Tensor, weight: Tensor, stride: list[int], padding: list[int], output_padding: list[int],
    groups: int, dilation: list[int], needed: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return (
        torch.empty(input.shape, dtype=input.dtype, device=input.device, memory_format=memory_format(input))
        if needed[0]
        else input.new_empty((0,)),
        weight.new_empty(weight.shape) if needed[1] else weight.new_empty((0,)),
        weight.new_empty((weight.shape[1] * groups,)) if needed[2] else weight.new_empty((0,)),
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, weight, bias, _, *ctx.sizes = inputs
    ctx.bias_dtype = None if bias is None else bias.dtype
    ctx.save_for_backward(input, weight)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    input, weight = ctx.saved_tensors
    needed = list(ctx.needs_input_grad[:3])
    grads = torch.ops.saccade._conv_transpose2d_backward(grad, input, weight, *ctx.sizes, needed)
    grad_input, grad_weight, grad_bias = (g if need else None for g, need in zip(grads, needed, strict=True))
    if grad_bias is not None:
        grad_bias = grad_bias.to(ctx.bias_dtype)
    return grad_input, grad_weight, grad_bias, *(None,) * 6


torch.library.register_autograd("saccade::conv_transpose2d", _backward, setup_context=_save)


refuse_second_derivative("conv_transpose2d")
