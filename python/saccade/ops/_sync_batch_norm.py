"""Batch normalisation over the batches of several processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from saccade.ops._activation import ACTIVATIONS, Activation, require_activation
from saccade.ops._library import call, require_tensor, untraced
from saccade.ops._roi import memory_format
from saccade.ops.batch_norm import accumulator, update_running


@untraced
def sync_batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    eps: float,
    group: dist.ProcessGroup | None,
    residual: Tensor | None = None,
    activation: Activation = None,
) -> Tensor:
    """:func:`saccade.ops.batch_norm` in training, with the statistics of the batches of all processes of a group.

    Every process of the group calls it with as many channels, and differentiates it with respect to the same
    arguments; its batch may have any size, also 0.
    """
    require_tensor("batch_norm", input=input)
    require_activation("batch_norm", activation)
    mean, var, count = combine(_gather(input.detach(), group))
    output: Tensor = _SyncBatchNorm.apply(
        input, weight, bias, residual, mean, var, count, eps, ACTIVATIONS[activation], group
    )
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            share = momentum * (count > 0).to(count.dtype)  # without a value anywhere they stay as they are
            update_running(running_mean, mean, share)
            update_running(running_var, var * (count / (count - 1).clamp(min=1)), share)
    return output


def _gather(input: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """A row for each process: the mean of each channel, the sum of its squared deviations, and the count."""
    moments = call(torch.ops.saccade._sync_batch_norm_statistics, input)
    channels = moments.shape[1]
    count = moments.new_full((1,), input.numel() // max(1, channels))
    own = torch.cat([moments.flatten(), count])
    rows = own.new_empty(dist.get_world_size(group), own.numel())
    dist.all_gather(list(rows.unbind()), own, group=group)
    return rows


def combine(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, biased variance and count of all batches together, from the rows of :func:`_gather`.

    Source: Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979.
    """
    channels = rows.shape[1] // 2
    means, squares, counts = rows[:, :channels], rows[:, channels:-1], rows[:, -1:]
    count = counts.sum(0)
    divisor = count.clamp(min=1)
    mean = (counts * means).sum(0) / divisor
    return mean, (squares + counts * (means - mean).square()).sum(0) / divisor, count


class _SyncBatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        residual: Tensor | None,
        mean: Tensor,
        var: Tensor,
        count: Tensor,
        eps: float,
        activation: int,
        group: dist.ProcessGroup | None,
    ) -> Tensor:
        output: Tensor = call(
            torch.ops.saccade._sync_batch_norm_apply, input, mean, var, weight, bias, eps, residual, activation
        )
        ctx.eps, ctx.activation, ctx.group = eps, activation, group
        ctx.bias_dtype = None if bias is None else bias.dtype
        used = mean.to(accumulator(input)), var.to(accumulator(input))
        ctx.save_for_backward(input, output if activation else None, weight, *used, count)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        input, output, weight, mean, var, count = ctx.saved_tensors
        operators = torch.ops.saccade
        sums = operators._sync_batch_norm_backward_sums(grad, input, output, mean, var, ctx.eps, ctx.activation)
        # The own shares: whoever adds up gradients over processes adds up these too.
        grad_bias = None if ctx.bias_dtype is None else sums[0].to(ctx.bias_dtype)
        grad_weight = None if weight is None else sums[1].to(weight.dtype)
        grad_input, grad_residual = None, grad if ctx.needs_input_grad[3] else None
        through_activation = ctx.needs_input_grad[3] and ctx.activation != 0
        if ctx.needs_input_grad[0] or through_activation:
            total = sums.clone()
            dist.all_reduce(total, group=ctx.group)
            grad_input, through = operators._sync_batch_norm_backward_apply(
                grad, input, output, weight, mean, var, total / count.clamp(min=1), ctx.eps, ctx.activation,
                through_activation,
            )  # fmt: skip
            grad_residual = through if through_activation else grad_residual
        return grad_input, grad_weight, grad_bias, grad_residual, *(None,) * 6


def _sums(input: Tensor) -> Tensor:
    return input.new_empty((2, input.shape[1] if input.dim() > 1 else 0), dtype=torch.float64)


def _like(input: Tensor) -> Tensor:
    return torch.empty(input.shape, dtype=input.dtype, device=input.device, memory_format=memory_format(input))


@torch.library.register_fake("saccade::_sync_batch_norm_statistics")
def _(input: Tensor) -> Tensor:
    return _sums(input)


@torch.library.register_fake("saccade::_sync_batch_norm_apply")
def _(input: Tensor, *rest: Any) -> Tensor:
    return _like(input)


@torch.library.register_fake("saccade::_sync_batch_norm_backward_sums")
def _(grad: Tensor, input: Tensor, *rest: Any) -> Tensor:
    return _sums(input)


@torch.library.register_fake("saccade::_sync_batch_norm_backward_apply")
def _(grad: Tensor, input: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return _like(input), _like(input) if rest[-1] else input.new_empty((0,))
