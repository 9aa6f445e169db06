"""Modules on saccade's operators, with torch's names, constructors and state-dict keys."""

from saccade.nn import functional, init
from saccade.nn.activations import ELU, LeakyReLU, ReLU, ScaledTanh, Sigmoid, TanhSigmoid
from saccade.nn.attention import AttentionBlock
from saccade.nn.batch_norm import BatchNorm2d
from saccade.nn.conv import Conv2d, ConvTranspose2d
from saccade.nn.conv_bn_act import ConvBNAct
from saccade.nn.crf_as_rnn import CRFasRNN
from saccade.nn.dropout import Dropout
from saccade.nn.partial_conv import PartialConv2d
from saccade.nn.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d, MinPool2d
from saccade.nn.rbf import GaussianRBF
from saccade.nn.subsampling import Subsampling2d
from saccade.nn.sync_batch_norm import SyncBatchNorm

__all__ = [
    "ELU",
    "AdaptiveAvgPool2d",
    "AttentionBlock",
    "AvgPool2d",
    "BatchNorm2d",
    "CRFasRNN",
    "Conv2d",
    "ConvBNAct",
    "ConvTranspose2d",
    "Dropout",
    "GaussianRBF",
    "LeakyReLU",
    "MaxPool2d",
    "MinPool2d",
    "PartialConv2d",
    "ReLU",
    "ScaledTanh",
    "Sigmoid",
    "Subsampling2d",
    "SyncBatchNorm",
    "TanhSigmoid",
    "functional",
    "init",
]
