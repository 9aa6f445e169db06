"""Pooling of regions of interest, plainly: one bin at a time, one sample at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def roi_align(
    input: NDArray[Any],
    rois: NDArray[Any],
    output_size: tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Array:
    """Mean of bilinear samples per bin; see saccade.ops.roi_align."""
    input, rois = np.asarray(input, np.float64), np.asarray(rois, np.float64)
    out = np.zeros((len(rois), input.shape[1], *output_size))
    for k, (image, *box) in enumerate(rois):
        axes = _aligned_axes(box, output_size, spatial_scale, sampling_ratio, 0.5 if aligned else 0.0, not aligned)
        if axes is None:
            continue
        for i in range(output_size[0]):
            for j in range(output_size[1]):
                out[k, :, i, j] = _bin_mean(input[int(image)], axes[0][i], axes[1][j])
    return out


def ps_roi_align(
    input: NDArray[Any],
    rois: NDArray[Any],
    output_size: tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
) -> Array:
    """As roi_align, aligned, but bin (i, j) of channel c reads channel (c * height + i) * width + j."""
    input, rois = np.asarray(input, np.float64), np.asarray(rois, np.float64)
    height, width = output_size
    out = np.zeros((len(rois), input.shape[1] // (height * width), height, width))
    for k, (image, *box) in enumerate(rois):
        axes = _aligned_axes(box, output_size, spatial_scale, sampling_ratio, 0.5, False)
        if axes is None:
            continue
        for c, i, j in np.ndindex(*out.shape[1:]):
            channel = (c * height + i) * width + j
            out[k, c, i, j] = _bin_mean(input[int(image), channel : channel + 1], axes[0][i], axes[1][j])[0]
    return out


def roi_pool(
    input: NDArray[Any], rois: NDArray[Any], output_size: tuple[int, int], spatial_scale: float = 1.0
) -> tuple[Array, NDArray[np.int32]]:
    """Maximum of each bin, and where it is (row * width + column; -1: nowhere); see saccade.ops.roi_pool."""
    input, rois = np.asarray(input, np.float64), np.asarray(rois, np.float64)
    out = np.zeros((len(rois), input.shape[1], *output_size))
    arg = np.full(out.shape, -1, np.int32)
    for k, (image, *box) in enumerate(rois):
        bins = _integer_bins(box, output_size, spatial_scale, input.shape[2:], inclusive=True)
        if bins is None:
            continue
        for c, i, j in np.ndindex(*out.shape[1:]):
            (y0, y1), (x0, x1) = bins[0][i], bins[1][j]
            if y1 <= y0 or x1 <= x0:
                continue
            out[k, c, i, j] = -np.finfo(np.float32).max
            for y in range(y0, y1):
                for x in range(x0, x1):
                    if input[int(image), c, y, x] > out[k, c, i, j]:
                        out[k, c, i, j], arg[k, c, i, j] = input[int(image), c, y, x], y * input.shape[3] + x
    return out, arg


def ps_roi_pool(
    input: NDArray[Any], rois: NDArray[Any], output_size: tuple[int, int], spatial_scale: float = 1.0
) -> Array:
    """Mean of the cells of each bin, channels as in ps_roi_align."""
    input, rois = np.asarray(input, np.float64), np.asarray(rois, np.float64)
    height, width = output_size
    out = np.zeros((len(rois), input.shape[1] // (height * width), height, width))
    for k, (image, *box) in enumerate(rois):
        bins = _integer_bins(box, output_size, spatial_scale, input.shape[2:], inclusive=False)
        if bins is None:
            continue
        for c, i, j in np.ndindex(*out.shape[1:]):
            (y0, y1), (x0, x1) = bins[0][i], bins[1][j]
            if y1 > y0 and x1 > x0:
                out[k, c, i, j] = input[int(image), (c * height + i) * width + j, y0:y1, x0:x1].mean()
    return out


def roi_levels(
    boxes: NDArray[Any], scales: list[float], canonical_scale: float = 224, canonical_level: int = 4
) -> NDArray[np.int64]:
    """The pyramid level of each ``(x1, y1, x2, y2)``, counted from the first; -1 where the area has no root."""
    finest, coarsest = int(-math.log2(scales[0])), int(-math.log2(scales[-1]))
    levels = np.full(len(boxes), -1, np.int64)
    for k, (x1, y1, x2, y2) in enumerate(np.asarray(boxes, np.float64)):
        area = (x2 - x1) * (y2 - y1)
        if not area >= 0:
            continue
        level = -math.inf if area == 0 else canonical_level + math.log2(math.sqrt(area) / canonical_scale) + 1e-6
        levels[k] = (
            min(max(level, finest), coarsest) - finest
            if math.isinf(level)
            else (min(max(math.floor(level), finest), coarsest) - finest)
        )
    return levels


def _aligned_axes(
    box: list[float], output_size: tuple[int, int], scale: float, sampling_ratio: int, offset: float, stretch: bool
) -> tuple[list[list[float]], list[list[float]]] | None:
    """Sample positions per bin, for rows and for columns."""
    x1, y1, x2, y2 = (v * scale - offset for v in box)
    if not all(map(math.isfinite, (x1, y1, x2, y2, x2 - x1, y2 - y1))):
        return None
    axes = []
    for start, size, bins in ((y1, y2 - y1, output_size[0]), (x1, x2 - x1, output_size[1])):
        size = max(size, 1.0) if stretch else size
        step = size / bins
        grid = sampling_ratio if sampling_ratio > 0 else max(math.ceil(step), 0)
        axes.append([[start + p * step + (i + 0.5) * step / grid for i in range(grid)] for p in range(bins)])
    return axes[0], axes[1]


def _bin_mean(planes: Array, ys: list[float], xs: list[float]) -> Array:
    total = np.zeros(planes.shape[0])
    for y in ys:
        for x in xs:
            total += _bilinear(planes, y, x)
    return total / max(len(ys) * len(xs), 1)


def _bilinear(planes: Array, y: float, x: float) -> Array:
    _, h, w = planes.shape
    if not (-1 <= y <= h and -1 <= x <= w):
        return np.zeros(planes.shape[0])
    y, x = min(max(y, 0.0), h - 1), min(max(x, 0.0), w - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
    fy, fx = y - top, x - left
    above = planes[:, top, left] * (1 - fx) + planes[:, top, right] * fx
    below = planes[:, bottom, left] * (1 - fx) + planes[:, bottom, right] * fx
    return above * (1 - fy) + below * fy


def _integer_bins(
    box: list[float], output_size: tuple[int, int], scale: float, shape: tuple[int, ...], inclusive: bool
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]] | None:
    """Cells of each bin as ranges of rows and of columns."""
    if not all(math.isfinite(v * scale) for v in box):
        return None
    x1, y1, x2, y2 = (_round_half_away(v * scale) for v in box)
    axes = []
    for start, end, bins, length in ((y1, y2, output_size[0], shape[0]), (x1, x2, output_size[1], shape[1])):
        step = max(end - start + inclusive, 1) / bins
        # torchvision's ps_roi_pool clips to the last row and column, which it so leaves out.
        last = length if inclusive else length - 1
        clip = [(start + math.floor(p * step), start + math.ceil((p + 1) * step)) for p in range(bins)]
        axes.append([(min(max(low, 0), last), min(max(high, 0), last)) for low, high in clip])
    return axes[0], axes[1]


def _round_half_away(v: float) -> int:
    return int(math.copysign(math.floor(abs(v) + 0.5), v))
