"""Labels that must lie in a range: found and counted where they do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["as_tensor", "outside", "require_labels"]

_SHOWN = 5


def require_labels(op: str, name: str, labels: Tensor, num_classes: int, ignore_index: int | None = None) -> None:
    """Raise ValueError that names the labels outside ``0 .. num_classes - 1`` and how often each occurs."""
    if labels.numel() == 0:
        return
    low, high = (int(value) for value in torch.stack(torch.aminmax(labels)).tolist())
    if low >= 0 and high < num_classes:
        return
    found = outside(labels, num_classes, ignore_index)
    if found:
        ignored = "" if ignore_index is None else f" or ignore_index {ignore_index}"
        raise ValueError(f"{op}: {name} must be from 0 to {num_classes - 1}{ignored}, got {found}")


def outside(labels: Tensor, num_classes: int, ignore_index: int | None = None) -> str:
    """The labels out of range with their counts, as text: ``"12 (3 times), -1 (once)"``; empty if there are none."""
    wrong = (labels < 0) | (labels >= num_classes)
    if ignore_index is not None:
        wrong &= labels != ignore_index
    if not bool(wrong.any()):
        return ""
    values, counts = torch.unique(labels[wrong], return_counts=True)
    order = torch.argsort(counts, descending=True, stable=True)
    pairs = [(int(values[i]), int(counts[i])) for i in order[:_SHOWN]]
    text = ", ".join(f"{value} ({'once' if count == 1 else f'{count} times'})" for value, count in pairs)
    more = len(values) - _SHOWN
    return text if more <= 0 else f"{text} and {more} other value{'s' if more > 1 else ''}"


def as_tensor(op: str, name: str, value: Any) -> Tensor:
    """A tensor of any numeric array-like; shares memory where torch can."""
    if isinstance(value, Tensor):
        return value
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{op}: {name} must be one array, got a sequence of arrays that differ in shape") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{op}: {name} must be numbers, got {array.dtype}")
    # torch takes neither foreign byte order nor negative strides, and warns of memory that it must not write to.
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    fits = native.flags.writeable and all(stride >= 0 for stride in native.strides)
    return torch.from_numpy(native if fits else native.copy())
