"""2-D convolution, with an affine map per channel, a residual and an activation in the same pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from saccade.ops._activation import ACTIVATIONS, Activation, activate, require_activation
from saccade.ops._conv import (
    ALGORITHMS,
    Algorithm,
    choose,
    choose_weight_gradient,
    output_shape,
    set_conv_precision,
    sides,
)
from saccade.ops._library import call, refuse_second_derivative, require_tensor
from saccade.ops._packed import packed_weight
from saccade.ops._pool import Size, images, pair
from saccade.ops._roi import is_channels_last, memory_format

__all__ = ["conv2d", "conv2d_fused", "explain_conv2d", "set_conv_precision"]

Padding = Size | Literal["same", "valid"]


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    algorithm: Algorithm | None = None,
) -> Tensor:
    """Convolve (cross-correlate) images with the weights of each output channel.

    Args:
        input: ``(N, C, H, W)``, contiguous or channels_last, or ``(C, H, W)``; float16, bfloat16, float32 or float64.
        weight: ``(out_channels, C / groups, kernel_h, kernel_w)``, of the dtype of ``input``.
        bias: ``(out_channels,)``, or None; of that dtype or, beside halves, float32.
        stride: from one window to the next: one number, or ``(along the rows, along the columns)``. So with the
            sizes below.
        padding: rows and columns of zeros around the input; ``"valid"`` is 0, ``"same"`` keeps the size with stride 1
            (where that takes an odd number of them, one more after than before).
        dilation: from one cell of a window to the next.
        groups: into how many groups the channels are divided; each output channel sees one.
        algorithm: how to compute it, of the names that :func:`explain_conv2d` gives; None chooses.

    Returns:
        ``(N, out_channels, out_h, out_w)`` in the dtype and memory format of ``input``; the same, bit for bit, for any
        number of threads. Halves are accumulated in float32. Differentiable once with respect to ``input``, ``weight``
        and ``bias``. The weight is put into the order of the kernels once and kept until it changes; a change through
        ``weight.data``, which torch does not count, goes unseen.

    Raises:
        ValueError: on wrong shapes or sizes; TypeError: on wrong dtypes.

    Source: results are those of torch.nn.functional.conv2d up to rounding.

    >>> ramp = torch.arange(9.0).reshape(1, 1, 3, 3)
    >>> conv2d(ramp, torch.ones(1, 1, 2, 2))
    tensor([[[[ 8., 12.],
              [20., 24.]]]])
    """
    arguments = _arguments("conv2d", input, weight, bias, stride, padding, dilation, groups, algorithm)
    output: Tensor = call(torch.ops.saccade.conv2d, *arguments)
    return output.squeeze(0) if input.dim() == 3 else output


def conv2d_fused(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    residual: Tensor | None = None,
    activation: Activation = None,
    algorithm: Algorithm | None = None,
) -> Tensor:
    """Convolve and finish in the same pass: ``activation((conv2d(...) + bias) * scale + shift + residual)``.

    Args:
        input, weight, bias, stride, padding, dilation, groups, algorithm: as for :func:`conv2d`.
        scale, shift: ``(out_channels,)``, or None for 1 and 0: a folded batch normalisation.
        residual: added before the activation; of the shape and dtype of the result.
        activation: ``"relu"``, ``"leaky_relu"`` (slope 0.01), ``"elu"``, ``"sigmoid"`` or None.

    Returns:
        As :func:`conv2d`. Where a gradient is needed the steps are taken one by one.

    >>> ramp = torch.arange(9.0).reshape(1, 1, 3, 3)
    >>> conv2d_fused(ramp, torch.ones(1, 1, 2, 2), shift=torch.tensor([-13.0]), activation="relu")
    tensor([[[[ 0.,  0.],
              [ 7., 11.]]]])
    """
    require_tensor("conv2d_fused", input=input, weight=weight)
    require_activation("conv2d_fused", activation)
    tensors = [tensor for tensor in (input, weight, bias, scale, shift, residual) if tensor is not None]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        result = conv2d(input, weight, bias, stride, padding, dilation, groups, algorithm=algorithm)
        if scale is not None:
            result = result * scale.to(result.dtype)[:, None, None]
        if shift is not None:
            result = result + shift.to(result.dtype)[:, None, None]
        return activate(result if residual is None else result + residual, activation)
    arguments = _arguments("conv2d_fused", input, weight, bias, stride, padding, dilation, groups, algorithm)
    if residual is not None:
        residual = images("conv2d_fused", residual)
    output: Tensor = call(torch.ops.saccade.conv2d_fused, *arguments, scale, shift, residual, ACTIVATIONS[activation])
    return output.squeeze(0) if input.dim() == 3 else output


def conv2d_fused_out(
    out: Callable[[torch.dtype, list[int]], Tensor],
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    residual: Tensor | None = None,
    activation: Activation = None,
) -> Tensor:
    """As :func:`conv2d_fused`, into the tensor that ``out`` gives for a dtype and a shape. Without gradients.

    That tensor lies as ``input`` does, and is not part of it; with one group it may be the residual.
    """
    batch, weight, bias, packed, *sizes = _arguments(
        "conv2d_fused", input, weight, bias, stride, padding, dilation, groups, None
    )
    result = out(batch.dtype, output_shape(batch, weight, *sizes[:3]))
    further = scale, shift, residual, ACTIVATIONS[activation], result
    call(torch.ops.saccade._conv2d_fused_out, batch, weight, bias, packed, *sizes, *further)
    return result


def explain_conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> str:
    """Say which algorithm :func:`conv2d` takes for these arguments, and why.

    >>> explain_conv2d(torch.zeros(1, 64, 56, 56), torch.zeros(64, 64, 1, 1))
    "gemm: Winograd's algorithm needs a 3 x 3 kernel and stride 1"
    """
    steps, dilations = pair("conv2d", "stride", stride), pair("conv2d", "dilation", dilation)
    margins = sides("conv2d", padding, weight, steps, dilations)
    choice = choose(images("conv2d", input), weight, steps, margins, dilations, groups)
    return f"{choice.algorithm}: {choice.reason}"


def _arguments(
    op: str,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Size,
    padding: Padding,
    dilation: Size,
    groups: int,
    algorithm: Algorithm | None,
) -> tuple[Any, ...]:
    require_tensor(op, input=input, weight=weight)
    if torch.is_autocast_enabled(input.device.type):
        dtype = torch.get_autocast_dtype(input.device.type)
        input, weight = input.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    batch = images(op, input)
    steps, dilations = pair(op, "stride", stride), pair(op, "dilation", dilation)
    margins = sides(op, padding, weight, steps, dilations)
    if algorithm is None:
        algorithm = choose(batch, weight, steps, margins, dilations, groups).algorithm
    elif algorithm not in ALGORITHMS:
        raise ValueError(f"{op}: algorithm must be None or one of {', '.join(ALGORITHMS)}, got {algorithm!r}")
    number = ALGORITHMS[algorithm]
    sizes = steps, margins, dilations, groups, number
    last = is_channels_last(batch)

    def pack() -> Tensor:
        try:
            packed: Tensor = call(torch.ops.saccade._conv2d_pack, weight, list(batch.shape), last, *sizes)
        except (ValueError, TypeError) as error:
            raise type(error)(op + str(error).removeprefix("conv2d")) from None
        return packed

    packed = packed_weight(weight, (number, last, groups), pack)
    return batch, weight, bias, packed, *sizes


@torch.library.register_fake("saccade::conv2d")
def _(
    input: Tensor, weight: Tensor, bias: Tensor | None, packed: Tensor | None, stride: list[int], padding: list[int],
    dilation: list[int], groups: int, algorithm: int,
) -> Tensor:  # fmt: skip
    shape = output_shape(input, weight, stride, padding, dilation)
    return torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=memory_format(input))


@torch.library.register_fake("saccade::conv2d_fused")
def _(
    input: Tensor, weight: Tensor, bias: Tensor | None, packed: Tensor | None, stride: list[int], padding: list[int],
    dilation: list[int], groups: int, algorithm: int, scale: Tensor | None, shift: Tensor | None,
    residual: Tensor | None, activation: int,
) -> Tensor:  # fmt: skip
    shape = output_shape(input, weight, stride, padding, dilation)
    return torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=memory_format(input))


@torch.library.register_fake("saccade::_conv2d_fused_out")
def _(*_: Any) -> None:
    return None


@torch.library.register_fake("saccade::_conv2d_pack")
def _(
    weight: Tensor, input_shape: list[int], channels_last: bool, stride: list[int], padding: list[int],
    dilation: list[int], groups: int, algorithm: int,
) -> Tensor:  # fmt: skip
    # How much room the order takes is the kernels' affair.
    return weight.new_empty((torch.library.get_ctx().new_dynamic_size(),))


@torch.library.register_fake("saccade::_conv2d_backward")
def _(
    grad: Tensor, input: Tensor, weight: Tensor, stride: list[int], padding: list[int], dilation: list[int],
    groups: int, needed: list[bool], algorithm: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return (
        torch.empty(input.shape, dtype=input.dtype, device=input.device, memory_format=memory_format(input))
        if needed[0]
        else input.new_empty((0,)),
        torch.empty(weight.shape, dtype=weight.dtype, device=weight.device, memory_format=memory_format(weight))
        if needed[1]
        else weight.new_empty((0,)),
        weight.new_empty((weight.shape[0],)) if needed[2] else weight.new_empty((0,)),
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, weight, bias, _, ctx.stride, ctx.padding, ctx.dilation, ctx.groups, ctx.algorithm = inputs
    ctx.bias_dtype = None if bias is None else bias.dtype
    ctx.save_for_backward(input, weight)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    input, weight = ctx.saved_tensors
    needed = list(ctx.needs_input_grad[:3])
    grad_of_input = _winograd_backward_input(ctx, grad, input, weight) if needed[0] else None
    needed[0] = needed[0] and grad_of_input is None
    algorithm: Algorithm = "gemm"
    if ctx.algorithm != ALGORITHMS["gemm"]:
        algorithm = choose_weight_gradient(input, weight, ctx.stride, ctx.padding, ctx.dilation)
    grads = torch.ops.saccade._conv2d_backward(
        grad, input, weight, ctx.stride, ctx.padding, ctx.dilation, ctx.groups, needed, ALGORITHMS[algorithm]
    )
    grad_input, grad_weight, grad_bias = (g if need else None for g, need in zip(grads, needed, strict=True))
    if grad_bias is not None:
        grad_bias = grad_bias.to(ctx.bias_dtype)
    return grad_input if grad_of_input is None else grad_of_input, grad_weight, grad_bias, *(None,) * 6


def _winograd_backward_input(ctx: Any, grad: Tensor, input: Tensor, weight: Tensor) -> Tensor | None:
    """The convolution of the gradient with the weights turned around, where Winograd's algorithm is faster at it."""
    margins = [2 * ctx.dilation[i // 2] - ctx.padding[i] for i in range(4)]
    if ctx.algorithm == ALGORITHMS["gemm"] or min(margins) < 0:
        return None
    group = weight.unflatten(0, (ctx.groups, -1))
    shape = weight.new_empty((input.shape[1], group.shape[1], *weight.shape[2:]))  # all that the choice needs
    algorithm = choose(grad, shape, ctx.stride, margins, ctx.dilation, ctx.groups, fresh=True).algorithm
    if algorithm == "gemm":
        return None
    turned = group.transpose(1, 2).flatten(0, 1).flip(2, 3)
    layout = memory_format(input)
    grad = grad.contiguous(memory_format=layout)
    number = ALGORITHMS[algorithm]
    grad_input: Tensor = torch.ops.saccade.conv2d(
        grad, turned, None, None, ctx.stride, margins, ctx.dilation, ctx.groups, number
    )
    return grad_input.contiguous(memory_format=layout)


torch.library.register_autograd("saccade::conv2d", _backward, setup_context=_save)

refuse_second_derivative("conv2d")
