"""Batch normalisation, with a residual and an activation in the same pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from saccade.ops._activation import ACTIVATIONS, Activation, require_activation
from saccade.ops._library import call, refuse_second_derivative, require_tensor
from saccade.ops._roi import memory_format

__all__ = ["batch_norm"]


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    residual: Tensor | None = None,
    activation: Activation = None,
) -> Tensor:
    """Normalise each channel: ``activation((input - mean) / sqrt(var + eps) * weight + bias + residual)``.

    Args:
        input: ``(N, C)``, ``(N, C, L)`` or ``(N, C, H, W)``; float16, bfloat16, float32 or float64.
        running_mean, running_var: ``(C,)``. In training they take ``momentum`` of the batch's mean and unbiased
            variance, in place, or are both None; in evaluation they are what is used.
        weight, bias: ``(C,)``, or None for 1 and 0. All parameters are of the input's dtype, or float32 beside halves.
        training: use the statistics of the batch.
        momentum: share of the batch in the new running statistics.
        eps: added to the variance.
        residual: added before the activation; of the shape and dtype of ``input``.
        activation: ``"relu"``, ``"leaky_relu"`` (slope 0.01), ``"elu"``, ``"sigmoid"`` or None.

    Returns:
        The shape and dtype of ``input``, channels_last where that is. Differentiable once with respect to ``input``,
        ``weight``, ``bias`` and ``residual``; the same, bit for bit, for any number of threads.

    Raises:
        ValueError: on wrong shapes, and in training with one value per channel; TypeError: on wrong dtypes.

    Source: Ioffe and Szegedy, Batch Normalization, 2015. Without ``residual`` and ``activation`` this is
    torch.nn.functional.batch_norm.

    >>> batch_norm(torch.tensor([[1.0, 5.0], [3.0, 5.0]]), None, None, training=True)
    tensor([[-1.0000,  0.0000],
            [ 1.0000,  0.0000]])
    >>> mean, var = torch.tensor([1.0, 2.0]), torch.ones(2)
    >>> batch_norm(torch.tensor([[0.0, 5.0]]), mean, var, activation="relu")
    tensor([[0.0000, 3.0000]])
    """
    require_tensor("batch_norm", input=input)
    require_activation("batch_norm", activation)
    if momentum is None:
        raise TypeError("batch_norm: momentum must be a number, got None")
    output, mean, var = call(
        torch.ops.saccade.batch_norm,
        input, running_mean, running_var, weight, bias, training, eps, residual, ACTIVATIONS[activation],
    )  # fmt: skip
    if training and running_mean is not None and running_var is not None and input.numel() != 0:
        count = input.numel() // input.shape[1]
        with torch.no_grad():
            update_running(running_mean, mean, momentum)
            update_running(running_var, var * (count / (count - 1)), momentum)
    result: Tensor = output
    return result


def update_running(running: Tensor, batch: Tensor, momentum: float | Tensor) -> None:
    """Move running statistics towards the batch's, which may be more precise."""
    running.copy_((1 - momentum) * running.to(batch.dtype) + momentum * batch)


def accumulator(tensor: Tensor) -> torch.dtype:
    """The dtype in which statistics are kept."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _by_channel(input: Tensor) -> Tensor:
    return input.new_empty((input.shape[1] if input.dim() > 1 else 0,), dtype=accumulator(input))


@torch.library.register_fake("saccade::batch_norm")
def _(
    input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None,
    bias: Tensor | None, training: bool, eps: float, residual: Tensor | None, activation: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    output = torch.empty(input.shape, dtype=input.dtype, device=input.device, memory_format=memory_format(input))
    return output, _by_channel(input), _by_channel(input)


@torch.library.register_fake("saccade::_batch_norm_backward")
def _(
    grad: Tensor, input: Tensor, output: Tensor | None, weight: Tensor | None, mean: Tensor, var: Tensor,
    training: bool, eps: float, activation: int, residual: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    layout = memory_format(input)
    grad_input = torch.empty(input.shape, dtype=input.dtype, device=input.device, memory_format=layout)
    return grad_input, _by_channel(input), _by_channel(input), torch.empty_like(grad_input) if residual else (
        input.new_empty((0,))
    )  # fmt: skip


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    input, _, _, weight, bias, ctx.training, ctx.eps, residual, ctx.activation = inputs
    normalized, mean, var = output
    ctx.mark_non_differentiable(mean, var)
    ctx.set_materialize_grads(False)
    ctx.has_residual, ctx.bias_dtype = residual is not None, None if bias is None else bias.dtype
    # The derivative of the activation is read off the output: nothing else is kept.
    ctx.save_for_backward(input, normalized if ctx.activation else None, weight, mean, var)


def _backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 9
    input, output, weight, mean, var = ctx.saved_tensors
    through_activation = ctx.has_residual and ctx.activation != 0
    grad_input, grad_weight, grad_bias, grad_residual = torch.ops.saccade._batch_norm_backward(
        grad, input, output, weight, mean, var, ctx.training, ctx.eps, ctx.activation, through_activation
    )
    return (
        grad_input,
        None,
        None,
        None if weight is None else grad_weight.to(weight.dtype),
        None if ctx.bias_dtype is None else grad_bias.to(ctx.bias_dtype),
        None,
        None,
        (grad_residual if through_activation else grad) if ctx.has_residual else None,
        None,
    )


torch.library.register_autograd("saccade::batch_norm", _backward, setup_context=_save)
refuse_second_derivative("batch_norm")
