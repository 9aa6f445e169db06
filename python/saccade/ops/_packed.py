"""Convolution weights in the order that the kernels read, made once and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from saccade.ops._kept import Kept

_packed = Kept[Tensor]()


def packed_weight(weight: Tensor, key: tuple[Any, ...], pack: Callable[[], Tensor]) -> Tensor | None:
    """``pack()``, or what it gave for this weight before; None where a weight cannot be kept."""
    return _packed.get(key, (weight,), pack) if weight.device.type == "cpu" else None
