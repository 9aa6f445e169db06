"""Mask R-CNN: Faster R-CNN with a branch for masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from saccade.models._checks import positive
from saccade.models._registry import register
from saccade.models.detection._findings import conv_block
from saccade.models.detection.backbone import FPNBackbone, small_resnet
from saccade.models.detection.faster_rcnn import FasterRCNN, small_options
from saccade.models.residual import NormLayer
from saccade.models.resnet import resnet50
from saccade.nn import BatchNorm2d, Conv2d, ConvTranspose2d
from saccade.ops import MultiScaleRoIAlign

__all__ = ["MaskHead", "MaskPredictor", "MaskRCNN", "maskrcnn_resnet50_fpn", "maskrcnn_small"]


class MaskHead(nn.Sequential):
    """3x3 convolutions with ReLU on pooled regions.

    Args:
        in_channels: of the regions.
        channels: of each convolution.
    """

    def __init__(self, in_channels: int, channels: Sequence[int]) -> None:
        super().__init__(*map(conv_block, (in_channels, *channels[:-1]), channels))
        _initialize(self)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


class MaskPredictor(nn.Module):
    """A transposed convolution to twice the side and logits of a mask for each class, ``(R, num_classes, 2S, 2S)``."""

    def __init__(self, in_channels: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv5_mask = ConvTranspose2d(in_channels, channels, 2, 2)
        self.mask_fcn_logits = Conv2d(channels, num_classes, 1)
        _initialize(self)

    def forward(self, regions: Tensor) -> Tensor:
        """Logits of ``regions``, ``(R, C, S, S)``."""
        return self.mask_fcn_logits(functional.relu(self.conv5_mask(regions)))


def _initialize(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


class MaskRCNN(FasterRCNN):
    """Faster R-CNN that gives each detection a mask, in parallel with its class and box.

    Targets have ``masks`` too, ``(M, H, W)`` of 0 and 1, losses ``loss_mask``, and findings ``masks``,
    ``(D, 1, H, W)``: the probability that a pixel is of the object.

    Args:
        backbone, num_classes: see FasterRCNN.
        mask_roi_pool, mask_head, mask_predictor: by default regions of 14 x 14, four convolutions of 256 channels,
            masks of 28 x 28.
        options: the other ones of FasterRCNN.

    Source: He et al., Mask R-CNN, 2017; layout, values and results are torchvision's.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int,
        *,
        mask_roi_pool: MultiScaleRoIAlign | None = None,
        mask_head: nn.Module | None = None,
        mask_predictor: nn.Module | None = None,
        **options: Any,
    ) -> None:
        channels: int = backbone.out_channels  # type: ignore[assignment]
        positive(type(self).__name__, num_classes=num_classes)
        # The branch first: in this order torchvision draws initial weights.
        head = mask_head or MaskHead(channels, (256, 256, 256, 256))
        predictor = mask_predictor or MaskPredictor(256, 256, num_classes)
        super().__init__(backbone, num_classes, **options)
        self.roi_heads.mask_roi_pool = mask_roi_pool or MultiScaleRoIAlign(["0", "1", "2", "3"], 14, 2)
        self.roi_heads.mask_head, self.roi_heads.mask_predictor = head, predictor


@register
def maskrcnn_resnet50_fpn(
    num_classes: int = 91, *, norm_layer: NormLayer = BatchNorm2d, trainable_layers: int = 5, **options: Any
) -> MaskRCNN:
    """Mask R-CNN on ResNet-50 with a feature pyramid.

    Args:
        num_classes: the background included.
        norm_layer, trainable_layers: see :func:`fasterrcnn_resnet50_fpn`.
        options: MaskRCNN's and FasterRCNN's.
    """
    backbone = FPNBackbone(resnet50(norm_layer=norm_layer), trainable_layers=trainable_layers)
    return MaskRCNN(backbone, num_classes, **options)


@register
def maskrcnn_small(num_classes: int = 2, *, norm_layer: NormLayer = BatchNorm2d, **options: Any) -> MaskRCNN:
    """Mask R-CNN that a CPU trains in minutes: :func:`fasterrcnn_small` and masks of 28 x 28 by two convolutions.

    Arguments as for :func:`maskrcnn_resnet50_fpn`.

    >>> model = saccade.models.maskrcnn_small(num_classes=3).eval()
    >>> sorted(model([torch.rand(3, 64, 64)])[0])
    ['boxes', 'labels', 'masks', 'scores']
    """
    positive("MaskRCNN", num_classes=num_classes)
    backbone = FPNBackbone(small_resnet(norm_layer), out_channels=32)
    branch = {"mask_head": MaskHead(32, (32, 32)), "mask_predictor": MaskPredictor(32, 32, num_classes)}
    return MaskRCNN(backbone, num_classes, **{**small_options(backbone, num_classes), **branch, **options})
