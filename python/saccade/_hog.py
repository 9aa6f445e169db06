"""What the HOG functions of `saccade.classic` and `saccade.ops` say about their arguments."""

from __future__ import annotations

import operator
from typing import Any

Size = tuple[int, int]
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


def image_size(op: str, name: str, size: Any) -> Size:
    try:
        width, height = map(operator.index, size)
    except (TypeError, ValueError):
        raise ValueError(f"{op}: {name} must be two integers, width and height, got {size!r}") from None
    if not (abs(width) < 2**30 and abs(height) < 2**30):
        raise ValueError(f"{op}: {name} must be within 2^30, got {size!r}")
    return width, height


def window_stride(op: str, stride: Any) -> Size:
    """The compiled modules take (0, 0) for a cell."""
    if stride is None:
        return 0, 0
    width, height = image_size(op, "win_stride", stride)
    if width < 1 or height < 1:
        raise ValueError(f"{op}: win_stride must be at least 1, got {stride!r}")
    return width, height


def window_padding(op: str, padding: Any) -> Size:
    width, height = image_size(op, "padding", padding)
    if not (0 <= width < 2**14 and 0 <= height < 2**14):
        raise ValueError(f"{op}: padding must be from 0 to 16383, got {padding!r}")
    return width, height
