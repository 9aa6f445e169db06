"""Checks that the models share."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, fx

__all__ = ["check_images", "features_of", "positive"]


def positive(op: str, **numbers: Any) -> None:
    """Raise unless each number is an int of at least 1."""
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{op}: {name} must be an int, got {value!r}")
        if value < 1:
            raise ValueError(f"{op}: {name} must be at least 1, got {value}")


def check_images(
    op: str, images: Tensor, channels: int, *, side: int | None = None, least: int = 1, multiple: int = 1
) -> None:
    """Raise unless ``images`` are ``(N, channels, H, W)``, of one side, of a least side or of multiples of one.

    A stand-in for images, on which torch.fx runs the code, passes.
    """
    kind = type(images)  # isinstance() would ask the stand-in
    if issubclass(kind, fx.Proxy):
        return
    if not issubclass(kind, Tensor):
        raise TypeError(f"{op}: images must be a tensor, got {kind.__name__}")
    sides = "H, W" if side is None else f"{side}, {side}"
    if images.dim() != 4 or images.shape[1] != channels or (side is not None and images.shape[2:] != (side, side)):
        raise ValueError(f"{op}: images must have shape (N, {channels}, {sides}), got {tuple(images.shape)}")
    if least > 1 and min(images.shape[2:]) < least:
        raise ValueError(f"{op}: sides of the images must be at least {least}, got {tuple(images.shape[2:])}")
    if multiple > 1 and (images.shape[2] % multiple or images.shape[3] % multiple):
        raise ValueError(f"{op}: sides of the images must be multiples of {multiple}, got {tuple(images.shape[2:])}")


def features_of(op: str, in_features: int | tuple[int, ...]) -> int:
    """The number of features of a sample whose shape may be given instead."""
    sizes = in_features if isinstance(in_features, (tuple, list)) else (in_features,)
    for size in sizes:
        positive(op, in_features=size)
    return math.prod(sizes)
