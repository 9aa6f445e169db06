"""What the results of each operation depend on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from saccade.analysis._dependence import Call, Shadow, union
from saccade.analysis._rectangles import (
    NOTHING,
    adaptive_windows,
    crop_or_extend,
    interpolated,
    lined_up,
    scattered,
    windows,
)

__all__ = ["find_rule", "see_everything"]

Rule = Callable[[Call], list[Shadow]]

_POINTWISE = {
    "_to_copy", "clone", "contiguous", "dropout", "native_dropout", "gelu", "hardtanh", "nan_to_num", "where",
    "_prelu_kernel", "rrelu_with_noise", "masked_fill", "tril", "triu",
    "hardswish", "hardsigmoid", "silu", "mish", "leaky_relu", "elu", "celu", "selu", "log_sigmoid_forward", "softplus",
}  # fmt: skip
_MOVED = {
    "cat", "stack", "flip", "roll", "index_select", "index", "repeat", "pixel_shuffle", "pixel_unshuffle", "gather",
    "reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d", "repeat_interleave",
    "channel_shuffle", "native_channel_shuffle",
}  # fmt: skip
_REDUCED = {
    "sum", "mean", "amax", "amin", "max", "min", "var", "std", "var_mean", "std_mean", "prod", "norm",
    "linalg_vector_norm", "logsumexp", "argmax", "argmin", "any", "all", "median", "mode", "cumsum", "cumprod", "sort",
    "argsort", "topk",
    "_softmax", "_log_softmax", "softmax", "log_softmax",
}  # fmt: skip


def find_rule(call: Call) -> Rule | None:
    """The rule for an operation, None where there is none."""
    if rule := _RULES.get(call.name):
        return rule
    if call.name.rstrip("_") in _POINTWISE or call.name == "copy_" or torch.Tag.pointwise in call.operator.tags:
        return _pointwise
    if call.name in _MOVED:
        return _moved
    if call.name in _REDUCED:
        return _reduced
    if call.name.startswith("_scaled_dot_product"):
        return _attention
    return None


def _same(call: Call, rectangles: Tensor) -> list[Shadow]:
    return [Shadow(rectangles, call.jump())]


def _input(call: Call, name: str = "input") -> Shadow:
    shadow = call.shadow(name) or call.shadow("self")
    if shadow is None:
        # Only something else depends on the image: a weight, a mask. Its hull serves.
        first = call.arguments.get(name)
        first = call.arguments["self"] if first is None else first
        shadow = Shadow(torch.full((8, *first.shape), NOTHING), (0.0, 0.0))
    return shadow


def see_everything(call: Call) -> list[Shadow]:
    """All results depend on all inputs."""
    rectangles = torch.stack([shadow.rectangles.flatten(1).amin(1) for shadow in call.shadows.values()]).amin(0)
    return [Shadow(lined_up(rectangles, tensor.dim()), (0.0, 0.0)) for tensor in call.outputs]


def _with_rest(call: Call, rectangles: Tensor, *names: str) -> Tensor:
    """Weights that depend on the image reach every result."""
    for name in names:
        if (shadow := call.shadow(name)) is not None:
            everything = shadow.rectangles.flatten(1).amin(1)
            rectangles = torch.minimum(rectangles, lined_up(everything, rectangles.dim() - 1))
    return rectangles


def _pointwise(call: Call) -> list[Shadow]:
    if call.name == "copy_":
        source = call.shadow("src")
        assert source is not None
        return [Shadow(lined_up(source.rectangles, call.outputs[0].dim()), source.jump)]
    parts = [shadow.rectangles for shadow in call.shadows.values()]
    return [Shadow(union(parts, tensor.dim()), call.jump()) for tensor in call.outputs[:1]]


def _moved(call: Call) -> list[Shadow]:
    """The same operation moves the rectangles; indices that depend on the image reach every result."""

    def plane(value: Any, number: int) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(plane(item, number) for item in value)
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        if id(value) in call.shadows:
            return call.shadows[id(value)].rectangles[number]
        return torch.full(value.shape, NOTHING)

    names = [argument.name for argument in call.operator._schema.arguments]
    planes = [call.operator(*[plane(call.arguments[name], number) for name in names]) for number in range(8)]
    rectangles = torch.stack(planes)
    for value in tree_leaves(call.arguments):
        if isinstance(value, Tensor) and not value.is_floating_point() and id(value) in call.shadows:
            everything = call.shadows[id(value)].rectangles.flatten(1).amin(1)
            rectangles = torch.minimum(rectangles, lined_up(everything, rectangles.dim() - 1))
    return _same(call, rectangles)


def _unfolded(call: Call) -> list[Shadow]:
    """Windows as columns: zeros around the map first."""
    rectangles, jump = _input(call)
    rows, columns = call.arguments["padding"]
    padded = crop_or_extend(rectangles, [columns, columns, rows, rows], jump)
    sizes = [call.arguments[name] for name in ("kernel_size", "dilation")]
    return _same(
        call, torch.stack([call.operator(plane, *sizes, [0, 0], call.arguments["stride"]) for plane in padded])
    )


def _padded(call: Call) -> list[Shadow]:
    shadow = _input(call)
    return _same(call, crop_or_extend(shadow.rectangles, call.arguments["pad"], shadow.jump))


def _axes(value: Any, dim: int) -> list[int]:
    if value is None or value == []:
        return list(range(1, dim + 1))
    return [axis % dim + 1 for axis in ([value] if isinstance(value, int) else value)]


def _reduced(call: Call) -> list[Shadow]:
    shadow = _input(call)
    rectangles, jump = shadow
    dim = rectangles.dim() - 1
    if dim == 0:
        return [shadow for _ in call.outputs]
    axes = _axes(call.arguments.get("dim"), dim)
    reduced = rectangles.amin(axes, keepdim=True)
    found = []
    for tensor in call.outputs:
        same = tensor.dim() == dim and all(
            a == b or i + 1 in axes for i, (a, b) in enumerate(zip(tensor.shape, rectangles.shape[1:], strict=True))
        )
        found.append(Shadow(reduced if same else reduced.reshape(8, *tensor.shape), jump))
    return found


def _layer_norm(call: Call) -> list[Shadow]:
    shadow = _input(call)
    axes = list(range(-len(call.arguments["normalized_shape"]), 0))
    return [Shadow(shadow.rectangles.amin(axes, keepdim=True), shadow.jump)]


def _group_norm(call: Call) -> list[Shadow]:
    rectangles, jump = _input(call)
    n, groups = rectangles.shape[1], call.arguments["group"]
    each = rectangles.reshape(8, n, groups, -1).amin(-1)
    each = each.repeat_interleave(rectangles.shape[2] // groups, 2)
    return [Shadow(each.reshape(8, n, -1, *[1] * (rectangles.dim() - 3)), jump)]


def _batch_norm(call: Call) -> list[Shadow]:
    rectangles, jump = _input(call)
    training = call.arguments.get("training", call.arguments.get("train", call.arguments.get("use_input_stats", False)))
    if training or (call.arguments.get("running_mean", 0) is None and "no_stats" in call.operator._schema.name):
        rectangles = rectangles.amin([1, *range(3, rectangles.dim())], keepdim=True)
    if (residual := call.shadow("residual")) is not None:
        rectangles = torch.minimum(rectangles, residual.rectangles)
    return [Shadow(rectangles, jump)]


def _product(call: Call) -> list[Shadow]:
    """Matrix products: a row of the left and a column of the right."""
    left, right = call.arguments.get("batch1", call.arguments.get("mat1", call.arguments.get("self"))), None
    for name in ("batch2", "mat2", "vec", "tensor"):
        right = call.arguments.get(name) if right is None else right
    dim = call.outputs[0].dim()
    parts = []
    if (found := call.shadows.get(id(left))) is not None:
        row = found.rectangles.amin(-1, keepdim=True)
        parts.append(row if dim == left.dim() else row.squeeze(-1))  # type: ignore[union-attr]
    if (found := call.shadows.get(id(right))) is not None:
        parts.append(found.rectangles.amin(-2 if found.rectangles.dim() > 2 else -1, keepdim=dim > 1))
    if left is not call.arguments.get("self") and (found := call.shadow("self")) is not None:
        parts.append(found.rectangles)
    return _same(call, union(parts, dim))


def _attention(call: Call) -> list[Shadow]:
    """A query, all keys and all values."""
    parts = []
    for name, axes in (("query", [-1]), ("key", [-2, -1]), ("value", [-2, -1]), ("attn_mask", [-1])):
        if (shadow := call.shadow(name)) is not None:
            parts.append(shadow.rectangles.amin(axes, keepdim=True))
    return _same(call, union(parts, call.outputs[0].dim()))


def _sides(padding: list[int], axes: int) -> list[int]:
    """Cells before each axis, of either way to write the padding: one number for each axis, or two."""
    return list(padding[::2] if len(padding) == 2 * axes else padding * axes if len(padding) == 1 else padding)


def _for_each(values: list[int], axes: int) -> list[int]:
    return list(values) * axes if len(values) == 1 else list(values)


def _convolution(call: Call) -> list[Shadow]:
    arguments = call.arguments
    rectangles, jump = _input(call)
    weight = arguments["weight"]
    axes = weight.dim() - 2
    transposed = arguments.get("transposed", "transpose" in call.name)
    stride, dilation = (_for_each(arguments[name], axes) for name in ("stride", "dilation"))
    before, groups = _sides(arguments["padding"], axes), arguments["groups"]
    shape = rectangles.shape
    rectangles = rectangles.reshape(8, shape[1], groups, -1, *shape[3:]).amin(3)
    step = scattered if transposed else windows
    for number in range(axes):
        axis = number - axes
        out, kernel = call.outputs[0].shape[axis], weight.shape[axis]
        rectangles = step(rectangles, axis, out, kernel, stride[number], before[number], dilation[number], jump)
    rectangles = rectangles.repeat_interleave(call.outputs[0].shape[1] // groups, 2)
    rectangles = _with_rest(call, rectangles, "weight", "bias", "scale", "shift")
    if (residual := call.shadow("residual")) is not None:
        rectangles = torch.minimum(rectangles, residual.rectangles)
    return [Shadow(rectangles, _jump_after(jump, stride, transposed))]


def _jump_after(jump: tuple[float, float], stride: list[int], transposed: bool = False) -> tuple[float, float]:
    rows, columns = stride[0], stride[-1]
    return (jump[0] / rows, jump[1] / columns) if transposed else (jump[0] * rows, jump[1] * columns)


def _pooling(call: Call) -> list[Shadow]:
    arguments = call.arguments
    rectangles, jump = _input(call)
    axes = 1 if call.name.endswith("1d") else 3 if "3d" in call.name else 2
    kernel = _for_each(arguments["kernel_size"], axes)
    stride = _for_each(arguments["stride"] or kernel, axes)
    before = _for_each(arguments["padding"], axes)
    dilation = _for_each(arguments.get("dilation", [1]), axes)
    for number in range(axes):
        axis = number - axes
        out = call.outputs[0].shape[axis]
        rectangles = windows(
            rectangles, axis, out, kernel[number], stride[number], before[number], dilation[number], jump
        )
    return [Shadow(rectangles, _jump_after(jump, stride))]


def _adaptive(call: Call) -> list[Shadow]:
    rectangles, jump = _input(call)
    stride = []
    for number, out in enumerate(call.arguments["output_size"]):
        axis = number - len(call.arguments["output_size"])
        stride.append(rectangles.shape[axis] / out)
        rectangles = adaptive_windows(rectangles, axis, out)
    return [Shadow(rectangles, (jump[0] * stride[0], jump[1] * stride[-1]))]


def _resized(call: Call) -> list[Shadow]:
    rectangles, jump = _input(call)
    taps = 1 if "nearest" in call.name else 4 if "bicubic" in call.name else 2
    axes = 1 if call.name.endswith("1d") else 2
    scales = [call.arguments.get(name) for name in (("scales",) if axes == 1 else ("scales_h", "scales_w"))]
    change = []
    for number in range(axes):
        axis = number - axes
        n, out = rectangles.shape[axis], call.outputs[0].shape[axis]
        corners = bool(call.arguments.get("align_corners", False))
        rectangles = interpolated(rectangles, axis, out, taps, scales[number], corners)
        change.append(n / out)
    return [Shadow(rectangles, (jump[0] * change[0], jump[1] * change[-1]))]


_RULES_OF: dict[Rule, str] = {
    see_everything: "_native_multi_head_attention _transformer_encoder_layer_fwd",
    _padded: "constant_pad_nd",
    _unfolded: "im2col",
    _layer_norm: "native_layer_norm",
    _group_norm: "native_group_norm",
    _batch_norm: "batch_norm native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
    "cudnn_batch_norm _batch_norm_with_update _batch_norm_no_update",
    _product: "mm bmm addmm baddbmm mv addmv dot",
    _convolution: "convolution _convolution conv2d conv2d_fused conv_transpose2d _conv_transpose2d_fused",
    _pooling: "max_pool2d min_pool2d avg_pool2d max_pool2d_with_indices avg_pool1d avg_pool3d max_pool1d "
    "max_pool3d_with_indices",
    _adaptive: "adaptive_avg_pool2d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d",
    _resized: "upsample_nearest1d upsample_nearest2d upsample_linear1d upsample_bilinear2d upsample_bicubic2d",
}
_RULES = {name: rule for rule, names in _RULES_OF.items() for name in names.split()}
