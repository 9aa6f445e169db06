"""Results kept beside the tensors that they were made from."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

T = TypeVar("T")


class Kept(Generic[T]):
    """A table of results, made again once a tensor changes: its version (every change in place that torch counts), its
    address or its dtype. A change through ``.data``, which nothing counts, goes unseen.

    Nothing is kept for tensors that are being trained, which change from call to call, often through ``.data``.
    """

    def __init__(self) -> None:
        # Tensor -> key -> (state of the tensors, result). Entries go with their tensor.
        self._table: Any = WeakTensorKeyDictionary()

    def get(self, key: Hashable, tensors: tuple[Tensor, ...], make: Callable[[], T]) -> T | None:
        """``make()``, or what it gave before, kept with the first tensor; None where nothing can be kept."""
        if torch.compiler.is_compiling():
            return None
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            return None
        try:
            state = tuple((tensor._version, tensor.data_ptr(), tensor.dtype) for tensor in tensors)
        except RuntimeError:  # no version (inference tensors) or no storage (functorch's, fake ones)
            return None
        entries = self._table.setdefault(tensors[0], {})
        if key not in entries or entries[key][0] != state:
            with torch.no_grad():
                entries[key] = state, make()
        kept: T = entries[key][1]
        return kept
