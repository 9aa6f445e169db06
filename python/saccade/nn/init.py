"""Initial weights: random, Xavier, He and bilinear, with the fans of every kind of layer.

Each function fills a layer's weight (and zeroes its bias), or a plain weight, and returns what it was given.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

__all__ = [
    "bilinear_",
    "fans",
    "he_normal_",
    "he_uniform_",
    "initialize",
    "normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
]

Layer = TypeVar("Layer", nn.Module, Tensor)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def fans(layer: nn.Module | Tensor) -> tuple[float, float]:
    """How many inputs an output of a layer sums up, and how many outputs an input goes into, away from the borders.

    Args:
        layer: fully connected, convolution or transposed convolution, of which groups and strides count; or a weight
            ``(out, in, ...)``.

    With stride ``s`` an input reaches only ``1 / s`` of a convolution's outputs along each side, and an output of a
    transposed convolution sums up only ``1 / s`` of its inputs; the fan is then a mean. torch.nn.init, which sees a
    weight alone, takes a transposed convolution for a convolution, and no account of strides.

    >>> saccade.nn.init.fans(torch.nn.Conv2d(8, 16, 3))
    (72.0, 144.0)
    >>> saccade.nn.init.fans(torch.nn.ConvTranspose2d(8, 16, 4, stride=2))
    (32.0, 256.0)
    >>> saccade.nn.init.fans(torch.nn.Conv2d(8, 16, 3, groups=8))
    (9.0, 18.0)
    """
    weight = _weight("fans", layer)
    cells = float(math.prod(weight.shape[2:]))
    first, second = weight.shape[:2]
    if not isinstance(layer, (*_CONVOLUTIONS, *_TRANSPOSED)):
        return second * cells, first * cells
    stride, groups = math.prod(layer.stride), layer.groups
    if isinstance(layer, _TRANSPOSED):  # (in, out / groups, ...)
        return first / groups * cells / stride, second * cells
    return second * cells, first / groups * cells / stride


def normal_(layer: Layer, std: float = 0.01, generator: torch.Generator | None = None) -> Layer:
    """Gaussian weights with mean 0.

    >>> saccade.nn.init.normal_(torch.nn.Linear(100, 100), 0.5).weight.std().round(decimals=1).item()
    0.5
    """
    return _fill(layer, "normal_", lambda weight: nn.init.normal_(weight, 0, std, generator))


def uniform_(layer: Layer, bound: float = 0.05, generator: torch.Generator | None = None) -> Layer:
    """Uniform weights from ``-bound`` to ``bound``."""
    return _fill(layer, "uniform_", lambda weight: nn.init.uniform_(weight, -bound, bound, generator))


def xavier_normal_(layer: Layer, gain: float = 1.0, generator: torch.Generator | None = None) -> Layer:
    """Gaussian weights of variance ``gain^2 * 2 / (fan_in + fan_out)``: for activations of slope 1 around 0.

    Source: Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010.
    """
    std = gain * math.sqrt(2 / sum(fans(layer)))
    return _fill(layer, "xavier_normal_", lambda weight: nn.init.normal_(weight, 0, std, generator))


def xavier_uniform_(layer: Layer, gain: float = 1.0, generator: torch.Generator | None = None) -> Layer:
    """Uniform weights of the variance of :func:`xavier_normal_`."""
    bound = gain * math.sqrt(6 / sum(fans(layer)))
    return _fill(layer, "xavier_uniform_", lambda weight: nn.init.uniform_(weight, -bound, bound, generator))


def he_normal_(
    layer: Layer, mode: str = "fan_in", negative_slope: float = 0.0, generator: torch.Generator | None = None
) -> Layer:
    """Gaussian weights of variance ``2 / ((1 + negative_slope^2) * fan)``: for ReLU and leaky ReLU.

    Args:
        layer: as for :func:`fans`.
        mode: ``"fan_in"`` keeps the variance of activations on the way forward, ``"fan_out"`` that of gradients on the
            way back.
        negative_slope: of the leaky ReLU that precedes the layer.
        generator: of random numbers.

    Source: He et al., Delving Deep into Rectifiers, 2015.
    """
    std = _he("he_normal_", layer, mode, negative_slope)
    return _fill(layer, "he_normal_", lambda weight: nn.init.normal_(weight, 0, std, generator))


def he_uniform_(
    layer: Layer, mode: str = "fan_in", negative_slope: float = 0.0, generator: torch.Generator | None = None
) -> Layer:
    """Uniform weights of the variance of :func:`he_normal_`, whose arguments these are."""
    bound = math.sqrt(3) * _he("he_uniform_", layer, mode, negative_slope)
    return _fill(layer, "he_uniform_", lambda weight: nn.init.uniform_(weight, -bound, bound, generator))


def bilinear_(layer: Layer) -> Layer:
    """Weights with which a transposed convolution up-samples each channel by bilinear interpolation.

    For a kernel of side ``2 s - s % 2``, stride ``s`` and padding ``(side - s) / 2`` rounded up, the result is that of
    torch's ``interpolate(mode="bilinear", align_corners=False)`` away from the borders.

    Args:
        layer: a ConvTranspose2d, each of whose output channels is made from one input channel (``groups`` equal to the
            channels) or which has as many of both; or a weight ``(channels, 1 or channels, kernel_h, kernel_w)``.

    Source: Long, Shelhamer and Darrell, Fully Convolutional Networks for Semantic Segmentation, 2015.

    >>> up = saccade.nn.init.bilinear_(saccade.nn.ConvTranspose2d(1, 1, 4, stride=2, padding=1, bias=False))
    >>> up(torch.tensor([[[[0.0, 4.0], [0.0, 4.0]]]])).detach()[0, 0, 1]
    tensor([0., 1., 3., 3.])
    """
    weight = _weight("bilinear_", layer)
    own = weight.dim() == 4 and weight.shape[1] == 1
    if weight.dim() != 4 or not (own or weight.shape[0] == weight.shape[1]):
        raise ValueError(f"bilinear_: layer must have as many outputs as inputs, got a weight {tuple(weight.shape)}")

    def fill(weight: Tensor) -> None:
        rows, columns = (_tent(size, weight) for size in weight.shape[2:])
        weight.zero_()
        channels = torch.arange(weight.shape[0])
        weight[channels, 0 if own else channels] = rows[:, None] * columns

    return _fill(layer, "bilinear_", fill)


METHODS: dict[str, Callable[..., Any]] = {
    "random": normal_,
    "uniform": uniform_,
    "xavier": xavier_normal_,
    "xavier_uniform": xavier_uniform_,
    "he": he_normal_,
    "he_uniform": he_uniform_,
}


def initialize(model: nn.Module, method: str = "he", **options: Any) -> nn.Module:
    """Fill every fully connected, convolution and transposed convolution layer of a model; normalisations stay.

    Args:
        model: what to fill, in place.
        method: ``"random"``, ``"uniform"``, ``"xavier"``, ``"xavier_uniform"``, ``"he"`` or ``"he_uniform"``.
        options: of the function of that method.

    >>> model = saccade.nn.init.initialize(saccade.models.mlp(64, hidden=(100,)), "xavier")
    """
    if method not in METHODS:
        raise ValueError(f"initialize: method must be one of {', '.join(METHODS)}, got {method!r}")
    for module in model.modules():
        if isinstance(module, (nn.Linear, *_CONVOLUTIONS, *_TRANSPOSED)):
            METHODS[method](module, **options)
            connections = getattr(module, "connections", None)
            if isinstance(connections, Tensor):
                with torch.no_grad():
                    module.weight.mul_(connections)
    return model


def _tent(size: int, like: Tensor) -> Tensor:
    factor = (size + 1) // 2
    center = factor - 1 if size % 2 else factor - 0.5
    return 1 - (torch.arange(size, dtype=like.dtype, device=like.device) - center).abs() / factor


def _he(op: str, layer: nn.Module | Tensor, mode: str, negative_slope: float) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{op}: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    return math.sqrt(2 / ((1 + negative_slope**2) * fans(layer)[mode == "fan_out"]))


def _weight(op: str, layer: nn.Module | Tensor) -> Tensor:
    weight = layer if isinstance(layer, Tensor) else getattr(layer, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() < 2:
        got = tuple(weight.shape) if isinstance(weight, Tensor) else type(layer).__name__
        raise ValueError(f"{op}: layer must have a weight of at least 2 dimensions, got {got}")
    return weight


def _fill(layer: Layer, op: str, fill: Callable[[Tensor], Any]) -> Layer:
    with torch.no_grad():
        fill(_weight(op, layer))
        bias = None if isinstance(layer, Tensor) else getattr(layer, "bias", None)
        if isinstance(bias, Tensor):
            bias.zero_()
    return layer
