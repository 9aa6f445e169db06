"""Batch normalisation."""

from __future__ import annotations

from torch import Tensor, nn

from saccade import ops
from saccade.ops._activation import Activation

__all__ = ["BatchNorm2d"]


class BatchNorm2d(nn.BatchNorm2d):
    """torch.nn.BatchNorm2d on :func:`saccade.ops.batch_norm`: the same constructor, buffers and state-dict keys.

    >>> norm = saccade.nn.BatchNorm2d(2)
    >>> norm(torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1).expand(2, 2, 1, 1)).detach().flatten()
    tensor([-1.0000, -1.0000,  1.0000,  1.0000])
    >>> norm.running_mean
    tensor([0.2000, 0.2000])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``input``, ``(N, C, H, W)``."""
        return self.normalize(input)

    def normalize(self, input: Tensor, residual: Tensor | None = None, activation: Activation = None) -> Tensor:
        """Normalise ``input``, add ``residual`` and apply ``activation`` in one pass over memory.

        >>> norm, x = saccade.nn.BatchNorm2d(1).eval(), torch.ones(1, 1, 1, 1)
        >>> norm.normalize(-x, 3 * x, "relu").detach()
        tensor([[[[2.0000]]]])
        """
        self._check_input_dim(input)
        share = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # the average over all batches so far
                share = 1.0 / float(self.num_batches_tracked)
        by_batch = self.training or self.running_mean is None
        # In training without tracking, statistics that exist nonetheless stay as they are.
        tracked = not self.training or self.track_running_stats
        return ops.batch_norm(
            input,
            self.running_mean if tracked else None,
            self.running_var if tracked else None,
            self.weight,
            self.bias,
            by_batch,
            share,
            self.eps,
            residual=residual,
            activation=activation,
        )
