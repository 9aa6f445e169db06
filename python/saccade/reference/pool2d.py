"""Pooling over sliding windows, as plain loops."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


def output_length(length: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """How many windows there are along an axis; with ``ceil_mode`` the last one may reach beyond the padding."""
    room = length + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return room // stride + 1
    windows = math.ceil(room / stride) + 1
    return windows - 1 if (windows - 1) * stride >= length + padding else windows


def max_pool2d(
    images: Array,
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    ceil_mode: bool = False,
) -> tuple[Array, Indices]:
    """``(N, C, H, W)`` -> the maximum of each window, and ``row * W + column`` of it (-1 where it has no cell).

    The first of equal maxima in row order wins; a NaN wins over every number, and the last NaN over the others.
    """
    n, c, h, w = images.shape
    shape = [output_length((h, w)[d], kernel_size[d], stride[d], padding[d], dilation[d], ceil_mode) for d in range(2)]
    values, indices = np.full((n, c, *shape), -np.inf), np.full((n, c, *shape), -1, np.int64)
    for at in np.ndindex(values.shape):
        plane, (p, q) = images[at[:2]], at[2:]
        for i in range(kernel_size[0]):
            for j in range(kernel_size[1]):
                y = p * stride[0] - padding[0] + i * dilation[0]
                x = q * stride[1] - padding[1] + j * dilation[1]
                if not (0 <= y < h and 0 <= x < w):
                    continue
                if indices[at] < 0 or plane[y, x] > values[at] or math.isnan(plane[y, x]):
                    values[at], indices[at] = plane[y, x], y * w + x
    return values, indices


def min_pool2d(
    images: Array,
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    ceil_mode: bool = False,
) -> tuple[Array, Indices]:
    """The minimum: the negated maximum of the negated images."""
    values, indices = max_pool2d(-images, kernel_size, stride, padding, dilation, ceil_mode)
    return -values, indices


def avg_pool2d(
    images: Array,
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int] = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """``(N, C, H, W)`` -> the sum of each window over the number of its cells.

    The cells of the padding are zero, and count with ``count_include_pad``; what lies beyond them never does.
    """
    n, c, h, w = images.shape
    shape = [output_length((h, w)[d], kernel_size[d], stride[d], padding[d], 1, ceil_mode) for d in range(2)]
    means = np.empty((n, c, *shape))
    for p, q in np.ndindex(*shape):
        total, cells = np.zeros((n, c)), 0
        for i in range(kernel_size[0]):
            for j in range(kernel_size[1]):
                y, x = p * stride[0] - padding[0] + i, q * stride[1] - padding[1] + j
                inside = 0 <= y < h and 0 <= x < w
                if inside:
                    total += images[:, :, y, x]
                cells += inside or (count_include_pad and y < h + padding[0] and x < w + padding[1])
        means[:, :, p, q] = total / (cells if divisor_override is None else divisor_override)
    return means


def adaptive_avg_pool2d(images: Array, output_size: tuple[int, int]) -> Array:
    """``(N, C, H, W)`` -> ``output_size`` means; the windows cover the images, and overlap where they must."""
    means = np.empty((*images.shape[:2], *output_size))
    for p, q in np.ndindex(*output_size):
        rows, columns = (
            slice(math.floor(k * length / out), math.ceil((k + 1) * length / out))
            for k, length, out in zip((p, q), images.shape[2:], output_size, strict=True)
        )
        means[:, :, p, q] = images[:, :, rows, columns].mean((2, 3))
    return means
