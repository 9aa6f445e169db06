"""Whole networks, built by name, in the layouts of the checkpoints that people have."""

from saccade.models._registry import build, list_models, register
from saccade.models.checkpoint import CheckpointError, LoadReport, load_checkpoint
from saccade.models.lenet import lenet5, map_loss
from saccade.models.linear import linear, logistic, mlp, perceptron
from saccade.models.resnet import (
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnet_small,
    resnext50_32x4d,
    resnext101_32x8d,
)

__all__ = [
    "CheckpointError",
    "LoadReport",
    "build",
    "lenet5",
    "linear",
    "list_models",
    "load_checkpoint",
    "logistic",
    "map_loss",
    "mlp",
    "perceptron",
    "register",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnet_small",
    "resnext50_32x4d",
    "resnext101_32x8d",
]
