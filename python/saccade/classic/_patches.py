"""Grey image pyramids, and patches of them: on a grid or at interest points."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade._extras import require

__all__ = ["DETECTORS", "Level", "Patches", "grey_image", "level_scales", "make_level", "resize", "sample_patches"]

Array = NDArray[Any]
Floats = NDArray[np.float32]
DETECTORS = ("dense", "harris", "hessian", "dog")


class Level(NamedTuple):
    """One image of a pyramid; a pixel of it is ``scale`` pixels of the original wide."""

    scale: float
    image: Floats


class Patches(NamedTuple):
    """Square patches of one level."""

    corners: NDArray[np.int64]  # (N, 2): x, y of the top left pixel
    pixels: Floats  # (N, size * size)
    contrast: Floats  # (N,) standard deviation


def grey_image(op: str, image: ArrayLike) -> Floats:
    """float32 in [0, 1] of uint8, floats as they are; RGB by the weights of ITU-R BT.601, as OpenCV does."""
    array = np.asarray(image)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3) or 0 in array.shape:
        raise ValueError(f"{op}: image must have shape (H, W) or (H, W, 3), got {array.shape}")
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise TypeError(f"{op}: image must be uint8 or floating point, got {array.dtype}")
    values = array.astype(np.float32)
    if array.dtype == np.uint8:
        values /= 255
    elif not np.isfinite(values).all():
        raise ValueError(f"{op}: image must be finite, got NaN or infinity")
    return values @ np.array([0.299, 0.587, 0.114], np.float32) if array.ndim == 3 else values


def resize(image: Array, width: int, height: int, *, smooth: bool = True) -> Array:
    """Resize linearly, by two dense matrix products.

    ``smooth``: when shrinking, with a triangle filter as wide as the step between samples, as Pillow's BILINEAR does,
    which leaves no aliasing; otherwise between the two nearest pixels, as OpenCV's INTER_LINEAR does.
    """
    down, across = (
        _triangles(source, size, smooth).astype(image.dtype)
        for source, size in zip(image.shape, (height, width), strict=True)
    )
    result: Array = down @ (image @ across.T)
    return result


def _triangles(source: int, size: int, smooth: bool) -> NDArray[np.float64]:
    """``(size, source)``: the weight of each pixel in each sample."""
    scale = source / size
    position = (np.arange(size)[:, None] + 0.5) * scale - 0.5
    # Pillow leaves out what lies outside, OpenCV repeats the edge: the same for enlarging.
    position = position if smooth and scale > 1 else np.clip(position, 0, source - 1)
    weights = np.maximum(1 - np.abs(np.arange(source) - position) / (max(scale, 1) if smooth else 1), 0)
    result: NDArray[np.float64] = weights / weights.sum(1, keepdims=True)
    return result


def make_level(image: Floats, scale: float) -> Level:
    """The image, shrunk by ``scale``."""
    if scale == 1:
        return Level(scale, image)
    height, width = (max(round(size / scale), 1) for size in image.shape)
    return Level(scale, resize(image, width, height))


def level_scales(
    shape: tuple[int, ...], window: tuple[float, float], factor: float, least: float, most: float | None
) -> list[float]:
    """Scales from ``least`` on at which a window (width, height) fits the image, each ``factor`` times the last."""
    most = min(shape[1] / window[0], shape[0] / window[1], np.inf if most is None else most)
    if least > most:
        return []
    count = int(np.floor(np.log(most / least) / np.log(factor) + 1e-9)) + 1
    return [least * factor**i for i in range(count)]


def sample_patches(image: Floats, size: int, detector: str, step: int, contrast: float) -> Patches:
    """Patches of at least some contrast: every ``step`` pixels, or around interest points."""
    height, width = image.shape
    if height < size or width < size:
        return Patches(np.zeros((0, 2), np.int64), np.zeros((0, size * size), np.float32), np.zeros(0, np.float32))
    if detector == "dense":
        y, x = (part.ravel() for part in np.mgrid[0 : height - size + 1 : step, 0 : width - size + 1 : step])
    else:
        y, x = _interest_points(image, size, detector, max(step // 2, 1)).T
    pixels = cut_patches(image, size, x, y)
    deviation = pixels.std(1)
    kept = deviation >= contrast
    return Patches(np.stack([x, y], 1)[kept], pixels[kept], deviation[kept])


def cut_patches(image: Array, size: int, x: Array, y: Array) -> Array:
    """Patches ``(N, size * size)`` of the image, by their top left pixels."""
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size))
    return windows[y, x].reshape(len(x), size * size)


def _interest_points(image: Floats, size: int, detector: str, distance: int) -> NDArray[np.int64]:
    """Top left pixels (y, x) of patches around the peaks of a response, at least ``distance`` apart."""
    feature = require("skimage.feature", "ImplicitShapeModel", "classic")
    if detector == "harris":
        response = feature.corner_harris(image, sigma=1)
    elif detector == "hessian":
        response = np.abs(feature.hessian_matrix_det(image, sigma=1.5))
    else:
        blur = require("scipy.ndimage", "ImplicitShapeModel", "classic").gaussian_filter
        response = np.abs(blur(image, 1.2) - blur(image, 1.2 * 1.6))
    response = response[size // 2 : image.shape[0] - (size - 1) // 2, size // 2 : image.shape[1] - (size - 1) // 2]
    peaks = feature.peak_local_max(response, min_distance=distance, threshold_rel=0.01, exclude_border=False)
    return np.asarray(peaks, np.int64).reshape(-1, 2)
