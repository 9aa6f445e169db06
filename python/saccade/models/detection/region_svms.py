"""R-CNN's second training: support vector machines and ridge regression on frozen features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saccade import ops
from saccade._extras import require
from saccade.models.detection.proposals import boxes_of
from saccade.models.detection.rcnn import RCNN
from saccade.models.detection.targets import check_images, check_targets
from saccade.models.detection.transform import Target, resize_boxes

__all__ = ["SVMReport", "fit_svms"]

_NORM = 20.0  # of features, on the mean, before an SVM sees them: C and the penalty mean the same for every network
_INTERCEPT = 10.0  # the constant feature beside them: the offset is hardly penalised


class SVMReport(NamedTuple):
    """Of one class: objects, negatives of the last round, how many of all negatives were hard, rounds."""

    positives: int
    negatives: int
    hard: int
    rounds: int


class _Samples(NamedTuple):
    """Regions of all images: features, boxes and, for each, its image's true boxes and the labels of these."""

    features: list[NDArray[np.float32]]
    boxes: list[Tensor]
    objects: list[Tensor]
    labels: list[Tensor]


def fit_svms(
    model: RCNN,
    images: Sequence[Tensor],
    targets: Sequence[Target],
    proposals: Sequence[Tensor] | None = None,
    *,
    C: float = 1e-3,
    negative_iou: float = 0.3,
    rounds: int = 3,
    regression_iou: float = 0.6,
    ridge: float = 1000.0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[int, SVMReport]:
    """Replace the last layers of an R-CNN by linear SVMs and box regressions fitted to its features.

    For each class the true boxes are positive, and the proposals that overlap none of them by more than
    ``negative_iou`` are negative. The SVM first sees a random choice of these, then in every round those that it takes
    for objects or nearly so (a margin above -1), until no new ones come. Boxes are regressed from proposals that
    overlap an object of the class by ``regression_iou``. Both become linear layers; scores are the logistic function of
    the margins.

    Args:
        model: its network is not changed.
        images, targets, proposals: as for the model in training.
        C: the weight of the SVM's hinge losses, of features whose norms are 20 on the mean.
        negative_iou: IoU up to which a proposal is negative.
        rounds: of hard negatives, at most.
        regression_iou: from which a proposal is regressed from.
        ridge: the penalty of the regression.
        seed: of the first choice of negatives.
        progress: called after each image and each class with how many are done, and of how many.

    Returns:
        What was learned from, for each class. A class without objects is never detected.

    Raises:
        ValueError: as the model does. ImportError: without scikit-learn, ``pip install 'saccade[classic]'``.

    Source: Girshick, Donahue, Darrell and Malik, R-CNN, 2014, sections 2.3 and appendices B and C.
    """
    svm = require("sklearn.svm", "fit_svms", "classic")
    linear = require("sklearn.linear_model", "fit_svms", "classic")
    total = len(images) + model.num_classes - 1
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    samples = _extract(model, images, targets, proposals, advance)
    every = np.concatenate([f for f in samples.features if len(f)])
    scale = _NORM / max(float(np.linalg.norm(every, axis=1).mean()), 1e-12)
    predictor: Any = model.roi_heads.box_predictor
    score, offsets = predictor.cls_score, predictor.bbox_pred
    rng = np.random.default_rng(seed)
    reports = {}
    with torch.no_grad():
        for layer in (score, offsets):
            layer.weight.zero_()
            layer.bias.zero_()
        for label in range(1, model.num_classes):
            positives, negatives = _split(samples, label, negative_iou)
            machine, reports[label] = _machine(svm, positives * scale, negatives * scale, C, rounds, rng)
            if machine is None:
                score.bias[label] = -100  # a probability of 0
            else:
                score.weight[label] = torch.from_numpy(machine.coef_[0] * scale).to(score.weight)
                score.bias[label] = float(machine.intercept_[0])
            features, codes = _regression(model, samples, label, regression_iou)
            if len(features):
                fit = linear.Ridge(alpha=ridge).fit(features * scale, codes)
                rows = slice(4 * label, 4 * label + 4)
                offsets.weight[rows] = torch.from_numpy(fit.coef_ * scale).to(offsets.weight)
                offsets.bias[rows] = torch.from_numpy(fit.intercept_).to(offsets.bias)
            advance()
        model.roi_heads.by_margin.fill_(True)  # type: ignore[operator]
    return reports


def _extract(
    model: RCNN, images: Sequence[Tensor], targets: Any, proposals: Any, advance: Callable[[], None]
) -> _Samples:
    """Features of the true boxes, then of the proposals, of each image."""
    images = check_images("fit_svms", images, len(model.transform.image_mean))
    targets = check_targets("fit_svms", images, targets, range(1, model.num_classes))
    regions = boxes_of("fit_svms", images, proposals, model.proposals)
    samples = _Samples([], [], [], [])
    training = model.training
    model.eval()
    try:
        for image, target, region in zip(images, targets, regions, strict=True):
            boxes = torch.cat([target["boxes"].to(region), region])
            batch, _ = model.transform([image])
            resized = resize_boxes(boxes, (image.shape[-2], image.shape[-1]), batch.sizes[0])
            with torch.no_grad():
                features = model.roi_heads.box_roi_pool(model.backbone(batch.tensors), [resized], batch.sizes)
                features = model.roi_heads.box_head(features)
            samples.features.append(features.float().cpu().numpy())
            samples.boxes.append(resized.cpu())
            samples.objects.append(resized[: len(target["boxes"])].cpu())
            samples.labels.append(target["labels"].cpu())
            advance()
    finally:
        model.train(training)
    return samples


def _split(samples: _Samples, label: int, negative_iou: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Features of a class's objects and of its negatives."""
    width = samples.features[0].shape[1]
    positives, negatives = [np.zeros((0, width), np.float32)], [np.zeros((0, width), np.float32)]
    for features, boxes, objects, labels in zip(*samples, strict=True):
        own = labels == label
        positives.append(features[: len(objects)][own.numpy()])
        overlap = ops.box_iou(boxes, objects[own]).amax(1) if bool(own.any()) else torch.zeros(len(boxes))
        negatives.append(features[(overlap <= negative_iou).numpy()])
    return np.concatenate(positives), np.concatenate(negatives)


def _machine(
    svm: Any, positives: NDArray[Any], negatives: NDArray[Any], C: float, rounds: int, rng: np.random.Generator
) -> tuple[Any, SVMReport]:
    """A linear SVM by rounds of hard negatives; None without positives or negatives."""
    if not len(positives) or not len(negatives):
        return None, SVMReport(len(positives), len(negatives), 0, 0)
    first = min(len(negatives), max(1000, 5 * len(positives)))
    chosen = np.zeros(len(negatives), bool)
    chosen[rng.choice(len(negatives), first, replace=False)] = True
    for number in range(1, rounds + 1):
        features = np.concatenate([positives, negatives[chosen]])
        truth = np.repeat([1, 0], [len(positives), int(chosen.sum())])
        machine = svm.LinearSVC(C=C, loss="hinge", intercept_scaling=_INTERCEPT, max_iter=20000, random_state=0)
        machine.fit(features, truth)
        hard = machine.decision_function(negatives) > -1
        report = SVMReport(len(positives), int(chosen.sum()), int(hard.sum()), number)
        if not (hard & ~chosen).any():
            break
        chosen |= hard
    return machine, report


def _regression(model: RCNN, samples: _Samples, label: int, least: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Features of the regions near objects of a class, and the offsets of these from them."""
    width = samples.features[0].shape[1]
    found, codes = [np.zeros((0, width), np.float32)], [np.zeros((0, 4), np.float32)]
    for features, boxes, objects, labels in zip(*samples, strict=True):
        own = objects[labels == label]
        if not len(own):
            continue
        overlap, nearest = ops.box_iou(boxes, own).max(1)
        near = overlap >= least
        found.append(features[near.numpy()])
        codes.append(model.roi_heads.box_coder.encode(own[nearest[near]], boxes[near]).numpy())
    return np.concatenate(found), np.concatenate(codes)
