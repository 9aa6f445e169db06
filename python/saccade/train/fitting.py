"""One call that trains, with what a training needs around it: checkpoints, curves, a stop at NaN, resume."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback, EarlyStopping, RichProgressBar
from lightning.pytorch.strategies import DDPStrategy

from saccade.nn import SyncBatchNorm
from saccade.train._resume import RandomStates
from saccade.train.checkpoint import AtomicCheckpointIO, KeepCheckpoints, read_checkpoint
from saccade.train.curves import Curves
from saccade.train.nan import StopOnNaN

__all__ = ["Run", "evaluate", "fit", "load_weights"]


class Run(NamedTuple):
    """A finished training."""

    history: list[dict[str, float]]  # a row for each epoch, as in metrics.csv
    last: Path  # the checkpoint of the last epoch
    best: Path | None  # that of the best epoch, where something was monitored
    best_epoch: int | None  # from 0
    trainer: L.Trainer


def fit(
    task: L.LightningModule,
    data: L.LightningDataModule,
    *,
    epochs: int,
    out: str | os.PathLike[str],
    resume: bool = False,
    seed: int = 0,
    monitor: str | None = None,
    mode: str | None = None,
    patience: int | None = None,
    checkpoint_steps: int | None = None,
    accumulate: int = 1,
    precision: str = "32-true",
    callbacks: Sequence[Callback] = (),
    progress: bool | None = None,
    **options: Any,
) -> Run:
    """Train with Lightning: checkpoints, curves and metrics are written into a folder, a NaN stops it.

    Under torchrun every process trains on its share of each batch (gloo on CPUs, NCCL on GPUs), batch normalisation
    runs over the batches of all of them, and the curve is that of one process with the doubled (...) batch, up to the
    rounding of sums.

    Args:
        task: e.g. :class:`Classifier`; it is trained in place and ends with the weights of the last epoch.
        data: e.g. :class:`ClassificationData`.
        epochs: of the whole training, those before a resume included.
        out: folder for ``last.ckpt``, ``best.ckpt``, ``metrics.csv`` and ``curves.png``.
        resume: go on from ``out/last.ckpt`` where it exists. The curve is that of a training that never stopped, on
            the CPU bit for bit. Without it, a folder that holds a ``last.ckpt`` is refused.
        seed: of drop-out and the like; order and augmentation are seeded by the data.
        monitor, mode: the logged name whose ``"min"`` or ``"max"`` makes the best epoch; default: with validation data
            the task's own, mostly the validation loss. A name with "accuracy" has ``"max"`` by default.
        patience: stop when the monitored has not improved for so many epochs.
        checkpoint_steps: write ``last.ckpt`` also after so many steps, within an epoch.
        accumulate: batches whose gradients make one step.
        precision: Lightning's: "32-true", "bf16-mixed", "16-mixed", ...
        callbacks: further ones of Lightning.
        progress: whether progress bars are drawn on stderr; default: where it is a terminal.
        options: further arguments of lightning.Trainer, e.g. ``gradient_clip_val`` or ``logger``.

    Raises:
        NonFiniteError: at a NaN or infinite loss or gradient, with the step and the tensor.
        ValueError: for arguments out of range, an ``out`` that holds another training, a checkpoint that cannot be
            read or that other data made. KeyboardInterrupt: as it comes; ``last.ckpt`` stays.
    """
    for name, value in (("epochs", epochs), ("accumulate", accumulate), ("patience", patience)):
        if value is not None and value < 1:
            raise ValueError(f"fit: {name} must be at least 1, got {value}")
    folder = Path(out)
    last = folder / "last.ckpt"
    if last.exists() and not resume:
        raise ValueError(f"fit: out must be a folder without a training, or resume must be set, got {folder}")
    if monitor is None and getattr(data, "val", None) is not None:
        monitor, usual = getattr(task, "monitor", "val_loss"), getattr(task, "monitor_mode", None)
        mode = mode or usual
    if patience is not None and monitor is None:
        raise ValueError("fit: patience must be None without validation data or a monitor, got " + str(patience))
    mode = mode or ("max" if monitor and "accuracy" in monitor else "min")
    keep = KeepCheckpoints(folder, monitor, mode, checkpoint_steps)
    curves = Curves(folder)
    used: list[Callback] = [StopOnNaN(), RandomStates(seed), *callbacks, curves, keep]
    if patience is not None and monitor is not None:
        used.insert(0, EarlyStopping(monitor, patience=patience, mode=mode, check_finite=False))
    with quiet():
        trainer = _trainer(used, progress, precision, options | {"max_epochs": epochs}, accumulate=accumulate)
        if trainer.world_size > 1:
            _synchronize(task)
        with _interruptible():
            trainer.fit(task, datamodule=data, ckpt_path=str(last) if last.exists() else None)
    best = keep.best if keep.best_value is not None else None
    return Run(curves.history, keep.last, best, keep.best_epoch, trainer)


def evaluate(
    task: L.LightningModule,
    data: L.LightningDataModule,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    **options: Any,
) -> dict[str, float]:
    """The logged means of the test set, with the weights of ``checkpoint`` or those that ``task`` has."""
    if checkpoint is not None:
        load_weights(task, checkpoint)
    with quiet():
        trainer = _trainer([], progress, options.pop("precision", "32-true"), options)
        with _interruptible():
            results = trainer.test(task, datamodule=data, verbose=False)
    return {name: float(value) for result in results for name, value in result.items()}


def load_weights(task: torch.nn.Module, checkpoint: str | os.PathLike[str]) -> dict[str, Any]:
    """Put the weights of a checkpoint that :func:`fit` wrote into a task; return the whole checkpoint.

    Raises:
        ValueError: for a file that cannot be read or is no such checkpoint, or whose keys are not the task's: all that
            are missing, unexpected or of another shape are listed.
    """
    content = read_checkpoint(checkpoint)
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ValueError(f"load_weights: checkpoint must be one that fit wrote, got {checkpoint}")
    try:
        task.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        raise ValueError(f"load_weights: checkpoint {checkpoint} does not fit: {error}") from error
    return dict(content)


def _trainer(
    callbacks: list[Callback], progress: bool | None, precision: str, options: dict[str, Any], accumulate: int = 1
) -> L.Trainer:
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    first = int(os.environ.get("RANK", "0")) == 0
    shown = (sys.stderr.isatty() if progress is None else progress) and first
    bars: list[Callback] = [RichProgressBar(leave=False, console_kwargs={"stderr": True})] if shown else []
    settings: dict[str, Any] = {
        "callbacks": [*callbacks, *bars],
        "precision": precision,
        "accumulate_grad_batches": accumulate,
        "enable_progress_bar": shown,
        "enable_checkpointing": any(isinstance(callback, KeepCheckpoints) for callback in callbacks),
        "enable_model_summary": False,
        "logger": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "plugins": [AtomicCheckpointIO()],
        "devices": 1,
        "accelerator": "auto",
    }
    if processes > 1 and "strategy" not in options:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", processes))
        settings["devices"], settings["num_nodes"] = local, processes // local
        on_gpu = options.get("accelerator", "auto") != "cpu" and torch.cuda.is_available()
        settings["accelerator"] = "auto" if on_gpu else "cpu"
        # Buffers are equal in all processes already; to send them would hang where one has a batch less to evaluate.
        settings["strategy"] = DDPStrategy(process_group_backend="nccl" if on_gpu else "gloo", broadcast_buffers=False)
    return L.Trainer(**(settings | options))


def _synchronize(task: torch.nn.Module) -> None:
    """Batch normalisation over all processes; a model that is one is replaced in the task."""
    for name, child in list(task.named_children()):
        setattr(task, name, SyncBatchNorm.convert_sync_batchnorm(child))


@contextmanager
def quiet() -> Iterator[None]:
    """Without what Lightning says of itself and of the machine; warnings about the user's own code pass."""
    loggers = [logging.getLogger(name) for name in ("lightning", "lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # How many workers would be faster, that logs are rare, that frozen modules are not in training mode.
            warnings.simplefilter("ignore", PossibleUserWarning)
            warnings.filterwarnings("ignore", module=r"lightning\.|torch\.utils\._pytree|torchmetrics\.")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Lightning ends the process at Ctrl-C; a caller may have something to say first."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if main else None
    try:
        yield
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if main:
            signal.signal(signal.SIGINT, before)
