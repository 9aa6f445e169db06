"""Deformable convolution: every tap of the kernel moved by an offset of its own."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from saccade.ops._conv import output_shape
from saccade.ops._library import call, refuse_second_derivative, require_tensor
from saccade.ops._packed import packed_weight
from saccade.ops._pool import Size, pair
from saccade.ops._roi import memory_format

__all__ = ["DeformConv2d", "deform_conv2d"]


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    mask: Tensor | None = None,
) -> Tensor:
    """Convolve images with kernels whose taps are moved, one by one and for each result, and weighted by a mask.

    Cells between pixels are bilinear, those outside the image zero. Groups follow from the shapes.

    Args:
        input: ``(N, C, H, W)``, contiguous or channels_last; float16, bfloat16, float32 or float64.
        offset: ``(N, 2 * offset_groups * kernel_h * kernel_w, out_h, out_w)``: for each offset group, in it for each
            tap in row order, how many rows down it moves, then how many columns right. The channels of the input are
            divided evenly among the offset groups.
        weight: ``(out_channels, C / groups, kernel_h, kernel_w)``.
        bias: ``(out_channels,)``, or None; of the dtype of ``input`` or, beside halves, float32.
        stride: from one window to the next: one number, or ``(along the rows, along the columns)``. So with the
            sizes below.
        padding: rows and columns of zeros around the input.
        dilation: from one tap to the next.
        mask: ``(N, offset_groups * kernel_h * kernel_w, out_h, out_w)``: a factor for each tap, or None for ones.

    Returns:
        ``(N, out_channels, out_h, out_w)`` in the dtype and memory format of ``input``; as its gradients the same, bit
        for bit, for any number of threads. A tap whose position is NaN or infinite gives zero. Halves are computed in
        float32. Differentiable once with respect to every tensor. Under autocast float32 is used, and the result has
        the dtype of ``input``.

    Raises:
        ValueError: on wrong shapes or sizes; TypeError: on wrong dtypes.

    Source: Dai et al., Deformable Convolutional Networks, 2017; Zhu et al., version 2, 2019 (the mask); results as
    torchvision.ops.deform_conv2d's.

    >>> ramp = torch.arange(9.0).reshape(1, 1, 3, 3)
    >>> half = torch.full((1, 2, 3, 3), 0.5)  # half a pixel down and right
    >>> deform_conv2d(ramp, half, torch.ones(1, 1, 1, 1))
    tensor([[[[2.0000, 3.0000, 1.7500],
              [5.0000, 6.0000, 3.2500],
              [3.2500, 3.7500, 2.0000]]]])
    """
    op = "deform_conv2d"
    require_tensor(op, input=input, offset=offset, weight=weight)
    require_tensor(op, **{name: t for name, t in (("bias", bias), ("mask", mask)) if t is not None})
    sizes = pair(op, "stride", stride), pair(op, "padding", padding), pair(op, "dilation", dilation)
    dtype = input.dtype
    if torch.is_autocast_enabled(input.device.type):
        input, offset, weight = _widened(input), _widened(offset), _widened(weight)
        bias, mask = (None if t is None else _widened(t) for t in (bias, mask))
    packed = None
    if input.dim() == weight.dim() == 4 and weight.shape[1] > 0 and input.shape[1] % weight.shape[1] == 0:
        groups = input.shape[1] // weight.shape[1]
        packed = packed_weight(
            weight, (op, groups), lambda: call(torch.ops.saccade._deform_conv2d_pack, weight, groups)
        )
    output: Tensor = call(torch.ops.saccade.deform_conv2d, input, offset, weight, bias, mask, packed, *sizes)
    return output.to(dtype)


def _widened(tensor: Tensor) -> Tensor:
    """What torchvision's autocast makes of an argument."""
    return tensor if not tensor.is_floating_point() or tensor.dtype == torch.float64 else tensor.float()


class DeformConv2d(nn.Module):
    """:func:`deform_conv2d` as a module, with torchvision's constructor, parameters and state-dict keys.

    >>> conv = DeformConv2d(3, 8, 3, padding=1)
    >>> conv(torch.rand(1, 3, 5, 7), torch.zeros(1, 18, 5, 7)).shape
    torch.Size([1, 8, 5, 7])
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        super().__init__()
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if groups < 1 or channels % groups != 0:
                raise ValueError(f"DeformConv2d: groups must divide {name}, got {groups} for {channels}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = tuple(pair("DeformConv2d", "kernel_size", kernel_size))
        self.stride = tuple(pair("DeformConv2d", "stride", stride))
        self.padding = tuple(pair("DeformConv2d", "padding", padding))
        self.dilation = tuple(pair("DeformConv2d", "dilation", dilation))
        self.groups = groups
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        self.register_parameter("bias", nn.Parameter(torch.empty(out_channels)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new parameters, as torchvision's module does."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor, offset: Tensor, mask: Tensor | None = None) -> Tensor:
        """Convolve ``input`` at ``offset``, weighted by ``mask``."""
        return deform_conv2d(input, offset, self.weight, self.bias, self.stride, self.padding, self.dilation, mask=mask)

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        for name, usual in (("padding", (0, 0)), ("dilation", (1, 1)), ("groups", 1)):
            if getattr(self, name) != usual:
                text += f", {name}={getattr(self, name)}"
        return text + (", bias=False" if self.bias is None else "")


@torch.library.register_fake("saccade::deform_conv2d")
def _(
    input: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | None, packed: Tensor | None,
    stride: list[int], padding: list[int], dilation: list[int],
) -> Tensor:  # fmt: skip
    shape = output_shape(input, weight, stride, [padding[0], padding[0], padding[1], padding[1]], dilation)
    return torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=memory_format(input))


@torch.library.register_fake("saccade::_deform_conv2d_pack")
def _(weight: Tensor, groups: int) -> Tensor:
    # How much room the order takes is the kernels' affair.
    return weight.new_empty((torch.library.get_ctx().new_dynamic_size(),))


def _beside(tensor: Tensor, needed: bool) -> Tensor:
    if not needed:
        return tensor.new_empty((0,))
    return torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device, memory_format=memory_format(tensor))


@torch.library.register_fake("saccade::_deform_conv2d_backward")
def _(
    grad: Tensor, input: Tensor, offset: Tensor, weight: Tensor, mask: Tensor | None, stride: list[int],
    padding: list[int], dilation: list[int], needed: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    return (
        _beside(input, needed[0]),
        _beside(offset, needed[1]),
        input.new_empty((0,)) if mask is None else _beside(mask, needed[2]),
        weight.new_empty(weight.shape) if needed[3] else weight.new_empty((0,)),
        weight.new_empty((weight.shape[0],)) if needed[4] else weight.new_empty((0,)),
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, offset, weight, bias, mask, _, *ctx.sizes = inputs
    ctx.bias_dtype = None if bias is None else bias.dtype
    ctx.save_for_backward(input, offset, weight, mask)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    input, offset, weight, mask = ctx.saved_tensors
    of_input, of_offset, of_weight, of_bias, of_mask = ctx.needs_input_grad[:5]
    needed = [of_input, of_offset, of_mask, of_weight, of_bias]
    grads = torch.ops.saccade._deform_conv2d_backward(grad, input, offset, weight, mask, *ctx.sizes, needed)
    grad_input, grad_offset, grad_mask, grad_weight, grad_bias = (
        g if need else None for g, need in zip(grads, needed, strict=True)
    )
    if grad_bias is not None:
        grad_bias = grad_bias.to(ctx.bias_dtype)
    return grad_input, grad_offset, grad_weight, grad_bias, grad_mask, *(None,) * 4


torch.library.register_autograd("saccade::deform_conv2d", _backward, setup_context=_save)


refuse_second_derivative("deform_conv2d")
