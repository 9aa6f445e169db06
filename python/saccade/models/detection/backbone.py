"""Feature pyramids on residual networks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from saccade.models._fused import norm_act
from saccade.models.residual import BasicBlock, NormLayer
from saccade.models.resnet import ResNet
from saccade.nn import BatchNorm2d
from saccade.ops.feature_pyramid_network import ExtraFPNBlock, FeaturePyramidNetwork, LastLevelMaxPool

__all__ = ["FPNBackbone", "MapBackbone", "small_resnet"]

_STAGES = ("layer1", "layer2", "layer3", "layer4")


class _Body(nn.Module):
    """A ResNet without its classifier; gives the maps of some stages by number."""

    def __init__(self, resnet: ResNet, stages: Sequence[int]) -> None:
        super().__init__()
        self.conv1, self.bn1, self.maxpool = resnet.conv1, resnet.bn1, resnet.maxpool
        self.returned = {_STAGES[stage - 1]: str(number) for number, stage in enumerate(stages)}
        self.stages = _STAGES[: max(stages)]
        for name in self.stages:
            self.add_module(name, getattr(resnet, name))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.maxpool(norm_act(self.bn1, self.conv1(images)))
        found = {}
        for name in self.stages:
            maps = getattr(self, name)(maps)
            if name in self.returned:
                found[self.returned[name]] = maps
        return found


class FPNBackbone(nn.Module):
    """A ResNet with a feature pyramid on its stages, in torchvision's layout (``body`` and ``fpn``).

    Args:
        resnet: of four stages, each with twice the channels of the one before; its parts become this module's.
        stages: which of them (1 to 4) the pyramid stands on.
        out_channels: of every map of the pyramid.
        extra_blocks: what adds coarser maps; by default one, every second row and column of the coarsest.
        norm_layer: of the pyramid's convolutions; None for none, with biases.
        trainable_layers: how many stages, counted from the last, are trained: 4 all of them, 5 the stem's convolution
            and normalisation too; the others are frozen.

    Output: a dict of maps, finest first: ``"0"``, ``"1"``, ... and those of ``extra_blocks``.

    Source: Lin et al., Feature Pyramid Networks, 2017.
    """

    def __init__(
        self,
        resnet: ResNet,
        *,
        stages: Sequence[int] = (1, 2, 3, 4),
        out_channels: int = 256,
        extra_blocks: ExtraFPNBlock | None = None,
        norm_layer: NormLayer | None = None,
        trainable_layers: int = 5,
    ) -> None:
        super().__init__()
        if not stages or min(stages) < 1 or max(stages) > 4:
            raise ValueError(f"FPNBackbone: stages must lie in 1 to 4, got {stages}")
        _freeze(type(self).__name__, resnet, trainable_layers)
        self.body = _Body(resnet, stages)
        channels = [resnet.fc.in_features >> (4 - stage) for stage in stages]
        self.fpn = FeaturePyramidNetwork(channels, out_channels, extra_blocks or LastLevelMaxPool(), norm_layer)
        self.out_channels = out_channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The pyramid of ``images``, ``(N, C, H, W)``."""
        return self.fpn(self.body(images))


class MapBackbone(nn.Module):
    """A ResNet up to one of its stages, whose map is the only one: ``{"0": map}``.

    Args:
        resnet: of four stages, each with twice the channels of the one before; its parts become this module's.
        stage: the last that is used, 1 to 4.
        trainable_layers: as FPNBackbone's.

    Source: Ren et al., Faster R-CNN, 2015 (there on VGG-16); "C4" in He et al., Mask R-CNN, 2017, is stage 3.
    """

    def __init__(self, resnet: ResNet, *, stage: int = 3, trainable_layers: int = 5) -> None:
        super().__init__()
        if stage not in range(1, 5):
            raise ValueError(f"MapBackbone: stage must lie in 1 to 4, got {stage}")
        _freeze("MapBackbone", resnet, trainable_layers)
        self.body = _Body(resnet, (stage,))
        self.out_channels = resnet.fc.in_features >> (4 - stage)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The map of ``images``, ``(N, C, H, W)``."""
        return self.body(images)


def _freeze(op: str, resnet: ResNet, trainable_layers: int) -> None:
    """Train the given number of stages only, counted from the last."""
    if trainable_layers not in range(6):
        raise ValueError(f"{op}: trainable_layers must lie in 0 to 5, got {trainable_layers}")
    trained = ("layer4", "layer3", "layer2", "layer1", "conv1")[:trainable_layers]
    if trainable_layers == 5:
        trained = (*trained, "bn1")
    for name, parameter in resnet.named_parameters():
        if not name.startswith(trained):
            parameter.requires_grad_(False)


def small_resnet(norm_layer: NormLayer = BatchNorm2d) -> ResNet:
    """One block of two 3x3 convolutions in each stage, 16 to 128 channels: 0.3 million weights."""
    return ResNet(BasicBlock, (1, 1, 1, 1), widths=(16, 32, 64, 128), norm_layer=norm_layer)
