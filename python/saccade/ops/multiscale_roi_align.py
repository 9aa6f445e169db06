"""Bilinear pooling of regions of interest from the levels of a feature pyramid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saccade.ops._library import call, refuse_second_derivative, require_tensor
from saccade.ops._roi import Boxes, OutputSize, check_fake, is_channels_last, memory_format, rois_of, size_pair

__all__ = ["MultiScaleRoIAlign", "multiscale_roi_align"]


def multiscale_roi_align(
    features: Sequence[Tensor],
    boxes: Boxes,
    output_size: OutputSize,
    scales: Sequence[float],
    sampling_ratio: int = -1,
    aligned: bool = False,
    *,
    canonical_scale: float = 224,
    canonical_level: int = 4,
) -> Tensor:
    """Pool each region from the level of a pyramid that suits its size, all levels in one call.

    A region goes to level ``floor(canonical_level + log2(sqrt(area) / canonical_scale) + 1e-6)``, clipped to the
    levels there are; levels are numbered by ``-log2`` of their scale.

    Args:
        features: one ``(N, C, H_l, W_l)`` map per level, finest first, of one dtype; see :func:`roi_align`.
        boxes: ``(K, 5)`` or one ``(L, 4)`` tensor per image, in units of the image.
        output_size: bins per region: one number, or ``(height, width)``.
        scales: map cells per unit of the boxes, one per level: consecutive powers of two.
        sampling_ratio: samples per bin and axis, at most 4096; 0 or less: one per cell, rounded up.
        aligned: shift the boxes by half a cell; see :func:`roi_align`.
        canonical_scale: the side of a region that goes to ``canonical_level``.
        canonical_level: the level of such a region.

    Returns:
        ``(K, C, height, width)`` in the order of the boxes, in the dtype of the maps and the memory format of the
        first one.

    Raises:
        ValueError: on wrong shapes, sizes, or a batch index out of range (on CUDA such a region gives zeros: to raise,
            every call would wait for the device), and on CUDA on more than 16 maps; TypeError: on wrong dtypes.

    Source: Lin et al., Feature Pyramid Networks, 2017, equation 1.

    >>> levels = [torch.full((1, 1, 64 >> i, 64 >> i), float(i)) for i in range(3)]
    >>> boxes = [torch.tensor([[0.0, 0, 60, 60], [0, 0, 120, 120], [0, 0, 250, 250]])]
    >>> multiscale_roi_align(levels, boxes, 1, [1 / 4, 1 / 8, 1 / 16]).flatten()
    tensor([0., 1., 2.])
    """
    features = list(features)
    if not features:
        raise ValueError("multiscale_roi_align: features must hold at least one map, got 0")
    require_tensor("multiscale_roi_align", **{f"features[{i}]": feature for i, feature in enumerate(features)})
    height, width = size_pair("multiscale_roi_align", output_size)
    rois = rois_of("multiscale_roi_align", boxes, features[0].shape[0] if features[0].dim() else 0)
    result: Tensor = call(
        torch.ops.saccade.multiscale_roi_align,
        features,
        rois,
        [float(scale) for scale in scales],
        height,
        width,
        sampling_ratio,
        aligned,
        canonical_scale,
        canonical_level,
    )
    return result


class MultiScaleRoIAlign(nn.Module):
    """Pool regions from named maps of a pyramid, as torchvision.ops.MultiScaleRoIAlign.

    Scales are taken from the sizes of the maps and images at the first call, to the nearest power of two, and kept.

    Args:
        featmap_names: which entries of the dictionary of maps to use.
        output_size: bins per region: one number, or ``(height, width)``.
        sampling_ratio: samples per bin and axis; 0 or less: one per cell, rounded up.
        canonical_scale: the side of a region that goes to ``canonical_level``.
        canonical_level: the level of such a region.

    >>> pool = MultiScaleRoIAlign(["0", "1"], output_size=3, sampling_ratio=2)
    >>> maps = {"0": torch.rand(1, 5, 64, 64), "1": torch.rand(1, 5, 32, 32)}
    >>> pool(maps, [torch.tensor([[10.0, 10, 90, 70]])], [(256, 256)]).shape
    torch.Size([1, 5, 3, 3])
    """

    scales: list[float] | None

    def __init__(
        self,
        featmap_names: Sequence[str],
        output_size: OutputSize,
        sampling_ratio: int,
        *,
        canonical_scale: int = 224,
        canonical_level: int = 4,
    ):
        super().__init__()
        self.featmap_names = list(featmap_names)
        self.output_size = size_pair("MultiScaleRoIAlign", output_size)
        self.sampling_ratio = sampling_ratio
        self.canonical_scale = canonical_scale
        self.canonical_level = canonical_level
        self.scales = None

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: Sequence[tuple[int, int]]) -> Tensor:
        """Pool ``boxes``, one ``(L, 4)`` tensor per image, from the maps ``x`` of images of the given sizes."""
        features = [feature for name, feature in x.items() if name in self.featmap_names]
        if not features:
            raise ValueError(f"MultiScaleRoIAlign: x must hold one of {self.featmap_names}, got {list(x)}")
        if self.scales is None:
            self.scales = _infer_scales(features, image_shapes)
        return multiscale_roi_align(
            features,
            boxes,
            self.output_size,
            self.scales,
            self.sampling_ratio,
            canonical_scale=self.canonical_scale,
            canonical_level=self.canonical_level,
        )

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return (
            f"featmap_names={self.featmap_names}, output_size={self.output_size}, sampling_ratio={self.sampling_ratio}"
        )


def _infer_scales(features: list[Tensor], image_shapes: Sequence[tuple[int, int]]) -> list[float]:
    """Height of each map over that of the tallest image, to the nearest power of two."""
    if not image_shapes:
        raise ValueError("MultiScaleRoIAlign: image_shapes must hold at least one size, got 0")
    height = max(shape[0] for shape in image_shapes)
    return [2.0 ** round(math.log2(feature.shape[-2] / height)) for feature in features]


@torch.library.register_fake("saccade::multiscale_roi_align")
def _(
    features: list[Tensor], rois: Tensor, scales: list[float], pooled_height: int, pooled_width: int, *arguments: Any
) -> Tensor:
    check_fake("multiscale_roi_align", features[0], rois)
    shape = (rois.shape[0], features[0].shape[1], pooled_height, pooled_width)
    layout = memory_format(features[0])
    return torch.empty(shape, dtype=features[0].dtype, device=features[0].device, memory_format=layout)


@torch.library.register_fake("saccade::_multiscale_roi_align_backward")
def _(grad: Tensor, rois: Tensor, shape: list[int], scales: list[float], *arguments: Any) -> list[Tensor]:
    layout = torch.channels_last if arguments[-1] else torch.contiguous_format
    sizes = [(*shape[:2], *shape[i : i + 2]) for i in range(2, len(shape), 2)]
    return [torch.empty(size, dtype=grad.dtype, device=grad.device, memory_format=layout) for size in sizes]


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    features, rois, *ctx.arguments = inputs
    ctx.save_for_backward(rois)
    ctx.shape = [*features[0].shape[:2], *(length for feature in features for length in feature.shape[2:])]
    ctx.channels_last = is_channels_last(features[0])


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (rois,) = ctx.saved_tensors
    grads = torch.ops.saccade._multiscale_roi_align_backward(grad, rois, ctx.shape, *ctx.arguments, ctx.channels_last)
    return grads, *[None] * 8


torch.library.register_autograd("saccade::multiscale_roi_align", _backward, setup_context=_save)
refuse_second_derivative("multiscale_roi_align")
