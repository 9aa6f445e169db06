"""Training of classifiers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from saccade.train.task import OptimizerFactory, ScheduleFactory, Task

__all__ = ["Classifier"]


class Classifier(Task):
    """A Lightning module that trains any network whose output is a score for each class.

    Args:
        model: maps images ``(N, ...)`` to scores ``(N, num_classes)``, the greatest for the class found. A tuple's
            first element, or a dict's ``"classes"`` or first entry, are the scores of one that returns more.
        num_classes: at least 2.
        loss: of the model's output and the labels ``(N,)``; a mean over the batch, or a dict of several by name.
            Default: cross-entropy of the scores.
        metrics: further torchmetrics by name, copied for each stage; they are given scores and labels.
        optimizer, schedule, penalty, weighting, info: see :class:`Task`.

    Logged at the end of an epoch: ``train_``, ``val_`` or ``test_`` with ``loss``, ``accuracy``, the named losses,
    ``penalty`` and the further metrics. After a test ``confusion_matrix`` holds ``(num_classes, num_classes)`` counts,
    a row for each true class.

    Raises:
        ValueError: for a label out of range (named), scores of another shape. TypeError: for a model that is none.

    >>> module = saccade.train.Classifier(torch.nn.Linear(4, 3), num_classes=3)
    >>> module(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        model: nn.Module,
        num_classes: int,
        *,
        loss: Callable[[Any, Tensor], Tensor | Mapping[str, Tensor]] = F.cross_entropy,
        metrics: Mapping[str, Any] | None = None,
        optimizer: OptimizerFactory | None = None,
        schedule: ScheduleFactory | None = None,
        penalty: Callable[[nn.Module], Tensor] | None = None,
        weighting: Callable[[Mapping[str, Tensor]], Tensor] | None = None,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        if num_classes < 2:
            raise ValueError(f"Classifier: num_classes must be at least 2, got {num_classes}")

        def make_metrics(stage: str) -> MetricCollection:
            accuracy = MulticlassAccuracy(num_classes, average="micro", validate_args=False)
            made = {"accuracy": accuracy, **{name: metric.clone() for name, metric in (metrics or {}).items()}}
            if stage == "test":
                made["confusion_matrix"] = MulticlassConfusionMatrix(num_classes, validate_args=False)
            return MetricCollection(made, compute_groups=False)

        super().__init__(
            model,
            optimizer=optimizer,
            schedule=schedule,
            penalty=penalty,
            weighting=weighting,
            info=info,
            make_metrics=make_metrics,
        )
        self.num_classes = num_classes
        self.loss = loss
        self.confusion_matrix: Tensor | None = None

    def compute(self, batch: Any, stage: str) -> tuple[Mapping[str, Tensor] | Tensor, int]:
        """The losses of ``(images, labels)``, and the batch's size."""
        images, labels = batch
        output = self.model(images)
        scores, classes = self.scores(output), self.labels(labels)
        if scores.ndim != 2 or scores.shape[1] != self.num_classes:
            raise ValueError(
                f"Classifier: model must return scores of shape (N, {self.num_classes}), got {tuple(scores.shape)}"
            )
        low, high = (int(value) for value in torch.stack(torch.aminmax(classes)).tolist())
        if low < 0 or high >= self.num_classes:
            wrong = low if low < 0 else high
            raise ValueError(f"Classifier: labels must be from 0 to {self.num_classes - 1}, got {wrong}")
        self.metrics[stage].update(scores.detach().float(), classes)
        return self.loss(output, labels), len(images)

    def scores(self, output: Any) -> Tensor:
        """The scores of the classes among what the model returns; to be overridden for others."""
        if isinstance(output, Mapping):
            return output["classes"] if "classes" in output else next(iter(output.values()))
        return output[0] if isinstance(output, tuple | list) else output

    def labels(self, labels: Any) -> Tensor:
        """The classes among the labels, as :meth:`scores`."""
        return self.scores(labels)

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The scores of a batch, with labels or without."""
        return self.scores(self.model(batch[0] if isinstance(batch, tuple | list) else batch))

    def on_test_epoch_end(self) -> None:
        """Keep the confusion matrix."""
        super().on_test_epoch_end()
        self.confusion_matrix = self.metrics["test"]["confusion_matrix"].compute().cpu()
