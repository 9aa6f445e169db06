"""How much each pixel really matters to a cell: the effective receptive field."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saccade.analysis._pictures import as_image, new_figure, save
from saccade.analysis._probe import outputs_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EffectiveField", "effective_receptive_field"]

_SHARE = 1 - 0.9545  # of the largest gradient: what a Gaussian keeps two standard deviations from its middle


@dataclass(frozen=True, eq=False)
class EffectiveField:
    """What :func:`effective_receptive_field` measures.

    Attributes:
        gradient: ``(H, W)`` float64: the mean magnitude of the gradient at each pixel, the largest 1.
        layer: the name of the layer.
        cell: its row and column.
        images: over how many images the mean goes.
    """

    gradient: NDArray[np.float64]
    layer: str
    cell: tuple[int, int]
    images: int

    @property
    def size(self) -> float:
        """The side, in pixels, of a square with as many pixels as have more than 4.55 % of the largest gradient."""
        return float(np.sqrt((self.gradient > _SHARE).sum()))

    @property
    def centre(self) -> tuple[float, float]:
        """``(y, x)`` of the centre of mass."""
        return self._moments()[0]

    @property
    def deviation(self) -> tuple[float, float]:
        """The standard deviations of the gradient's mass along the rows and the columns, ``(y, x)``, in pixels."""
        return self._moments()[1]

    def _moments(self) -> tuple[tuple[float, float], tuple[float, float]]:
        centres, deviations = [], []
        for axis in (1, 0):
            mass = self.gradient.sum(axis)
            at = np.arange(len(mass)) + 0.5
            centre = float((mass * at).sum() / mass.sum())
            centres.append(centre)
            deviations.append(float(np.sqrt((mass * (at - centre) ** 2).sum() / mass.sum())))
        return (centres[0], centres[1]), (deviations[0], deviations[1])

    def figure(self, image: Any = None, *, path: str | Path | None = None) -> Figure:
        """The gradient as a heat map; beside it over an image, given as for :meth:`ReceptiveFields.figure`."""
        figure = new_figure("effective_receptive_field", 4.5 if image is None else 8.5, 4)
        axes: Any = figure.subplots(1, 1 if image is None else 2, squeeze=False)[0]
        shown = axes[0].imshow(self.gradient, cmap="inferno")
        axes[0].set_title(f"{self.layer or '(model)'}, cell {self.cell}: {self.size:.0f} pixels wide", fontsize=9)
        figure.colorbar(shown, ax=axes[0], label="gradient, of its maximum")
        if image is not None:
            axes[1].imshow(as_image("effective_receptive_field", image, self.gradient.shape[:2]), cmap="gray")
            axes[1].imshow(self.gradient, cmap="autumn", alpha=np.minimum(2 * np.sqrt(self.gradient), 1))
            axes[1].axis("off")
        return save(figure, path)


def effective_receptive_field(
    model: nn.Module,
    images: Iterable[Tensor] | Tensor,
    layer: str = "",
    *,
    cell: Sequence[int] | None = None,
) -> EffectiveField:
    """Measure how much each pixel matters to one cell of a layer.

    For every image the gradient of the sum of the cell's channels is taken with respect to the image. Its magnitudes
    are summed over the image's channels and averaged over the images. In the middle of the theoretical field they
    are largest, and they fall off like a Gaussian: far fewer pixels matter than the theoretical field holds.

    Args:
        model: in evaluation mode while it runs here.
        images: ``(N, C, H, W)``, or an iterable of those or of ``(C, H, W)``; all of one size. Random numbers serve to
            study an architecture, photographs to study what was learned.
        layer: a name in ``model.named_modules()`` whose output is ``(N, C, rows, columns)``; ``""``: the model's own.
        cell: row and column; the middle by default.

    Raises:
        ValueError: on images of differing sizes, an unknown layer, a cell outside of it, or gradients that are all 0.

    Source: W. Luo, Y. Li, R. Urtasun, R. Zemel: Understanding the Effective Receptive Field in Deep Convolutional
    Neural Networks, NIPS 2016.

    >>> model = torch.nn.Sequential(*[torch.nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(10)])
    >>> for convolution in model:
    ...     _ = torch.nn.init.ones_(convolution.weight)
    >>> field = effective_receptive_field(model, torch.rand(1, 1, 31, 31))
    >>> saccade.analysis.receptive_field(model, (1, 31, 31))[""].size
    (21, 21)
    >>> round(field.size, 1), round(field.deviation[0], 2)  # ten steps of -1, 0 or 1: the square root of 10 * 2/3
    (11.7, 2.58)
    """
    op = "effective_receptive_field"
    total: Tensor | None = None
    count = 0
    known = {name for name, _ in model.named_modules()}
    if layer not in known:
        raise ValueError(f"{op}: layer must be a name in model.named_modules(), got {layer!r}")
    at = tuple(cell) if cell is not None else None
    for batch in _batches(images):
        if total is not None and batch.shape[2:] != total.shape:
            raise ValueError(
                f"{op}: images must all have one size, got {tuple(total.shape)} and {tuple(batch.shape[2:])}"
            )
        pixels = batch.detach().clone().requires_grad_()
        with torch.enable_grad():
            output = outputs_of(model, pixels, {layer}).get(layer)
            if output is None or output.dim() != 4:
                shape = None if output is None else tuple(output.shape)
                raise ValueError(f"{op}: layer must return a map (N, C, rows, columns), got {shape} from {layer!r}")
            grid = (output.shape[2], output.shape[3])
            at = (grid[0] // 2, grid[1] // 2) if at is None else at
            if len(at) != 2 or not all(0 <= a < size for a, size in zip(at, grid, strict=True)):
                raise ValueError(f"{op}: cell must lie in the {grid} cells of {layer!r}, got {at}")
            (gradient,) = torch.autograd.grad(output[:, :, at[0], at[1]].sum(), pixels)
        magnitude = gradient.double().abs().sum((0, 1)).cpu()
        total = magnitude if total is None else total + magnitude
        count += len(batch)
    if total is None or at is None:
        raise ValueError(f"{op}: images must hold at least one image, got none")
    if not float(total.max()) > 0:
        raise ValueError(f"{op}: all gradients of cell {at} of {layer!r} are 0: no image lets anything through")
    return EffectiveField((total / total.max()).numpy(), layer, (at[0], at[1]), count)


def _batches(images: Iterable[Tensor] | Tensor) -> Iterable[Tensor]:
    for batch in [images] if isinstance(images, Tensor) else images:
        if batch.dim() not in (3, 4):
            raise ValueError(
                f"effective_receptive_field: images must have shape (N, C, H, W) or (C, H, W), got {tuple(batch.shape)}"
            )
        yield batch if batch.dim() == 4 else batch[None]
