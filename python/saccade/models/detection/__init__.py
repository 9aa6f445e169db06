"""Detectors: networks that find objects, and the parts they are made of."""

from saccade.models.detection.anchor_clusters import cluster_anchors
from saccade.models.detection.anchors import AnchorGenerator
from saccade.models.detection.backbone import FPNBackbone, MapBackbone
from saccade.models.detection.box_coder import BoxCoder
from saccade.models.detection.darknet import parse_cfg, write_weights
from saccade.models.detection.fast_rcnn import FastRCNN, fast_rcnn, fast_rcnn_small
from saccade.models.detection.faster_rcnn import (
    FasterRCNN,
    fasterrcnn_resnet50_fpn,
    fasterrcnn_resnet50_fpn_v2,
    fasterrcnn_small,
)
from saccade.models.detection.faster_rcnn_c4 import fasterrcnn_resnet50_c4
from saccade.models.detection.fixed_size import FixedSize
from saccade.models.detection.mask_rcnn import MaskRCNN, maskrcnn_resnet50_fpn, maskrcnn_small
from saccade.models.detection.matching import BalancedSampler, Matcher
from saccade.models.detection.proposals import SelectiveSearch
from saccade.models.detection.rcnn import RCNN, rcnn, rcnn_small
from saccade.models.detection.region_svms import fit_svms
from saccade.models.detection.retinanet import RetinaNet, retinanet_resnet50_fpn, retinanet_small
from saccade.models.detection.transform import DetectionTransform, ImageBatch
from saccade.models.detection.yolo import YOLO, darknet_yolo
from saccade.models.detection.yolo_configs import yolo_small, yolov2, yolov2_tiny, yolov3, yolov3_tiny

__all__ = [
    "RCNN",
    "YOLO",
    "AnchorGenerator",
    "BalancedSampler",
    "BoxCoder",
    "DetectionTransform",
    "FPNBackbone",
    "FastRCNN",
    "FasterRCNN",
    "FixedSize",
    "ImageBatch",
    "MapBackbone",
    "MaskRCNN",
    "Matcher",
    "RetinaNet",
    "SelectiveSearch",
    "cluster_anchors",
    "darknet_yolo",
    "fast_rcnn",
    "fast_rcnn_small",
    "fasterrcnn_resnet50_c4",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_small",
    "fit_svms",
    "maskrcnn_resnet50_fpn",
    "maskrcnn_small",
    "parse_cfg",
    "rcnn",
    "rcnn_small",
    "retinanet_resnet50_fpn",
    "retinanet_small",
    "write_weights",
    "yolo_small",
    "yolov2",
    "yolov2_tiny",
    "yolov3",
    "yolov3_tiny",
]
