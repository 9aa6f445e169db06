"""2-D transposed convolution, one cell after the other, in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["conv_transpose2d"]

Array = NDArray[np.float64]


def conv_transpose2d(
    images: Array,
    weight: Array,
    bias: Array | None = None,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    output_padding: tuple[int, int] = (0, 0),
    groups: int = 1,
    dilation: tuple[int, int] = (1, 1),
) -> Array:
    """``(N, C, H, W)`` with ``(C, K / groups, kernel_h, kernel_w)`` -> ``(N, K, out_h, out_w)``.

    >>> conv_transpose2d(np.array([[[[1.0, 2.0]]]]), np.ones((1, 1, 1, 3)), stride=(1, 2))
    array([[[[1., 1., 3., 2., 2.]]]])
    """
    batch, channels, *size = images.shape
    outs, *kernel = weight.shape[1:]
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    full = [(size[a] - 1) * stride[a] + reach[a] + output_padding[a] for a in range(2)]
    output = np.zeros((batch, outs * groups, *full))
    for n, c, p, q in np.ndindex(images.shape):
        group = c // (channels // groups)
        rows = slice(p * stride[0], p * stride[0] + reach[0], dilation[0])
        columns = slice(q * stride[1], q * stride[1] + reach[1], dilation[1])
        output[n, group * outs : (group + 1) * outs, rows, columns] += images[n, c, p, q] * weight[c]
    cut = output[:, :, padding[0] : full[0] - padding[0], padding[1] : full[1] - padding[1]]
    return cut if bias is None else cut + bias[:, None, None]
