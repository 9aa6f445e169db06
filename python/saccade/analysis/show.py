"""Filters and feature maps as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saccade.analysis._pictures import columns_for, grid, new_figure, save
from saccade.analysis._probe import outputs_of
from saccade.analysis._run import find_layer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["feature_maps", "filter_grid", "show_feature_maps", "show_filters"]


def filter_grid(model: nn.Module, layer: str | None = None, *, most: int = 64) -> NDArray[np.float64]:
    """The filters of a layer as one image: each scaled to 0 ... 1 by itself, in a grid with white lines between.

    Args:
        model: any.
        layer: a name in ``model.named_modules()`` with a four-dimensional ``weight``; by default the first there is.
        most: so many filters (or rows, see below) at most, the first ones.

    Returns:
        Filters of three input channels in colour, ``(H, W, 3)``; of one, grey, ``(H, W)``. Otherwise grey, one row for
        each filter, and in it its weights for each input channel, up to 16 of them.

    Raises:
        ValueError: on a layer that has no filters.

    >>> saccade.analysis.filter_grid(torch.nn.Conv2d(3, 8, 5)).shape  # three in a row
    (17, 17, 3)
    """
    return _filters("filter_grid", model, layer, most)[1]


def show_filters(
    model: nn.Module, layer: str | None = None, *, most: int = 64, path: str | Path | None = None
) -> Figure:
    """A figure of :func:`filter_grid`, written to ``path`` (``.png``, ``.svg``, ``.pdf``) where one is given."""
    name, picture = _filters("show_filters", model, layer, most)
    figure = new_figure("show_filters", 5, 5 * min(3.0, picture.shape[0] / picture.shape[1]) + 0.4)
    axes = figure.subplots()
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
    axes.set_title(f"{name or '(model)'}: filters", fontsize=9)
    axes.axis("off")
    return save(figure, path)


def _filters(op: str, model: nn.Module, layer: str | None, most: int) -> tuple[str, NDArray[np.float64]]:
    if most < 1:
        raise ValueError(f"{op}: most must be at least 1, got {most}")
    if layer is None:
        having = [name for name, module in model.named_modules() if _weight(module) is not None]
        if not having:
            raise ValueError(
                f"{op}: model must have a layer with a four-dimensional weight, got {type(model).__name__}"
            )
        layer = having[0]
    module = find_layer(op, model, layer)
    weight = _weight(module)
    if weight is None:
        raise ValueError(f"{op}: layer must have a four-dimensional weight, got {layer!r} ({type(module).__name__})")
    filters = weight.detach().cpu().double().numpy()
    if isinstance(module, nn.ConvTranspose2d):
        filters = np.swapaxes(filters, 0, 1)
    filters = filters[:most]
    if filters.shape[1] == 3:
        return layer, grid(list(np.moveaxis(filters, 1, -1)), columns_for(len(filters)))
    if filters.shape[1] == 1:
        return layer, grid(list(filters[:, 0]), columns_for(len(filters)))
    filters = filters[:, :16]
    return layer, grid(list(filters.reshape(-1, *filters.shape[2:])), filters.shape[1])


def _weight(module: nn.Module) -> Tensor | None:
    weight = getattr(module, "weight", None)
    return weight if isinstance(weight, Tensor) and weight.dim() == 4 else None


def feature_maps(model: nn.Module, image: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
    """What layers return for an image ``(C, H, W)`` or ``(1, C, H, W)``, in evaluation mode.

    Args:
        model: any.
        image: as the model takes it.
        layers: names in ``model.named_modules()``; by default all convolutions. What a layer returns inside tuples and
            dictionaries, and its further calls, are named as for :func:`receptive_field`.

    Raises:
        ValueError: on a name that no layer has that ran.

    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU())
    >>> {name: tuple(maps.shape) for name, maps in feature_maps(model, torch.rand(1, 8, 8)).items()}
    {'0': (1, 4, 6, 6)}
    """
    return _maps("feature_maps", model, image, layers)


def _maps(op: str, model: nn.Module, image: Tensor, layers: Sequence[str] | None) -> dict[str, Tensor]:
    if image.dim() not in (3, 4) or (image.dim() == 4 and len(image) != 1):
        raise ValueError(f"{op}: image must have shape (C, H, W) or (1, C, H, W), got {tuple(image.shape)}")
    if layers is None:
        kinds = (nn.Conv2d, nn.ConvTranspose2d)
        layers = [name for name, module in model.named_modules() if isinstance(module, kinds)]
    with torch.no_grad():
        found = outputs_of(model, image if image.dim() == 4 else image[None])
    for name in layers:
        if name not in found:
            raise ValueError(f"{op}: layers must be names of modules that ran and returned tensors, got {name!r}")
    return {name: found[name] for name in layers}


def show_feature_maps(
    model: nn.Module,
    image: Tensor,
    layers: Sequence[str] | None = None,
    *,
    most: int = 16,
    path: str | Path | None = None,
) -> Figure:
    """A figure of what layers return for an image: the first ``most`` channels of each, each scaled by itself.

    Arguments are those of :func:`feature_maps`. A vector, or tokens ``(1, length, channels)``, make one picture.
    The figure is written to ``path`` (``.png``, ``.svg``, ``.pdf``) where one is given.
    """
    if most < 1:
        raise ValueError(f"show_feature_maps: most must be at least 1, got {most}")
    maps = _maps("show_feature_maps", model, image, layers)
    if not maps:
        raise ValueError("show_feature_maps: layers must name at least one layer, got none")
    columns = min(4, len(maps))
    rows = -(-len(maps) // columns)
    figure = new_figure("show_feature_maps", 3.2 * columns, 3.4 * rows)
    axes: Any = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, (name, tensor) in zip(axes, maps.items(), strict=False):
        values = tensor[0].detach().cpu().double().numpy()
        tiles = list(values[:most]) if values.ndim == 3 else [np.atleast_2d(values)]
        axis.imshow(grid(tiles, columns_for(len(tiles))), cmap="gray", vmin=0, vmax=1, aspect="auto")
        axis.set_title(f"{name or '(model)'}: {'×'.join(map(str, tensor.shape[1:]))}", fontsize=9)
    return save(figure, path)
