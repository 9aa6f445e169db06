"""The activations of the lecture notes as functions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import elu, leaky_relu, relu

__all__ = ["elu", "leaky_relu", "relu", "scaled_tanh", "sigmoid", "tanh_sigmoid"]


def sigmoid(input: Tensor) -> Tensor:
    """``1 / (1 + exp(-a))``, from 0 to 1.

    >>> saccade.nn.functional.sigmoid(torch.tensor([-100.0, 0.0, 100.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    return torch.sigmoid(input)


def tanh_sigmoid(input: Tensor) -> Tensor:
    """``tanh(a) / 2 + 0.5``, from 0 to 1: the sigmoid of ``2 a``.

    >>> saccade.nn.functional.tanh_sigmoid(torch.tensor([-100.0, 0.0, 100.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    return torch.tanh(input) / 2 + 0.5


def scaled_tanh(input: Tensor, amplitude: float = 1.7159, slope: float = 2 / 3) -> Tensor:
    """``amplitude * tanh(slope * a)``; by default about 1 at 1 and -1 at -1.

    Source: LeCun et al., Gradient-based learning applied to document recognition, 1998, appendix A.

    >>> saccade.nn.functional.scaled_tanh(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-1.0000,  0.0000,  1.0000])
    """
    return amplitude * torch.tanh(slope * input)
