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
    if array.ndim not in (2, 3) or (array.ndim == 3 and not 1 <= array.shape[2] < 2**19):
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
    if joint:
        result = _count_joint(pixels, sizes, ranges)
    else:
        if len(set(sizes)) > 1:
            raise ValueError(f"image_histogram: bins must be the same for separate channels, got {sizes}")
        result = np.array([_count(values, sizes[0], *limits) for values, limits in zip(pixels.T, ranges, strict=True)])
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
    scale = size / (high - low)
    inside = (values >= low) & (values < high)
    position = np.floor(np.where(inside, values, low).astype(np.float64) * scale - scale * low)
    return np.where(inside, np.clip(position, 0, size - 1), -1).astype(np.intp)


def _count(values: Array, size: int, low: float, high: float) -> NDArray[np.int64]:
    weights = None
    if values.dtype == np.uint8:  # bytes are counted first and put into bins then: twice as fast
        weights = np.bincount(values, minlength=256)
        values = np.arange(256)
    index = _indices(values, size, low, high)
    inside = index >= 0
    counts = np.bincount(index[inside], None if weights is None else weights[inside], size)
    return counts.astype(np.int64)  # sums of weights are float64, exact to 2^53


def _count_joint(pixels: Array, sizes: tuple[int, ...], ranges: list[tuple[float, float]]) -> Array:
    cell = np.zeros(len(pixels), np.int64)
    stride = int(np.prod(sizes))
    outside = False
    for values, size, limits in zip(pixels.T, sizes, ranges, strict=True):
        stride //= size
        table = pixels.dtype == np.uint8
        index = _indices(np.arange(256) if table else values, size, *limits).astype(np.int64)
        # One index outside, and the sum is below zero: cells stay below 2^28, channels are fewer than 2^19.
        index = np.where(index >= 0, index * stride, -(2**43))
        outside |= bool((index < 0).any())
        cell += index[values] if table else index
    cell = cell[cell >= 0] if outside else cell
    return np.bincount(cell, minlength=int(np.prod(sizes))).reshape(sizes)


def _normalized(counts: Array, norm: str, single: bool) -> NDArray[np.float64]:
    axis = None if single else 1
    values = counts.astype(np.float64)
    length = {
        "sum": lambda: values.sum(axis, keepdims=True),
        "max": lambda: values.max(axis, keepdims=True),
        "l2": lambda: np.sqrt((values * values).sum(axis, keepdims=True)),
    }[norm]()
    return values / np.where(length > 0, length, 1)
