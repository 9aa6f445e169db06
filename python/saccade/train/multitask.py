"""Several tasks learned at once: one loss of many."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

__all__ = ["MultiTaskLoss"]


class MultiTaskLoss(nn.Module):
    """The weighted sum of the tasks' losses, with weights that are given, or learned from the tasks' uncertainty.

    Learned, a task with loss L has a parameter s, the logarithm of its variance, and contributes ``exp(-s) L + s / 2``:
    s grows for a task whose loss stays large, and the second term keeps it from growing for ever. Its best value for a
    constant loss gives the weight ``1 / (2 L)``. For regression L is half the squared error. Give the parameters of
    this module to the optimiser.

    Args:
        tasks: names, or names with their (first) weights, which must be positive.
        learned: whether the weights are.

    State: ``log_variance`` ``(tasks,)`` if learned, in the order of ``tasks``.

    Raises:
        ValueError: for no task, a weight that is not positive, losses that are missing, unknown or no scalars.

    Source: Kendall et al., Multi-Task Learning Using Uncertainty to Weigh Losses, CVPR 2018; the notes, over-fitting.

    >>> total = saccade.train.MultiTaskLoss({"class": 1.0, "depth": 0.5})
    >>> total({"class": torch.tensor(2.0), "depth": torch.tensor(4.0)})
    tensor(4.)
    >>> saccade.train.MultiTaskLoss(["class", "depth"], learned=True).weights
    {'class': 1.0, 'depth': 1.0}
    """

    log_variance: Tensor

    def __init__(self, tasks: Mapping[str, float] | Iterable[str], *, learned: bool = False) -> None:
        super().__init__()
        first = dict(tasks) if isinstance(tasks, Mapping) else dict.fromkeys(tasks, 1.0)
        if not first:
            raise ValueError("MultiTaskLoss: tasks must name at least one, got none")
        for name, weight in first.items():
            if not 0 < weight < math.inf:
                raise ValueError(f"MultiTaskLoss: weights must be positive, got {weight} for {name!r}")
        self.tasks = list(first)
        self.learned = learned
        self._given = {name: float(weight) for name, weight in first.items()}
        if learned:
            self.log_variance = nn.Parameter(-torch.tensor(list(first.values()), dtype=torch.float32).log())

    @property
    def weights(self) -> dict[str, float]:
        """What each loss is multiplied by now."""
        if not self.learned:
            return dict(self._given)
        return dict(zip(self.tasks, torch.exp(-self.log_variance.detach()).tolist(), strict=True))

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The sum over all tasks of ``losses``, scalars by name."""
        if set(losses) != set(self.tasks):
            missing = sorted(set(self.tasks) - set(losses))
            unknown = sorted(set(losses) - set(self.tasks))
            raise ValueError(f"MultiTaskLoss: losses must be of {self.tasks}, got {missing} missing, {unknown} unknown")
        for name, loss in losses.items():
            if loss.ndim != 0:
                raise ValueError(f"MultiTaskLoss: losses must be scalars, got shape {tuple(loss.shape)} for {name!r}")
        values = torch.stack([losses[name] for name in self.tasks])
        if self.learned:
            s = self.log_variance
            return (torch.exp(-s) * values + s / 2).sum()
        return (values * values.new_tensor([self._given[name] for name in self.tasks])).sum()

    def extra_repr(self) -> str:
        """The weights."""
        return f"{self.weights}, learned={self.learned}"
