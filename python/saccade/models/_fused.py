"""Normalisation, sum and activation in one pass, where the normalisation is ours."""

from __future__ import annotations

from torch import Tensor, nn

from saccade.nn.batch_norm import BatchNorm2d
from saccade.nn.sync_batch_norm import SyncBatchNorm
from saccade.ops._activation import Activation, activate

__all__ = ["FusedSequential", "norm_act"]


def norm_act(norm: nn.Module, input: Tensor, residual: Tensor | None = None, activation: Activation = "relu") -> Tensor:
    """``activation(norm(input) + residual)``; ``norm`` is called as a module, so that its hooks run."""
    if isinstance(norm, (BatchNorm2d, SyncBatchNorm)):
        fused: Tensor = norm(input, residual, activation)
        return fused
    normal: Tensor = norm(input)
    return activate(normal if residual is None else normal + residual, activation)


class FusedSequential(nn.Sequential):
    """torch.nn.Sequential in which a batch normalisation takes along the ReLU after it, unless that has hooks."""

    def forward(self, input: Tensor) -> Tensor:
        """Run the modules one after the other."""
        modules = list(self)
        while modules:
            module = modules.pop(0)
            if modules and _is_plain_relu(modules[0]) and isinstance(module, (BatchNorm2d, SyncBatchNorm)):
                input = norm_act(module, input)
                modules.pop(0)
            else:
                input = module(input)
        return input


def _is_plain_relu(module: nn.Module) -> bool:
    return type(module) is nn.ReLU and not module._forward_hooks and not module._forward_pre_hooks
