"""What a run has to remember beside weights and optimiser, so that it goes on as if it had never stopped."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import lightning as L
import numpy as np
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torchmetrics import Metric

__all__ = ["Mean", "RandomStates", "rank_states", "restore_metrics"]


class Mean(Metric):
    """The weighted mean, in float64, of all processes.

    torchmetrics.MeanMetric drops NaNs, or, told not to (``nan_strategy="disable"``), the weights (version 1.9).
    """

    full_state_update = False
    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "weight"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), "sum")

    def update(self, value: Tensor, weight: float) -> None:
        """Add a value."""
        self.total += value.double() * weight
        self.weight += weight

    def compute(self) -> Tensor:
        """The mean."""
        return self.total / self.weight


def rank_states(state: Any) -> list[Any]:
    """The state of every process, by rank, in each of them."""
    if not (dist.is_available() and dist.is_initialized()):
        return [state]
    states: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(states, state)
    return states


def restore_metrics(metrics: Iterable[tuple[Any, Any]], states: dict[str, dict[str, Any]]) -> None:
    """Put kept states into metrics; those that are not kept begin anew."""
    for name, metric in metrics:
        if (kept := states.get(str(name))) is None:
            continue
        for key, value in kept.items():
            setattr(metric, key, value.to(metric.device))
        metric._update_count = max(metric._update_count, 1)  # compute would warn that nothing was counted
        metric._computed = None


def _random_state() -> dict[str, Any]:
    """Of Python, NumPy and torch, as numbers and tensors: a checkpoint is to be readable without running its code."""
    state: Any = np.random.get_state()  # noqa: NPY002  # users' code draws from it
    name, keys, position, has_gauss, gauss = state
    version, words, gauss_next = random.getstate()
    return {
        "python": [version, list(words), gauss_next],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
    }


def _set_random_state(state: dict[str, Any]) -> None:
    version, words, gauss_next = state["python"]
    random.setstate((version, tuple(words), gauss_next))
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, gauss))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


class RandomStates(Callback):
    """Seeds every process's random generators when training begins, and keeps them in the checkpoint.

    Drop-out and the like then draw after a resume what they would have drawn. Rank 0 draws what one process would.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._kept: list[dict[str, Any]] | None = None

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the states of all ranks."""
        checkpoint["random_states"] = rank_states(_random_state())

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remember them until everything is set up: that draws numbers too."""
        self._kept = checkpoint.get("random_states")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Set them."""
        rank = trainer.global_rank
        if self._kept is not None and rank < len(self._kept):
            _set_random_state(self._kept[rank])
        else:
            words = np.random.SeedSequence((self.seed, rank)).generate_state(3)
            random.seed(int(words[0]))
            np.random.seed(words[1])  # noqa: NPY002
            torch.manual_seed(int(words[2]))
        self._kept = None
