"""What the convolutions share: padding, the shape of the output, the choice of the algorithm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from saccade.ops._pool import Size, pair

Algorithm: TypeAlias = Literal["gemm", "winograd2", "winograd4", "winograd6"]
ALGORITHMS: dict[str, int] = {"gemm": 0, "winograd2": 1, "winograd4": 2, "winograd6": 3}


class Choice(NamedTuple):
    algorithm: Algorithm
    reason: str


_precision: Literal["fast", "exact"] = "fast"


def set_conv_precision(precision: Literal["fast", "exact"]) -> None:
    """Say whether convolutions and their gradients may use Winograd's algorithm.

    Args:
        precision: ``"fast"`` (the default) allows it where it is faster; ``"exact"`` rules it out. Its results
            in float32 differ from the exact sums by up to 5e-6 (F(4x4)) or 3e-5 (F(6x6)) of their norm, the others' by
            about 1e-6; float16, bfloat16 and float64 never use it.

    Raises:
        ValueError: on any other word.
    """
    global _precision
    if precision not in ("fast", "exact"):
        raise ValueError(f"set_conv_precision: precision must be 'fast' or 'exact', got {precision!r}")
    _precision = precision


# Work for each tile and register of channels, both transforms together, by results of a tile along an axis: fitted to
# measured times (AMD Zen 4) with one multiply-add of a register as the unit. So is the rate at which weights arrive
# from memory, and what it takes to transform one.
_TRANSFORMS = {2: 62, 4: 207, 6: 450}
_BYTES_PER_UNIT = 7
_PACK = {2: 50, 4: 165, 6: 300}
_WEIGHT_GRADIENT = 60  # to turn the sums for one weight back


def _winograd_cost(
    m: int, batch: int, input: Tensor, weight: Tensor, out: list[int], dilation: list[int], fresh: bool
) -> float:
    channels, outs = weight.shape[1], weight.shape[0]
    tiles, products = _winograd_tiles(m, batch, out, dilation), (m + 2) ** 2
    multiply = math.ceil(tiles / 2) * 2 * products * channels * outs / 16
    load = 4 * products * channels * outs / _BYTES_PER_UNIT
    transform = tiles * _TRANSFORMS[m] * (input.shape[1] + outs) / 16
    return max(multiply, load) + transform + (_PACK[m] * channels * outs if fresh else 0)


def choose(
    input: Tensor,
    weight: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    fresh: bool = False,
) -> Choice:
    """The algorithm for these arguments, and why; ``fresh`` where the weight is packed for this one call."""
    if weight.shape[2:] != (3, 3) or stride != [1, 1]:
        return Choice("gemm", "Winograd's algorithm needs a 3 x 3 kernel and stride 1")
    if input.dtype != torch.float32 or input.device.type != "cpu":
        return Choice("gemm", "Winograd's algorithm is for float32 on the CPU")
    if _precision == "exact":
        return Choice("gemm", "set_conv_precision('exact') rules Winograd's algorithm out")
    if weight.shape[0] < 16 * groups or weight.shape[1] < 8:
        return Choice("gemm", "too few channels for Winograd's algorithm")
    batch, (out_h, out_w) = input.shape[0], output_shape(input, weight, stride, padding, dilation)[2:]
    if not (isinstance(out_h, int) and isinstance(out_w, int)):
        return Choice("gemm", "Winograd's algorithm is chosen by the size of the images, which is left open here")
    if not isinstance(batch, int):  # an exported program for any number of images: what pays for one of them
        batch = 1
    out = [out_h, out_w]
    if batch * out_h * out_w == 0:
        return Choice("gemm", "there is nothing to compute")
    # A weight that is being trained is packed at every step, and so is one inside a compiled graph.
    fresh = fresh or torch.compiler.is_compiling() or (weight.requires_grad and torch.is_grad_enabled())
    direct = batch * out_h * out_w * 9 * weight.shape[0] * weight.shape[1] / 16
    costs = {m: _winograd_cost(m, batch, input, weight, out, dilation, fresh) for m in (2, 4, 6)}
    m = min(costs, key=costs.__getitem__)
    if costs[m] >= direct:
        return Choice("gemm", f"Winograd's algorithm would take {costs[m] / direct:.2f} times as long")
    names: dict[int, Algorithm] = {2: "winograd2", 4: "winograd4", 6: "winograd6"}
    return Choice(names[m], f"expected to take {costs[m] / direct:.2f} of the time of gemm")


def choose_weight_gradient(
    input: Tensor, weight: Tensor, stride: list[int], padding: list[int], dilation: list[int]
) -> Algorithm:
    """The algorithm for the gradient of a weight whose convolution is Winograd's."""
    channels, outs = weight.shape[1], weight.shape[0]
    out = output_shape(input, weight, stride, padding, dilation)[2:]
    # Winograd's convolution has fixed image sizes; an open batch counts as one image, as in `choose`.
    batch = input.shape[0] if isinstance(input.shape[0], int) else 1
    tiles = _winograd_tiles(4, batch, out, dilation)
    transform = tiles * _TRANSFORMS[4] * (input.shape[1] + outs) / 16
    winograd = tiles * 36 * channels * outs / 16 + transform + _WEIGHT_GRADIENT * channels * outs
    return "winograd4" if winograd < batch * out[0] * out[1] * 9 * channels * outs / 16 else "gemm"


def _winograd_tiles(m: int, batch: int, out: list[int], dilation: list[int]) -> int:
    tiles = batch
    for size, step in zip(out, dilation, strict=True):
        tiles *= min(step, size) * math.ceil(math.ceil(size / step) / m)
    return tiles


def sides(op: str, padding: Size | str, weight: Tensor, stride: list[int], dilation: list[int]) -> list[int]:
    """``[top, bottom, left, right]``."""
    if not isinstance(padding, str):
        top, left = pair(op, "padding", padding)
        return [top, top, left, left]
    if padding == "valid":
        return [0, 0, 0, 0]
    if padding != "same":
        raise ValueError(f"{op}: padding must be sizes, 'same' or 'valid', got {padding!r}")
    if stride != [1, 1]:
        raise ValueError(f"{op}: padding='same' needs stride 1, got {tuple(stride)}")
    extra = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    return [extra[0] // 2, extra[0] - extra[0] // 2, extra[1] // 2, extra[1] - extra[1] // 2]


def output_shape(
    input: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> list[int]:
    """The shape of the output, as the compiled operators compute it."""
    shape = [input.shape[0], weight.shape[0]]
    for d in range(2):
        padded = input.shape[2 + d] + padding[2 * d] + padding[2 * d + 1]
        shape.append((padded - dilation[d] * (weight.shape[2 + d] - 1) - 1) // stride[d] + 1)
    return shape
