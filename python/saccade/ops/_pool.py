"""What the pooling operators share: pairs of sizes, the shape of the output, 3-D inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from torch import Tensor

Size: TypeAlias = "int | Sequence[int]"


def pair(op: str, name: str, value: Size) -> list[int]:
    """``[along the rows, along the columns]`` from one number or two."""
    if isinstance(value, Sequence):
        if len(value) not in (1, 2):
            raise ValueError(f"{op}: {name} must be an int or a pair of ints, got {tuple(value)}")
        return [value[0], value[-1]]
    return [value, value]


def stride_pair(op: str, stride: Size | None, kernel: list[int]) -> list[int]:
    """The stride, ``kernel`` where none is given."""
    if stride is None or (isinstance(stride, Sequence) and not stride):
        return kernel
    return pair(op, "stride", stride)


def images(op: str, input: Tensor) -> Tensor:
    """``(N, C, H, W)`` from that, or from one ``(C, H, W)``."""
    if input.dim() not in (3, 4):
        raise ValueError(f"{op}: input must have shape (N, C, H, W) or (C, H, W), got {tuple(input.shape)}")
    return input.unsqueeze(0) if input.dim() == 3 else input


def output_shape(
    input: Tensor, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], ceil_mode: bool
) -> list[int]:
    """The shape of the output, as the compiled operators compute it."""
    shape = list(input.shape[:2])
    for d in range(2):
        length = input.shape[2 + d]
        room = length + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1
        out = (room + (stride[d] - 1 if ceil_mode else 0)) // stride[d] + 1
        if ceil_mode and (out - 1) * stride[d] >= length + padding[d]:
            out -= 1
        shape.append(out)
    return shape
