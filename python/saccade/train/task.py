"""What every Lightning module of saccade shares: losses by name, penalty, optimiser, schedule, metrics of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import lightning as L
import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from saccade.train._resume import Mean, rank_states, restore_metrics

__all__ = ["OptimizerFactory", "ScheduleFactory", "Task"]

OptimizerFactory: TypeAlias = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
ScheduleFactory: TypeAlias = Callable[[torch.optim.Optimizer, int], torch.optim.lr_scheduler.LRScheduler]

STAGES = ("train", "val", "test")


class Task(L.LightningModule):
    """Base of :class:`Classifier` and of what trains segmentation and detection: a network and how it learns.

    A subclass says in :meth:`compute` what a batch costs; the rest is here: named losses are added up (or weighted),
    a penalty on the parameters joins them in training, and means over an epoch are logged as ``train_loss``,
    ``val_loss``, ``val_accuracy`` and so on, over all processes. Means and metrics of a started epoch are part of the
    checkpoint.

    Args:
        model: any network; its parameters without gradient are not trained.
        optimizer: makes an optimiser of parameters, e.g. ``lambda p: torch.optim.SGD(p, lr=0.1)``; default: AdamW.
        schedule: makes a learning-rate schedule of the optimiser and the number of steps of the whole training; it
            advances after every step, e.g. ``lambda o, steps: torch.optim.lr_scheduler.LinearLR(o, 1, 0, steps)``.
        penalty: of the model, added to the loss in training, e.g. L1 of its weights.
        weighting: makes one loss of the named ones, e.g. a multi-task weighting (a module's parameters are trained
            too); default: their sum.
        info: what a checkpoint tells of itself (the model's name, names of the classes): numbers, texts, lists, dicts.
        make_metrics: makes the torchmetrics of a stage, which are computed and logged at the end of its epoch.
    """

    allow_zero_length_dataloader_with_multiple_devices = True

    def __init__(
        self,
        model: nn.Module,
        *,
        optimizer: OptimizerFactory | None = None,
        schedule: ScheduleFactory | None = None,
        penalty: Callable[[nn.Module], Tensor] | None = None,
        weighting: Callable[[Mapping[str, Tensor]], Tensor] | None = None,
        info: Mapping[str, Any] | None = None,
        make_metrics: Callable[[str], MetricCollection] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise TypeError(f"{self._op}: model must be a torch.nn.Module, got {type(model).__name__}")
        self.model = model
        self.weighting = weighting
        self.penalty = penalty
        self.info = dict(info or {})
        self._optimizer = optimizer or torch.optim.AdamW
        self._schedule = schedule
        # Not in a ModuleDict: metrics are no part of a network's state dict.
        self.metrics = {stage: make_metrics(stage) if make_metrics else MetricCollection({}) for stage in STAGES}
        self.means: dict[str, dict[str, Mean]] = {stage: {} for stage in STAGES}

    @property
    def _op(self) -> str:
        return type(self).__name__

    def compute(self, batch: Any, stage: str) -> tuple[Mapping[str, Tensor] | Tensor, int]:
        """A batch's loss, or its losses by name, each a mean over the batch; and how many items the batch has.

        ``stage`` is ``"train"``, ``"val"`` or ``"test"``; ``self.metrics[stage]`` is to be updated here.
        """
        raise NotImplementedError(f"{self._op} must define compute(batch, stage)")

    def forward(self, *inputs: Any) -> Any:
        """The model's output."""
        return self.model(*inputs)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss to minimise."""
        loss, size = self._total(batch, "train")
        if self.penalty is not None:
            penalty = self.penalty(self.model)
            self._mean("train", "penalty", penalty, size)
            loss = loss + penalty
        if self.trainer.is_last_batch:
            # Here, not at the epoch's end: other callbacks look at the metrics before a module's own hook is called.
            self._log("train")
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Count a batch in."""
        self._total(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Count a batch in."""
        self._total(batch, "test")

    def _total(self, batch: Any, stage: str) -> tuple[Tensor, int]:
        losses, size = self.compute(batch, stage)
        if isinstance(losses, Tensor):
            loss = losses
        else:
            for name, value in losses.items():
                self._mean(stage, name, value, size)
            loss = self.weighting(losses) if self.weighting is not None else torch.stack(list(losses.values())).sum()
        self._mean(stage, "loss", loss, size)
        return loss, size

    def _mean(self, stage: str, name: str, value: Tensor, size: int) -> None:
        means = self.means[stage]
        if name not in means:
            means[name] = Mean().to(self.device)
        means[name].update(value.detach(), size)

    def _log(self, stage: str) -> None:
        values = {name: mean.compute() for name, mean in self.means[stage].items()}
        values |= {name: value for name, value in self.metrics[stage].compute().items() if value.numel() == 1}
        for name, value in values.items():
            shown = stage != "train" and name in ("loss", "accuracy", "mean_iou")
            self.log(f"{stage}_{name}", value.float(), on_step=False, on_epoch=True, prog_bar=shown, batch_size=1)

    def _reset(self, stage: str) -> None:
        self.metrics[stage].reset()
        for mean in self.means[stage].values():
            mean.reset()

    def on_fit_start(self) -> None:
        """Metrics go where the network is."""
        for metrics in self.metrics.values():
            metrics.to(self.device)

    on_test_start = on_validation_start = on_fit_start

    def on_train_epoch_start(self) -> None:
        """Begin an epoch's means."""
        self._reset("train")

    def on_validation_epoch_start(self) -> None:
        """Begin an epoch's means."""
        self._reset("val")

    def on_test_epoch_start(self) -> None:
        """Begin an epoch's means."""
        self._reset("test")

    def on_validation_epoch_end(self) -> None:
        """Log an epoch's means."""
        self._log("val")

    def on_test_epoch_end(self) -> None:
        """Log an epoch's means."""
        self._log("test")

    def configure_optimizers(self) -> Any:
        """The optimiser over what has a gradient, and its schedule, by steps."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        if not parameters:
            raise ValueError(f"{self._op}: model must have parameters that require a gradient, got none")
        optimizer = self._optimizer(parameters)
        if self._schedule is None:
            return optimizer
        schedule = self._schedule(optimizer, self._steps())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _steps(self) -> int:
        """The optimiser's steps in the whole training."""
        trainer = self.trainer
        batches = getattr(getattr(trainer, "datamodule", None), "batches_per_epoch", None)
        if not callable(batches) or not trainer.max_epochs or trainer.max_epochs < 1:
            return int(trainer.estimated_stepping_batches)
        # Lightning's own estimate makes the loader before a checkpoint has told where it is to begin.
        limit = trainer.limit_train_batches
        count = batches()
        count = min(count, limit) if isinstance(limit, int) else int(count * limit)
        steps = -(-count // trainer.accumulate_grad_batches) * trainer.max_epochs
        return int(steps if trainer.max_steps < 0 else min(steps, trainer.max_steps))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the checkpoint tells of itself, and the means and metrics of a started epoch, of every process."""
        checkpoint["info"] = self.info
        state = {"metrics": _states(self.metrics["train"].items()), "means": _states(self.means["train"].items())}
        checkpoint["train_metrics"] = rank_states(state)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the means and metrics of a started epoch."""
        states = checkpoint.get("train_metrics")
        rank = self.global_rank if self._trainer is not None else 0
        if not states or rank >= len(states):
            return
        for name in states[rank]["means"]:
            self.means["train"][name] = Mean()
        restore_metrics(self.metrics["train"].items(), states[rank]["metrics"])
        restore_metrics(self.means["train"].items(), states[rank]["means"])


def _states(metrics: Iterable[tuple[Any, Any]]) -> dict[str, dict[str, Any]]:
    return {
        str(name): {key: value.detach().clone() for key, value in metric.metric_state.items()}
        for name, metric in metrics
    }
