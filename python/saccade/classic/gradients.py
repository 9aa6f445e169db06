"""Edge intensity and orientation."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["gradients", "orientation_histogram"]

Floats = NDArray[np.floating[Any]]


def gradients(image: ArrayLike) -> tuple[Floats, Floats]:
    """The strength and the direction of edges: magnitude and orientation of the gradient.

    ``dx = image[y, x + 1] - image[y, x - 1]`` and ``dy`` likewise, with the border pixels repeated beyond the image.

    Args:
        image: ``(H, W)``; integers, booleans or floats.

    Returns:
        Magnitude ``sqrt(dx**2 + dy**2)`` and orientation ``atan2(dy, dx)`` in radians, from -pi to pi, 0 where the
        image is flat, each ``(H, W)``; y points down. float64 for float64 images, otherwise float32.

    Raises:
        ValueError: for a wrong shape; TypeError: for a wrong dtype.

    >>> import numpy as np
    >>> magnitude, orientation = gradients(np.tile(np.arange(5), (3, 1)))  # brighter to the right
    >>> magnitude
    array([[1., 2., 2., 2., 1.],
           [1., 2., 2., 2., 1.],
           [1., 2., 2., 2., 1.]], dtype=float32)
    >>> float(orientation.max())
    0.0
    """
    values = np.asarray(image)
    if values.ndim != 2:
        raise ValueError(f"gradients: image must have shape (H, W), got {values.shape}")
    if values.dtype.kind not in "biuf":
        raise TypeError(f"gradients: image must be real numbers, got {values.dtype}")
    kind = np.float64 if values.dtype.kind == "f" and values.dtype.itemsize > 4 else np.float32
    dy, dx = (_difference(values.astype(kind), axis) for axis in (0, 1))
    return np.hypot(dx, dy), np.arctan2(dy, dx)


def _difference(values: Floats, axis: int) -> Floats:
    result = np.zeros_like(values)
    behind, before = np.swapaxes(result, 0, axis), np.swapaxes(values, 0, axis)
    if len(before) > 1:
        behind[1:-1] = before[2:] - before[:-2]
        behind[0], behind[-1] = before[1] - before[0], before[-1] - before[-2]
    return result


def orientation_histogram(
    magnitude: ArrayLike, orientation: ArrayLike, bins: int = 9, *, signed: bool = False
) -> NDArray[np.float64]:
    """How much edge there is in each direction.

    Args:
        magnitude: of any shape, the weights.
        orientation: of the same shape, in radians.
        bins: equal ranges of directions; the first begins at 0.
        signed: over 360 degrees. Otherwise over 180: an edge from dark to bright counts as one from bright to dark.

    Returns:
        ``(bins,)`` sums of the magnitudes.

    Raises:
        ValueError: for shapes that differ, ``bins`` below 1 or orientations that are not finite.

    >>> orientation_histogram([1.0, 2.0, 4.0], [0.1, -3.0, 1.6], 4)
    array([3., 0., 4., 0.])
    """
    weights, angles = np.asarray(magnitude, np.float64), np.asarray(orientation, np.float64)
    if weights.shape != angles.shape:
        raise ValueError(
            f"orientation_histogram: magnitude and orientation must have the same shape, got {weights.shape} and "
            f"{angles.shape}"
        )
    count = operator.index(bins)
    if count < 1:
        raise ValueError(f"orientation_histogram: bins must be at least 1, got {count}")
    if not np.isfinite(angles).all():
        raise ValueError("orientation_histogram: orientation must be finite")
    period = 2 * np.pi if signed else np.pi
    place = np.floor(angles / period % 1 * count).astype(np.int64) % count
    sums: NDArray[np.float64] = np.bincount(place.ravel(), weights.ravel(), count).astype(np.float64)
    return sums
