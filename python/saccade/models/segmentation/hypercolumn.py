"""Hypercolumns: features of several layers for each pixel, and a linear classifier of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saccade.models._checks import check_images, positive
from saccade.models._registry import build, register
from saccade.models.segmentation._graph import NotTraceable, trace
from saccade.models.segmentation._resize import resize
from saccade.nn import Conv2d

__all__ = ["Hypercolumn", "hypercolumn", "hypercolumn_small"]


class Hypercolumn(nn.Module):
    """What several layers of a network say of each pixel, up-sampled and concatenated, and a 1x1 classifier of it.

    Args:
        backbone: any model of images.
        layers: names of its submodules (as in ``named_modules()``) whose outputs are maps ``(N, C, H', W')``.
        num_classes: the background included.
        in_channels: of the images.
        channels: of the maps of each layer; None: found out by a pass over an empty image of ``side`` pixels.
        side: see ``channels``.

    Input: ``(N, in_channels, H, W)``. Output: logits, ``(N, num_classes, H, W)``.

    A linear classifier of concatenated maps is the sum of one for each map, and interpolation, which is linear too and
    whose weights sum to 1, may follow the classifier: so maps are never up-sampled with all their channels, only their
    scores are. :meth:`columns` gives the concatenated maps themselves.

    The backbone's layers are the given model's own, not copies, and learn too: see :func:`saccade.train.freeze`. Where
    its forward is a fixed sequence of calls (torch.fx), what follows the last layer is left out; where its own code
    asks for ``self.training``, the answer stays what it is now.

    Source: Hariharan et al., Hypercolumns for Object Segmentation and Fine-grained Localization, 2015.
    """

    def __init__(
        self,
        backbone: nn.Module,
        layers: Sequence[str],
        *,
        num_classes: int = 21,
        in_channels: int = 3,
        channels: Sequence[int] | None = None,
        side: int = 64,
    ) -> None:
        super().__init__()
        positive("hypercolumn", num_classes=num_classes, in_channels=in_channels, side=side)
        if not isinstance(backbone, nn.Module):
            raise TypeError(f"hypercolumn: backbone must be a torch.nn.Module, got {type(backbone).__name__}")
        if isinstance(layers, str) or not layers:
            raise ValueError(f"hypercolumn: layers must be one name at least, in a sequence, got {layers!r}")
        known = {name for name, _ in backbone.named_modules()} - {""}
        for name in layers:
            if name not in known:
                raise ValueError(f"hypercolumn: layers must be submodules of the backbone, got {name!r}")
        self.in_channels, self.layers = in_channels, tuple(layers)
        self.backbone = _features(backbone, self.layers)
        if channels is None:
            channels = _channels(self.backbone, self.layers, in_channels, side)
        elif len(channels) != len(layers):
            raise ValueError(f"hypercolumn: channels must have {len(layers)} values, got {list(channels)}")
        self.channels = tuple(channels)
        first = [True] + [False] * (len(layers) - 1)
        self.classifiers = nn.ModuleList(
            Conv2d(width, num_classes, 1, bias=bias) for width, bias in zip(self.channels, first, strict=True)
        )
        bound = 1 / math.sqrt(sum(self.channels))
        for parameter in self.classifiers.parameters():  # as torch draws those of a single convolution
            nn.init.uniform_(parameter, -bound, bound)

    def features(self, images: Tensor) -> list[Tensor]:
        """The maps of the layers, as they are."""
        check_images("hypercolumn", images, self.in_channels)
        return self.backbone(images)

    def columns(self, images: Tensor) -> Tensor:
        """The maps up-sampled to the size of the images and concatenated, ``(N, C, H, W)``."""
        return torch.cat([resize(maps, images.shape[2:]) for maps in self.features(images)], 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, ``(N, num_classes, H, W)``: the classifier of :meth:`columns`."""
        size = images.shape[2:]
        pairs = zip(self.classifiers, self.features(images), strict=True)
        first, *others = [resize(classifier(maps), size) for classifier, maps in pairs]
        for scores in others:
            first = first + scores
        return first


class _Hooked(nn.Module):
    """The outputs of layers of a model that torch.fx cannot trace."""

    def __init__(self, model: nn.Module, layers: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.layers = model, layers

    def forward(self, images: Tensor) -> list[Tensor]:
        found: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                found[name] = output.clone() if isinstance(output, Tensor) else output

            return hook

        handles = [self.model.get_submodule(name).register_forward_hook(keep(name)) for name in self.layers]
        try:
            self.model(images)
        finally:
            for handle in handles:
                handle.remove()
        for name in self.layers:
            if name not in found:
                raise ValueError(f"hypercolumn: layers must be called in the backbone's forward, got {name!r}")
        return [found[name] for name in self.layers]


def _features(model: nn.Module, layers: tuple[str, ...]) -> nn.Module:
    """A network that gives the outputs of some layers of a model, whose layers it shares."""
    try:
        graph, returned = trace(model)
    except NotTraceable:
        return _Hooked(model, layers)
    if any(name not in returned for name in layers):  # parts of a layer that is one call, or layers never called
        return _Hooked(model, layers)
    inplace = any(getattr(module, "inplace", False) for module in graph.modules())
    kept = []
    for name in layers:
        node = returned[name]
        if inplace:  # a later activation may overwrite it
            with graph.graph.inserting_after(node):
                node = graph.graph.call_method("clone", (node,))
        kept.append(node)
    output = next(node for node in graph.graph.nodes if node.op == "output")
    output.args = (kept,)
    graph.graph.eliminate_dead_code()
    graph.delete_all_unused_submodules()
    graph.recompile()
    return graph.train(model.training)


@torch.no_grad()
def _channels(features: nn.Module, layers: tuple[str, ...], in_channels: int, side: int) -> list[int]:
    like = next(features.parameters(), torch.empty(0))
    modes = {module: module.training for module in features.modules()}
    features.eval()
    found = features(torch.zeros(1, in_channels, side, side, dtype=like.dtype, device=like.device))
    for module, training in modes.items():
        module.training = training
    for name, maps in zip(layers, found, strict=True):
        if not isinstance(maps, Tensor) or maps.dim() != 4:
            got = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
            raise ValueError(f"hypercolumn: layers must return maps (N, C, H, W), got {got} from {name!r}")
    return [maps.shape[1] for maps in found]


@register
def hypercolumn(
    backbone: nn.Module | str,
    layers: Sequence[str],
    num_classes: int = 21,
    in_channels: int = 3,
    channels: Sequence[int] | None = None,
    side: int = 64,
) -> Hypercolumn:
    """A classifier of several layers' features for each pixel: :class:`Hypercolumn`, whose arguments these are.

    ``backbone`` may also be a name for :func:`saccade.models.build`.

    >>> model = saccade.models.hypercolumn("resnet18", ["layer1", "layer3", "layer4"], num_classes=4)
    >>> model.eval()(torch.rand(1, 3, 40, 56)).shape, model.channels
    (torch.Size([1, 4, 40, 56]), (64, 256, 512))
    """
    if isinstance(backbone, str):
        backbone = build(backbone, in_channels=in_channels)
    return Hypercolumn(
        backbone, layers, num_classes=num_classes, in_channels=in_channels, channels=channels, side=side
    )  # fmt: skip


@register
def hypercolumn_small(num_classes: int = 21, in_channels: int = 3) -> Hypercolumn:
    """:class:`Hypercolumn` of the three stages of :func:`saccade.models.resnet_small`."""
    return hypercolumn("resnet_small", ("layer1", "layer2", "layer3"), num_classes, in_channels, (16, 32, 64))
