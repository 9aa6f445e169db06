"""Whole networks, built by name, in the layouts of the checkpoints that people have."""

from saccade.models._registry import build, list_models, register
from saccade.models.alexnet import alexnet, vgg16
from saccade.models.autoencoder import add_noise, denoising_autoencoder
from saccade.models.checkpoint import CheckpointError, LoadReport, load_checkpoint
from saccade.models.detection import (
    fasterrcnn_resnet50_fpn,
    fasterrcnn_resnet50_fpn_v2,
    fasterrcnn_small,
    maskrcnn_resnet50_fpn,
    maskrcnn_small,
    retinanet_resnet50_fpn,
    retinanet_small,
)
from saccade.models.drn import (
    drn_a_50,
    drn_c_26,
    drn_c_42,
    drn_c_58,
    drn_d_22,
    drn_d_24,
    drn_d_38,
    drn_d_40,
    drn_d_54,
    drn_d_56,
    drn_d_105,
)
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
from saccade.models.vit import vit_b_16, vit_tiny

__all__ = [
    "CheckpointError",
    "LoadReport",
    "add_noise",
    "alexnet",
    "build",
    "denoising_autoencoder",
    "drn_a_50",
    "drn_c_26",
    "drn_c_42",
    "drn_c_58",
    "drn_d_22",
    "drn_d_24",
    "drn_d_38",
    "drn_d_40",
    "drn_d_54",
    "drn_d_56",
    "drn_d_105",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_small",
    "lenet5",
    "linear",
    "list_models",
    "load_checkpoint",
    "logistic",
    "map_loss",
    "maskrcnn_resnet50_fpn",
    "maskrcnn_small",
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
    "retinanet_resnet50_fpn",
    "retinanet_small",
    "vgg16",
    "vit_b_16",
    "vit_tiny",
]
