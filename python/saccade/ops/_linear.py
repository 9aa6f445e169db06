"""A fully connected layer as a convolution, on the convolution's kernels."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional

from saccade._native import numpy_module
from saccade.ops._activation import ACTIVATIONS, Activation, activate
from saccade.ops._library import call
from saccade.ops._packed import packed_weight
from saccade.ops._roi import is_channels_last

__all__ = ["linear_fused", "linear_of_maps"]

_ROWS = 16  # fewer are bound by reading the weight, at which torch's matrix product is as good


def linear_fused(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    residual: Tensor | None = None,
    activation: Activation = None,
) -> Tensor:
    """``activation(linear(input, weight, bias) + residual)``, in one pass where that is faster.

    That is with AVX-512: torch's product runs at 40 % of a Zen 5's multiply-add peak (its library takes 256-bit
    instructions on AMD), ours at 70 to 90 %. With less, torch's is as good.

    Args:
        input: ``(..., in_features)``.
        weight: ``(out_features, in_features)``.
        bias: ``(out_features,)`` or None.
        residual: added before the activation; of the shape and dtype of the result.
        activation: as for :func:`conv2d_fused`.

    Returns:
        ``(..., out_features)``.
    """
    fits = input.dim() > 1 and weight.dim() == 2 and input.shape[-1] == weight.shape[1] > 1
    if fits and input.numel() >= _ROWS * input.shape[-1] and _plain(input, weight, bias, residual):
        shape = (*input.shape[:-1], len(weight))
        if residual is None or residual.shape == shape:
            added = None if residual is None else _row(residual)
            result = _convolve(_row(input), weight, bias, added, activation)
            if result is not None:
                return result.permute(0, 2, 3, 1).reshape(shape)
    output = functional.linear(input, weight, bias)
    return activate(output if residual is None else output + residual, activation)


def linear_of_maps(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, *, activation: Activation = None
) -> Tensor:
    """The same of ``input.flatten(1)``; channels_last maps ``(N, C, H, W)`` need not be put into its order."""
    maps = input.dim() == 4 and len(input) >= _ROWS and is_channels_last(input) and _plain(input, weight, bias)
    if maps and weight.dim() == 2 and weight.shape[1] == input[0].numel():
        result = _convolve(input, weight, bias, None, activation)
        if result is not None:
            return result.flatten(1)
    return linear_fused(input.flatten(1), weight, bias, activation=activation)


@functools.cache
def _wide() -> bool:
    return bool(numpy_module.active_isa().startswith("avx512"))


def _plain(*tensors: Tensor | None) -> bool:
    if not _wide():
        return False
    there = [tensor for tensor in tensors if tensor is not None]
    if torch.is_autocast_enabled("cpu") or (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in there)):
        return False
    return all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in there)


def _row(values: Tensor) -> Tensor:
    """``(..., C)`` as an image of one row, ``(1, C, 1, rows)``, channels_last."""
    return values.contiguous().view(1, 1, -1, values.shape[-1]).permute(0, 3, 1, 2)


def _convolve(
    image: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, activation: Activation
) -> Tensor | None:
    """With a kernel as large as maps, 1x1 for a row; None where the weight cannot be kept in the kernels' order."""
    height, width = (1, 1) if weight.shape[1] == image.shape[1] else image.shape[2:]
    kernel = weight.view(len(weight), image.shape[1], height, width)
    sizes = [1, 1], [0, 0, 0, 0], [1, 1], 1, 0

    def pack() -> Tensor:
        packed: Tensor = call(torch.ops.saccade._conv2d_pack, kernel, list(image.shape), True, *sizes)
        return packed

    packed = packed_weight(weight, ("linear", height, width), pack)
    if packed is None:
        return None
    output: Tensor = call(
        torch.ops.saccade.conv2d_fused, image, kernel, bias, packed, *sizes, None, None, residual,
        ACTIVATIONS[activation],
    )  # fmt: skip
    return output
