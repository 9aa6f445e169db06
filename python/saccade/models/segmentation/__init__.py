"""Networks that give a class to each pixel, and what makes them of classifiers."""

from saccade.models.segmentation.convert import convert_to_fcn
from saccade.models.segmentation.deeplab import (
    deeplabv3_resnet50,
    deeplabv3_resnet101,
    deeplabv3_small,
    fcn_resnet50,
    fcn_resnet101,
    fcn_resnet_small,
)
from saccade.models.segmentation.fcn import (
    fcn8s,
    fcn8s_small,
    fcn16s,
    fcn16s_small,
    fcn32s,
    fcn32s_small,
)

__all__ = [
    "convert_to_fcn",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "deeplabv3_small",
    "fcn8s",
    "fcn8s_small",
    "fcn16s",
    "fcn16s_small",
    "fcn32s",
    "fcn32s_small",
    "fcn_resnet50",
    "fcn_resnet101",
    "fcn_resnet_small",
]
