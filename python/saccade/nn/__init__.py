"""Modules on saccade's operators, with torch's names, constructors and state-dict keys."""

from saccade.nn.batch_norm import BatchNorm2d
from saccade.nn.conv import Conv2d, ConvTranspose2d
from saccade.nn.conv_bn_act import ConvBNAct
from saccade.nn.crf_as_rnn import CRFasRNN
from saccade.nn.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d, MinPool2d
from saccade.nn.sync_batch_norm import SyncBatchNorm

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm2d",
    "CRFasRNN",
    "Conv2d",
    "ConvBNAct",
    "ConvTranspose2d",
    "MaxPool2d",
    "MinPool2d",
    "SyncBatchNorm",
]
