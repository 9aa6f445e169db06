"""Probabilities for images of any size: windows, several scales, mirror images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from saccade.models._checks import positive
from saccade.models.segmentation._resize import resize

__all__ = ["predict"]


@torch.no_grad()
def predict(
    model: nn.Module,
    images: Tensor,
    *,
    window: int | tuple[int, int] | None = None,
    overlap: float = 1 / 3,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    multiple: int = 1,
    plus: int = 0,
    fill: float = 0.0,
) -> Tensor:
    """The probability of each class at each pixel, the mean over windows, scales and mirror images.

    Args:
        model: gives logits ``(N, classes, H, W)``, or several with the main ones first or under ``"out"``; in
            evaluation mode.
        images: ``(N, C, H, W)``, prepared as for the model.
        window: height and width of the windows that the model gets, or their side; None: whole images.
        overlap: least part of a window that the next one shares, from 0 to below 1.
        scales: factors by which the images are resized, bilinearly; probabilities are resized back.
        flip: whether the mean is also over images mirrored left to right.
        multiple, plus: sides that the model takes are ``k * multiple + plus``: whole images are padded to them. For
            PSPNet 8 and 1. A window has to be of such sides itself.
        fill: value of padding on the right and at the bottom, where an image is smaller than the window or the sides
            have to grow; 0 is the mean of images whose mean was taken off.

    Returns:
        ``(N, classes, H, W)``: softmax, for a single class the logistic sigmoid.

    Raises:
        ValueError: for a model in training mode and for arguments out of range.

    Source: the evaluation of Zhao et al., Pyramid Scene Parsing Network, 2017, and of Farabet et al., Learning
    Hierarchical Features for Scene Labeling, 2013.

    >>> model = saccade.models.pspnet_small(classes=4).eval()
    >>> images = torch.rand(1, 3, 50, 70)
    >>> found = saccade.models.segmentation.predict(model, images, window=33, scales=(0.75, 1, 1.25), flip=True)
    >>> found.shape, torch.allclose(found.sum(1), torch.ones(1, 50, 70))
    (torch.Size([1, 4, 50, 70]), True)
    """
    _check(model, images, overlap, scales, multiple, plus)
    size = images.shape[2:]
    if window is not None:
        window = (window, window) if isinstance(window, int) else window
        positive("predict", window=window[0])
        positive("predict", window=window[1])
    total = None
    for scale in scales:
        scaled = [max(1, round(side * scale)) for side in size]
        resized = images if scaled == list(size) else resize(images, scaled)
        for mirrored in (False, True)[: 1 + flip]:
            seen = resized.flip(3) if mirrored else resized
            if window is None:
                found = _whole(model, seen, multiple, plus, fill)
            else:
                found = _by_windows(model, seen, window, overlap, fill)
            found = found.flip(3) if mirrored else found
            found = found if scaled == list(size) else resize(found, size)
            total = found if total is None else total + found
    assert total is not None
    return total / (len(scales) * (1 + flip))


def _check(model: nn.Module, images: Tensor, overlap: float, scales: Sequence[float], multiple: int, plus: int) -> None:
    if model.training:
        raise ValueError("predict: model must be in evaluation mode (model.eval())")
    if not isinstance(images, Tensor) or images.dim() != 4 or 0 in images.shape[2:]:
        got = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"predict: images must have shape (N, C, H, W), got {got}")
    if not 0 <= overlap < 1:
        raise ValueError(f"predict: overlap must be from 0 to below 1, got {overlap!r}")
    if not scales or not all(0 < scale < math.inf for scale in scales):
        raise ValueError(f"predict: scales must be positive, and one at least, got {scales!r}")
    positive("predict", multiple=multiple)
    if not 0 <= plus < multiple:
        raise ValueError(f"predict: plus must be from 0 to below multiple={multiple}, got {plus}")


def _probabilities(model: nn.Module, images: Tensor) -> Tensor:
    found: Any = model(images)
    if isinstance(found, dict):
        found = found["out"]
    elif isinstance(found, (tuple, list)):
        found = found[0]
    if found.shape[2:] != images.shape[2:]:
        found = resize(found, images.shape[2:])
    return found.sigmoid() if found.shape[1] == 1 else found.softmax(1)


def _padded(images: Tensor, height: int, width: int, fill: float) -> Tensor:
    rows, columns = max(0, height - images.shape[2]), max(0, width - images.shape[3])
    return functional.pad(images, (0, columns, 0, rows), value=fill) if rows or columns else images


def _whole(model: nn.Module, images: Tensor, multiple: int, plus: int, fill: float) -> Tensor:
    height, width = images.shape[2:]
    wanted = [-(-(side - plus) // multiple) * multiple + plus for side in (height, width)]
    return _probabilities(model, _padded(images, wanted[0], wanted[1], fill))[:, :, :height, :width]


def _by_windows(model: nn.Module, images: Tensor, window: tuple[int, int], overlap: float, fill: float) -> Tensor:
    height, width = images.shape[2:]
    images = _padded(images, window[0], window[1], fill)
    total = None
    for y in _starts(images.shape[2], window[0], overlap):
        for x in _starts(images.shape[3], window[1], overlap):
            there = (..., slice(y, y + window[0]), slice(x, x + window[1]))
            found = _probabilities(model, images[there])
            if total is None:
                total = found.new_zeros(*found.shape[:2], *images.shape[2:])
                count = found.new_zeros(images.shape[2:])
            total[there] += found
            count[there] += 1
    assert total is not None
    return (total / count)[:, :, :height, :width]


def _starts(size: int, window: int, overlap: float) -> list[int]:
    """As few windows as the overlap allows, in equal steps as far as whole pixels go, from border to border."""
    step = max(1, math.floor(window * (1 - overlap)))
    count = 1 + -(-(size - window) // step)
    return [round(i * (size - window) / max(1, count - 1)) for i in range(count)]
