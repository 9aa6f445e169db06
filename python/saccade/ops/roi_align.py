"""Bilinear pooling of regions of interest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from saccade.ops._library import call, require_tensor
from saccade.ops._roi import Boxes, OutputSize, check_fake, is_channels_last, memory_format, rois_of, size_pair

__all__ = ["RoIAlign", "roi_align"]


def roi_align(
    input: Tensor,
    boxes: Boxes,
    output_size: OutputSize,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """Average bilinear samples of each bin of each region.

    Args:
        input: ``(N, C, H, W)``, contiguous or channels_last; float16, bfloat16, float32 or float64.
        boxes: ``(K, 5)``: batch index (truncated to an integer), ``x1, y1, x2, y2``; or one ``(L, 4)`` tensor per
            image. Of a float type, float64 exactly where ``input`` is.
        output_size: bins per region: one number, or ``(height, width)``.
        spatial_scale: map cells per unit of the boxes.
        sampling_ratio: samples per bin and axis, at most 4096; 0 or less: one per cell, rounded up.
        aligned: shift the boxes by half a cell, so that they meet the centres of cells, and do not stretch small ones
            to one cell.

    Returns:
        ``(K, C, height, width)`` in the dtype and memory format of ``input``. A region with a coordinate that is NaN or
        infinite gives zeros. Halves are summed in float32. Gradients are the same, bit for bit, for any number of
        threads.

    Raises:
        ValueError: on wrong shapes, sizes, or a batch index out of range (on CUDA such a region gives zeros: to raise,
            every call would wait for the device); TypeError: on wrong dtypes.

    Source: He et al., Mask R-CNN, 2017, section 3; results as torchvision.ops.roi_align's.

    >>> ramp = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> roi_align(ramp, torch.tensor([[0.0, 0, 0, 4, 4]]), 2, aligned=True)
    tensor([[[[ 2.5000,  4.5000],
              [10.5000, 12.5000]]]])
    """
    require_tensor("roi_align", input=input)
    height, width = size_pair("roi_align", output_size)
    rois = rois_of("roi_align", boxes, input.shape[0] if input.dim() else 0)
    result: Tensor = call(
        torch.ops.saccade.roi_align, input, rois, spatial_scale, height, width, sampling_ratio, aligned
    )
    return result


class RoIAlign(nn.Module):
    """:func:`roi_align` as a module.

    >>> RoIAlign(2, spatial_scale=0.5, sampling_ratio=2)(torch.ones(1, 3, 4, 4), [torch.tensor([[0.0, 0, 4, 4]])]).shape
    torch.Size([1, 3, 2, 2])
    """

    def __init__(self, output_size: OutputSize, spatial_scale: float, sampling_ratio: int, aligned: bool = False):
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned

    def forward(self, input: Tensor, rois: Boxes) -> Tensor:
        """Pool ``rois`` from ``input``."""
        return roi_align(input, rois, self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned)

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return (
            f"output_size={self.output_size}, spatial_scale={self.spatial_scale}, "
            f"sampling_ratio={self.sampling_ratio}, aligned={self.aligned}"
        )


@torch.library.register_fake("saccade::roi_align")
def _(
    input: Tensor,
    rois: Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    check_fake("roi_align", input, rois)
    shape = (rois.shape[0], input.shape[1], pooled_height, pooled_width)
    return torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=memory_format(input))


@torch.library.register_fake("saccade::_roi_align_backward")
def _(
    grad: Tensor,
    rois: Tensor,
    input_shape: list[int],
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,
    channels_last: bool,
) -> Tensor:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(input_shape, dtype=grad.dtype, device=grad.device, memory_format=layout)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, rois, *ctx.arguments = inputs
    ctx.save_for_backward(rois)
    ctx.input_shape, ctx.channels_last = input.shape, is_channels_last(input)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (rois,) = ctx.saved_tensors
    grad_input = torch.ops.saccade._roi_align_backward(grad, rois, ctx.input_shape, *ctx.arguments, ctx.channels_last)
    return grad_input, None, None, None, None, None, None


def _save_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, rois, _, *arguments, _ = inputs
    ctx.save_for_backward(rois)
    ctx.arguments = arguments


def _double_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    # Pooling is linear in its input, so the gradient of its transpose is pooling itself.
    (rois,) = ctx.saved_tensors
    return torch.ops.saccade.roi_align(grad, rois, *ctx.arguments), *[None] * 8


torch.library.register_autograd("saccade::roi_align", _backward, setup_context=_save)
torch.library.register_autograd("saccade::_roi_align_backward", _double_backward, setup_context=_save_backward)
