"""Operators for torch tensors, on the CPU and on CUDA."""

from saccade.ops.avg_pool2d import adaptive_avg_pool2d, avg_pool2d
from saccade.ops.batch_norm import batch_norm
from saccade.ops.box_filter import box_filter, box_sum
from saccade.ops.box_iou import box_iou, complete_box_iou, distance_box_iou, generalized_box_iou
from saccade.ops.box_iou_rotated import box_iou_rotated
from saccade.ops.box_losses import (
    complete_box_iou_loss,
    distance_box_iou_loss,
    generalized_box_iou_loss,
    sigmoid_focal_loss,
)
from saccade.ops.boxes import box_area, box_convert, clip_boxes_to_image, remove_small_boxes
from saccade.ops.cascade import cascade_detect
from saccade.ops.conv2d import conv2d, conv2d_fused, explain_conv2d, set_conv_precision
from saccade.ops.conv_transpose2d import conv_transpose2d
from saccade.ops.deform_conv2d import DeformConv2d, deform_conv2d
from saccade.ops.dense_crf import dense_crf
from saccade.ops.feature_pyramid_network import FeaturePyramidNetwork
from saccade.ops.frozen_batch_norm import FrozenBatchNorm2d
from saccade.ops.haar_features import haar_features
from saccade.ops.hog import hog
from saccade.ops.hog_descriptor import hog_descriptors, hog_detect
from saccade.ops.integral_image import integral_image
from saccade.ops.masks_to_boxes import masks_to_boxes
from saccade.ops.max_pool2d import max_pool2d, min_pool2d
from saccade.ops.multiscale_roi_align import MultiScaleRoIAlign, multiscale_roi_align
from saccade.ops.nms import batched_nms, nms, nms_padded
from saccade.ops.nms_rotated import nms_rotated
from saccade.ops.paste_masks import paste_masks
from saccade.ops.permutohedral import permutohedral_filter
from saccade.ops.ps_roi_align import PSRoIAlign, ps_roi_align
from saccade.ops.ps_roi_pool import PSRoIPool, ps_roi_pool
from saccade.ops.roi_align import RoIAlign, roi_align
from saccade.ops.roi_pool import RoIPool, roi_pool
from saccade.ops.soft_nms import soft_nms

__all__ = [
    "DeformConv2d",
    "FeaturePyramidNetwork",
    "FrozenBatchNorm2d",
    "MultiScaleRoIAlign",
    "PSRoIAlign",
    "PSRoIPool",
    "RoIAlign",
    "RoIPool",
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "batch_norm",
    "batched_nms",
    "box_area",
    "box_convert",
    "box_filter",
    "box_iou",
    "box_iou_rotated",
    "box_sum",
    "cascade_detect",
    "clip_boxes_to_image",
    "complete_box_iou",
    "complete_box_iou_loss",
    "conv2d",
    "conv2d_fused",
    "conv_transpose2d",
    "deform_conv2d",
    "dense_crf",
    "distance_box_iou",
    "distance_box_iou_loss",
    "explain_conv2d",
    "generalized_box_iou",
    "generalized_box_iou_loss",
    "haar_features",
    "hog",
    "hog_descriptors",
    "hog_detect",
    "integral_image",
    "masks_to_boxes",
    "max_pool2d",
    "min_pool2d",
    "multiscale_roi_align",
    "nms",
    "nms_padded",
    "nms_rotated",
    "paste_masks",
    "permutohedral_filter",
    "ps_roi_align",
    "ps_roi_pool",
    "remove_small_boxes",
    "roi_align",
    "roi_pool",
    "set_conv_precision",
    "sigmoid_focal_loss",
    "soft_nms",
]
