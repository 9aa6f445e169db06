"""Networks that give a class to each pixel, and what makes them of classifiers."""

from saccade.models.segmentation.deeplab import (
    deeplabv3_resnet50,
    deeplabv3_resnet101,
    deeplabv3_small,
    fcn_resnet50,
    fcn_resnet101,
    fcn_resnet_small,
)

__all__ = [
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "deeplabv3_small",
    "fcn_resnet50",
    "fcn_resnet101",
    "fcn_resnet_small",
]
