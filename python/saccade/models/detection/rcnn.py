"""R-CNN: every region is cut out, warped and classified by a network of its own run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saccade import ops
from saccade.models._checks import positive
from saccade.models._registry import register
from saccade.models.alexnet import alexnet
from saccade.models.detection.backbone import small_resnet
from saccade.models.detection.fast_rcnn import FastRCNN
from saccade.models.detection.faster_rcnn import BoxPredictor
from saccade.models.detection.proposals import Proposals, SelectiveSearch
from saccade.models.detection.roi_heads import RoIHeads
from saccade.models.residual import NormLayer
from saccade.nn import BatchNorm2d

__all__ = ["RCNN", "CropNetwork", "rcnn", "rcnn_small", "warp_regions"]


def warp_regions(images: Tensor, boxes: Sequence[Tensor], size: int, context: int) -> Tensor:
    """Cut regions out of images and warp them to squares, whatever their shape.

    Args:
        images: ``(N, C, H, W)``.
        boxes: of each image ``(P, 4)``, corners in pixels.
        size: a side of the squares.
        context: pixels of the square on each side that show what surrounds the region; outside the image it is 0.

    Returns:
        ``(R, C, size, size)``, the regions of all images; pixels are means of the bilinear image.

    Source: Girshick, Donahue, Darrell and Malik, R-CNN, 2014, appendix A.

    >>> image = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> warp_regions(image, [torch.tensor([[0.0, 0, 4, 4]])], 2, 0)
    tensor([[[[ 2.5000,  4.5000],
              [10.5000, 12.5000]]]])
    """
    share = context / (size - 2 * context)
    wide = []
    for each in boxes:
        margin = (each[:, 2:] - each[:, :2]) * share
        wide.append(torch.cat([each[:, :2] - margin, each[:, 2:] + margin], 1).to(images.dtype))
    return ops.roi_align(images, wide, (size, size), aligned=True)


class CropNetwork(nn.Module):
    """Warped regions of the images through a network, ``crops`` at a time in evaluation.

    Args:
        network: squares ``(R, C, size, size)`` to features ``(R, F)``.
        size, context: see warp_regions.
        crops: how many regions are held at once.
    """

    def __init__(self, network: nn.Module, size: int, context: int, crops: int = 128) -> None:
        super().__init__()
        positive("CropNetwork", size=size, crops=crops)
        if not 0 <= context < size / 2:
            raise ValueError(f"CropNetwork: context must lie in 0 to less than half of size {size}, got {context}")
        self.network, self.size, self.context, self.crops = network, size, context, crops

    def forward(self, images: dict[str, Tensor], boxes: list[Tensor], size: Sequence[tuple[int, int]]) -> Tensor:
        """Features of the regions ``boxes`` of the images ``"0"``; ``size`` is not needed."""
        pixels = images["0"]
        if self.training:
            return self.network(warp_regions(pixels, boxes, self.size, self.context))
        parts = []
        for number, each in enumerate(boxes):
            # split gives one empty part of no boxes: the features then still have their width.
            for part in each.split(self.crops):
                parts.append(self.network(warp_regions(pixels[number : number + 1], [part], self.size, self.context)))
        return torch.cat(parts)

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return f"size={self.size}, context={self.context}, crops={self.crops}"


class _Pixels(nn.Module):
    """Images as their own map."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The images."""
        return {"0": images}


class _RegionHeads(RoIHeads):
    """The second stage with softmax or, once they are fitted, support vector machines."""

    by_margin: Tensor

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.register_buffer("by_margin", torch.tensor(False))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax, or the logistic function of each class's margin."""
        return logits.sigmoid() if bool(self.by_margin) else logits.softmax(-1)


class RCNN(FastRCNN):
    """Regions warped to squares, each through the whole network, then classified and moved.

    Losses, findings and proposals as FastRCNN's: with them the network is trained (the paper's fine-tuning). Detections
    are then made by the softmax, or by linear support vector machines and ridge regression on the frozen features after
    :func:`fit_svms`; scores are the logistic function of the margins.

    Args:
        network: squares to features, ``(R, C, size, size)`` to ``(R, F)``.
        num_classes: the background, class 0, included.
        features: F.
        size, context, crops: see CropNetwork.
        options: FastRCNN's, but for the parts.

    Source: Girshick, Donahue, Darrell and Malik, Rich feature hierarchies for accurate object detection and semantic
    segmentation, 2014.
    """

    heads = _RegionHeads

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        *,
        features: int = 4096,
        size: int = 227,
        context: int = 16,
        crops: int = 128,
        **options: Any,
    ) -> None:
        parts: dict[str, Any] = {
            "box_roi_pool": CropNetwork(network, size, context, crops),
            "box_head": nn.Identity(),
            "box_predictor": BoxPredictor(features, num_classes),
        }
        super().__init__(_Pixels(), num_classes, **parts, **options)


class _Hidden(nn.Module):
    """AlexNet without its last layer."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.features, self.avgpool = network.features, network.avgpool
        self.classifier = network.classifier[:-1]  # type: ignore[index]

    def forward(self, crops: Tensor) -> Tensor:
        """Features ``(R, 4096)``."""
        return self.classifier(self.avgpool(self.features(crops)).flatten(1))  # type: ignore[operator]


class _Pooled(nn.Module):
    """The mean of a ResNet's last maps."""

    def __init__(self, resnet: nn.Module) -> None:
        super().__init__()
        self.resnet = resnet
        resnet.fc = nn.Identity()

    def forward(self, crops: Tensor) -> Tensor:
        """Features ``(R, C)``."""
        return self.resnet(crops)


@register
def rcnn(
    num_classes: int = 91,
    *,
    pretrained: nn.Module | None = None,
    proposals: Proposals | None = None,
    **options: Any,
) -> RCNN:
    """R-CNN on AlexNet, as the paper has it: squares of 227 pixels, 16 of them context on each side, 4096 features.

    Args:
        num_classes: the background included.
        pretrained: a trained :func:`alexnet`, whose layers become the model's; None for initial weights.
        proposals: see FastRCNN; None for 2000 of SelectiveSearch.
        options: RCNN's.
    """
    network = alexnet() if pretrained is None else pretrained
    parts = {"proposals": proposals or SelectiveSearch(), "features": 4096}
    return RCNN(_Hidden(network), num_classes, **{**parts, **options})


@register
def rcnn_small(
    num_classes: int = 2, *, proposals: Proposals | None = None, norm_layer: NormLayer = BatchNorm2d, **options: Any
) -> RCNN:
    """R-CNN that a CPU trains in minutes: a ResNet of four blocks on squares of 64 pixels of images of 256.

    Arguments as for :func:`rcnn`.

    >>> model = saccade.models.rcnn_small(num_classes=3).eval()
    >>> found = model([torch.rand(3, 64, 64)], None, [torch.tensor([[8.0, 8, 40, 30]])])
    >>> sorted(found[0])
    ['boxes', 'labels', 'scores']
    """
    parts = {
        "proposals": proposals or SelectiveSearch(max_boxes=300),
        "features": 128,
        "size": 64,
        "context": 6,
        "min_size": 256,
        "max_size": 512,
        "box_batch_size_per_image": 16,
    }
    return RCNN(_Pooled(small_resnet(norm_layer)), num_classes, **{**parts, **options})
