"""What trains networks: losses, the update rule, schedules, regularisation, Lightning modules."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from saccade._extras import require

if TYPE_CHECKING:
    from saccade.train.checkpoint import KeepCheckpoints, read_checkpoint, write_checkpoint
    from saccade.train.classifier import Classifier
    from saccade.train.curves import Curves, plot_confusion_matrix, plot_curves
    from saccade.train.data_module import ClassificationData, TaskData
    from saccade.train.fitting import Run, evaluate, fit, load_weights
    from saccade.train.nan import NonFiniteError, StopOnNaN
    from saccade.train.task import Task

__all__ = [
    "ClassificationData",
    "Classifier",
    "Curves",
    "KeepCheckpoints",
    "NonFiniteError",
    "Run",
    "StopOnNaN",
    "Task",
    "TaskData",
    "evaluate",
    "fit",
    "load_weights",
    "plot_confusion_matrix",
    "plot_curves",
    "read_checkpoint",
    "write_checkpoint",
]

# Loaded when first asked for: they need Lightning.
_LIGHTNING = {
    "ClassificationData": "data_module",
    "Classifier": "classifier",
    "Curves": "curves",
    "KeepCheckpoints": "checkpoint",
    "NonFiniteError": "nan",
    "Run": "fitting",
    "StopOnNaN": "nan",
    "Task": "task",
    "TaskData": "data_module",
    "evaluate": "fitting",
    "fit": "fitting",
    "load_weights": "fitting",
    "plot_confusion_matrix": "curves",
    "plot_curves": "curves",
    "read_checkpoint": "checkpoint",
    "write_checkpoint": "checkpoint",
}


def __getattr__(name: str) -> Any:
    if name not in _LIGHTNING:
        raise AttributeError(f"module 'saccade.train' has no attribute {name!r}")
    require("lightning", f"saccade.train.{name}", "train")
    value = getattr(importlib.import_module(f"saccade.train.{_LIGHTNING[name]}"), name)
    globals()[name] = value  # a function of its module's name would be hidden by the module otherwise
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
