"""Training of detectors."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from saccade.train.detection_metric import DetectionAP
from saccade.train.detection_precision import PrecisionRecall, match_detections
from saccade.train.detection_weights import findings, first_label_of, floating
from saccade.train.task import OptimizerFactory, ScheduleFactory, Task

__all__ = ["DetectionTask", "Mistakes"]

Target = dict[str, Any]
_LEARNED = ("boxes", "labels", "masks")


class Mistakes(NamedTuple):
    """An image of the test set, what is in it, what was found, and how many of both are wrong."""

    count: int  # type: ignore[assignment]  # hides tuple.count
    image: Tensor
    target: Target
    found: Target


class DetectionTask(Task):
    """A Lightning module that trains any detector with the interface of torchvision's.

    Such a model returns named losses for ``model(images, targets)`` in training, and for ``model(images)`` in
    evaluation a dict of ``boxes``, ``labels`` and ``scores`` (and ``masks``) for each image. Images are lists of
    tensors ``(C, H, W)`` of any sizes, uint8 or from 0 to 1; targets as :class:`saccade.data.CocoDataset` gives them.

    Args:
        model: e.g. of saccade.models.detection, or torchvision's.
        num_classes: of objects; labels of targets and findings are from 0.
        first_label: what the model calls class 0: 1 where it counts the background in as its class 0, otherwise 0.
            Default: 1 for a model that has ``roi_heads``, as Faster R-CNN and Mask R-CNN have.
        masks: whether masks are learned and measured; default: whether the model has a mask branch.
        min_score: findings below it are no mistakes in pictures; it does not change average precision.
        optimizer, schedule, penalty, weighting, info: see :class:`Task`.

    Objects with ``iscrowd`` are not learned from. Logged at the end of an epoch: ``train_loss`` and the model's losses
    by name; ``val_`` and ``test_`` with what :class:`DetectionAP` computes, VOC's values in the test only. There is no
    loss in evaluation: detectors do not give one. After a test ``curves`` holds the precision and recall of each class,
    ``worst`` the images (of this process) with the most mistakes.

    Raises:
        ValueError: for a label out of range (named), masks without a branch for them, findings of another form.

    >>> module = saccade.train.DetectionTask(saccade.models.fasterrcnn_small(num_classes=3), num_classes=2)
    >>> (found,) = module.eval().find([torch.zeros(3, 32, 32)])
    >>> sorted(found)
    ['boxes', 'labels', 'scores']
    """

    monitor, monitor_mode = "val_ap", "max"

    def __init__(
        self,
        model: nn.Module,
        num_classes: int,
        *,
        first_label: int | None = None,
        masks: bool | None = None,
        min_score: float = 0.5,
        worst: int = 12,
        optimizer: OptimizerFactory | None = None,
        schedule: ScheduleFactory | None = None,
        penalty: Any = None,
        weighting: Any = None,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        if num_classes < 1:
            raise ValueError(f"DetectionTask: num_classes must be at least 1, got {num_classes}")
        heads = getattr(model, "roi_heads", None)
        branch = getattr(heads, "mask_predictor", None) is not None
        if first_label not in (None, 0, 1):
            raise ValueError(f"DetectionTask: first_label must be 0 or 1, got {first_label}")
        if masks and heads is not None and not branch:
            raise ValueError("DetectionTask: masks must be False for a model without a mask branch, got True")
        masks = branch if masks is None else masks

        def make_metrics(stage: str) -> MetricCollection:
            if stage == "train":
                return MetricCollection({})
            return MetricCollection({"ap": DetectionAP(num_classes, masks, curves=stage == "test")})

        super().__init__(
            model,
            optimizer=optimizer,
            schedule=schedule,
            penalty=penalty,
            weighting=weighting,
            info=info,
            make_metrics=make_metrics,
        )
        self.num_classes, self.with_masks, self.min_score = num_classes, masks, min_score
        self.first_label = first_label_of(model) if first_label is None else first_label
        self.curves: list[PrecisionRecall] = []
        self._most, self._heap = worst, list[Any]()

    def compute(self, batch: Any, stage: str) -> tuple[Mapping[str, Tensor], int]:
        """The losses of ``(images, targets)``, and the batch's size."""
        images, targets = batch
        self._check(targets)
        losses = self.model(floating(images), [self._to_learn(target) for target in targets])
        if not isinstance(losses, Mapping) or not losses:
            raise ValueError(
                f"DetectionTask: model must return losses by name in training, got {type(losses).__name__}"
            )
        return losses, len(images)

    def _to_learn(self, target: Target) -> Target:
        """What the model is to learn: without crowds, labels as it counts them."""
        names = _LEARNED if self.with_masks else _LEARNED[:2]
        crowd = target.get("iscrowd")
        alone = slice(None) if crowd is None else crowd == 0
        missing = [name for name in names if name not in target]
        if missing:
            raise ValueError(f"DetectionTask: targets must have {', '.join(names)}, got {', '.join(sorted(target))}")
        wanted = {name: target[name][alone] for name in names}
        wanted["labels"] = wanted["labels"] + self.first_label
        if self.with_masks:
            wanted["masks"] = wanted["masks"].to(torch.uint8)
        return wanted

    def _check(self, targets: Sequence[Target]) -> None:
        """Labels in range, in one pass."""
        labels = torch.cat([target["labels"] for target in targets])
        outside = (labels < 0) | (labels >= self.num_classes)
        if not bool(outside.any()):
            return
        for number, target in enumerate(targets):
            for index, label in enumerate(target["labels"].tolist()):
                if not 0 <= label < self.num_classes:
                    raise ValueError(
                        f"DetectionTask: targets[{number}]['labels'][{index}] must lie in 0 to {self.num_classes - 1}, "
                        f"got {label}"
                    )

    def find(self, images: Sequence[Tensor]) -> list[Target]:
        """What the model (in evaluation) finds: labels from 0, masks ``(D, H, W)`` bool."""
        return findings(self.model, images, self.first_label)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Count a batch in."""
        self._measure(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Count a batch in, and keep the images with the most mistakes."""
        images, targets = batch
        for image, target, found in zip(images, targets, self._measure(batch, "test"), strict=True):
            self._keep_worst(image, target, found)

    def _measure(self, batch: Any, stage: str) -> list[Target]:
        images, targets = batch
        self._check(targets)
        found = self.find(images)
        if self.with_masks and any("masks" not in each for each in found):
            raise ValueError("DetectionTask: masks must be False for a model that finds none, got True")
        names = ("boxes", "labels", "iscrowd", "area", *(("masks",) if self.with_masks else ()))
        known = [{name: target[name] for name in names if name in target} for target in targets]
        self.metrics[stage].update(found, known)
        return found

    def _keep_worst(self, image: Tensor, target: Target, found: Target) -> None:
        good = found["scores"] >= self.min_score
        chosen = {name: value[good].cpu() for name, value in found.items()}
        known = {name: value.cpu() for name, value in target.items() if isinstance(value, Tensor)}
        right, taken = match_detections(chosen, known)
        crowd = known.get("iscrowd", torch.zeros_like(known["labels"])) != 0
        count = int((right == 0).sum() + (~taken & ~crowd).sum())
        entry = (count, -len(self._heap), Mistakes(count, image.cpu(), known, chosen))
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, entry)
        elif self._heap and count > self._heap[0][0]:
            heapq.heapreplace(self._heap, (count, self._heap[0][1], entry[2]))

    @property
    def worst(self) -> list[Mistakes]:
        """The images of the last test with the most mistakes, worst first."""
        return [entry[2] for entry in sorted(self._heap, key=lambda entry: (-entry[0], -entry[1]))]

    def on_test_epoch_start(self) -> None:
        """Begin an epoch's metrics."""
        super().on_test_epoch_start()
        self._heap.clear()

    def on_test_epoch_end(self) -> None:
        """Keep the curves."""
        super().on_test_epoch_end()
        metric: Any = self.metrics["test"]["ap"]
        self.curves = metric.curves

    def predict_step(self, batch: Any, batch_idx: int) -> list[Target]:
        """The findings of a batch, of ``(images, targets)`` or of images alone."""
        return self.find(batch[0] if isinstance(batch, tuple) else batch)
