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

    def forward(self, input: Tensor, residual: Tensor | None = None, activation: Activation = None) -> Tensor:
        """Normalise ``input``, ``(N, C, H, W)``; what else is given is done in the same pass, see :meth:`normalize`."""
        return self.normalize(input, residual, activation)

    def normalize(self, input: Tensor, residual: Tensor | None = None, activation: Activation = None) -> Tensor:
        """Normalise ``input``, add ``residual`` and apply ``activation`` in one pass over memory.

        >>> norm, x = saccade.nn.BatchNorm2d(1).eval(), torch.ones(1, 1, 1, 1)
        >>> norm.normalize(-x, 3 * x, "relu").detach()
        tensor([[[[2.0000]]]])
        """
        self._check_input_dim(input)
        return normalize_alone(self, input, next_share(self), residual, activation)


def next_share(module: nn.modules.batchnorm._BatchNorm) -> float:
    """Count a batch, where batches are counted; return its share in the running statistics."""
    share = 0.0 if module.momentum is None else module.momentum
    if module.training and module.track_running_stats and module.num_batches_tracked is not None:
        module.num_batches_tracked.add_(1)
        if module.momentum is None:  # the average over all batches so far
            share = 1.0 / float(module.num_batches_tracked)
    return share


def tracked_statistics(module: nn.modules.batchnorm._BatchNorm) -> tuple[Tensor | None, Tensor | None]:
    """The running statistics to use or to update.

    In training without tracking, statistics that exist nonetheless stay as they are.
    """
    tracked = not module.training or module.track_running_stats
    return (module.running_mean, module.running_var) if tracked else (None, None)


def normalize_alone(
    module: nn.modules.batchnorm._BatchNorm,
    input: Tensor,
    share: float,
    residual: Tensor | None,
    activation: Activation,
) -> Tensor:
    """Normalise with what this process has: the batch, or the running statistics."""
    return ops.batch_norm(
        input,
        *tracked_statistics(module),
        module.weight,
        module.bias,
        module.training or module.running_mean is None,
        share,
        module.eps,
        residual=residual,
        activation=activation,
    )
