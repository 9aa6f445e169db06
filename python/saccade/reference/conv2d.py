"""2-D convolution, one result after the other, in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from saccade.reference.batch_norm import ACTIVATIONS

__all__ = ["conv2d", "conv2d_fused"]

Array = NDArray[np.float64]


def conv2d(
    images: Array,
    weight: Array,
    bias: Array | None = None,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> Array:
    """``(N, C, H, W)`` with ``(K, C / groups, kernel_h, kernel_w)`` -> ``(N, K, out_h, out_w)``.

    ``padding``: rows of zeros above and below, columns of zeros left and right.

    >>> conv2d(np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2)))[0, 0]
    array([[ 8., 12.],
           [20., 24.]])
    """
    top, bottom, left, right = padding
    padded = np.pad(images, ((0, 0), (0, 0), (top, bottom), (left, right)))
    out_channels, depth, *kernel = weight.shape
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    shape = [(padded.shape[2 + a] - reach[a]) // stride[a] + 1 for a in range(2)]
    output = np.zeros((len(images), out_channels, *shape))
    for n, k, p, q in np.ndindex(output.shape):
        group = k // (out_channels // groups)
        channels = slice(group * depth, (group + 1) * depth)
        rows = slice(p * stride[0], p * stride[0] + reach[0], dilation[0])
        columns = slice(q * stride[1], q * stride[1] + reach[1], dilation[1])
        output[n, k, p, q] = np.sum(padded[n, channels, rows, columns] * weight[k])
    return output if bias is None else output + bias[:, None, None]


def conv2d_fused(
    images: Array,
    weight: Array,
    bias: Array | None = None,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    scale: Array | None = None,
    shift: Array | None = None,
    residual: Array | None = None,
    activation: str | None = None,
) -> Array:
    """Return ``activation(conv2d(...) * scale + shift + residual)``.

    >>> ramp, ones = np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2))
    >>> conv2d_fused(ramp, ones, shift=np.array([-13.0]), activation="relu")[0, 0]
    array([[ 0.,  0.],
           [ 7., 11.]])
    """
    result = conv2d(images, weight, bias, stride, padding, dilation, groups)
    if scale is not None:
        result = result * scale[:, None, None]
    if shift is not None:
        result = result + shift[:, None, None]
    if residual is not None:
        result = result + residual
    return ACTIVATIONS[activation](result)
