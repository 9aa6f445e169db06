"""Proposals of where objects may be: boxes of regions that grow together, and all windows there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade._native import numpy_module

__all__ = ["exhaustive_windows", "selective_search"]

COLOR_SPACES = {"rgb": 0, "grey": 1, "hsv": 2, "lab": 3, "rgi": 4, "hue": 5}
LIKENESSES = {"C": 1, "T": 2, "S": 4, "F": 8}
# Colour spaces, similarities and scales of the paper's table 3.
MODES: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[float, ...]]] = {
    "single": (("hsv",), ("CTSF",), (100,)),
    "fast": (("hsv", "lab"), ("CTSF", "TSF"), (50, 100)),
    "quality": (("hsv", "lab", "rgi", "hue", "grey"), ("CTSF", "TSF", "F", "S"), (50, 100, 150, 300)),
}


def selective_search(
    image: ArrayLike,
    mode: str = "fast",
    *,
    color_spaces: Sequence[str] | None = None,
    similarities: Sequence[str] | None = None,
    scales: Sequence[float] | None = None,
    sigma: float = 0.8,
    min_side: int = 1,
    max_boxes: int | None = None,
    seed: int = 0,
) -> NDArray[np.int32]:
    """Propose boxes that may hold objects: those of all regions that arise as the most similar neighbours are joined.

    An image is segmented (`felzenszwalb`), then the two most similar neighbouring regions become one until one is
    left. This is done for every combination of the colour spaces, similarities and scales; boxes that come up more than
    once stay once.

    Args:
        image: ``(H, W, 3)`` uint8, RGB, or ``(H, W)`` uint8; the latter has one colour space, "grey".
        mode: the paper's choice of the next three: "single" (1 combination), "fast" (8) or "quality" (80).
        color_spaces: of "rgb", "grey", "hsv", "lab", "rgi" (two chromaticities and intensity) and "hue".
        similarities: each a sum of some of C (histograms of colour), T (of texture: gradients in eight directions), S
            (small regions first) and F (regions that fill each other's boxes), such as "CTSF".
        scales: of the first segmentation, also its least size of a region; see `felzenszwalb`.
        sigma: of the Gaussian that smooths before the first segmentation, in pixels.
        min_side: boxes of a shorter side are left out, in pixels.
        max_boxes: how many are returned, at most: the first ones.
        seed: of the order. What stands high in a hierarchy comes early, but its rank is multiplied by a random number,
            so that no strategy and no size comes first altogether.

    Returns:
        ``(N, 4)`` int32: x, y, width, height, the most promising first. Always the same for the same arguments,
        whatever the number of threads.

    Raises:
        ValueError: for a wrong shape, an empty image, an unknown mode, colour space or similarity, or a number out of
            range. TypeError: for another dtype than uint8.

    Source: Uijlings, van de Sande, Gevers and Smeulders, Selective search for object recognition, IJCV 2013.

    >>> image = np.full((60, 80, 3), 200, np.uint8)
    >>> image[10:30, 20:50] = (180, 30, 30)
    >>> boxes = selective_search(image, "single")
    >>> [20, 10, 30, 20] in boxes.tolist(), [0, 0, 80, 60] in boxes.tolist()
    (True, True)
    """
    if mode not in MODES:
        raise ValueError(f"selective_search: mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}")
    array = np.asarray(image)
    chosen = MODES[mode]
    if array.ndim == 2:
        array = np.broadcast_to(array[:, :, None], (*array.shape, 3))
        chosen = (("grey",), tuple(dict.fromkeys(chosen[1])), chosen[2])
    spaces = _names("color_spaces", chosen[0] if color_spaces is None else color_spaces)
    for name in spaces:
        if name not in COLOR_SPACES:
            choices = ", ".join(map(repr, COLOR_SPACES))
            raise ValueError(f"selective_search: color_spaces must be of {choices}, got {name!r}")
    sums = _names("similarities", chosen[1] if similarities is None else similarities)
    for name in sums:
        if not name or not set(name) <= set(LIKENESSES) or len(set(name)) < len(name):
            raise ValueError(f"selective_search: similarities must each be some of C, T, S, F, got {name!r}")
    if max_boxes is not None and max_boxes < 0:
        raise ValueError(f"selective_search: max_boxes must not be negative, got {max_boxes}")
    if not 0 <= seed < 2**64:
        raise ValueError(f"selective_search: seed must lie in 0 to 2^64 - 1, got {seed}")
    boxes: NDArray[Any] = numpy_module.selective_search(
        array,
        [COLOR_SPACES[name] for name in spaces],
        [float(scale) for scale in (chosen[2] if scales is None else scales)],
        [sum(LIKENESSES[letter] for letter in name) for name in sums],
        float(sigma),
        int(min_side),
        int(seed),
    )
    return boxes if max_boxes is None else boxes[:max_boxes]


def _names(argument: str, names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise TypeError(f"selective_search: {argument} must be a sequence of strings, got {names!r}")
    return tuple(names)


def exhaustive_windows(
    image_size: tuple[int, int],
    window_sizes: Sequence[int],
    *,
    aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
    stride: float = 0.25,
) -> NDArray[np.int32]:
    """All windows of some sizes and shapes, on a grid: proposals that miss nothing and cost the most.

    Args:
        image_size: height and width, in pixels.
        window_sizes: roots of the windows' areas, in pixels.
        aspect_ratios: height over width.
        stride: between windows, as a share of their sides; at least a pixel each way.

    Returns:
        ``(N, 4)`` int32: x, y, width, height of the windows inside the image, by size, ratio, y and x; the last row and
        column of windows end with the image, wherever the stride would put them. Sizes are rounded, at least 1.

    Raises:
        ValueError: for a number that is not positive.

    Source: the sliding windows of Viola and Jones, Rapid object detection using a boosted cascade, 2001, and of Alexe,
    Deselaers and Ferrari, What is an object?, 2010.

    >>> exhaustive_windows((20, 30), [16], aspect_ratios=(1.0,), stride=0.5)
    array([[ 0,  0, 16, 16],
           [ 8,  0, 16, 16],
           [14,  0, 16, 16],
           [ 0,  4, 16, 16],
           [ 8,  4, 16, 16],
           [14,  4, 16, 16]], dtype=int32)
    """
    numbers = {"image_size": image_size, "window_sizes": window_sizes, "aspect_ratios": aspect_ratios}
    for name, values in {**numbers, "stride": (stride,)}.items():
        for value in values:
            if not 0 < value < math.inf:
                raise ValueError(f"exhaustive_windows: {name} must be positive, got {value!r}")
    windows = [np.zeros((0, 4), np.int32)]
    for size in window_sizes:
        for ratio in aspect_ratios:
            sides = [max(round(size * math.sqrt(ratio)), 1), max(round(size / math.sqrt(ratio)), 1)]
            y, x = (_starts(extent, side, stride) for extent, side in zip(image_size, sides, strict=True))
            grid = np.empty((len(y), len(x), 4), np.int32)
            grid[..., 0], grid[..., 1], grid[..., 2], grid[..., 3] = x, y[:, None], sides[1], sides[0]
            windows.append(grid.reshape(-1, 4))
    return np.concatenate(windows)


def _starts(extent: int, side: int, stride: float) -> NDArray[np.int64]:
    """Where windows begin along an axis; the last one ends with it."""
    if side > extent:
        return np.zeros(0, np.int64)
    starts = np.arange(0, extent - side + 1, max(round(side * stride), 1))
    return starts if starts[-1] == extent - side else np.append(starts, extent - side)
