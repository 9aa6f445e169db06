"""Training of networks that give a class to each pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from saccade.data._labels import require_labels
from saccade.models.segmentation import predict
from saccade.train.losses import pixel_cross_entropy
from saccade.train.segmentation_metrics import BoundaryMeanIoU, MeanIoU
from saccade.train.task import OptimizerFactory, ScheduleFactory, Task

__all__ = ["SegmentationTask"]

_OP = "SegmentationTask"


class SegmentationTask(Task):
    """A Lightning module that trains any network whose output is a score for each class at each pixel.

    Args:
        model: maps images ``(N, C, H, W)`` to logits ``(N, num_classes, H, W)``. A tuple's first element, or a dict's
            ``"out"``, are the logits of one that has auxiliary ones too.
        num_classes: the background included, at least 2.
        ignore_index: the label of pixels that count for nothing, in losses and metrics; None: all count.
        aux_weight: what the losses of auxiliary logits count, in training; in validation they are not computed.
        loss: of logits and labels ``(N, H, W)``, a mean over the pixels that count; default:
            :func:`saccade.train.losses.pixel_cross_entropy` with ``ignore_index``. In validation and test it is given
            logarithms of probabilities, whose softmax is the same.
        multiple, plus: sides that the model takes are ``k * multiple + plus``; others are padded with zeros on the
            right and at the bottom. PSPNet: 8 and 1.
        inference: options of :func:`saccade.models.segmentation.predict` (``window``, ``scales``, ``flip``, ...), which
            validation and test use.
        boundary_radius: of ``boundary_mean_iou``, in pixels.
        metrics: further torchmetrics by name, copied for each stage; they are given classes and labels ``(N, H, W)``.
        optimizer, schedule, penalty, weighting, info: see :class:`Task`. Losses have the names ``main`` and ``aux``.

    Logged at the end of an epoch: ``train_``, ``val_`` or ``test_`` with ``loss``, ``accuracy`` (of pixels),
    ``mean_iou`` and, but in training, ``boundary_mean_iou``. After a test ``confusion_matrix`` holds ``(num_classes,
    num_classes)`` counts of pixels, a row for each true class; see :func:`saccade.train.per_class`.

    Raises:
        ValueError: for labels out of range (named, with their counts), masks of another size than the images, logits
            of another shape. TypeError: for a model that is none, labels that are no integers.

    Source: Zhao et al., Pyramid Scene Parsing Network, CVPR 2017, sections 3.3 and 5.1.

    >>> task = saccade.train.SegmentationTask(saccade.models.pspnet_small(classes=4), 4, multiple=8, plus=1)
    >>> task(torch.rand(2, 3, 30, 40)).shape
    torch.Size([2, 4, 30, 40])
    """

    def __init__(
        self,
        model: nn.Module,
        num_classes: int,
        *,
        ignore_index: int | None = 255,
        aux_weight: float = 0.4,
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
        multiple: int = 1,
        plus: int = 0,
        inference: Mapping[str, Any] | None = None,
        boundary_radius: int = 3,
        metrics: Mapping[str, Any] | None = None,
        optimizer: OptimizerFactory | None = None,
        schedule: ScheduleFactory | None = None,
        penalty: Callable[[nn.Module], Tensor] | None = None,
        weighting: Callable[[Mapping[str, Tensor]], Tensor] | None = None,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        if num_classes < 2:
            raise ValueError(f"{_OP}: num_classes must be at least 2, got {num_classes}")
        if ignore_index is not None and 0 <= ignore_index < num_classes:
            raise ValueError(f"{_OP}: ignore_index must be no class, from 0 to {num_classes - 1}, got {ignore_index}")

        def make_metrics(stage: str) -> MetricCollection:
            options: dict[str, Any] = {"ignore_index": ignore_index, "validate_args": False}
            made: dict[str, Any] = {
                "accuracy": MulticlassAccuracy(num_classes, average="micro", **options),
                "mean_iou": MeanIoU(num_classes, ignore_index),
            }
            if stage != "train":
                made["boundary_mean_iou"] = BoundaryMeanIoU(num_classes, ignore_index, boundary_radius)
            if stage == "test":
                made["confusion_matrix"] = MulticlassConfusionMatrix(num_classes, **options)
            made |= {name: metric.clone() for name, metric in (metrics or {}).items()}
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
        self.num_classes, self.ignore_index, self.aux_weight = num_classes, ignore_index, aux_weight
        self.loss = loss or (lambda logits, labels: pixel_cross_entropy(logits, labels, ignore_index=ignore_index))
        self.multiple, self.plus, self.inference = multiple, plus, dict(inference or {})
        self.confusion_matrix: Tensor | None = None

    def forward(self, *inputs: Any) -> Tensor:
        """The main logits of images of any size, ``(N, num_classes, H, W)``."""
        return self._logits(inputs[0])[0]

    def compute(self, batch: Any, stage: str) -> tuple[Mapping[str, Tensor] | Tensor, int]:
        """The losses of ``(images, labels)``, and the batch's size."""
        images, labels = batch
        self._check(images, labels)
        if stage == "train":
            main, *others = self._logits(images)
        else:
            main, others = self.probabilities(images).clamp_min(1e-12).log(), []
        self.metrics[stage].update(main.detach().argmax(1), labels.long())
        loss = self.loss(main, labels)
        if not others:
            return loss, len(images)
        aux = torch.stack([self.loss(logits, labels) for logits in others]).sum()
        return {"main": loss, "aux": self.aux_weight * aux}, len(images)

    def probabilities(self, images: Tensor) -> Tensor:
        """What :func:`saccade.models.segmentation.predict` gives with the task's options."""
        return predict(self.model, images, **{"multiple": self.multiple, "plus": self.plus, **self.inference})

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The probabilities of a batch, with labels or without."""
        return self.probabilities(batch[0] if isinstance(batch, tuple | list) else batch)

    def on_test_epoch_end(self) -> None:
        """Keep the confusion matrix."""
        super().on_test_epoch_end()
        self.confusion_matrix = self.metrics["test"]["confusion_matrix"].compute().cpu()

    def _logits(self, images: Tensor) -> list[Tensor]:
        """The main logits, then auxiliary ones, all as large as the images."""
        height, width = images.shape[-2:]
        rows, columns = (-(side - self.plus) % self.multiple for side in (height, width))
        output = self.model(F.pad(images, (0, columns, 0, rows)) if rows or columns else images)
        if isinstance(output, Mapping):
            main = output["out"] if "out" in output else next(iter(output.values()))
            found = [main, *(logits for logits in output.values() if logits is not main)]
        else:
            found = list(output) if isinstance(output, tuple | list) else [output]
        padded = (height + rows, width + columns)
        for i, logits in enumerate(found):
            if logits.ndim != 4 or logits.shape[:2] != (len(images), self.num_classes):
                expected = f"({len(images)}, {self.num_classes}, H, W)"
                raise ValueError(f"{_OP}: model must return logits of shape {expected}, got {tuple(logits.shape)}")
            if logits.shape[2:] != padded:
                logits = F.interpolate(logits, padded, mode="bilinear", align_corners=False)
            found[i] = logits[:, :, :height, :width]
        return found

    def _check(self, images: Tensor, labels: Tensor) -> None:
        if labels.dtype.is_floating_point or labels.dtype == torch.bool:
            raise TypeError(f"{_OP}: labels must be integers, got {labels.dtype}")
        expected = (len(images), *images.shape[2:])
        if labels.shape != expected:
            raise ValueError(
                f"{_OP}: labels must have shape {expected} for images of {tuple(images.shape)}, "
                f"got {tuple(labels.shape)}"
            )
        require_labels(_OP, "labels", labels, self.num_classes, self.ignore_index)
