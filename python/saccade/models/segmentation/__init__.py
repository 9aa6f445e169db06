"""Networks that give a class to each pixel, and what makes them of classifiers."""

from saccade.models.segmentation._predict import predict
from saccade.models.segmentation.convert import convert_to_fcn
from saccade.models.segmentation.deeplab import (
    deeplabv3_resnet50,
    deeplabv3_resnet101,
    deeplabv3_small,
    fcn_resnet50,
    fcn_resnet101,
    fcn_resnet_small,
)
from saccade.models.segmentation.drn_seg import drn_seg, drn_seg_small
from saccade.models.segmentation.fcn import (
    fcn8s,
    fcn8s_small,
    fcn16s,
    fcn16s_small,
    fcn32s,
    fcn32s_small,
)
from saccade.models.segmentation.hypercolumn import hypercolumn, hypercolumn_small
from saccade.models.segmentation.pspnet import (
    pspnet50,
    pspnet101,
    pspnet_small,
)
from saccade.models.segmentation.segmenter import segmenter_tiny
from saccade.models.segmentation.unet import unet, unet_small

__all__ = [
    "convert_to_fcn",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "deeplabv3_small",
    "drn_seg",
    "drn_seg_small",
    "fcn8s",
    "fcn8s_small",
    "fcn16s",
    "fcn16s_small",
    "fcn32s",
    "fcn32s_small",
    "fcn_resnet50",
    "fcn_resnet101",
    "fcn_resnet_small",
    "hypercolumn",
    "hypercolumn_small",
    "predict",
    "pspnet50",
    "pspnet101",
    "pspnet_small",
    "segmenter_tiny",
    "unet",
    "unet_small",
]
