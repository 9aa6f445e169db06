"""What rewritten graphs call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from saccade import ops
from saccade._accelerate.memory import Memory
from saccade.ops import _linear
from saccade.ops._activation import Activation, activate
from saccade.ops._folded import folded_batch_norm
from saccade.ops._roi import is_channels_last
from saccade.ops.conv2d import conv2d_fused_out
from saccade.ops.conv_transpose2d import conv_transpose2d_fused

# Running mean and variance, weight, bias, eps.
Norm: TypeAlias = tuple[Tensor, Tensor, Tensor | None, Tensor | None, float]


def channels_last(input: Tensor) -> Tensor:
    """The same values, a pixel's channels side by side: what the kernels are fastest with."""
    if input.dim() != 4 or input.is_contiguous(memory_format=torch.channels_last):
        return input
    return input.contiguous(memory_format=torch.channels_last)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    norm: Norm | None = None,
    residual: Any = None,
    activation: Activation = None,
    in_place: bool = False,
    memory: Memory | None = None,
) -> Tensor:
    """A convolution and what was fused into it.

    Args:
        in_place: whether the residual may be written over.
        memory: for the result.
    """
    input = channels_last(input)
    scale, shift = (None, None) if norm is None else folded_batch_norm(*norm)
    sizes = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if memory is not None and not _is_overwritable(input, (weight, bias, scale, shift)):
        memory = None

    def run(residual: Any, activation: Activation) -> Tensor:
        fused = {**sizes, "scale": scale, "shift": shift, "residual": residual, "activation": activation}
        if memory is None:
            return ops.conv2d_fused(input, weight, bias, **fused)
        over = in_place and residual is not None and _is_overwritable(residual)
        return conv2d_fused_out((lambda *_: residual) if over else memory.channels_last, input, weight, bias, **fused)

    return _with_residual(run, residual, activation)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    norm: Norm | None = None,
    residual: Any = None,
    activation: Activation = None,
    **sizes: Any,
) -> Tensor:
    """A transposed convolution and what was fused into it."""
    scale, shift = (None, None) if norm is None else folded_batch_norm(*norm)
    now = activation if residual is None else None
    result = conv_transpose2d_fused(
        channels_last(input), weight, bias, **sizes, scale=scale, shift=shift, activation=now
    )  # fmt: skip
    return result if residual is None else activate(result + residual, activation)


def batch_norm(input: Tensor, norm: Norm, *, residual: Any = None, activation: Activation = None) -> Tensor:
    """A batch normalisation with fixed statistics and what was fused into it."""
    mean, var, weight, bias, eps = norm

    def run(residual: Any, activation: Activation) -> Tensor:
        return ops.batch_norm(
            input, mean, var, weight, bias, False, 0.0, eps, residual=residual, activation=activation
        )  # fmt: skip

    return _with_residual(run, residual, activation)


def linear(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, *, residual: Any = None, activation: Activation = None
) -> Tensor:
    """A fully connected layer and what was fused into it."""

    def run(residual: Any, activation: Activation) -> Tensor:
        return _linear.linear_fused(input, weight, bias, residual=residual, activation=activation)

    return _with_residual(run, residual, activation)


def linear_of_maps(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, *, residual: Any = None, activation: Activation = None
) -> Tensor:
    """The same of ``input.flatten(1)``."""
    if residual is not None:
        return linear(input.flatten(1), weight, bias, residual=residual, activation=activation)
    return _linear.linear_of_maps(input, weight, bias, activation=activation)


def add_enlarged(input: Tensor, coarse: Tensor, size: Any) -> Tensor:
    """``input + interpolate(coarse, size)``, by nearest neighbours, written over ``input`` where that saves memory.

    A pyramid's maps are twice as large from one level to the next: then the sum needs no enlarged map.
    """
    doubled = input.dim() == coarse.dim() == 4 and input.shape == (
        *coarse.shape[:2], 2 * coarse.shape[2], 2 * coarse.shape[3],
    )  # fmt: skip
    wanted = isinstance(size, (tuple, list)) and tuple(size) == input.shape[2:]
    if not (doubled and wanted and input.dtype == coarse.dtype and _is_overwritable(input, (coarse,))):
        return input + functional.interpolate(coarse, size)
    input.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).add_(coarse[:, :, :, None, :, None])
    return input


def _is_overwritable(value: Tensor, others: tuple[Tensor | None, ...] = ()) -> bool:
    """Whether a value that nothing reads later may be written over: on the CPU, channels_last, without gradients, and
    where nobody follows the operators from result to result (tracing, torch.func, dispatch modes)."""
    if torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None:
        return False
    if torch._C._len_torch_dispatch_stack() > 0:
        return False
    tensors = [tensor for tensor in (value, *others) if tensor is not None]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return False
    return type(value) is Tensor and value.device.type == "cpu" and value.dim() == 4 and is_channels_last(value)


def _with_residual(run: Callable[[Any, Activation], Tensor], residual: Any, activation: Activation) -> Tensor:
    if residual is None:
        return run(None, activation)
    if isinstance(residual, Tensor):
        try:
            return run(residual, activation)
        except (TypeError, ValueError):
            pass
    # The sum broadcasts or promotes, which a graph without shapes does not tell.
    return activate(run(None, None) + residual, activation)


def max_pool2d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Tensor:
    """A maximum pooling; an empty stride, as ATen writes it, is the kernel's size."""
    pooled = ops.max_pool2d(channels_last(input), kernel_size, stride or None, padding, dilation, ceil_mode)
    assert isinstance(pooled, Tensor)
    return pooled


def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """A mean over windows."""
    return ops.avg_pool2d(
        channels_last(input), kernel_size, stride or None, padding, ceil_mode, count_include_pad, divisor_override
    )


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """A mean over as many windows as are asked for."""
    return ops.adaptive_avg_pool2d(channels_last(input), output_size)
