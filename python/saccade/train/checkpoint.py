"""Checkpoints that are whole or not there: written aside, then renamed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from saccade._files import replace_whole

__all__ = ["AtomicCheckpointIO", "KeepCheckpoints", "read_checkpoint", "write_checkpoint"]


def write_checkpoint(checkpoint: Any, path: str | os.PathLike[str]) -> None:
    """torch.save that replaces ``path`` as a whole: killed at any moment it leaves the file that was there.

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/weights.pt"
    >>> write_checkpoint({"weight": torch.ones(2)}, path)
    >>> read_checkpoint(path)
    {'weight': tensor([1., 1.])}
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    replace_whole(Path(path), lambda aside: torch.save(checkpoint, aside))


def read_checkpoint(path: str | os.PathLike[str]) -> Any:
    """Read tensors, numbers and texts, on the CPU; ValueError for a file that is no checkpoint or not all of one."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # a broken file may raise nearly anything
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(f"checkpoint: {path} cannot be read: {reason}") from error


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's reading and writing of checkpoints, through :func:`write_checkpoint` and :func:`read_checkpoint`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write as a whole."""
        write_checkpoint(checkpoint, path)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read; code in the file is never run."""
        return read_checkpoint(path)

    def remove_checkpoint(self, path: Any) -> None:
        """Delete."""
        Path(path).unlink(missing_ok=True)


class KeepCheckpoints(Checkpoint):
    """Keeps ``last.ckpt``, written after every epoch, and ``best.ckpt``, the epoch of the best ``monitor``.

    Args:
        folder: where to.
        monitor: a logged name; None keeps no best one.
        mode: ``"min"`` or ``"max"``.
        every_n_steps: also write ``last.ckpt`` after so many steps of the optimiser; training goes on from within the
            epoch.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        monitor: str | None = None,
        mode: str = "min",
        every_n_steps: int | None = None,
    ) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"KeepCheckpoints: mode must be 'min' or 'max', got {mode!r}")
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(f"KeepCheckpoints: every_n_steps must be at least 1, got {every_n_steps}")
        self.last, self.best = Path(folder) / "last.ckpt", Path(folder) / "best.ckpt"
        self.monitor, self.mode, self.every_n_steps = monitor, mode, every_n_steps
        self.best_value: float | None = None
        self.best_epoch: int | None = None
        self._step = 0

    def state_dict(self) -> dict[str, Any]:
        """The best value and its epoch."""
        return {"best_value": self.best_value, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from them."""
        self.best_value, self.best_epoch = state_dict["best_value"], state_dict["best_epoch"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Count steps from here."""
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write ``last.ckpt`` after a step, not amid accumulation; the epoch's last step waits for its end."""
        stepped = trainer.global_step > self._step
        self._step = trainer.global_step
        if self.every_n_steps and stepped and trainer.global_step % self.every_n_steps == 0:
            if not trainer.is_last_batch:
                trainer.save_checkpoint(self.last)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write ``last.ckpt``, and ``best.ckpt`` where it is."""
        better = self._compare(trainer)
        trainer.save_checkpoint(self.last)
        if better and trainer.is_global_zero:
            replace_whole(self.best, lambda aside: shutil.copyfile(self.last, aside))
        trainer.strategy.barrier("best.ckpt")

    def _compare(self, trainer: L.Trainer) -> bool:
        if self.monitor is None:
            return False
        if self.monitor not in trainer.callback_metrics:
            known = ", ".join(sorted(trainer.callback_metrics)) or "nothing"
            raise ValueError(f"fit: monitor must be one of what is logged ({known}), got {self.monitor!r}")
        value = float(trainer.callback_metrics[self.monitor])
        if value != value or self.best_value is not None:
            worse = self.best_value is not None and (
                value >= self.best_value if self.mode == "min" else value <= self.best_value
            )
            if worse or value != value:
                return False
        self.best_value, self.best_epoch = value, trainer.current_epoch
        return True
