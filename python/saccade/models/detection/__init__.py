"""Detectors: networks that find objects, and the parts they are made of."""

from saccade.models.detection.anchors import AnchorGenerator
from saccade.models.detection.backbone import FPNBackbone
from saccade.models.detection.box_coder import BoxCoder
from saccade.models.detection.faster_rcnn import (
    FasterRCNN,
    fasterrcnn_resnet50_fpn,
    fasterrcnn_resnet50_fpn_v2,
    fasterrcnn_small,
)
from saccade.models.detection.mask_rcnn import MaskRCNN, maskrcnn_resnet50_fpn, maskrcnn_small
from saccade.models.detection.masks import paste_masks
from saccade.models.detection.matching import BalancedSampler, Matcher
from saccade.models.detection.retinanet import RetinaNet, retinanet_resnet50_fpn, retinanet_small
from saccade.models.detection.transform import DetectionTransform, ImageBatch

__all__ = [
    "AnchorGenerator",
    "BalancedSampler",
    "BoxCoder",
    "DetectionTransform",
    "FPNBackbone",
    "FasterRCNN",
    "ImageBatch",
    "MaskRCNN",
    "Matcher",
    "RetinaNet",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_small",
    "maskrcnn_resnet50_fpn",
    "maskrcnn_small",
    "paste_masks",
    "retinanet_resnet50_fpn",
    "retinanet_small",
]
