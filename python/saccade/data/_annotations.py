"""What annotated boxes must be, and what becomes of those that are not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

__all__ = ["BadBox", "Entries", "OnBadBox", "fitted"]

OnBadBox = str  # "raise", "drop" or "clip"
_ROUNDING = 1.0  # pixels that a box may reach out of its image without being bad: tools round differently


class BadBox(NamedTuple):
    """A box that cannot be learned from as it stands: where it is, and what is wrong with it."""

    entry: str
    reason: str


class Entries:
    """Sorts boxes out by one rule: raises at the first bad one, drops or clips them, and lists them in ``bad``.

    ``"clip"`` keeps what lies in the image of a box that reaches out of it, and drops what has no area.
    """

    def __init__(self, op: str, on_bad_box: OnBadBox) -> None:
        if on_bad_box not in ("raise", "drop", "clip"):
            raise ValueError(f"{op}: on_bad_box must be 'raise', 'drop' or 'clip', got {on_bad_box!r}")
        self.op, self.on_bad_box = op, on_bad_box
        self.bad: list[BadBox] = []

    def take(self, entry: str, box: Sequence[float], size: tuple[int, int]) -> list[float] | None:
        """The box ``x1, y1, x2, y2`` within an image of a height and width, or None if it is dropped."""
        inside, reason = fitted(box, size)
        if reason is None:
            return inside
        if self.on_bad_box == "raise":
            raise ValueError(f"{self.op}: {entry} {reason}")
        self.bad.append(BadBox(entry, reason))
        return inside if self.on_bad_box == "clip" else None


def fitted(box: Sequence[float], size: tuple[int, int]) -> tuple[list[float] | None, str | None]:
    """What lies of a box in the image (None: nothing), and what is wrong with the box (None: nothing)."""
    x1, y1, x2, y2 = box
    height, width = size
    if not all(math.isfinite(value) for value in box) or x2 <= x1 or y2 <= y1:
        return None, f"must have a box of finite, positive width and height, got corners {list(box)}"
    left, top, right, bottom = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    out = max(left - x1, top - y1, x2 - right, y2 - bottom)
    inside = [left, top, right, bottom] if right > left and bottom > top else None
    if inside is None or out > _ROUNDING:
        return inside, f"must have a box within its image of {width} x {height}, got corners {list(box)}"
    return inside, None


def number(value: Any) -> bool:
    """Whether a value of a JSON file is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)
