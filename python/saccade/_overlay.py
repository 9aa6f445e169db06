"""Classes of pixels as colours over an image. (Public in saccade.analysis; here, it needs no torch.)"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade._extras import require

__all__ = ["check_classes", "class_palette", "overlay_classes"]

Bytes = NDArray[np.uint8]
_SHOWN = 10


def class_palette(count: int) -> Bytes:
    """``(count, 3)`` colours of classes 0, 1, ...: those of PASCAL VOC, in which other tools paint too.

    Class 0 is black, and any two of the first 256 differ.

    Raises:
        ValueError: for a count that is not from 1 to 256.

    Source: Everingham et al., The PASCAL Visual Object Classes development kit, 2012: three bits of a class at a time
    become one bit of red, green and blue, the lowest bits the highest.

    >>> class_palette(4).tolist()
    [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    """
    if not 1 <= count <= 256:
        raise ValueError(f"class_palette: count must be from 1 to 256, got {count}")
    classes = np.arange(count)
    colours = np.zeros((count, 3), np.uint8)
    for bit in range(3):
        for channel in range(3):
            colours[:, channel] |= ((classes >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def overlay_classes(
    image: ArrayLike,
    classes: ArrayLike,
    *,
    palette: ArrayLike | None = None,
    alpha: float = 0.5,
    borders: bool = True,
    unpainted: Sequence[int] = (),
    ignore_index: int = 255,
    names: Sequence[str] | None = None,
    legend: bool = False,
) -> Bytes:
    """Paint the classes of pixels over an image.

    Args:
        image: ``(H, W, 3)`` or ``(H, W)`` uint8.
        classes: ``(H, W)`` integers, or a bool mask.
        palette: ``(N, 3)`` uint8, a colour for each class; default: :func:`class_palette`.
        alpha: how much of the result is the class's colour, from 0 to 1.
        borders: whether pixels whose right or lower neighbour is of another class get the whole colour of theirs.
        unpainted: classes that leave the image as it is: often the background, 0.
        ignore_index: what stands where no class is known; left as it is. A class of that number cannot be painted.
        names: of classes 0, 1, ...; there are as many classes as names. Without: as many as the palette has, or as
            occur.
        legend: put colours and names of the classes that occur beside the picture. Needs Pillow.

    Returns:
        ``(H, W, 3)`` uint8; with ``legend`` wider, and higher where the picture is too small for it.

    Raises:
        ValueError: for wrong shapes, and for values outside the classes (named, with their counts). TypeError: for
            other dtypes.

    >>> image = np.full((2, 3), 100, np.uint8)
    >>> overlay_classes(image, [[0, 1, 1], [0, 1, 255]], unpainted=[0], borders=False)[..., 0]
    array([[100, 114, 114],
           [100, 114, 100]], dtype=uint8)
    """
    pixels, labels = _checked(image, classes)
    if not 0 <= alpha <= 1:
        raise ValueError(f"overlay_classes: alpha must be from 0 to 1, got {alpha}")
    known = labels != ignore_index
    colours = _colours(palette, names, labels[known])
    check_classes("overlay_classes", labels, len(colours), ignore_index)
    painted = known & ~np.isin(labels, list(unpainted))
    part = np.full(labels.shape, alpha, np.float32)
    if borders:
        part[:, :-1][labels[:, :-1] != labels[:, 1:]] = 1
        part[:-1][labels[:-1] != labels[1:]] = 1
    part[~painted] = 0
    colour = colours[np.where(painted, labels, 0)].astype(np.float32)
    result = (pixels + part[..., None] * (colour - pixels) + 0.5).astype(np.uint8)
    if not legend:
        return result
    present = [int(label) for label in np.unique(labels[painted])]
    texts = [str(label) if names is None else f"{names[label]}" for label in present]
    return _with_legend(result, colours[present], texts)


def check_classes(op: str, classes: NDArray[Any], count: int, ignore_index: int = 255) -> None:
    """Raise unless all are from 0 to ``count - 1`` or ``ignore_index``; what is not is named, and how often."""
    wrong = (classes < 0) | (classes >= count)
    wrong &= classes != ignore_index
    if not wrong.any():
        return
    values, counts = np.unique(classes[wrong], return_counts=True)
    found = ", ".join(f"{value} ({times} times)" for value, times in zip(values[:_SHOWN], counts, strict=False))
    more = f" and {len(values) - _SHOWN} more values" if len(values) > _SHOWN else ""
    raise ValueError(f"{op}: classes must be from 0 to {count - 1} or {ignore_index}, got {found}{more}")


def _checked(image: ArrayLike, classes: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    pixels, labels = np.asarray(image), np.asarray(classes)
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise ValueError(f"overlay_classes: image must have shape (H, W, 3) or (H, W), got {pixels.shape}")
    if pixels.dtype != np.uint8:
        raise TypeError(f"overlay_classes: image must be uint8, got {pixels.dtype}")
    if labels.shape != pixels.shape[:2]:
        raise ValueError(
            f"overlay_classes: classes must have the image's height and width {pixels.shape[:2]}, got {labels.shape}"
        )
    if labels.dtype.kind not in "biu":
        raise TypeError(f"overlay_classes: classes must be integers or bool, got {labels.dtype}")
    colour = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, 2)
    return colour.astype(np.float32), labels.astype(np.int64)


def _colours(palette: ArrayLike | None, names: Sequence[str] | None, labels: NDArray[np.int64]) -> Bytes:
    least = len(names) if names is not None else 0
    if palette is None:
        occurring = int(labels.max(initial=0)) + 1
        return class_palette(max(1, least if names is not None else min(occurring, 256)))
    colours = np.asarray(palette)
    if colours.ndim != 2 or colours.shape[1] != 3 or len(colours) < max(1, least):
        wanted = f"at least ({least}, 3), a colour for each name" if least else "(N, 3)"
        raise ValueError(f"overlay_classes: palette must have shape {wanted}, got {colours.shape}")
    if colours.dtype != np.uint8:
        raise TypeError(f"overlay_classes: palette must be uint8, got {colours.dtype}")
    return colours[:least] if least else colours


def _with_legend(picture: Bytes, colours: Bytes, texts: Sequence[str]) -> Bytes:
    """The picture, and right of it a square and a name for each class, in as many columns as its height asks for."""
    images, drawing, fonts = (
        require(f"PIL.{name}", "overlay_classes", "train") for name in ("Image", "ImageDraw", "ImageFont")
    )
    height, width = picture.shape[:2]
    size = min(max(11, height // 26), 28)
    font, row = fonts.load_default(size=size), round(1.5 * size)
    rows = max(1, height // row)
    columns = math.ceil(len(texts) / rows)
    widest = max((math.ceil(font.getlength(text)) for text in texts), default=0)
    column = 2 * row + widest
    canvas = images.new("RGB", (width + columns * column, max(height, row if texts else 0)), "white")
    canvas.paste(images.fromarray(picture), (0, 0))
    draw = drawing.Draw(canvas)
    for number, (colour, text) in enumerate(zip(colours.tolist(), texts, strict=True)):
        x, y = width + number // rows * column + row // 3, number % rows * row + row // 6
        draw.rectangle((x, y, x + size, y + size), fill=tuple(colour), outline=(96, 96, 96))
        draw.text((x + row, y + size // 2), text, font=font, fill="black", anchor="lm")
    return np.asarray(canvas)
