"""Feature pyramid network (Lin et al., CVPR 2017)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ExtraFPNBlock", "FeaturePyramidNetwork", "LastLevelMaxPool", "LastLevelP6P7"]


class ExtraFPNBlock(nn.Module):
    """Base class of what may follow a pyramid: adds levels to its results."""

    def forward(self, results: list[Tensor], x: list[Tensor], names: list[str]) -> tuple[list[Tensor], list[str]]:
        """Extend the results.

        Args:
            results: maps of the pyramid, finest first.
            x: the maps that went into it.
            names: names of the results.

        Returns:
            Results and names, extended.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward")


class FeaturePyramidNetwork(nn.Module):
    """Lateral 1x1 convolutions, a top-down path by nearest-neighbour enlargement, and a 3x3 convolution per level.

    State-dict keys are torchvision's (``inner_blocks.{i}.0``, ``layer_blocks.{i}.0``); its older ones, without the
    ``.0``, load too.

    Args:
        in_channels_list: channels of each input map, finest first.
        out_channels: channels of every level of the pyramid.
        extra_blocks: adds levels on top, e.g. :class:`LastLevelMaxPool`.
        norm_layer: makes a normalisation for a number of channels; with one, the convolutions have no bias.

    Raises:
        ValueError: for zero input channels; TypeError: if extra_blocks is not an :class:`ExtraFPNBlock`.

    Source: Lin et al., Feature Pyramid Networks, CVPR 2017; torchvision.ops.FeaturePyramidNetwork, whose results and
    initial values it equals.

    >>> pyramid = FeaturePyramidNetwork([10, 20], 5)
    >>> maps = {"fine": torch.rand(1, 10, 8, 8), "coarse": torch.rand(1, 20, 4, 4)}
    >>> [(name, tuple(level.shape)) for name, level in pyramid(maps).items()]
    [('fine', (1, 5, 8, 8)), ('coarse', (1, 5, 4, 4))]
    """

    _version = 2

    def __init__(
        self,
        in_channels_list: list[int],
        out_channels: int,
        extra_blocks: ExtraFPNBlock | None = None,
        norm_layer: Callable[..., nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if 0 in in_channels_list:
            raise ValueError(f"FeaturePyramidNetwork: in_channels_list must not contain 0, got {in_channels_list}")
        if extra_blocks is not None and not isinstance(extra_blocks, ExtraFPNBlock):
            raise TypeError(
                f"FeaturePyramidNetwork: extra_blocks must be an ExtraFPNBlock, got {type(extra_blocks).__name__}"
            )
        self.inner_blocks, self.layer_blocks = nn.ModuleList(), nn.ModuleList()
        for in_channels in in_channels_list:
            self.inner_blocks.append(_convolution(in_channels, out_channels, 1, norm_layer))
            self.layer_blocks.append(_convolution(out_channels, out_channels, 3, norm_layer))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                _initialise(module)
        self.extra_blocks = extra_blocks

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *args: Any
    ) -> None:
        if local_metadata.get("version") is None or local_metadata["version"] < 2:
            for block in ("inner_blocks", "layer_blocks"):
                for i in range(len(self.inner_blocks)):
                    for name in ("weight", "bias"):
                        old = f"{prefix}{block}.{i}.{name}"
                        if old in state_dict:
                            state_dict[f"{prefix}{block}.{i}.0.{name}"] = state_dict.pop(old)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """Build the pyramid.

        Args:
            x: maps by name, finest first.

        Returns:
            An ``OrderedDict`` of the same names (and those of the extra levels), finest first.
        """
        names, maps = list(x), list(x.values())
        lateral = [block(level) for block, level in zip(self.inner_blocks, maps, strict=True)]
        merged = lateral[-1]
        results = [self.layer_blocks[len(maps) - 1](merged)]
        for i in range(len(maps) - 2, -1, -1):
            merged = lateral[i] + F.interpolate(merged, size=lateral[i].shape[-2:], mode="nearest")
            results.insert(0, self.layer_blocks[i](merged))
        if self.extra_blocks is not None:
            results, names = self.extra_blocks(results, maps, names)
        return OrderedDict(zip(names, results, strict=True))


class LastLevelMaxPool(ExtraFPNBlock):
    """One more level, ``"pool"``: every second row and column of the coarsest one."""

    def forward(self, results: list[Tensor], x: list[Tensor], names: list[str]) -> tuple[list[Tensor], list[str]]:
        """Extend the results (see :class:`ExtraFPNBlock`)."""
        return [*results, F.max_pool2d(results[-1], kernel_size=1, stride=2)], [*names, "pool"]


class LastLevelP6P7(ExtraFPNBlock):
    """Two more levels, ``"p6"`` and ``"p7"``, by 3x3 convolutions of stride 2, as RetinaNet has them.

    Args:
        in_channels: channels of the map they start from: the coarsest input, or, if equal to out_channels, the
            coarsest level of the pyramid.
        out_channels: channels of both levels.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.p6 = nn.Conv2d(in_channels, out_channels, 3, 2, 1)
        self.p7 = nn.Conv2d(out_channels, out_channels, 3, 2, 1)
        for convolution in (self.p6, self.p7):
            _initialise(convolution)
        self.use_P5 = in_channels == out_channels

    def forward(self, results: list[Tensor], x: list[Tensor], names: list[str]) -> tuple[list[Tensor], list[str]]:
        """Extend the results (see :class:`ExtraFPNBlock`)."""
        p6 = self.p6(results[-1] if self.use_P5 else x[-1])
        return [*results, p6, self.p7(F.relu(p6))], [*names, "p6", "p7"]


def _convolution(
    in_channels: int, out_channels: int, size: int, norm_layer: Callable[..., nn.Module] | None
) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, size, padding=size // 2, bias=norm_layer is None)
    return nn.Sequential(convolution, *([] if norm_layer is None else [norm_layer(out_channels)]))


def _initialise(convolution: nn.Conv2d) -> None:
    nn.init.kaiming_uniform_(convolution.weight, a=1)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
