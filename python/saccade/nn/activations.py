"""The activations of the lecture notes as modules."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import ELU, LeakyReLU, ReLU, Sigmoid

from saccade.nn import functional

__all__ = ["ACTIVATIONS", "ELU", "LeakyReLU", "ReLU", "ScaledTanh", "Sigmoid", "TanhSigmoid"]


class TanhSigmoid(nn.Module):
    """``tanh(a) / 2 + 0.5``: :func:`saccade.nn.functional.tanh_sigmoid`.

    >>> saccade.nn.TanhSigmoid()(torch.zeros(1))
    tensor([0.5000])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply to each value."""
        return functional.tanh_sigmoid(input)


class ScaledTanh(nn.Module):
    """``amplitude * tanh(slope * a)``: :func:`saccade.nn.functional.scaled_tanh`.

    >>> saccade.nn.ScaledTanh()(torch.ones(1))
    tensor([1.0000])
    """

    def __init__(self, amplitude: float = 1.7159, slope: float = 2 / 3) -> None:
        super().__init__()
        self.amplitude, self.slope = amplitude, slope

    def forward(self, input: Tensor) -> Tensor:
        """Apply to each value."""
        return functional.scaled_tanh(input, self.amplitude, self.slope)

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return f"amplitude={self.amplitude}, slope={self.slope:.4g}"


# By name, for models whose activation is a choice.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "elu": ELU,
    "sigmoid": Sigmoid,
    "tanh_sigmoid": TanhSigmoid,
    "scaled_tanh": ScaledTanh,
}
