"""The activations that operators apply to their results."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

Activation: TypeAlias = Literal["relu", "leaky_relu", "elu", "sigmoid"] | None
ACTIVATIONS: dict[str | None, int] = {None: 0, "relu": 1, "leaky_relu": 2, "elu": 3, "sigmoid": 4}


def require_activation(op: str, activation: str | None) -> None:
    """Raise ValueError unless the name is one of ACTIVATIONS."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"{op}: activation must be None, 'relu', 'leaky_relu', 'elu' or 'sigmoid', got {activation!r}")


def activate(value: Tensor, activation: Activation) -> Tensor:
    """The activation as torch has it."""
    if activation is None:
        return value
    return torch.sigmoid(value) if activation == "sigmoid" else getattr(torch.nn.functional, activation)(value)
