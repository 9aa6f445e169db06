"""Memory of large results, used again from call to call.

Fresh memory comes from the kernel in pages that it clears first: for a map of many megabytes that takes as long as its
sums.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import torch
from torch import Tensor

__all__ = ["Memory"]

_LARGE = 4 << 20  # bytes; what is smaller, malloc keeps
_CALLS = 16  # a part of a network may run once for each of a pyramid's maps


class Memory:
    """Pieces of memory, each used again once no tensor is left that shows it; those that many calls in a row did not
    need are let go."""

    def __init__(self) -> None:
        self._pieces: list[tuple[int, torch.UntypedStorage]] = []  # in which call last taken
        self._calls = 0
        self._lock = threading.Lock()

    def channels_last(self, dtype: torch.dtype, shape: list[int]) -> Tensor:
        """An uninitialised tensor ``(N, C, H, W)``."""
        size = math.prod(shape) * dtype.itemsize
        if size < _LARGE or not hasattr(torch._C, "_storage_Use_Count"):
            return torch.empty(shape, dtype=dtype, memory_format=torch.channels_last)
        _, channels, height, width = shape
        strides = channels * height * width, 1, channels * width, channels
        return torch.empty(0, dtype=dtype).set_(self._take(size), 0, shape, strides)

    def _take(self, size: int) -> torch.UntypedStorage:
        """The smallest free piece of at least ``size`` bytes and at most twice as many, the last used of equal ones."""
        with self._lock:
            fitting = [
                (piece.nbytes(), -used, i)
                for i, (used, piece) in enumerate(self._pieces)
                if size <= piece.nbytes() <= 2 * size and _is_free(piece)
            ]
            piece = self._pieces.pop(min(fitting)[2])[1] if fitting else torch.UntypedStorage(_rounded(size))
            self._pieces.append((self._calls, piece))
            return piece

    def end_call(self) -> None:
        """Let go what was not needed for long."""
        with self._lock:
            self._pieces = [(used, piece) for used, piece in self._pieces if used > self._calls - _CALLS]
            self._calls += 1

    def __reduce__(self) -> Any:
        return Memory, ()  # a copy starts with nothing


def _rounded(size: int) -> int:
    """Up to three significant bits, so that images of nearly one size share their pieces."""
    unit = 1 << max(size.bit_length() - 3, 0)
    return -(-size // unit) * unit


def _is_free(piece: torch.UntypedStorage) -> bool:
    """Whether no tensor of this process shows the piece, and no other process can."""
    return torch._C._storage_Use_Count(piece._cdata) == 1 and not piece.is_shared()
