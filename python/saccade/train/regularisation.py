"""Penalties on weights, and stopping early."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

__all__ = ["EarlyStopping", "l1_penalty", "l2_penalty", "weight_decay_groups"]

Select: TypeAlias = "Callable[[str, Tensor], bool] | None"


def l1_penalty(parameters: nn.Module | Tensor | Iterable[Tensor], select: Select = None) -> Tensor:
    """The sum of absolute values, ``sum |w|``: drives weights to zero. Multiply it and add it to the loss.

    Args:
        parameters: a module, of which weights count (learned parameters of two and more dimensions: no biases, no
            scales and shifts of normalisations, nothing frozen); or tensors, of which all count.
        select: of a module, which parameters count instead: called with name and parameter.

    Returns:
        A scalar, 0 if nothing counts.

    Source: the notes, sparse weights.

    >>> model = torch.nn.Linear(2, 1)
    >>> torch.nn.init.constant_(model.weight, -3.0) is None, l1_penalty(model).item()
    (False, 6.0)
    """
    return _total(parameters, select, lambda w: w.abs().sum())


def l2_penalty(parameters: nn.Module | Tensor | Iterable[Tensor], select: Select = None) -> Tensor:
    """Half the sum of squares, ``sum w^2 / 2``: its gradient is w, so that mu times it is weight decay mu.

    Arguments and result as for :func:`l1_penalty`.

    Source: the notes, weight decay.

    >>> l2_penalty([torch.tensor([1.0, 2.0]), torch.tensor(3.0)])
    tensor(7.)
    """
    return _total(parameters, select, lambda w: w.square().sum() / 2)


def weight_decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Groups for an optimiser in which only weights decay: not biases, nor scales and shifts of normalisations.

    >>> [(len(group["params"]), group["weight_decay"]) for group in weight_decay_groups(torch.nn.Linear(2, 1), 0.1)]
    [(1, 0.1), (1, 0.0)]
    """
    learned = [w for w in module.parameters() if w.requires_grad]
    return [
        {"params": [w for w in learned if w.ndim > 1], "weight_decay": weight_decay},
        {"params": [w for w in learned if w.ndim <= 1], "weight_decay": 0.0},
    ]


class EarlyStopping:
    """Says when a measure on the validation set has not improved for some time, in any training loop.

    Args:
        patience: how many epochs without improvement are waited for.
        min_delta: by how much a value must be better to count.
        mode: ``"min"`` for losses, ``"max"`` for accuracies.
        module: whose weights are kept when they were best, for :meth:`restore`.

    Attributes: ``best`` (value), ``best_epoch`` (counted from 0), ``epoch``. NaN is no improvement.

    Raises:
        ValueError: for options out of range.

    >>> stopping = saccade.train.EarlyStopping(patience=2)
    >>> for loss in (0.9, 0.5, 0.6, 0.55, 0.7):
    ...     if stopping(loss):
    ...         break
    >>> loss, stopping.best, stopping.best_epoch
    (0.55, 0.5, 1)
    """

    def __init__(
        self,
        patience: int = 5,
        *,
        min_delta: float = 0.0,
        mode: Literal["min", "max"] = "min",
        module: nn.Module | None = None,
    ) -> None:
        if patience < 1:
            raise ValueError(f"EarlyStopping: patience must be at least 1, got {patience}")
        if not min_delta >= 0:
            raise ValueError(f"EarlyStopping: min_delta must not be negative, got {min_delta}")
        if mode not in ("min", "max"):
            raise ValueError(f"EarlyStopping: mode must be 'min' or 'max', got {mode!r}")
        self.patience, self.min_delta, self.mode, self.module = patience, min_delta, mode, module
        self.best = math.inf if mode == "min" else -math.inf
        self.best_epoch = self.epoch = -1
        self._weights: dict[str, Any] | None = None

    def __call__(self, value: float | Tensor) -> bool:
        """Take an epoch's value; return whether to stop."""
        value = float(value)
        self.epoch += 1
        gain = self.best - value if self.mode == "min" else value - self.best
        if gain > self.min_delta:
            self.best, self.best_epoch = value, self.epoch
            if self.module is not None:
                self._weights = copy.deepcopy(self.module.state_dict())
        return self.epoch - self.best_epoch >= self.patience

    def restore(self) -> None:
        """Give the module the weights that it had when it was best."""
        if self.module is None or self._weights is None:
            raise RuntimeError("EarlyStopping: restore needs a module and a first improvement")
        self.module.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs to go on counting."""
        kept = {"best": self.best, "best_epoch": self.best_epoch, "epoch": self.epoch}
        return {**kept, "weights": copy.deepcopy(self._weights)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another one was."""
        self.best, self.best_epoch, self.epoch = state["best"], state["best_epoch"], state["epoch"]
        self._weights = copy.deepcopy(state["weights"])


def _total(parameters: Any, select: Select, term: Callable[[Tensor], Tensor]) -> Tensor:
    if isinstance(parameters, nn.Module):
        chosen = select or (lambda name, w: w.requires_grad and w.ndim > 1)
        tensors: list[Tensor] = [w for name, w in parameters.named_parameters() if chosen(name, w)]
    elif select is not None:
        raise ValueError("l1_penalty, l2_penalty: select needs a module, which has names")
    else:
        tensors = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    if not tensors:
        return torch.zeros(())
    return torch.stack([term(w) for w in tensors]).sum()
