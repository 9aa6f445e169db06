"""Detectors: networks that find objects, and the parts they are made of."""

from saccade.models.detection.anchor_clusters import cluster_anchors
from saccade.models.detection.anchors import AnchorGenerator
from saccade.models.detection.backbone import FPNBackbone
from saccade.models.detection.box_coder import BoxCoder
from saccade.models.detection.darknet import parse_cfg, write_weights
from saccade.models.detection.faster_rcnn import (
    FasterRCNN,
    fasterrcnn_resnet50_fpn,
    fasterrcnn_resnet50_fpn_v2,
    fasterrcnn_small,
)
from saccade.models.detection.fixed_size import FixedSize
from saccade.models.detection.mask_rcnn import MaskRCNN, maskrcnn_resnet50_fpn, maskrcnn_small
from saccade.models.detection.matching import BalancedSampler, Matcher
from saccade.models.detection.retinanet import RetinaNet, retinanet_resnet50_fpn, retinanet_small
from saccade.models.detection.transform import DetectionTransform, ImageBatch
from saccade.models.detection.yolo import YOLO, darknet_yolo
from saccade.models.detection.yolo_configs import yolo_small, yolov2, yolov2_tiny, yolov3, yolov3_tiny

__all__ = [
    "YOLO",
    "AnchorGenerator",
    "BalancedSampler",
    "BoxCoder",
    "DetectionTransform",
    "FPNBackbone",
    "FasterRCNN",
    "FixedSize",
    "ImageBatch",
    "MaskRCNN",
    "Matcher",
    "RetinaNet",
    "cluster_anchors",
    "darknet_yolo",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_small",
    "maskrcnn_resnet50_fpn",
    "maskrcnn_small",
    "parse_cfg",
    "retinanet_resnet50_fpn",
    "retinanet_small",
    "write_weights",
    "yolo_small",
    "yolov2",
    "yolov2_tiny",
    "yolov3",
    "yolov3_tiny",
]
