"""Receptive fields: which pixels a cell of a feature map can depend on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saccade.analysis._dependence import Dependence, Shadow
from saccade.analysis._rectangles import image_rectangles
from saccade.analysis._run import evaluation, example_image, named_outputs, watched

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LayerField", "ReceptiveFields", "receptive_field"]

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class LayerField:
    """The receptive fields of the cells of one layer's output.

    Attributes:
        name: of the module, as in ``model.named_modules()``. What it returns inside tuples and dictionaries has its
            path behind it; further calls of the same module have ``#2``, ``#3``, ...
        kind: the module's class.
        leaf: whether it has no modules inside.
        grid: the cells: ``(rows, columns)`` of a feature map, ``(length,)`` of tokens, ``()`` of a vector.
        size: ``(height, width)`` in pixels of the largest field of a cell, as if the image went on beyond its border.
        jump: ``(down, right)`` pixels from one cell's field to the next one's: the layer's stride on the image. Their
            mean where steps differ (after a transposed convolution); 0 where there is one cell, or all see the same.
        start: ``(y, x)`` of the first pixel of the first cell's field: negative where padding comes before the image.
    """

    name: str
    kind: str
    leaf: bool
    grid: tuple[int, ...]
    size: tuple[int, int]
    jump: tuple[float, float]
    start: tuple[int, int]
    _planes: NDArray[np.float32]

    def box(self, *cell: int) -> Box:
        """``x1, y1, x2, y2`` of a cell's field, given its row and column; half-open. It may reach beyond the image.

        Without a cell, that in the middle. A cell between the windows of a transposed convolution has none: 0, 0, 0, 0.
        """
        return self._rectangle(4, cell)

    def support(self, *cell: int) -> Box:
        """The same without what lies outside of the image: the rectangle around the pixels that the cell depends on.

        At the border of the map it may be smaller than ``box`` cut to the image: cells of padding depend on no pixel.
        """
        return self._rectangle(0, cell)

    def _rectangle(self, first: int, cell: tuple[int, ...]) -> Box:
        cell = cell or tuple(size // 2 for size in self.grid)
        if len(cell) != len(self.grid) or not all(0 <= at < size for at, size in zip(cell, self.grid, strict=True)):
            raise ValueError(f"receptive_field: cell must lie in the {self.grid} cells of {self.name!r}, got {cell}")
        top, left, bottom, right = (float(plane[cell]) for plane in self._planes[first : first + 4])
        if math.isinf(top) or math.isinf(left):
            return 0, 0, 0, 0
        return int(left), int(top), -int(right), -int(bottom)


class ReceptiveFields(Mapping[str, LayerField]):
    """The fields of all layers by name, in the order in which they ran; ``""`` is the model's own output.

    ``str()`` is a table of the layers that have no modules inside; :meth:`table` has a choice; :meth:`figure` draws.

    Attributes:
        image_size: ``(height, width)`` of the image.
        assumed: operations without a rule of their own. All of their results are taken to depend on all of their
            inputs, so that fields behind them may be too large, never too small.
    """

    def __init__(self, layers: dict[str, LayerField], image_size: tuple[int, int], assumed: tuple[str, ...]) -> None:
        self._layers = layers
        self.image_size = image_size
        self.assumed = assumed

    def __getitem__(self, name: str) -> LayerField:
        """The layer of that name."""
        return self._layers[name]

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._layers)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._layers)

    def __str__(self) -> str:
        return self.table()

    def table(self, *, leaves: bool = True) -> str:
        """One line for each layer; ``leaves=False``: also of those that are made of others."""
        rows = [("layer", "kind", "cells", "field", "jump", "start")]
        for layer in self._layers.values():
            if layer.leaf or not leaves:
                pairs = ["×".join(map(str, layer.grid)) or "1"]
                pairs += [_pair(layer.size, "×"), _pair(layer.jump, "×"), _pair(layer.start, ", ")]
                rows.append((layer.name or "(model)", layer.kind, pairs[0], pairs[1], pairs[2], pairs[3]))
        widths = [max(len(row[column]) for row in rows) for column in range(6)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        if self.assumed:
            lines.append(f"everything seen through: {', '.join(self.assumed)}")
        return "\n".join(lines)

    def figure(
        self, image: Any = None, layers: Sequence[str] | None = None, cell: Sequence[int] | None = None
    ) -> Figure:
        """The fields of one cell of each layer, as frames on an image.

        Args:
            image: ``(H, W)`` or ``(H, W, 3)`` array of ``image_size``, or ``(C, H, W)`` tensor; grey without.
            layers: names; by default the last of the leaves at each size of the map.
            cell: row and column, where all layers have it; by default the one in the middle of each.
        """
        from saccade.analysis._pictures import as_image, field_figure

        if layers is None:
            last = {layer.grid: name for name, layer in self._layers.items() if layer.leaf and len(layer.grid) == 2}
            layers = list(last.values())
        unknown = [name for name in layers if name not in self._layers]
        if unknown:
            raise ValueError(f"receptive_field: layers must be names of layers, got {unknown[0]!r}")
        boxes = {name: self._layers[name].box(*(cell or ())) for name in layers}
        picture = None if image is None else as_image("receptive_field", image, self.image_size)
        return field_figure(boxes, self.image_size, picture)


def receptive_field(
    model: nn.Module, input_size: Sequence[int] | Tensor, *, check: int = 0, seed: int = 0
) -> ReceptiveFields:
    """The theoretical receptive field of every layer of any model.

    The model runs once, in evaluation mode, on an image of this size, and every tensor's elements are followed back to
    the pixels that they can depend on: through convolutions (strided, dilated, grouped, transposed), poolings,
    branches, up-sampling, attention, reshapes and indexing, in modules and in functions. Of several channels the field
    is the rectangle around all of theirs; a dilated convolution leaves pixels out inside of it.

    Args:
        model: one image ``(1, C, H, W)`` is its only required argument.
        input_size: ``(channels, height, width)``, or an image as a tensor. Fields are not cut to it, but adaptive
            poolings and fully connected layers see all of it, however large.
        check: so many cells of each feature map are checked: the gradients of its channels at this cell, with respect
            to an image of random numbers, must vanish outside of its ``support`` (up to 1e-4 of their largest).
        seed: of the images and cells of the check.

    Returns:
        A mapping from the names of modules to :class:`LayerField`.

    Raises:
        ValueError: where ``input_size`` is no size; RuntimeError: where a gradient contradicts a field.

    Source: W. Luo, Y. Li, R. Urtasun, R. Zemel: Understanding the Effective Receptive Field in Deep Convolutional
    Neural Networks, NIPS 2016; A. Araujo, W. Norris, J. Sim: Computing Receptive Fields of Convolutional Neural
    Networks, Distill 2019.

    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(1, 6, 5), torch.nn.MaxPool2d(2), torch.nn.Conv2d(6, 16, 5, dilation=2), torch.nn.ReLU())
    >>> fields = receptive_field(model, (1, 32, 32))
    >>> print(fields)
    layer  kind       cells  field  jump  start
    0      Conv2d     28×28  5×5    1×1   0, 0
    1      MaxPool2d  14×14  6×6    2×2   0, 0
    2      Conv2d     6×6    22×22  2×2   0, 0
    3      ReLU       6×6    22×22  2×2   0, 0
    >>> fields["2"].box(1, 3)  # x1, y1, x2, y2 of the cell in row 1, column 3
    (6, 2, 28, 24)
    """
    image = example_image("receptive_field", model, input_size)
    layers: dict[str, LayerField] = {}
    mode = Dependence()

    def see(name: str, module: nn.Module, output: Any) -> None:
        for path, tensor in named_outputs(name, output):
            if (shadow := mode.shadow(tensor)) is not None:
                leaf = next(module.children(), None) is None
                layers[path] = _layer(path, type(module).__name__, leaf, shadow)

    with evaluation(model), torch.no_grad(), watched(model, see), mode:
        mode.watch(image, image_rectangles(tuple(image.shape)))
        model(image)
    height, width = image.shape[-2:]
    fields = ReceptiveFields(layers, (height, width), tuple(sorted(mode.assumed)))
    if check:
        from saccade.analysis._probe import check_fields

        check_fields(model, image, fields, check, seed)
    return fields


def _layer(name: str, kind: str, leaf: bool, shadow: Shadow) -> LayerField:
    planes = _cells(shadow.rectangles)
    finite = np.isfinite(planes[4])
    tops, lefts, bottoms, rights = np.where(finite, planes[4:], 0)
    heights, widths = -bottoms - tops, -rights - lefts
    size = (int(heights.max(initial=0)), int(widths.max(initial=0)))
    jump, start = (0.0, 0.0), (0, 0)
    if finite.any():
        start = int(tops[finite].min()), int(lefts[finite].min())
    if planes.ndim == 3:
        middles = np.where(finite, (tops - bottoms) / 2, np.nan), np.where(finite, (lefts - rights) / 2, np.nan)
        jump = _step(middles[0], 0), _step(middles[1], 1)
    return LayerField(name, kind, leaf, planes.shape[1:], size, jump, start, planes)


def _cells(rectangles: Tensor) -> NDArray[np.float32]:
    """The rectangle around all channels, for each cell of a map, token, or vector."""
    dim = rectangles.dim() - 1
    if dim == 4:
        last = rectangles.amin((1, 4)) if _channels_last(rectangles) else rectangles.amin((1, 2))
    elif dim == 3:
        last = rectangles.amin((1, 3))
    else:
        last = rectangles.flatten(1).amin(1)
    return last.contiguous().numpy()


def _channels_last(rectangles: Tensor) -> bool:
    """Whether a map is ``(N, H, W, C)``, as some transformers have it, by the axes along which fields move."""
    tops, lefts = rectangles[4], rectangles[5]
    rows_move = bool((tops != tops[:, :1]).any())
    columns_move = bool((lefts != lefts[:, :, :1]).any())
    return rows_move and columns_move and bool((rectangles == rectangles[..., :1]).all())


def _step(middles: NDArray[np.float32], axis: int) -> float:
    """The distance of neighbours along an axis, as the mean of a period where there is one; to a ten-thousandth."""
    line = np.moveaxis(middles, axis, 0).reshape(middles.shape[axis], -1)[:, 0]
    for period in range(1, len(line) // 2 + 1):
        moved = line[period:] - line[:-period]
        if np.isfinite(moved).any() and np.nanmin(moved) == np.nanmax(moved):
            return round(float(np.nanmax(moved)) / period, 4)
    finite = np.nonzero(np.isfinite(line))[0]
    if len(finite) < 2:
        return 0.0
    return round(float((line[finite[-1]] - line[finite[0]]) / (finite[-1] - finite[0])), 4)


def _pair(values: Sequence[float], between: str) -> str:
    return between.join(f"{value:g}" for value in values)
