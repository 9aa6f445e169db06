"""What the convolutions share: padding, the shape of the output, the choice of the algorithm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from torch import Tensor

from saccade.ops._pool import Size, pair

Algorithm: TypeAlias = Literal["gemm", "winograd2", "winograd4", "winograd6"]
ALGORITHMS: dict[str, int] = {"gemm": 0, "winograd2": 1, "winograd4": 2, "winograd6": 3}


class Choice(NamedTuple):
    algorithm: Algorithm
    reason: str


def choose(input: Tensor, weight: Tensor, stride: list[int], dilation: list[int], groups: int) -> Choice:
    """The algorithm for these arguments, and why."""
    return Choice("gemm", "serves every shape")


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
