"""Batch normalisation as the paper writes it, channel by channel, in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["batch_norm"]

Array = NDArray[np.float64]

ACTIVATIONS: dict[str | None, Callable[[Array], Array]] = {
    None: lambda x: x,
    "relu": lambda x: np.where(x < 0, 0, x),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}


def batch_norm(
    input: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    residual: Array | None = None,
    activation: str | None = None,
) -> tuple[Array, Array | None, Array | None]:
    """Return the result and the running mean and variance after it (Ioffe and Szegedy, 2015, algorithms 1 and 2).

    >>> batch_norm(np.array([[1.0], [3.0]]), None, None, training=True, eps=0)[0].ravel()
    array([-1.,  1.])
    """
    output = np.empty_like(input)
    new_mean = None if running_mean is None else running_mean.copy()
    new_var = None if running_var is None else running_var.copy()
    for c in range(input.shape[1]):
        values = input[:, c]
        if training:
            mean, var = values.mean(), values.var()
            if new_mean is not None and new_var is not None:
                new_mean[c] = (1 - momentum) * new_mean[c] + momentum * mean
                new_var[c] = (1 - momentum) * new_var[c] + momentum * values.var(ddof=1)
        else:
            assert new_mean is not None
            assert new_var is not None
            mean, var = new_mean[c], new_var[c]
        scale, shift = 1.0 if weight is None else weight[c], 0.0 if bias is None else bias[c]
        output[:, c] = (values - mean) / np.sqrt(var + eps) * scale + shift
    if residual is not None:
        output = output + residual
    return ACTIVATIONS[activation](output), new_mean, new_var
