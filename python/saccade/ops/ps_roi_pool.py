"""Position-sensitive average pooling of regions of interest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from saccade.ops._library import call, require_tensor
from saccade.ops._roi import Boxes, OutputSize, check_fake, is_channels_last, memory_format, rois_of, size_pair

__all__ = ["PSRoIPool", "ps_roi_pool"]


def ps_roi_pool(input: Tensor, boxes: Boxes, output_size: OutputSize, spatial_scale: float = 1.0) -> Tensor:
    """Average the cells of each bin of each region, every bin from channels of its own.

    Bin ``(i, j)`` of output channel ``c`` reads input channel ``(c * height + i) * width + j``.

    Args:
        input: ``(N, C * height * width, H, W)``, contiguous or channels_last; float16, bfloat16, float32 or float64.
        boxes: ``(K, 5)``: batch index (truncated to an integer), ``x1, y1, x2, y2``; or one ``(L, 4)`` tensor per
            image. Scaled, then rounded half away from zero. Of a float type, float64 exactly where ``input`` is.
        output_size: bins per region: one number, or ``(height, width)``.
        spatial_scale: map cells per unit of the boxes.

    Returns:
        ``(K, C, height, width)`` in the dtype and memory format of ``input``. Empty regions, and those with a
        coordinate that is NaN or infinite, give zeros. Gradients are the same, bit for bit, for any number of threads.

    Raises:
        ValueError: on wrong shapes, sizes, or a batch index out of range (on CUDA such a region gives zeros: to raise,
            every call would wait for the device); TypeError: on wrong dtypes.

    Source: Dai et al., R-FCN, 2016, section 2; results as torchvision.ops.ps_roi_pool's, which
    leaves out the last row and column of the map.

    >>> maps = torch.arange(4.0).reshape(1, 4, 1, 1).expand(1, 4, 8, 8)  # channel i holds i
    >>> ps_roi_pool(maps, torch.tensor([[0.0, 1, 1, 5, 5]]), 2)
    tensor([[[[0., 1.],
              [2., 3.]]]])
    """
    require_tensor("ps_roi_pool", input=input)
    height, width = size_pair("ps_roi_pool", output_size)
    rois = rois_of("ps_roi_pool", boxes, input.shape[0] if input.dim() else 0)
    result: Tensor = call(torch.ops.saccade.ps_roi_pool, input, rois, spatial_scale, height, width)
    return result


class PSRoIPool(nn.Module):
    """:func:`ps_roi_pool` as a module.

    >>> PSRoIPool(2, spatial_scale=0.5)(torch.ones(1, 12, 4, 4), torch.zeros(1, 5)).shape
    torch.Size([1, 3, 2, 2])
    """

    def __init__(self, output_size: OutputSize, spatial_scale: float):
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale

    def forward(self, input: Tensor, rois: Boxes) -> Tensor:
        """Pool ``rois`` from ``input``."""
        return ps_roi_pool(input, rois, self.output_size, self.spatial_scale)

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return f"output_size={self.output_size}, spatial_scale={self.spatial_scale}"


@torch.library.register_fake("saccade::ps_roi_pool")
def _(input: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int) -> Tensor:
    check_fake("ps_roi_pool", input, rois)
    shape = (rois.shape[0], input.shape[1] // (pooled_height * pooled_width), pooled_height, pooled_width)
    return torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=memory_format(input))


@torch.library.register_fake("saccade::_ps_roi_pool_backward")
def _(grad: Tensor, rois: Tensor, input_shape: list[int], *arguments: Any) -> Tensor:
    layout = torch.channels_last if arguments[-1] else torch.contiguous_format
    return torch.empty(input_shape, dtype=grad.dtype, device=grad.device, memory_format=layout)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, rois, *ctx.arguments = inputs
    ctx.save_for_backward(rois)
    ctx.input_shape, ctx.channels_last = input.shape, is_channels_last(input)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (rois,) = ctx.saved_tensors
    grad_input = torch.ops.saccade._ps_roi_pool_backward(grad, rois, ctx.input_shape, *ctx.arguments, ctx.channels_last)
    return grad_input, *[None] * 4


def _save_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, rois, _, *ctx.arguments, _ = inputs
    ctx.save_for_backward(rois)


def _double_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    # Pooling is linear in its input, so the gradient of its transpose is pooling itself.
    (rois,) = ctx.saved_tensors
    return torch.ops.saccade.ps_roi_pool(grad, rois, *ctx.arguments), *[None] * 6


torch.library.register_autograd("saccade::ps_roi_pool", _backward, setup_context=_save)
torch.library.register_autograd("saccade::_ps_roi_pool_backward", _double_backward, setup_context=_save_backward)
