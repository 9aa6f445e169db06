"""Inference in fully connected conditional random fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade._numpy import dense_crf as _dense_crf

__all__ = ["dense_crf"]

Width = float | Sequence[float]
Floats = NDArray[Any]


def dense_crf(
    unary: ArrayLike,
    image: ArrayLike | None = None,
    *,
    iterations: int = 5,
    gaussian_sxy: Width = 3.0,
    gaussian_compat: ArrayLike | None = 3.0,
    gaussian_kernel: ArrayLike | None = None,
    bilateral_sxy: Width = 80.0,
    bilateral_srgb: Width = 13.0,
    bilateral_compat: ArrayLike | None = 10.0,
    bilateral_kernel: ArrayLike | None = None,
    normalization: str = "symmetric",
) -> Floats:
    """Labels' probabilities under a conditional random field in which every pair of pixels is connected.

    Two terms make labels of pixels agree: of those close to each other, and of those that are close and of similar
    colour. Each weighs a pair by a Gaussian, computed on the permutohedral lattice, and what two labels mean to each
    other by its compatibility. `saccade.ops.dense_crf` is the same for torch tensors, with gradients.

    Args:
        unary: ``(L, H, W)`` costs, the negative logarithms of the labels' probabilities (they need not be normalised:
            negated logits will do); float16, float32 or float64, finite.
        image: ``(H, W)`` or ``(H, W, C)``, up to six channels, real numbers, for the bilateral term; without it there
            is none.
        iterations: of the mean field; 0 gives ``softmax(-unary)``.
        gaussian_sxy, bilateral_sxy: standard deviations in pixels, one number or ``(sx, sy)``.
        bilateral_srgb: standard deviations of the channels, in units of the image.
        gaussian_compat, bilateral_compat: a number w: labels that differ cost w (Potts). ``(L,)``: what label l costs
            where others are labelled l too, so that Potts is ``-w`` for each. ``(L, L)``: what every pair of labels
            costs; the mean of the matrix and its transpose counts. None: the term is left out.
        gaussian_kernel, bilateral_kernel: what a pixel's features ``x, y`` (and channels), in units of the standard
            deviations, are multiplied with: ``(d,)`` numbers or a ``(d, d)`` matrix. None: nothing.
        normalization: of the filters, by the filtered ones n: ``"symmetric"`` divides by the root of n before and
            after, ``"before"`` and ``"after"`` by n, ``"none"`` not at all.

    Returns:
        ``(L, H, W)`` probabilities, float64 if ``unary`` is and float32 otherwise; ``argmax(0)`` labels the pixels.

    Raises:
        ValueError: for wrong shapes or values, a unary that is not finite, and for an image or widths of which colours
            or positions are too large. TypeError: for other dtypes.

    The results are those of pydensecrf up to rounding. Its calls and these arguments: ``setUnaryEnergy(U)``: ``unary``,
    with ``U`` reshaped from ``(L, H * W)``; ``addPairwiseGaussian(sxy, compat)`` and ``addPairwiseBilateral(sxy, srgb,
    rgbim, compat)``: the arguments that begin with ``gaussian_`` and ``bilateral_``, and ``image``; ``normalization=``
    ``NO_NORMALIZATION``, ``NORMALIZE_BEFORE``, ``NORMALIZE_AFTER`` or ``NORMALIZE_SYMMETRIC``: ``normalization``;
    ``DIAG_KERNEL`` and ``FULL_KERNEL``, whose parameters are ones and the identity there: ``gaussian_kernel`` and
    ``bilateral_kernel``; ``inference(n)``: ``iterations``.

    Source: Krähenbühl and Koltun, Efficient inference in fully connected CRFs with Gaussian edge potentials, NIPS 2011.

    >>> image = np.zeros((1, 6, 3), np.uint8)
    >>> image[:, 3:] = 255
    >>> noisy = np.array([[2.0, -1, 2, -2, -2, -2]])
    >>> dense_crf(np.stack([noisy, -noisy]), image).argmax(0)
    array([[1, 1, 1, 0, 0, 0]])
    """
    costs = _checked_unary(unary)
    labels, height, width = costs.shape
    features, compatibility = [], []
    if gaussian_compat is not None:
        places = _places("gaussian_sxy", gaussian_sxy, costs)
        features.append(_transformed("gaussian_kernel", gaussian_kernel, places))
        compatibility.append(_compatibility("gaussian_compat", gaussian_compat, costs))
    if image is not None and bilateral_compat is not None:
        pixels = _checked_image(image, costs)
        places = _places("bilateral_sxy", bilateral_sxy, costs)
        colours = pixels / np.asarray(_widths("bilateral_srgb", bilateral_srgb, pixels.shape[2]), pixels.dtype)
        points = np.concatenate([places, colours.astype(costs.dtype)], 2)
        features.append(_transformed("bilateral_kernel", bilateral_kernel, points))
        compatibility.append(_compatibility("bilateral_compat", bilateral_compat, costs))
    flat = [np.ascontiguousarray(points).reshape(1, height * width, points.shape[2]) for points in features]
    planes = np.ascontiguousarray(costs).reshape(1, labels, height * width)
    q = _dense_crf(planes, flat, compatibility, _integer(iterations), str(normalization))
    return np.asarray(q).reshape(costs.shape)


def _checked_unary(unary: ArrayLike) -> Floats:
    costs = np.asarray(unary)
    if costs.ndim != 3:
        raise ValueError(f"dense_crf: unary must have shape (L, H, W), got {costs.shape}")
    if costs.dtype.kind != "f" or costs.dtype.itemsize > 8:
        raise TypeError(f"dense_crf: unary must be float16, float32 or float64, got {costs.dtype}")
    costs = costs.astype(np.float64 if costs.dtype.itemsize == 8 else np.float32, copy=False)
    if not np.isfinite(costs.sum()) and not np.isfinite(costs).all():  # a finite sum has finite terms
        raise ValueError("dense_crf: unary must be finite, got NaN or an infinity")
    return costs


def _checked_image(image: ArrayLike, costs: Floats) -> Floats:
    """As ``(H, W, C)`` floats."""
    pixels = np.asarray(image)
    if pixels.dtype.kind not in "biuf" or pixels.dtype.itemsize > 8:
        raise TypeError(f"dense_crf: image must be real numbers of at most 64 bits, got {pixels.dtype}")
    shape = pixels.shape if pixels.ndim == 3 else (*pixels.shape, 1)
    if pixels.ndim not in (2, 3) or shape[:2] != costs.shape[1:] or not 1 <= shape[2] <= 6:
        raise ValueError(
            f"dense_crf: image must have shape (H, W) or (H, W, C) beside unary of shape {costs.shape}, with 1 to 6 "
            f"channels, got {pixels.shape}"
        )
    narrow = pixels.dtype.itemsize <= (4 if pixels.dtype.kind == "f" else 2)
    return pixels.reshape(shape).astype(np.float32 if narrow else np.float64, copy=False)


def _widths(name: str, value: Width, count: int) -> list[float]:
    given = np.asarray(value, np.float64)
    widths = [float(given)] * count if given.ndim == 0 else given.ravel().tolist()
    if given.ndim > 1 or len(widths) != count or not all(0 < width < float("inf") for width in widths):
        raise ValueError(f"dense_crf: {name} must be a finite number above 0, or {count} of them, got {value}")
    return widths


def _places(name: str, sxy: Width, costs: Floats) -> Floats:
    """``(H, W, 2)`` places x, y of the pixels."""
    height, width = costs.shape[1:]
    sx, sy = np.asarray(_widths(name, sxy, 2), costs.dtype)
    places = np.empty((height, width, 2), costs.dtype)
    places[..., 0] = np.arange(width, dtype=costs.dtype) / sx
    places[..., 1] = (np.arange(height, dtype=costs.dtype) / sy)[:, None]
    return places


def _transformed(name: str, kernel: ArrayLike | None, points: Floats) -> Floats:
    if kernel is None:
        return points
    d = points.shape[2]
    matrix = _numbers(name, kernel, points.dtype)
    if matrix.shape not in ((d,), (d, d)):
        raise ValueError(f"dense_crf: {name} must have shape ({d},) or ({d}, {d}), got {matrix.shape}")
    return points * matrix if matrix.ndim == 1 else points @ matrix.T


def _compatibility(name: str, value: ArrayLike, costs: Floats) -> Floats:
    """What is added to the logits, for a message: ``(L,)`` or ``(L, L)``."""
    labels = costs.shape[0]
    given = _numbers(name, value, costs.dtype)
    if given.shape not in ((), (labels,), (labels, labels)):
        raise ValueError(
            f"dense_crf: {name} must be a number, or have shape ({labels},) or ({labels}, {labels}), got {given.shape}"
        )
    if given.ndim == 2:
        return np.ascontiguousarray(-(given + given.T) / 2)
    return -given if given.ndim == 1 else np.full(labels, given)


def _numbers(name: str, value: ArrayLike, dtype: np.dtype[Any]) -> Floats:
    given = np.asarray(value)
    if given.dtype.kind not in "biuf":
        raise TypeError(f"dense_crf: {name} must be real numbers, got {given.dtype}")
    if not np.isfinite(given).all():
        raise ValueError(f"dense_crf: {name} must be finite, got {value!s}")
    return given.astype(dtype)


def _integer(iterations: Any) -> int:
    if isinstance(iterations, (bool, np.bool_)) or not isinstance(iterations, (int, np.integer)):
        raise TypeError(f"dense_crf: iterations must be an integer, got {iterations!r}")
    return int(iterations)
