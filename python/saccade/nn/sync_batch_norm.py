"""Batch normalisation over the batches of several processes."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
from torch import Tensor, nn

from saccade.nn.batch_norm import next_share, normalize_alone, tracked_statistics
from saccade.ops._activation import Activation
from saccade.ops._sync_batch_norm import sync_batch_norm

__all__ = ["SyncBatchNorm"]


class SyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """torch.nn.SyncBatchNorm on saccade's operators, on the CPU too: the same constructor, buffers and state-dict keys.

    It is no subclass: torch.nn.parallel.DistributedDataParallel refuses torch.nn.SyncBatchNorm on the CPU.

    In training the statistics are those of the batches of all processes of ``process_group`` (all there are, where it
    is None), the same in each of them bit for bit; batches may differ in size, and one may be empty. So are the
    gradients of ``input``; those of ``weight`` and ``bias`` are the own batch's share, for
    torch.nn.parallel.DistributedDataParallel to add up. Without torch.distributed, or alone in a group, it is
    :class:`BatchNorm2d` for inputs ``(N, C, ...)``.

    All processes of the group take the same steps: forward, and backward with a gradient of ``input`` in all or none.

    >>> saccade.nn.SyncBatchNorm(2)(torch.tensor([[1.0, 5.0], [3.0, 5.0]])).detach()
    tensor([[-1.0000,  0.0000],
            [ 1.0000,  0.0000]])
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: dist.ProcessGroup | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device=device, dtype=dtype)
        self.process_group = process_group

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2D input (got {input.dim()}D input)")

    def forward(self, input: Tensor, residual: Tensor | None = None, activation: Activation = None) -> Tensor:
        """Normalise ``input``, ``(N, C, ...)``; what else is given is done in the same pass, see :meth:`normalize`."""
        return self.normalize(input, residual, activation)

    def normalize(self, input: Tensor, residual: Tensor | None = None, activation: Activation = None) -> Tensor:
        """Normalise ``input``, add ``residual`` and apply ``activation`` in one pass over memory."""
        self._check_input_dim(input)
        share = next_share(self)
        together = self.training and dist.is_available() and dist.is_initialized()
        if not together or dist.get_world_size(self.process_group) <= 1:
            return normalize_alone(self, input, share, residual, activation)
        return sync_batch_norm(
            input,
            *tracked_statistics(self),
            self.weight,
            self.bias,
            share,
            self.eps,
            self.process_group,
            residual,
            activation,
        )

    @classmethod
    def convert_sync_batchnorm(cls, module: nn.Module, process_group: dist.ProcessGroup | None = None) -> nn.Module:
        """Put a SyncBatchNorm with the same parameters and buffers in the place of every batch normalisation.

        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
        >>> type(saccade.nn.SyncBatchNorm.convert_sync_batchnorm(model)[1])
        <class 'saccade.nn.sync_batch_norm.SyncBatchNorm'>
        """
        converted = module
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            sync = cls(
                module.num_features, module.eps, module.momentum, False, module.track_running_stats, process_group
            )
            sync.affine, sync.weight, sync.bias = module.affine, module.weight, module.bias
            sync.running_mean, sync.running_var = module.running_mean, module.running_var
            sync.num_batches_tracked = module.num_batches_tracked
            converted = sync.train(module.training)
        for name, child in module._modules.items():
            if child is not None:
                converted.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return converted
