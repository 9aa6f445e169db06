"""Deformable convolution, one result after the other, in float64."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["deform_conv2d"]

Array = NDArray[np.float64]


def _value(planes: Array, y: float, x: float) -> Array:
    """Every plane of ``(C, H, W)`` at a position between its cells, zero outside."""
    total, (height, width) = np.zeros(len(planes)), planes.shape[1:]
    if not (-1 < y < height and -1 < x < width):
        return total
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < height and 0 <= column < width:
                total += (1 - abs(y - row)) * (1 - abs(x - column)) * planes[:, row, column]
    return total


def deform_conv2d(
    images: Array,
    offset: Array,
    weight: Array,
    bias: Array | None = None,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    mask: Array | None = None,
) -> Array:
    """``(N, C, H, W)`` with ``(K, C / groups, kernel_h, kernel_w)`` -> ``(N, K, out_h, out_w)``.

    >>> half = np.full((1, 2, 1, 1), 0.5)
    >>> deform_conv2d(np.array([[[[0.0, 1], [2, 3]]]]), half, np.ones((1, 1, 1, 1)), stride=(2, 2))
    array([[[[1.5]]]])
    """
    out_channels, depth, *kernel = weight.shape
    images_count, channels = images.shape[:2]
    taps, out = kernel[0] * kernel[1], offset.shape[2:]
    offset_groups = offset.shape[1] // (2 * taps)
    offsets = offset.reshape(images_count, offset_groups, taps, 2, *out)
    masks = np.ones_like(offsets[:, :, :, 0]) if mask is None else mask.reshape(offsets[:, :, :, 0].shape)
    samples = np.zeros((images_count, channels, taps, *out))
    for n, g, t, p, q in np.ndindex(masks.shape):
        y = p * stride[0] - padding[0] + t // kernel[1] * dilation[0] + offsets[n, g, t, 0, p, q]
        x = q * stride[1] - padding[1] + t % kernel[1] * dilation[1] + offsets[n, g, t, 1, p, q]
        own = slice(g * channels // offset_groups, (g + 1) * channels // offset_groups)
        samples[n, own, t, p, q] = masks[n, g, t, p, q] * _value(images[n, own], y, x)
    groups = channels // depth
    by_group = samples.reshape(images_count, groups, depth, taps, *out)
    weights = weight.reshape(groups, out_channels // groups, depth, taps)
    output = np.einsum("ngctpq,gkct->ngkpq", by_group, weights).reshape(images_count, out_channels, *out)
    return output if bias is None else output + bias[:, None, None]
