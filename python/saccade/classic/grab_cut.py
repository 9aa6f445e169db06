"""Foreground extraction with little help."""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade._numpy import grab_cut as _grab_cut

__all__ = ["grab_cut"]

Mask = NDArray[np.uint8]
Model = NDArray[np.float64]
_MODEL = 65


@overload
def grab_cut(
    image: ArrayLike,
    mask: ArrayLike | None = None,
    rect: tuple[int, int, int, int] | None = None,
    iterations: int = 5,
    *,
    seed: int = 0,
    bgd_model: ArrayLike | None = None,
    fgd_model: ArrayLike | None = None,
    return_models: Literal[False] = False,
) -> Mask: ...
@overload
def grab_cut(
    image: ArrayLike,
    mask: ArrayLike | None = None,
    rect: tuple[int, int, int, int] | None = None,
    iterations: int = 5,
    *,
    seed: int = 0,
    bgd_model: ArrayLike | None = None,
    fgd_model: ArrayLike | None = None,
    return_models: Literal[True],
) -> tuple[Mask, Model, Model]: ...
def grab_cut(
    image: ArrayLike,
    mask: ArrayLike | None = None,
    rect: tuple[int, int, int, int] | None = None,
    iterations: int = 5,
    *,
    seed: int = 0,
    bgd_model: ArrayLike | None = None,
    fgd_model: ArrayLike | None = None,
    return_models: bool = False,
) -> Mask | tuple[Mask, Model, Model]:
    """Separate an object from its background, from a rectangle around it or a rough mask.

    As ``cv2.grabCut``: five Gaussians of colour for each side, contrast between eight neighbours, and a minimum cut in
    each iteration. The same ``seed`` gives the same mask, whatever the number of threads.

    Args:
        image: ``(H, W, 3)`` uint8, colours in any order.
        mask: ``(H, W)`` uint8: 0 background, 1 foreground, 2 probably background, 3 probably foreground. Not changed.
        rect: ``(x, y, width, height)``: all outside it is background, all inside probably foreground. Either this or
            ``mask`` is given.
        iterations: of fitting the Gaussians and cutting.
        seed: of the first Gaussians (k-means++).
        bgd_model: ``(1, 65)`` as returned before, to go on from there; with ``fgd_model`` and ``mask``.
        fgd_model: the same for the foreground.
        return_models: give the Gaussians as well.

    Returns:
        The mask with 2 and 3 decided anew; with ``return_models`` also ``bgd_model`` and ``fgd_model``, ``(1, 65)``
        float64 as OpenCV's: 5 weights, 5 means, 5 covariances.

    Raises:
        ValueError: for wrong shapes or values, or a mask that has no background or no foreground. TypeError: for other
            dtypes.

    Source: Rother, Kolmogorov and Blake, GrabCut: interactive foreground extraction using iterated graph cuts, 2004.

    >>> image = np.full((6, 8, 3), 30, np.uint8)
    >>> image[2:4, 3:6] = 200
    >>> grab_cut(image, rect=(1, 1, 6, 4))
    array([[0, 0, 0, 0, 0, 0, 0, 0],
           [0, 2, 2, 2, 2, 2, 2, 0],
           [0, 2, 2, 3, 3, 3, 2, 0],
           [0, 2, 2, 3, 3, 3, 2, 0],
           [0, 2, 2, 2, 2, 2, 2, 0],
           [0, 0, 0, 0, 0, 0, 0, 0]], dtype=uint8)
    """
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"grab_cut: image must have shape (H, W, 3), got {pixels.shape}")
    if (mask is None) == (rect is None):
        given = "both" if rect is not None else "neither"
        raise ValueError(f"grab_cut: mask or rect must be given, one of them, got {given}")
    if rect is not None:
        labels = _from_rect(pixels.shape[:2], rect)
    else:
        asked = np.asarray(mask)
        if asked.dtype != np.uint8:
            raise TypeError(f"grab_cut: mask must be uint8, got {asked.dtype}")
        labels = np.array(asked, order="C")
    models = _models(bgd_model, fgd_model, rect is not None)
    fitted = _grab_cut(pixels, labels, models, _integer("iterations", iterations), _integer("seed", seed) % 2**62)
    return (labels, fitted[:1], fitted[1:]) if return_models else labels


def _integer(name: str, value: Any) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"grab_cut: {name} must be an integer, got {value!r}")
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"grab_cut: {name} must fit in 64 bits, got {value}")
    return int(value)


def _from_rect(shape: tuple[int, ...], rect: tuple[int, int, int, int]) -> Mask:
    if len(rect) != 4:
        raise ValueError(f"grab_cut: rect must be (x, y, width, height), got {rect!r}")
    x, y, width, height = (_integer("rect", value) for value in rect)
    if width < 0 or height < 0:
        raise ValueError(f"grab_cut: rect must not have a negative size, got {rect!r}")
    labels = np.zeros(shape, np.uint8)
    labels[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] = 3
    return labels


def _models(background: ArrayLike | None, foreground: ArrayLike | None, rect: bool) -> Model | None:
    if background is None and foreground is None:
        return None
    if background is None or foreground is None or rect:
        raise ValueError("grab_cut: bgd_model and fgd_model must be given together, and with a mask")
    for name, model in (("bgd_model", background), ("fgd_model", foreground)):
        array = np.asarray(model)
        if array.shape not in ((1, _MODEL), (_MODEL,)):
            raise ValueError(f"grab_cut: {name} must have shape (1, 65), got {array.shape}")
        if array.dtype.kind not in "iuf":
            raise TypeError(f"grab_cut: {name} must be real numbers, got {array.dtype}")
    return np.stack([np.asarray(model, np.float64).reshape(_MODEL) for model in (background, foreground)])
