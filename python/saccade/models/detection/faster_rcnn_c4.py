"""Faster R-CNN on a single map."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from saccade.models._registry import register
from saccade.models.detection.anchors import AnchorGenerator
from saccade.models.detection.backbone import MapBackbone
from saccade.models.detection.faster_rcnn import BoxPredictor, FasterRCNN
from saccade.models.residual import NormLayer
from saccade.models.resnet import ResNet, resnet50
from saccade.nn import BatchNorm2d
from saccade.ops import MultiScaleRoIAlign

__all__ = ["StageHead", "c4_options", "fasterrcnn_resnet50_c4"]


class StageHead(nn.Module):
    """The last stage of a ResNet on pooled regions, then the mean: ``(R, C, S, S)`` to ``(R, 2 C)``."""

    def __init__(self, resnet: ResNet) -> None:
        super().__init__()
        self.layer4 = resnet.layer4

    def forward(self, regions: Tensor) -> Tensor:
        """Hidden features of ``regions``."""
        return self.layer4(regions).mean((2, 3))  # type: ignore[operator]


def c4_options(resnet: ResNet, num_classes: int) -> dict[str, Any]:
    """Parts of FasterRCNN on the third stage of a ResNet: 15 anchors, regions of 14 x 14 through the fourth stage."""
    return {
        "rpn_anchor_generator": AnchorGenerator([(32, 64, 128, 256, 512)], (0.5, 1.0, 2.0)),
        "box_roi_pool": MultiScaleRoIAlign(["0"], 14, 2),
        "box_head": StageHead(resnet),
        "box_predictor": BoxPredictor(resnet.fc.in_features, num_classes),
        "rpn_pre_nms_top_n_train": 12000,
        "rpn_pre_nms_top_n_test": 6000,
    }


@register
def fasterrcnn_resnet50_c4(
    num_classes: int = 91, *, norm_layer: NormLayer = BatchNorm2d, trainable_layers: int = 5, **options: Any
) -> FasterRCNN:
    """Faster R-CNN on the map of ResNet-50's third stage (``res4``, a sixteenth); its fourth stage judges the regions.

    Arguments as for :func:`fasterrcnn_resnet50_fpn`. Losses, findings and options are FasterRCNN's.

    Source: Ren et al., Faster R-CNN, 2015; He et al., Deep Residual Learning, 2016, appendix A; "ResNet-50-C4" in He et
    al., Mask R-CNN, 2017.
    """
    resnet = resnet50(norm_layer=norm_layer)
    parts = c4_options(resnet, num_classes)
    backbone: nn.Module = MapBackbone(resnet, trainable_layers=trainable_layers)
    return FasterRCNN(backbone, num_classes, **{**parts, **options})
