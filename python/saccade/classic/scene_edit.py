"""Photographs changed where a mask says so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade.classic.box_filter import box_filter

__all__ = ["blur_background", "feather_mask", "recolour", "replace_background"]

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
_LUMINOSITY = np.array([0.3, 0.59, 0.11], np.float32)
_LEAST = np.float32(1e-4)  # a smoothed mask below this is rounding, and holds no colour


def feather_mask(mask: ArrayLike, width: float = 2.0) -> Floats:
    """A mask whose edge rises smoothly from 0 to 1, half of it outside and half inside.

    Args:
        mask: ``(H, W)`` bool, or floats from 0 to 1 where it is soft already. (Of :func:`grab_cut`'s labels,
            ``labels % 2 == 1`` is the object.)
        width: standard deviation of the smoothing in pixels; 0 for none.

    Returns:
        ``(H, W)`` float32, from 0 to 1.

    >>> feather_mask(np.arange(8)[None] >= 4, 1.5).round(2)
    array([[0.  , 0.04, 0.15, 0.37, 0.63, 0.85, 0.96, 1.  ]], dtype=float32)
    """
    return np.clip(_smooth(_checked_mask("feather_mask", mask), _width("feather_mask", "width", width)), 0, 1)


def recolour(
    image: ArrayLike, mask: ArrayLike, colour: ArrayLike, *, amount: float = 1.0, feather: float = 1.0
) -> Bytes:
    """Give an object the hue and saturation of a colour; light and shade on it stay.

    Args:
        image: ``(H, W, 3)`` uint8, RGB.
        mask: of the object, as for :func:`feather_mask`.
        colour: three numbers from 0 to 255. A grey one makes the object grey.
        amount: how much of the new colour, from 0 to 1.
        feather: width of the mask's edge, as for :func:`feather_mask`.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ValueError: for wrong shapes or values. TypeError: for other dtypes. (The other functions here, too.)

    Source: W3C, Compositing and Blending Level 1, 2015: the mode "color".

    >>> image = np.full((1, 2, 3), 120, np.uint8)
    >>> recolour(image, [[False, True]], (255, 0, 0), feather=0).tolist()
    [[[120, 120, 120], [255, 62, 62]]]
    """
    pixels = _checked_image("recolour", "image", image)
    if not 0 <= amount <= 1:
        raise ValueError(f"recolour: amount must be from 0 to 1, got {amount}")
    alpha = _alpha("recolour", mask, pixels, feather) * np.float32(amount)
    wanted = _checked_colour("recolour", "colour", colour)
    light = pixels @ _LUMINOSITY
    tinted = wanted + (light - wanted @ _LUMINOSITY)[..., None]
    # Colours outside the cube are drawn towards the grey of the same luminosity until they lie on its surface.
    low, high = tinted.min(2), tinted.max(2)
    with np.errstate(divide="ignore", invalid="ignore"):
        under = np.where(low < 0, light / (light - low), 1)
        over = np.where(high > 255, (255 - light) / (high - light), 1)
    scale = np.minimum(under, over).astype(np.float32)
    grey = light[..., None]
    return _bytes(pixels + alpha[..., None] * (grey + (tinted - grey) * scale[..., None] - pixels))


def blur_background(image: ArrayLike, mask: ArrayLike, sigma: float = 8.0, *, feather: float = 1.0) -> Bytes:
    """Blur all but an object, as a lens with a wide aperture does. The object's colours do not run into the blur.

    Args:
        image: ``(H, W, 3)`` uint8.
        mask: of the object, as for :func:`feather_mask`.
        sigma: standard deviation of the blur in pixels; 0 for none.
        feather: width of the mask's edge.

    Returns:
        ``(H, W, 3)`` uint8.

    >>> image = np.zeros((4, 9, 3), np.uint8)
    >>> image[:, 4:] = 200
    >>> blur_background(image, np.arange(9) >= np.full((4, 1), 4), feather=0)[0, :, 0]
    array([  0,   0,   0,   0, 200, 200, 200, 200, 200], dtype=uint8)
    """
    pixels = _checked_image("blur_background", "image", image)
    sigma = _width("blur_background", "sigma", sigma)
    alpha = _alpha("blur_background", mask, pixels, feather)
    behind = _spread(pixels, 1 - _checked_mask("blur_background", mask), sigma)
    return _bytes(behind + alpha[..., None] * (pixels - behind))


def replace_background(
    image: ArrayLike, mask: ArrayLike, background: ArrayLike | None = None, *, feather: float = 1.0
) -> Bytes:
    """Cut an object out, and put it before another background. What was behind it does not shine through at its edge.

    Args:
        image: ``(H, W, 3)`` uint8.
        mask: of the object, as for :func:`feather_mask`.
        background: three numbers from 0 to 255, or an image like ``image``. None: transparent.
        feather: width of the mask's edge.

    Returns:
        ``(H, W, 3)`` uint8; without a background ``(H, W, 4)``, the last channel the opacity.

    >>> image = np.full((1, 3, 3), 90, np.uint8)
    >>> replace_background(image, [[True, False, False]], (255, 255, 255), feather=0)[..., 0]
    array([[ 90, 255, 255]], dtype=uint8)
    >>> replace_background(image, [[True, False, False]], feather=0)[0, :2].tolist()
    [[90, 90, 90, 255], [0, 0, 0, 0]]
    """
    pixels = _checked_image("replace_background", "image", image)
    alpha = _alpha("replace_background", mask, pixels, feather)
    # At the edge the image shows the object and what was behind it mixed: there, the object's colours from inside.
    inside = _checked_mask("replace_background", mask)
    object_only: Floats = np.where(inside[..., None] >= 1, pixels, _spread(pixels, inside, max(1.0, feather)))
    if background is None:
        object_only[alpha <= 0.5 / 255] = 0
        return np.concatenate([_bytes(object_only), _bytes(255 * alpha[..., None])], 2)
    if np.ndim(background) == 1:
        behind = _checked_colour("replace_background", "background", background)
    else:
        behind = _checked_image("replace_background", "background", background)
        if behind.shape != pixels.shape:
            raise ValueError(
                f"replace_background: background must have the image's shape {pixels.shape}, got {behind.shape}"
            )
    return _bytes(behind + alpha[..., None] * (object_only - behind))


def _alpha(op: str, mask: ArrayLike, pixels: Floats, feather: float) -> Floats:
    checked = _checked_mask(op, mask)
    if checked.shape != pixels.shape[:2]:
        raise ValueError(f"{op}: mask must have the image's height and width {pixels.shape[:2]}, got {checked.shape}")
    return np.clip(_smooth(checked, _width(op, "feather", feather)), 0, 1)


def _checked_mask(op: str, mask: ArrayLike) -> Floats:
    given = np.asarray(mask)
    if given.ndim != 2:
        raise ValueError(f"{op}: mask must have shape (H, W), got {given.shape}")
    if given.dtype != bool and given.dtype.kind != "f":
        raise TypeError(f"{op}: mask must be bool, or floats from 0 to 1, got {given.dtype}")
    if given.size and not (given.min() >= 0 and given.max() <= 1):  # NaN fails too
        raise ValueError(f"{op}: mask must be from 0 to 1, got {given.min()} to {given.max()}")
    return given.astype(np.float32)


def _checked_image(op: str, name: str, image: ArrayLike) -> Floats:
    given = np.asarray(image)
    if given.ndim != 3 or given.shape[2] != 3:
        raise ValueError(f"{op}: {name} must have shape (H, W, 3), got {given.shape}")
    if given.dtype != np.uint8:
        raise TypeError(f"{op}: {name} must be uint8, got {given.dtype}")
    return given.astype(np.float32)


def _checked_colour(op: str, name: str, colour: ArrayLike) -> Floats:
    given = np.asarray(colour)
    if given.shape != (3,) or given.dtype.kind not in "iuf" or not ((given >= 0) & (given <= 255)).all():
        raise ValueError(f"{op}: {name} must be three numbers from 0 to 255, got {colour!s}")
    return given.astype(np.float32)


def _width(op: str, name: str, value: Any) -> float:
    if not 0 <= value <= 1000:
        raise ValueError(f"{op}: {name} must be from 0 to 1000 pixels, got {value}")
    return float(value)


def _spread(pixels: Floats, weight: Floats, sigma: float) -> Floats:
    """The smoothed colours of where the weight is, as far as they reach; the pixels' own beyond."""
    total = _smooth(weight, sigma)[..., None]
    mean = np.moveaxis(_smooth(np.moveaxis(pixels * weight[..., None], 2, 0), sigma), 0, 2) / np.maximum(total, _LEAST)
    spread: Floats = np.where(total > _LEAST, mean, pixels)
    return spread


def _smooth(planes: Floats, sigma: float) -> Floats:
    """A Gaussian, nearly: three means over squares of about the same variance; of (..., H, W)."""
    if sigma <= 0 or planes.size == 0:
        return planes
    ideal = math.sqrt(4 * sigma * sigma + 1)
    small = max(1, 2 * math.floor((ideal - 1) / 2) + 1)
    # So many of the smaller size that the variances (size^2 - 1) / 12 add up to sigma^2, as near as can be.
    smaller = round((12 * sigma * sigma - 3 * small * small - 12 * small - 9) / (-4 * small - 4))
    for number in range(3):
        planes = box_filter(planes, small if number < smaller else small + 2)
    return planes


def _bytes(values: Floats) -> Bytes:
    return (np.clip(values, 0, 255) + 0.5).astype(np.uint8)
