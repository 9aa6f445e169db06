"""Faster R-CNN on feature pyramids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from saccade.models._checks import positive
from saccade.models._registry import register
from saccade.models.detection._findings import conv_block
from saccade.models.detection.anchors import AnchorGenerator
from saccade.models.detection.backbone import FPNBackbone, small_resnet
from saccade.models.detection.detector import Detector
from saccade.models.detection.roi_heads import RoIHeads
from saccade.models.detection.rpn import RegionProposalNetwork, RPNHead
from saccade.models.detection.targets import check_images, check_targets
from saccade.models.detection.transform import DetectionTransform, Target
from saccade.models.residual import NormLayer
from saccade.models.resnet import resnet50
from saccade.nn import BatchNorm2d
from saccade.ops import MultiScaleRoIAlign

__all__ = [
    "BoxPredictor",
    "ConvBoxHead",
    "FasterRCNN",
    "TwoLayerHead",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_small",
]

IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
_HIDDEN = 1024


class TwoLayerHead(nn.Module):
    """Two fully connected layers with ReLU on pooled regions, ``(R, C, S, S)`` to ``(R, hidden)``."""

    def __init__(self, in_features: int, hidden: int) -> None:
        super().__init__()
        self.fc6 = nn.Linear(in_features, hidden)
        self.fc7 = nn.Linear(hidden, hidden)

    def forward(self, regions: Tensor) -> Tensor:
        """Hidden features of ``regions``."""
        return functional.relu(self.fc7(functional.relu(self.fc6(regions.flatten(1)))))


class ConvBoxHead(nn.Sequential):
    """3x3 convolutions and one fully connected layer with ReLU on pooled regions, ``(R, C, S, S)`` to ``(R, hidden)``.

    Source: Wu and He, Group Normalization, 2018, section 4.2 (four convolutions of 256 channels, 1024 features).
    """

    def __init__(self, channels: int, side: int, convolutions: int, hidden: int, norm_layer: NormLayer) -> None:
        blocks = [conv_block(channels, channels, norm_layer) for _ in range(convolutions)]
        super().__init__(*blocks, nn.Flatten(), nn.Linear(channels * side**2, hidden), nn.ReLU())
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


class BoxPredictor(nn.Module):
    """Hidden features ``(R, F)`` to logits ``(R, num_classes)`` and offsets ``(R, 4 * num_classes)``."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(in_features, num_classes)
        self.bbox_pred = nn.Linear(in_features, num_classes * 4)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and offsets of ``hidden``."""
        return self.cls_score(hidden), self.bbox_pred(hidden)


class FasterRCNN(Detector):
    """Regions proposed by a network on the maps of a backbone, then classified and moved by another on the same maps.

    Images may have different sizes, targets no boxes. ``model(images, targets)`` in training returns the four losses
    of the lecture notes by name: ``loss_objectness`` and ``loss_rpn_box_reg`` of the proposals, ``loss_classifier`` and
    ``loss_box_reg`` of the second stage. ``model(images)`` in evaluation returns, for each image, a dict of ``boxes``
    ``(D, 4)`` in its pixels, ``labels`` ``(D,)`` and ``scores`` ``(D,)``, best first.

    Args:
        backbone: images ``(N, C, H, W)`` to a dict of maps; its ``out_channels`` are theirs.
        num_classes: the background, class 0, included.
        min_size, max_size, image_mean, image_std: see DetectionTransform.
        rpn_anchor_generator, rpn_head: by default anchors of one size (32 to 512) and three ratios on each map.
        rpn_pre_nms_top_n_train, rpn_pre_nms_top_n_test, rpn_post_nms_top_n_train, rpn_post_nms_top_n_test,
            rpn_nms_thresh, rpn_fg_iou_thresh, rpn_bg_iou_thresh, rpn_batch_size_per_image, rpn_positive_fraction,
            rpn_score_thresh: see RegionProposalNetwork.
        box_roi_pool, box_head, box_predictor, box_score_thresh, box_nms_thresh, box_detections_per_img,
            box_fg_iou_thresh, box_bg_iou_thresh, box_batch_size_per_image, box_positive_fraction, bbox_reg_weights:
            see RoIHeads.

    Raises:
        ValueError: for images or targets of wrong shapes, boxes without area, labels out of range; which one is said.
            TypeError: for wrong dtypes.

    Source: Ren et al., Faster R-CNN, 2015, with Lin et al., Feature Pyramid Networks, 2017; layout, values and results
    are torchvision's.
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
        rpn_anchor_generator: AnchorGenerator | None = None,
        rpn_head: nn.Module | None = None,
        rpn_pre_nms_top_n_train: int = 2000,
        rpn_pre_nms_top_n_test: int = 1000,
        rpn_post_nms_top_n_train: int = 2000,
        rpn_post_nms_top_n_test: int = 1000,
        rpn_nms_thresh: float = 0.7,
        rpn_fg_iou_thresh: float = 0.7,
        rpn_bg_iou_thresh: float = 0.3,
        rpn_batch_size_per_image: int = 256,
        rpn_positive_fraction: float = 0.5,
        rpn_score_thresh: float = 0.0,
        box_roi_pool: MultiScaleRoIAlign | None = None,
        box_head: nn.Module | None = None,
        box_predictor: nn.Module | None = None,
        box_score_thresh: float = 0.05,
        box_nms_thresh: float = 0.5,
        box_detections_per_img: int = 100,
        box_fg_iou_thresh: float = 0.5,
        box_bg_iou_thresh: float = 0.5,
        box_batch_size_per_image: int = 512,
        box_positive_fraction: float = 0.25,
        bbox_reg_weights: Sequence[float] = (10.0, 10.0, 5.0, 5.0),
    ) -> None:
        super().__init__()
        positive(type(self).__name__, num_classes=num_classes)
        channels: int = backbone.out_channels  # type: ignore[assignment]
        self.num_classes = num_classes
        anchors = rpn_anchor_generator or pyramid_anchors()
        pool = box_roi_pool or MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)
        self.transform = DetectionTransform(min_size, max_size, image_mean, image_std)
        self.backbone = backbone
        self.rpn = RegionProposalNetwork(
            anchors,
            rpn_head or RPNHead(channels, anchors.num_anchors_per_location()[0]),
            rpn_fg_iou_thresh,
            rpn_bg_iou_thresh,
            rpn_batch_size_per_image,
            rpn_positive_fraction,
            (rpn_pre_nms_top_n_train, rpn_pre_nms_top_n_test),
            (rpn_post_nms_top_n_train, rpn_post_nms_top_n_test),
            rpn_nms_thresh,
            rpn_score_thresh,
        )
        self.roi_heads = RoIHeads(
            pool,
            box_head or TwoLayerHead(channels * pool.output_size[0] * pool.output_size[1], _HIDDEN),
            box_predictor or BoxPredictor(_HIDDEN, num_classes),
            box_fg_iou_thresh,
            box_bg_iou_thresh,
            box_batch_size_per_image,
            box_positive_fraction,
            bbox_reg_weights,
            box_score_thresh,
            box_nms_thresh,
            box_detections_per_img,
        )

    def forward(self, images: Sequence[Tensor], targets: Sequence[Target] | None = None) -> Any:
        """Losses by name in training, a dict of findings for each image in evaluation.

        Args:
            images: ``(C, H, W)`` each, in the range 0 to 1.
            targets: for each image a dict of ``boxes`` ``(M, 4)``, corners in pixels, and ``labels`` ``(M,)``, int64
                in 1 to ``num_classes - 1``; M may be 0. Needed in training only.
        """
        op, masked = type(self).__name__, self.roi_heads.mask_predictor is not None
        images = check_images(op, images, len(self.transform.image_mean))
        if self.training:
            targets = check_targets(op, images, targets, range(1, self.num_classes), masked)
        batch, targets = self.transform(images, targets if self.training else None)
        features = self.backbone(batch.tensors)
        proposals, losses = self.rpn(batch, features, targets)
        detections, head_losses = self.roi_heads(features, proposals, batch, targets)
        if self.training:
            return {**head_losses, **losses}
        return self.transform.postprocess(detections, batch.sizes, [(i.shape[-2], i.shape[-1]) for i in images])


def pyramid_anchors(smallest: int = 32, maps: int = 5) -> AnchorGenerator:
    """One size for each map, twice that of the one before, and height over width of 1/2, 1 and 2."""
    return AnchorGenerator([(smallest << level,) for level in range(maps)], (0.5, 1.0, 2.0))


@register
def fasterrcnn_resnet50_fpn(
    num_classes: int = 91, *, norm_layer: NormLayer = BatchNorm2d, trainable_layers: int = 5, **options: Any
) -> FasterRCNN:
    """Faster R-CNN on ResNet-50 with a feature pyramid.

    Args:
        num_classes: the background included.
        norm_layer: of the ResNet; ``saccade.ops.FrozenBatchNorm2d`` for trained weights, as torchvision has it.
        trainable_layers: stages of the ResNet that are not frozen, see FPNBackbone; 3 is usual with trained weights.
        options: FasterRCNN's.
    """
    backbone = FPNBackbone(resnet50(norm_layer=norm_layer), trainable_layers=trainable_layers)
    return FasterRCNN(backbone, num_classes, **options)


@register
def fasterrcnn_resnet50_fpn_v2(
    num_classes: int = 91, *, norm_layer: NormLayer = BatchNorm2d, trainable_layers: int = 5, **options: Any
) -> FasterRCNN:
    """Faster R-CNN with normalised pyramid, deeper proposal head and convolutions in the second stage.

    Arguments as for :func:`fasterrcnn_resnet50_fpn`. Source: Li et al., Benchmarking Detection Transfer Learning with
    Vision Transformers, 2021.
    """
    backbone = FPNBackbone(resnet50(norm_layer=norm_layer), norm_layer=norm_layer, trainable_layers=trainable_layers)
    anchors = pyramid_anchors()
    parts = {
        "rpn_anchor_generator": anchors,
        "rpn_head": RPNHead(backbone.out_channels, anchors.num_anchors_per_location()[0], conv_depth=2),
        "box_head": ConvBoxHead(backbone.out_channels, 7, 4, _HIDDEN, norm_layer),
    }
    return FasterRCNN(backbone, num_classes, **{**parts, **options})


def small_options(backbone: FPNBackbone, num_classes: int) -> dict[str, Any]:
    """Options of the small two-stage detectors: anchors of 8 to 128 pixels, images of 128, few regions and features."""
    return {
        "min_size": 128,
        "max_size": 256,
        "rpn_anchor_generator": pyramid_anchors(8),
        "rpn_pre_nms_top_n_train": 300,
        "rpn_pre_nms_top_n_test": 300,
        "rpn_post_nms_top_n_train": 100,
        "rpn_post_nms_top_n_test": 100,
        "rpn_batch_size_per_image": 64,
        "box_batch_size_per_image": 32,
        "box_head": TwoLayerHead(backbone.out_channels * 49, 128),
        "box_predictor": BoxPredictor(128, num_classes),
    }


@register
def fasterrcnn_small(num_classes: int = 2, *, norm_layer: NormLayer = BatchNorm2d, **options: Any) -> FasterRCNN:
    """Faster R-CNN that a CPU trains in minutes: a ResNet of four blocks, a pyramid of 32 channels, images of 128.

    Arguments as for :func:`fasterrcnn_resnet50_fpn`.

    >>> model = saccade.models.fasterrcnn_small(num_classes=3)
    >>> target = {"boxes": torch.tensor([[8.0, 8, 40, 30]]), "labels": torch.tensor([1])}
    >>> sorted(model([torch.rand(3, 64, 64)], [target]))
    ['loss_box_reg', 'loss_classifier', 'loss_objectness', 'loss_rpn_box_reg']
    """
    positive("FasterRCNN", num_classes=num_classes)
    backbone = FPNBackbone(small_resnet(norm_layer), out_channels=32)
    return FasterRCNN(backbone, num_classes, **{**small_options(backbone, num_classes), **options})
