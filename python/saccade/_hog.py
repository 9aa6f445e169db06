"""What `saccade.classic.hog` and `saccade.ops.hog` say about their arguments."""

from __future__ import annotations

import operator
from typing import Any

NORMS = ("L1", "L1-sqrt", "L2", "L2-Hys")


def norm_index(block_norm: str) -> int:
    """As the compiled modules count norms."""
    if block_norm not in NORMS:
        raise ValueError(f"hog: block_norm must be one of {', '.join(NORMS)}, got {block_norm!r}")
    return NORMS.index(block_norm)


def whole(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"hog: {name} must be an integer, got {value!r}") from None


def whole_pair(name: str, pair: Any) -> tuple[int, int]:
    try:
        rows, columns = map(operator.index, pair)
    except (TypeError, ValueError):
        raise ValueError(f"hog: {name} must be two integers, rows and columns, got {pair!r}") from None
    if not (1 <= rows <= 2**30 and 1 <= columns <= 2**30):
        raise ValueError(f"hog: {name} must be from 1 to 2^30, got {pair!r}")
    return rows, columns
