"""Dilated residual networks for segmentation in fyu's layout."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from saccade.models import drn
from saccade.models._checks import check_images, positive
from saccade.models._registry import register
from saccade.models.checkpoint import RENAMINGS
from saccade.models.residual import BasicBlock
from saccade.nn import Conv2d, ConvTranspose2d, init

__all__ = ["DRNSeg", "drn_seg", "drn_seg_small"]


class DRNSeg(nn.Module):
    """A dilated residual network, a class for each of its positions, bilinear up-sampling (by 8 in the paper).

    Args:
        backbone: a network of :mod:`saccade.models.drn`, taken apart.
        classes: the background included.

    Input: ``(N, C, H, W)``. Output: logits, ``(N, classes, H, W)``. fyu/drn's returns their logarithmic softmax and
    what was up-sampled, at multiples of 8; other sizes are cropped here. The up-sampling is a transposed convolution
    whose weights do not learn. Keys are those of fyu/drn; :func:`saccade.models.load_checkpoint` takes a classifier's
    too (with ``strict=False``).

    Source: Yu, Koltun and Funkhouser, Dilated Residual Networks, 2017.
    """

    def __init__(self, backbone: drn.DRN | drn.DRNA, classes: int) -> None:
        super().__init__()
        positive("drn_seg", classes=classes)
        self.in_channels = backbone.in_channels
        self.base = nn.Sequential(*list(backbone.children())[:-2])
        self.seg = Conv2d(backbone.out_dim, classes, 1)
        stride = backbone.output_stride
        self.up = ConvTranspose2d(classes, classes, 2 * stride, stride, stride // 2, groups=classes, bias=False)
        nn.init.normal_(self.seg.weight, 0, math.sqrt(2 / classes))
        nn.init.zeros_(self.seg.bias)  # type: ignore[arg-type]
        init.bilinear_(self.up)
        self.up.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, ``(N, classes, H, W)``."""
        check_images("drn_seg", images, self.in_channels)
        scores = self.up(self.seg(self.base(images)))
        return scores[:, :, : images.shape[2], : images.shape[3]]


def _of_classifier(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """fyu/drn's classifiers for a segmentation network, which numbers their parts: ``layer1`` is ``base.3``."""
    stages = sorted({key.split(".")[0] for key in state if key.startswith("layer")})
    if not stages or "up.weight" not in own or not any(key.startswith("base.") for key in own):
        return state
    # See _drn_segmentation in saccade.models.checkpoint, which does the opposite.
    stem = [] if stages[0] == "layer0" else ["conv1", "bn1", "relu", *(["maxpool"] if len(stages) == 4 else [])]
    numbers = {name: number for number, name in enumerate([*stem, *stages])}
    renamed = {}
    for key, value in state.items():
        first, _, rest = key.partition(".")
        renamed[f"base.{numbers[first]}.{rest}" if first in numbers else key] = value
    return renamed


RENAMINGS["fyu/drn classifier"] = _of_classifier

_ARCHITECTURES = [name for name in drn.__all__ if name.startswith("drn_")]


@register
def drn_seg(arch: str = "drn_d_22", classes: int = 19, in_channels: int = 3) -> DRNSeg:
    """A DRN for segmentation: :class:`DRNSeg`.

    Args:
        arch: name of the classifier that it is made of, e.g. ``"drn_c_26"``.
        classes: the background included; 19 are Cityscapes'.
        in_channels: of the images.
    """
    if arch not in _ARCHITECTURES:
        raise ValueError(f"drn_seg: arch must be one of {', '.join(_ARCHITECTURES)}, got {arch!r}")
    return DRNSeg(getattr(drn, arch)(num_classes=1, in_channels=in_channels), classes)


@register
def drn_seg_small(classes: int = 19, in_channels: int = 3, dilated: bool = True) -> DRNSeg:
    """:class:`DRNSeg` on a DRN-D of one layer or block in each stage and at most 32 channels, at half the resolution.

    Args:
        classes: the background included.
        in_channels: of the images.
        dilated: False gives a network of the same layers with strides of 2 in two stages in place of the dilations:
            what dilation is to be compared with.

    >>> saccade.models.drn_seg_small(4)(torch.rand(2, 3, 33, 48)).shape
    torch.Size([2, 4, 33, 48])
    """
    widths = (8, 16, 16, 16, 32, 32, 32, 32)
    how: dict[str, Any] = {"strides": (1, 2, 1, 1, 1, 1, 1, 1)}
    if not dilated:
        how = {"strides": (1, 2, 1, 1, 2, 2, 1, 1), "dilations": (1,) * 8}
    backbone = drn.DRN("D", BasicBlock, (1,) * 8, num_classes=1, in_channels=in_channels, widths=widths, **how)
    return DRNSeg(backbone, classes)
