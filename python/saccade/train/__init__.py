"""What trains networks: losses, the update rule, schedules, regularisation, Lightning modules.

Everything is loaded when it is first used; nothing here needs torchvision or Lightning until then.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from saccade._extras import require

if TYPE_CHECKING:
    from saccade.train import backprop, losses, nas, optim
    from saccade.train.checkpoint import KeepCheckpoints, read_checkpoint, write_checkpoint
    from saccade.train.classifier import Classifier
    from saccade.train.curves import Curves, plot_confusion_matrix, plot_curves
    from saccade.train.data_module import ClassificationData, TaskData
    from saccade.train.detection import DetectionTask
    from saccade.train.detection_data import DetectionData
    from saccade.train.detection_metric import DetectionAP
    from saccade.train.detection_pictures import draw_detections, plot_mistakes, plot_precision_recall
    from saccade.train.detection_precision import (
        PrecisionRecall,
        average_precision,
        match_detections,
        precision_recall,
    )
    from saccade.train.fitting import Run, evaluate, fit, load_weights
    from saccade.train.multitask import MultiTaskLoss
    from saccade.train.nan import NonFiniteError, StopOnNaN
    from saccade.train.optim import AlexNetSGD, PolyLR
    from saccade.train.regularisation import EarlyStopping, l1_penalty, l2_penalty, weight_decay_groups
    from saccade.train.segmentation import SegmentationTask
    from saccade.train.segmentation_data import SegmentationData
    from saccade.train.segmentation_metrics import BoundaryMeanIoU, MeanIoU, per_class
    from saccade.train.task import Task
    from saccade.train.transfer import freeze, replace_head, unfreeze

__all__ = [
    "AlexNetSGD",
    "BoundaryMeanIoU",
    "ClassificationData",
    "Classifier",
    "Curves",
    "DetectionAP",
    "DetectionData",
    "DetectionTask",
    "EarlyStopping",
    "KeepCheckpoints",
    "MeanIoU",
    "MultiTaskLoss",
    "NonFiniteError",
    "PolyLR",
    "PrecisionRecall",
    "Run",
    "SegmentationData",
    "SegmentationTask",
    "StopOnNaN",
    "Task",
    "TaskData",
    "average_precision",
    "backprop",
    "draw_detections",
    "evaluate",
    "fit",
    "freeze",
    "l1_penalty",
    "l2_penalty",
    "load_weights",
    "losses",
    "match_detections",
    "nas",
    "optim",
    "per_class",
    "plot_confusion_matrix",
    "plot_curves",
    "plot_mistakes",
    "plot_precision_recall",
    "precision_recall",
    "read_checkpoint",
    "replace_head",
    "unfreeze",
    "weight_decay_groups",
    "write_checkpoint",
]

_MODULES = ("backprop", "losses", "nas", "optim")
_NAMES = {
    "AlexNetSGD": "optim",
    "EarlyStopping": "regularisation",
    "MultiTaskLoss": "multitask",
    "PolyLR": "optim",
    "PrecisionRecall": "detection_precision",
    "average_precision": "detection_precision",
    "draw_detections": "detection_pictures",
    "freeze": "transfer",
    "l1_penalty": "regularisation",
    "l2_penalty": "regularisation",
    "match_detections": "detection_precision",
    "plot_mistakes": "detection_pictures",
    "plot_precision_recall": "detection_pictures",
    "precision_recall": "detection_precision",
    "replace_head": "transfer",
    "unfreeze": "transfer",
    "weight_decay_groups": "regularisation",
}
_LIGHTNING = {
    "BoundaryMeanIoU": "segmentation_metrics",
    "ClassificationData": "data_module",
    "Classifier": "classifier",
    "Curves": "curves",
    "DetectionAP": "detection_metric",
    "DetectionData": "detection_data",
    "DetectionTask": "detection",
    "KeepCheckpoints": "checkpoint",
    "MeanIoU": "segmentation_metrics",
    "NonFiniteError": "nan",
    "Run": "fitting",
    "SegmentationData": "segmentation_data",
    "SegmentationTask": "segmentation",
    "StopOnNaN": "nan",
    "Task": "task",
    "TaskData": "data_module",
    "evaluate": "fitting",
    "fit": "fitting",
    "load_weights": "fitting",
    "per_class": "segmentation_metrics",
    "plot_confusion_matrix": "curves",
    "plot_curves": "curves",
    "read_checkpoint": "checkpoint",
    "write_checkpoint": "checkpoint",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"saccade.train.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"saccade.train.{_NAMES[name]}"), name)
    if name in _LIGHTNING:
        require("lightning", f"saccade.train.{name}", "train")
        return getattr(importlib.import_module(f"saccade.train.{_LIGHTNING[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
