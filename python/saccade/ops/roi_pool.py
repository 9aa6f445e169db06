"""Maximum pooling of regions of interest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from saccade.ops._library import call, refuse_second_derivative, require_tensor
from saccade.ops._roi import Boxes, OutputSize, check_fake, is_channels_last, memory_format, rois_of, size_pair

__all__ = ["RoIPool", "roi_pool"]


def roi_pool(input: Tensor, boxes: Boxes, output_size: OutputSize, spatial_scale: float = 1.0) -> Tensor:
    """Take the maximum of each bin of each region.

    Args:
        input: ``(N, C, H, W)``, contiguous or channels_last; float16, bfloat16, float32 or float64.
        boxes: ``(K, 5)``: batch index (truncated to an integer), ``x1, y1, x2, y2``; or one ``(L, 4)`` tensor per
            image. Scaled, then rounded half away from zero; the end belongs to the region. Of a float type, float64
            exactly where ``input`` is.
        output_size: bins per region: one number, or ``(height, width)``.
        spatial_scale: map cells per unit of the boxes.

    Returns:
        ``(K, C, height, width)`` in the dtype and memory format of ``input``. Bins without a cell, and regions with a
        coordinate that is NaN or infinite, give zeros. The gradient goes to the first maximum in row order, and is the
        same, bit for bit, for any number of threads.

    Raises:
        ValueError: on wrong shapes, sizes, or a batch index out of range (on CUDA such a region gives zeros: to raise,
            every call would wait for the device); TypeError: on wrong dtypes.

    Source: Girshick, Fast R-CNN, 2015, section 2.1; results equal torchvision.ops.roi_pool's.

    >>> ramp = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> roi_pool(ramp, torch.tensor([[0.0, 0, 0, 3, 3]]), 2)
    tensor([[[[ 5.,  7.],
              [13., 15.]]]])
    """
    require_tensor("roi_pool", input=input)
    height, width = size_pair("roi_pool", output_size)
    rois = rois_of("roi_pool", boxes, input.shape[0] if input.dim() else 0)
    output: Tensor = call(torch.ops.saccade.roi_pool, input, rois, spatial_scale, height, width)[0]
    return output


class RoIPool(nn.Module):
    """:func:`roi_pool` as a module.

    >>> RoIPool(2, spatial_scale=0.5)(torch.ones(1, 3, 4, 4), [torch.tensor([[0.0, 0, 4, 4]])]).shape
    torch.Size([1, 3, 2, 2])
    """

    def __init__(self, output_size: OutputSize, spatial_scale: float):
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale

    def forward(self, input: Tensor, rois: Boxes) -> Tensor:
        """Pool ``rois`` from ``input``."""
        return roi_pool(input, rois, self.output_size, self.spatial_scale)

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return f"output_size={self.output_size}, spatial_scale={self.spatial_scale}"


@torch.library.register_fake("saccade::roi_pool")
def _(
    input: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int
) -> tuple[Tensor, Tensor]:
    check_fake("roi_pool", input, rois)
    shape, layout = (rois.shape[0], input.shape[1], pooled_height, pooled_width), memory_format(input)
    output = torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=layout)
    return output, torch.empty(shape, dtype=torch.int32, device=input.device, memory_format=layout)


@torch.library.register_fake("saccade::_roi_pool_backward")
def _(
    grad: Tensor, rois: Tensor, argmax: Tensor, input_shape: list[int], spatial_scale: float, channels_last: bool
) -> Tensor:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(input_shape, dtype=grad.dtype, device=grad.device, memory_format=layout)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    input, rois, ctx.spatial_scale, _, _ = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(rois, output[1])
    ctx.input_shape, ctx.channels_last = input.shape, is_channels_last(input)


def _backward(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return None, None, None, None, None
    rois, argmax = ctx.saved_tensors
    grad_input = torch.ops.saccade._roi_pool_backward(
        grad, rois, argmax, ctx.input_shape, ctx.spatial_scale, ctx.channels_last
    )
    return grad_input, None, None, None, None


torch.library.register_autograd("saccade::roi_pool", _backward, setup_context=_save)
refuse_second_derivative("roi_pool")
