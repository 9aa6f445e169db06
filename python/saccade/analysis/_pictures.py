"""What the pictures of networks share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from saccade._extras import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["as_image", "columns_for", "field_figure", "grid", "new_figure", "normalized", "save"]

Box = tuple[int, int, int, int]


def new_figure(op: str, width: float, height: float) -> Figure:
    """A figure that belongs to no window."""
    figure: Figure = require("matplotlib.figure", op, "train").Figure(figsize=(width, height), layout="constrained")
    return figure


def save(figure: Figure, path: str | Path | None) -> Figure:
    """Write the picture, where a path is given; its ending says the format."""
    if path is not None:
        figure.savefig(path, dpi=110)
    return figure


def as_image(op: str, image: Any, size: tuple[int, int]) -> NDArray[Any]:
    """``(H, W)`` or ``(H, W, 3)`` between 0 and 1 for matplotlib, of an array or a ``(C, H, W)`` tensor."""
    pixels = image.detach().cpu().float().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if isinstance(image, Tensor):
        pixels = pixels[0] if pixels.ndim == 4 else pixels
        pixels = np.moveaxis(pixels, 0, -1) if pixels.ndim == 3 else pixels
        pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    if pixels.shape[:2] != size or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise ValueError(
            f"{op}: image must be an array (H, W) or (H, W, 3), or a tensor (C, H, W), of height and width {size}, "
            f"got shape {tuple(image.shape)}"
        )
    return normalized(pixels)


def normalized(values: NDArray[Any]) -> NDArray[Any]:
    """Scaled to 0 ... 1; all alike is a medium grey, what is not finite black."""
    values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.full_like(values, 0.5)


def grid(tiles: Sequence[NDArray[Any]], columns: int) -> NDArray[Any]:
    """Tiles of one shape side by side in rows, each scaled by itself, with white lines between."""
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    shape = (rows * (height + 1) - 1, columns * (width + 1) - 1, *tiles[0].shape[2:])
    picture = np.ones(shape)
    for number, tile in enumerate(tiles):
        y, x = number // columns * (height + 1), number % columns * (width + 1)
        picture[y : y + height, x : x + width] = normalized(tile)
    return picture


def field_figure(boxes: Mapping[str, Box], size: tuple[int, int], image: NDArray[Any] | None) -> Figure:
    """Frames on an image, the largest first."""
    figure = new_figure("receptive_field", 6.5, 5)
    axes = figure.subplots()
    rectangle = require("matplotlib.patches", "receptive_field", "train").Rectangle
    colours = require("matplotlib", "receptive_field", "train").colormaps["turbo"]
    height, width = size
    picture = np.full(size, 0.85) if image is None else image
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, extent=(0, width, height, 0))
    for number, (name, (x1, y1, x2, y2)) in enumerate(boxes.items()):
        colour = colours((number + 0.5) / len(boxes))
        label = f"{name or '(model)'}: {x2 - x1}×{y2 - y1}"
        axes.add_patch(rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=2, label=label))
    corners = np.array([(0, 0, width, height), *boxes.values()])
    axes.set_xlim(corners[:, 0].min() - 1, corners[:, 2].max() + 1)
    axes.set_ylim(corners[:, 3].max() + 1, corners[:, 1].min() - 1)
    axes.set(xlabel="x (pixels)", ylabel="y (pixels)")
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def columns_for(count: int) -> int:
    """Columns of a grid about as wide as high."""
    return max(1, math.ceil(math.sqrt(count)))
