"""RetinaNet: one stage, every anchor classified, under a loss that easy ones do not drown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saccade import ops
from saccade.models._checks import positive
from saccade.models._registry import register
from saccade.models.detection._findings import clip_boxes, conv_block, rows_of, suppress
from saccade.models.detection.anchors import AnchorGenerator
from saccade.models.detection.backbone import FPNBackbone, small_resnet
from saccade.models.detection.box_coder import BoxCoder
from saccade.models.detection.detector import Detector
from saccade.models.detection.faster_rcnn import IMAGE_MEAN, IMAGE_STD
from saccade.models.detection.matching import Matcher
from saccade.models.detection.targets import check_images, check_targets
from saccade.models.detection.transform import DetectionTransform, ImageBatch, Target
from saccade.models.residual import NormLayer
from saccade.models.resnet import resnet50
from saccade.nn import BatchNorm2d, Conv2d
from saccade.ops._best_above import best_above
from saccade.ops.feature_pyramid_network import LastLevelP6P7

__all__ = ["RetinaNet", "RetinaNetHead", "retinanet_resnet50_fpn", "retinanet_small"]

_STD = 0.01  # of initial weights
_PRIOR = 0.01  # probability of an object at the start, or the many negatives of the first step would drown all else


class _Branch(nn.Module):
    """Four 3x3 convolutions with ReLU and one that gives ``columns`` numbers for each anchor; shared by all maps."""

    def __init__(
        self, channels: int, num_anchors: int, columns: int, output: str, bias: float, hidden_std: float
    ) -> None:
        super().__init__()
        self.conv = nn.Sequential(*(conv_block(channels, channels) for _ in range(4)))
        self.columns, self.output = columns, output
        first = output == "cls_logits"  # torchvision draws the values of its two branches in different orders
        if first:
            _initialize(self.conv, hidden_std)
        last = Conv2d(channels, num_anchors * columns, 3, padding=1)
        _initialize(last, _STD)
        nn.init.constant_(last.bias, bias)  # type: ignore[arg-type]
        if not first:
            _initialize(self.conv, hidden_std)
        self.add_module(output, last)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """``(N, A, columns)`` for the anchors of each map."""
        last = getattr(self, self.output)
        return [rows_of(last(self.conv(level)), self.columns) for level in maps]


def _initialize(module: nn.Module, std: float) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


class RetinaNetHead(nn.Module):
    """Logits ``(N, A, num_classes)`` of the anchors of each map, and offsets ``(N, A, 4)`` of those of all.

    Args:
        in_channels, num_anchors, num_classes: of the maps, of each position, of the output.
        hidden_std: deviation of the initial weights of the hidden convolutions. The paper's, for 256 channels, keeps
            a third of the signal in each; with 32 channels nothing would be left of it (no object after 120 steps).
    """

    def __init__(self, in_channels: int, num_anchors: int, num_classes: int, hidden_std: float = _STD) -> None:
        super().__init__()
        bias = -math.log((1 - _PRIOR) / _PRIOR)
        self.classification_head = _Branch(in_channels, num_anchors, num_classes, "cls_logits", bias, hidden_std)
        self.regression_head = _Branch(in_channels, num_anchors, 4, "bbox_reg", 0.0, hidden_std)

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Logits and offsets."""
        return self.classification_head(maps), torch.cat(self.regression_head(maps), 1)


class RetinaNet(Detector):
    """Every anchor of a pyramid classified and moved by one head.

    Images may have different sizes, targets no boxes. ``model(images, targets)`` in training returns the losses
    ``classification`` (focal) and ``bbox_regression``; ``model(images)`` in evaluation what FasterRCNN returns.

    Args:
        backbone: images ``(N, C, H, W)`` to a dict of maps; its ``out_channels`` are theirs.
        num_classes: labels are 0 to ``num_classes - 1``; there is no class for the background.
        min_size, max_size, image_mean, image_std: see DetectionTransform.
        anchor_generator, head: by default anchors of three sizes (32 to 512 and thirds of octaves) and ratios.
        score_thresh: probability above which a class of an anchor is a detection.
        nms_thresh: IoU above which the lower-scored detection of a class is dropped.
        detections_per_img: the most detections of an image.
        fg_iou_thresh, bg_iou_thresh: see Matcher.
        topk_candidates: how many of a map come to suppression.

    Source: Lin et al., Focal Loss for Dense Object Detection, 2017; layout, values and results are torchvision's.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int,
        *,
        min_size: int | Sequence[int] = 800,
        max_size: int = 1333,
        image_mean: Sequence[float] = IMAGE_MEAN,
        image_std: Sequence[float] = IMAGE_STD,
        anchor_generator: AnchorGenerator | None = None,
        head: nn.Module | None = None,
        score_thresh: float = 0.05,
        nms_thresh: float = 0.5,
        detections_per_img: int = 300,
        fg_iou_thresh: float = 0.5,
        bg_iou_thresh: float = 0.4,
        topk_candidates: int = 1000,
    ) -> None:
        super().__init__()
        positive(type(self).__name__, num_classes=num_classes, detections_per_img=detections_per_img)
        channels: int = backbone.out_channels  # type: ignore[assignment]
        self.num_classes = num_classes
        self.backbone = backbone
        self.anchor_generator = anchor_generator or _octave_anchors()
        per_cell = self.anchor_generator.num_anchors_per_location()[0]
        self.head = head or RetinaNetHead(channels, per_cell, num_classes)
        self.proposal_matcher = Matcher(fg_iou_thresh, bg_iou_thresh, allow_low_quality_matches=True)
        self.box_coder = BoxCoder((1, 1, 1, 1))
        self.transform = DetectionTransform(min_size, max_size, image_mean, image_std)
        self.score_thresh, self.nms_thresh = score_thresh, nms_thresh
        self.detections_per_img, self.topk_candidates = detections_per_img, topk_candidates

    def forward(self, images: Sequence[Tensor], targets: Sequence[Target] | None = None) -> Any:
        """Losses by name in training, a dict of findings for each image in evaluation; see FasterRCNN's forward."""
        images = check_images(type(self).__name__, images, len(self.transform.image_mean))
        if self.training:
            targets = check_targets(type(self).__name__, images, targets, range(self.num_classes))
        batch, targets = self.transform(images, targets if self.training else None)
        logits, codes, anchors = self.predict(batch)
        if self.training:
            assert targets is not None
            return self._losses(torch.cat(logits, 1), codes, anchors, targets)
        detections = self._detections(logits, codes, anchors, batch.sizes)
        return self.transform.postprocess(detections, batch.sizes, [(i.shape[-2], i.shape[-1]) for i in images])

    def predict(self, batch: ImageBatch) -> tuple[list[Tensor], Tensor, Tensor]:
        """Logits ``(N, A, C)`` of the anchors of each map, offsets ``(N, A, 4)`` and anchors ``(A, 4)`` of all."""
        maps = list(self.backbone(batch.tensors).values())
        logits, codes = self.head(maps)
        anchors = self.anchor_generator(batch.tensors.shape[-2:], maps)
        return [level.to(anchors.dtype) for level in logits], codes.to(anchors.dtype), anchors

    def _losses(self, logits: Tensor, codes: Tensor, anchors: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        boxes = [target["boxes"].to(anchors.dtype) for target in targets]
        matches = torch.stack([self.proposal_matcher(found, anchors) for found in boxes])
        image, anchor = torch.where(matches >= 0)
        starts = torch.tensor([0, *(len(found) for found in boxes)], device=anchors.device).cumsum(0)
        source = matches[image, anchor] + starts[image]
        labels = torch.cat([target["labels"] for target in targets])[source]
        share = 1 / torch.bincount(image, minlength=len(boxes)).clamp(min=1).to(anchors.dtype)
        # As if every anchor were negative, then the positives put right: their targets need no matrix of ones.
        no = logits.new_zeros(()).expand_as(logits)
        negative = ops.sigmoid_focal_loss(logits, no).sum(-1).masked_fill(matches == Matcher.BETWEEN, 0).sum(1)
        own = logits[image, anchor, labels]
        right = ops.sigmoid_focal_loss(own, torch.ones_like(own)) - ops.sigmoid_focal_loss(own, torch.zeros_like(own))
        offsets = self.box_coder.encode(torch.cat(boxes)[source], anchors[anchor])
        apart = (codes[image, anchor] - offsets).abs().sum(1)
        return {
            "classification": ((negative * share).sum() + (right * share[image]).sum()) / len(boxes),
            "bbox_regression": (apart * share[image]).sum() / len(boxes),
        }

    def _detections(
        self, logits: list[Tensor], codes: Tensor, anchors: Tensor, sizes: list[tuple[int, int]]
    ) -> list[Target]:
        # By logits: most are out without a sigmoid. The margin is for its rounding.
        levels = [level.flatten(1) for level in logits]
        value, image, column = best_above(levels, _logit(self.score_thresh) - 1e-3, self.topk_candidates)
        scores = value.sigmoid()
        if len(scores) and not scores.amin() > self.score_thresh:
            good = torch.where(scores > self.score_thresh)[0]
            scores, image, column = (part.index_select(0, good) for part in (scores, image, column))
        anchor = column // self.num_classes
        label = column - anchor * self.num_classes
        codes = codes.flatten(0, 1).index_select(0, image * len(anchors) + anchor)
        boxes = clip_boxes(self.box_coder.decode(codes, anchors.index_select(0, anchor)), image, sizes)
        kept = suppress(boxes, scores, image, label, len(sizes), self.nms_thresh, self.detections_per_img)
        return [{"boxes": boxes[keep], "labels": label[keep], "scores": scores[keep]} for keep in kept]


def _logit(probability: float) -> float:
    if 0 < probability < 1:
        return math.log(probability / (1 - probability))
    return -math.inf if probability <= 0 else math.inf


def _octave_anchors(smallest: int = 32) -> AnchorGenerator:
    sizes = [smallest << level for level in range(5)]
    thirds = [(size, int(size * 2 ** (1 / 3)), int(size * 2 ** (2 / 3))) for size in sizes]
    return AnchorGenerator(thirds, (0.5, 1.0, 2.0))


@register
def retinanet_resnet50_fpn(
    num_classes: int = 91, *, norm_layer: NormLayer = BatchNorm2d, trainable_layers: int = 5, **options: Any
) -> RetinaNet:
    """RetinaNet on ResNet-50 with a feature pyramid of strides 8 to 128.

    Args:
        num_classes: labels are 0 to ``num_classes - 1``.
        norm_layer, trainable_layers: see :func:`fasterrcnn_resnet50_fpn`.
        options: RetinaNet's.
    """
    backbone = FPNBackbone(
        resnet50(norm_layer=norm_layer),
        stages=(2, 3, 4),
        extra_blocks=LastLevelP6P7(256, 256),
        trainable_layers=trainable_layers,
    )
    return RetinaNet(backbone, num_classes, **options)


@register
def retinanet_small(num_classes: int = 2, *, norm_layer: NormLayer = BatchNorm2d, **options: Any) -> RetinaNet:
    """RetinaNet that a CPU trains in minutes: a ResNet of four blocks, a pyramid of 32 channels, images of 128.

    Arguments as for :func:`retinanet_resnet50_fpn`.

    >>> model = saccade.models.retinanet_small(num_classes=3)
    >>> target = {"boxes": torch.tensor([[8.0, 8, 40, 30]]), "labels": torch.tensor([0])}
    >>> sorted(model([torch.rand(3, 64, 64)], [target]))
    ['bbox_regression', 'classification']
    """
    extra = LastLevelP6P7(32, 32)
    backbone = FPNBackbone(small_resnet(norm_layer), stages=(2, 3, 4), out_channels=32, extra_blocks=extra)
    anchors = _octave_anchors(16)
    positive("RetinaNet", num_classes=num_classes)
    head = RetinaNetHead(32, anchors.num_anchors_per_location()[0], num_classes, hidden_std=math.sqrt(2 / (9 * 32)))
    small = {"min_size": 128, "max_size": 256, "anchor_generator": anchors, "head": head}
    return RetinaNet(backbone, num_classes, **{**small, **options})
