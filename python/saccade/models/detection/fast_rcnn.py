"""Fast R-CNN: regions that come from outside, pooled from one map of the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from saccade import ops
from saccade.models._checks import positive
from saccade.models._registry import register
from saccade.models.alexnet import vgg16
from saccade.models.detection.backbone import MapBackbone
from saccade.models.detection.detector import Detector
from saccade.models.detection.faster_rcnn import IMAGE_MEAN, IMAGE_STD, BoxPredictor, TwoLayerHead
from saccade.models.detection.proposals import Proposals, SelectiveSearch, boxes_of
from saccade.models.detection.roi_heads import RoIHeads
from saccade.models.detection.targets import check_images, check_targets
from saccade.models.detection.transform import DetectionTransform, Target, resize_boxes
from saccade.models.residual import BasicBlock, NormLayer
from saccade.models.resnet import ResNet
from saccade.nn import BatchNorm2d

__all__ = ["FastRCNN", "MapRoIPool", "fast_rcnn", "fast_rcnn_small"]

_HIDDEN = 4096  # features of the paper's head


class MapRoIPool(nn.Module):
    """Pool regions of the map ``"0"`` to ``(R, C, size, size)``.

    Args:
        output_size: a side of the result.
        stride: pixels of the image for one of the map.
        method: "max" (ROI pooling, as the paper has it) or "align" (bilinear, two samples each way).
    """

    def __init__(self, output_size: int, stride: int, method: str = "max") -> None:
        super().__init__()
        if method not in ("max", "align"):
            raise ValueError(f"MapRoIPool: method must be 'max' or 'align', got {method!r}")
        self.output_size, self.stride, self.method = output_size, stride, method

    def forward(self, features: dict[str, Tensor], boxes: list[Tensor], size: Sequence[tuple[int, int]]) -> Tensor:
        """Pool the regions ``boxes`` of each image; ``size`` is not needed."""
        maps, side = features["0"], (self.output_size, self.output_size)
        boxes = [each.to(maps.dtype) for each in boxes]
        if self.method == "max":
            return ops.roi_pool(maps, boxes, side, 1 / self.stride)
        return ops.roi_align(maps, boxes, side, 1 / self.stride, 2, aligned=True)

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return f"output_size={self.output_size}, stride={self.stride}, method={self.method!r}"


class FastRCNN(Detector):
    """Regions that are given, or that selective search proposes, classified and moved by one network.

    The image goes through the backbone once; every region is pooled from its map. In training
    ``model(images, targets, proposals)`` returns ``loss_classifier`` (log loss over the classes and the background) and
    ``loss_box_reg`` (smooth L1 of the offsets of the true class); their sum is the paper's multi-task loss. In
    evaluation ``model(images, None, proposals)`` returns, for each image, a dict of ``boxes`` ``(D, 4)``, ``labels``
    ``(D,)`` and ``scores`` ``(D,)``, best first.

    Args:
        backbone: images ``(N, C, H, W)`` to a dict of maps; its ``out_channels`` are theirs.
        num_classes: the background, class 0, included.
        box_roi_pool, box_head, box_predictor: see RoIHeads; by default ROI pooling of 7 x 7 from a map at a sixteenth
            and two hidden layers of 4096.
        proposals: a function of an image ``(C, H, W)``, as given to the model, that returns boxes ``(P, 4)``; used
            where no proposals are given. None: they must be.
        min_size, max_size, image_mean, image_std: see DetectionTransform.
        box_score_thresh, box_nms_thresh, box_detections_per_img, box_fg_iou_thresh, box_bg_iou_thresh,
            box_batch_size_per_image, box_positive_fraction, bbox_reg_weights: see RoIHeads.

    Raises:
        ValueError: for images, targets or proposals of wrong shapes, boxes without area, proposals outside the image,
            labels out of range; which one is said. TypeError: for wrong dtypes.

    Source: Girshick, Fast R-CNN, 2015.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int,
        *,
        box_roi_pool: nn.Module | None = None,
        box_head: nn.Module | None = None,
        box_predictor: nn.Module | None = None,
        proposals: Proposals | None = None,
        min_size: int | Sequence[int] = 600,
        max_size: int = 1000,
        image_mean: Sequence[float] = IMAGE_MEAN,
        image_std: Sequence[float] = IMAGE_STD,
        box_score_thresh: float = 0.05,
        box_nms_thresh: float = 0.3,
        box_detections_per_img: int = 100,
        box_fg_iou_thresh: float = 0.5,
        box_bg_iou_thresh: float = 0.5,
        box_batch_size_per_image: int = 64,
        box_positive_fraction: float = 0.25,
        bbox_reg_weights: Sequence[float] = (10.0, 10.0, 5.0, 5.0),
    ) -> None:
        super().__init__()
        positive(type(self).__name__, num_classes=num_classes)
        self.num_classes, self.proposals = num_classes, proposals
        self.transform = DetectionTransform(min_size, max_size, image_mean, image_std)
        self.backbone = backbone
        self.roi_heads = self.heads(
            box_roi_pool or MapRoIPool(7, 16),
            box_head or TwoLayerHead(_channels(backbone) * 49, _HIDDEN),
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

    heads: type[RoIHeads] = RoIHeads

    def forward(
        self,
        images: Sequence[Tensor],
        targets: Sequence[Target] | None = None,
        proposals: Sequence[Tensor] | None = None,
    ) -> Any:
        """Losses by name in training, a dict of findings for each image in evaluation.

        Args:
            images: ``(C, H, W)`` each, in the range 0 to 1.
            targets: for each image a dict of ``boxes`` ``(M, 4)``, corners in pixels, and ``labels`` ``(M,)``, int64
                in 1 to ``num_classes - 1``; M may be 0. Needed in training only, where the boxes are proposals too.
            proposals: for each image ``(P, 4)``, corners in pixels; P may be 0.
        """
        op = type(self).__name__
        images = check_images(op, images, len(self.transform.image_mean))
        if self.training:
            targets = check_targets(op, images, targets, range(1, self.num_classes))
        regions = boxes_of(op, images, proposals, self.proposals)
        before = [(image.shape[-2], image.shape[-1]) for image in images]
        batch, targets = self.transform(images, targets if self.training else None)
        regions = [resize_boxes(b, old, new) for b, old, new in zip(regions, before, batch.sizes, strict=True)]
        detections, losses = self.roi_heads(self.backbone(batch.tensors), regions, batch, targets)
        return losses if self.training else self.transform.postprocess(detections, batch.sizes, before)


def _channels(backbone: nn.Module) -> int:
    return backbone.out_channels  # type: ignore[return-value]


class _VGGBody(nn.Module):
    """The convolutions of VGG-16 without the last pooling: a map at a sixteenth."""

    def __init__(self, features: nn.Sequential) -> None:
        super().__init__()
        self.features = features[:-1]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The map of ``images``."""
        return {"0": self.features(images)}


class _VGGHead(nn.Sequential):
    """The two hidden layers of VGG-16's classifier."""

    def __init__(self, classifier: nn.Sequential) -> None:
        super().__init__(nn.Flatten(), *classifier[:-1])


@register
def fast_rcnn(
    num_classes: int = 91,
    *,
    pretrained: nn.Module | None = None,
    proposals: Proposals | None = None,
    **options: Any,
) -> FastRCNN:
    """Fast R-CNN on VGG-16, as the paper has it: ROI pooling of 7 x 7, two hidden layers of 4096.

    Args:
        num_classes: the background included.
        pretrained: a trained :func:`vgg16`, whose layers become the model's; None for initial weights.
        proposals: see FastRCNN; None for 2000 of SelectiveSearch.
        options: FastRCNN's.
    """
    network = vgg16() if pretrained is None else pretrained
    parts = {
        "box_roi_pool": MapRoIPool(7, 16),
        "box_head": _VGGHead(network.classifier),  # type: ignore[arg-type]
        "box_predictor": BoxPredictor(_HIDDEN, num_classes),
        "proposals": proposals or SelectiveSearch(),
    }
    return FastRCNN(_VGGBody(network.features), num_classes, **{**parts, **options})  # type: ignore[arg-type]


@register
def fast_rcnn_small(
    num_classes: int = 2, *, proposals: Proposals | None = None, norm_layer: NormLayer = BatchNorm2d, **options: Any
) -> FastRCNN:
    """Fast R-CNN that a CPU trains in minutes: a ResNet of three blocks whose map is an eighth of images of 256.

    Arguments as for :func:`fast_rcnn`.

    >>> model = saccade.models.fast_rcnn_small(num_classes=3)
    >>> target = {"boxes": torch.tensor([[8.0, 8, 40, 30]]), "labels": torch.tensor([1])}
    >>> sorted(model([torch.rand(3, 64, 64)], [target]))
    ['loss_box_reg', 'loss_classifier']
    """
    widths, dilate = (16, 32, 64, 128), (False, True, False)
    resnet = ResNet(BasicBlock, (1, 1, 1, 1), widths=widths, replace_stride_with_dilation=dilate, norm_layer=norm_layer)
    backbone = MapBackbone(resnet)
    parts = {
        "box_roi_pool": MapRoIPool(7, 8, "align"),
        "box_head": TwoLayerHead(backbone.out_channels * 49, 128),
        "box_predictor": BoxPredictor(128, num_classes),
        "proposals": proposals or SelectiveSearch(max_boxes=300),
        "min_size": 256,
        "max_size": 512,
    }
    return FastRCNN(backbone, num_classes, **{**parts, **options})
