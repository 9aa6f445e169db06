"""Histograms of images: global appearance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade.classic._estimator import named

__all__ = ["image_histogram"]

Array = NDArray[Any]


def image_histogram(
    image: ArrayLike,
    bins: int | Sequence[int] | None = None,
    range: Sequence[Any] | None = None,
    mask: ArrayLike | None = None,
    channels: str = "joint",
    normalize: str | None = None,
) -> Array:
    """Count the values of an image's pixels.

    Args:
        image: ``(H, W)`` grey or ``(H, W, C)``; uint8, uint16, float32 or float64.
        bins: one number, or one for each channel. Default: 256, or 8 for each channel of a joint histogram.
        range: ``(low, high)``, or such a pair for each channel; a value equal to ``high`` is outside, and what is
            outside (or NaN) is not counted. Default: all values of integers, 0 to 1 for floats.
        mask: ``(H, W)``; only pixels where it is not zero count.
        channels: ``"joint"``: one histogram of all channels' values together; ``"separate"``: one for each channel.
        normalize: ``"sum"`` (adds up to 1), ``"max"`` or ``"l2"``; ``None``: counts. An empty histogram stays 0.

    Returns:
        Grey: ``(bins,)``; joint: ``(bins of channel 0, bins of channel 1, ...)``; separate: ``(C, bins)``. int64
        counts, or float64 if normalised (each histogram for itself).

    Raises:
        ValueError: for wrong shapes or values. TypeError: for other dtypes.

    Equals ``cv2.calcHist``. Source: Swain, Ballard, Color indexing, IJCV 1991.

    >>> image_histogram(np.array([[0, 1], [255, 1]], np.uint8), bins=4)
    array([3, 0, 0, 1])
    >>> colour = np.array([[[0, 0, 255], [255, 0, 255]]], np.uint8)
    >>> image_histogram(colour, bins=2).ravel()
    array([0, 1, 0, 0, 0, 1, 0, 0])
    >>> image_histogram(colour, bins=2, channels="separate")
    array([[1, 1],
           [2, 0],
           [0, 2]])
    """
    named("image_histogram", "channels", channels, ("joint", "separate"))
    if normalize is not None:
        named("image_histogram", "normalize", normalize, ("sum", "max", "l2"))
    array = np.asarray(image)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] == 0):
        raise ValueError(f"image_histogram: image must have shape (H, W) or (H, W, C), got {array.shape}")
    if array.dtype not in (np.uint8, np.uint16, np.float32, np.float64):
        raise TypeError(f"image_histogram: image must be uint8, uint16, float32 or float64, got {array.dtype}")
    count = array.shape[2] if array.ndim == 3 else 1
    joint = channels == "joint" and array.ndim == 3
    sizes = _bins(bins, count, 8 if joint else 256)
    if joint and np.prod([float(size) for size in sizes]) > 2**28:
        raise ValueError(f"image_histogram: bins must give at most 2^28 cells, got {sizes}")
    ranges = _ranges(range, count, array.dtype)
    pixels = _pixels(array, count, mask)
    indices = [
        _indices(values, size, low, high) for values, size, (low, high) in zip(pixels.T, sizes, ranges, strict=True)
    ]
    if joint:
        result = _count_joint(indices, sizes)
    else:
        if len(set(sizes)) > 1:
            raise ValueError(f"image_histogram: bins must be the same for separate channels, got {sizes}")
        result = np.array([np.bincount(index[index >= 0], minlength=sizes[0]) for index in indices])
        result = result[0] if array.ndim == 2 else result
    return result if normalize is None else _normalized(result, normalize, joint or array.ndim == 2)


def _bins(bins: int | Sequence[int] | None, channels: int, default: int) -> tuple[int, ...]:
    given = default if bins is None else bins
    sizes = (given,) * channels if isinstance(given, (int, np.integer)) else tuple(given)
    if len(sizes) != channels or not all(isinstance(n, (int, np.integer)) and 1 <= n <= 2**28 for n in sizes):
        raise ValueError(f"image_histogram: bins must be positive integers, one or {channels}, got {bins!r}")
    return tuple(int(n) for n in sizes)


def _ranges(given: Sequence[Any] | None, channels: int, dtype: np.dtype[Any]) -> list[tuple[float, float]]:
    if given is None:
        return [(0.0, float(np.iinfo(dtype).max) + 1 if dtype.kind == "u" else 1.0)] * channels
    table = np.asarray(given, np.float64)
    table = np.broadcast_to(table, (channels, 2)) if table.shape == (2,) else table
    if table.shape != (channels, 2) or not (np.isfinite(table).all() and (table[:, 0] < table[:, 1]).all()):
        raise ValueError(
            f"image_histogram: range must be (low, high), one or {channels}, low below high, got {given!r}"
        )
    return [(float(low), float(high)) for low, high in table]


def _pixels(array: Array, channels: int, mask: ArrayLike | None) -> Array:
    """``(N, C)`` values that count."""
    if mask is None:
        return array.reshape(-1, channels)
    chosen = np.asarray(mask)
    if chosen.shape != array.shape[:2]:
        raise ValueError(f"image_histogram: mask must have shape {array.shape[:2]}, got {chosen.shape}")
    return array[chosen != 0].reshape(-1, channels)


def _indices(values: Array, size: int, low: float, high: float) -> NDArray[np.intp]:
    """The bin of each value, -1 outside: floor(a v + b) in float64, in OpenCV's order of operations."""
    if values.dtype == np.uint8:
        table: NDArray[np.intp] = _indices(np.arange(256.0), size, low, high)[values]
        return table
    scale = size / (high - low)
    inside = (values >= low) & (values < high)
    position = np.floor(np.where(inside, values, low).astype(np.float64) * scale - scale * low)
    return np.where(inside, np.clip(position, 0, size - 1), -1).astype(np.intp)


def _count_joint(indices: list[NDArray[np.intp]], sizes: tuple[int, ...]) -> Array:
    cell = np.zeros_like(indices[0])
    inside = np.ones(len(cell), bool)
    for index, size in zip(indices, sizes, strict=True):
        cell = cell * size + index
        inside &= index >= 0
    return np.bincount(cell[inside], minlength=int(np.prod(sizes))).reshape(sizes)


def _normalized(counts: Array, norm: str, single: bool) -> NDArray[np.float64]:
    axis = None if single else 1
    values = counts.astype(np.float64)
    length = {
        "sum": lambda: values.sum(axis, keepdims=True),
        "max": lambda: values.max(axis, keepdims=True),
        "l2": lambda: np.sqrt((values * values).sum(axis, keepdims=True)),
    }[norm]()
    return values / np.where(length > 0, length, 1)
