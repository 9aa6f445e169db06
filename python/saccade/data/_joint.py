"""Transforms of images together with their boxes and masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from saccade._extras import require

__all__ = ["Joint"]

_BY_OBJECT = ("boxes", "labels", "masks", "iscrowd", "area")


class Joint:
    """A transform of torchvision for ``(image, target)``: boxes and masks go where the pixels go.

    Objects of which too little is left in the image are dropped, the other ones' boxes end at its edge. Random numbers
    are torch's, so that :func:`saccade.data.loader` makes them reproducible.

    Args:
        transform: of torchvision.transforms.v2, e.g. of :func:`augmentation`: scales, crops and mirrors.
        min_visible: the share of a box that must lie in the image, or of its mask where there is one.
        min_side: pixels that both sides of a box must have.

    Called with an image ``(C, H, W)`` and a target of ``boxes`` ``(N, 4)``, ``labels``, and maybe ``masks``,
    ``iscrowd`` and ``area``, it returns both anew. Nothing is changed in place.

    Raises:
        ValueError: for values out of range. ImportError: without torchvision.

    >>> from torchvision.transforms import v2
    >>> mirror = saccade.data.transforms.Joint(v2.RandomHorizontalFlip(1.0))
    >>> image, target = mirror(torch.rand(3, 20, 40), {"boxes": torch.tensor([[0.0, 1, 10, 9]]), "labels": torch.tensor([2])})
    >>> target["boxes"], target["labels"]
    (tensor([[30.,  1., 40.,  9.]]), tensor([2]))
    """  # noqa: E501

    def __init__(self, transform: Callable[..., Any], *, min_visible: float = 0.4, min_side: float = 2.0) -> None:
        if not 0 <= min_visible <= 1:
            raise ValueError(f"Joint: min_visible must be from 0 to 1, got {min_visible}")
        if min_side < 0:
            raise ValueError(f"Joint: min_side must not be negative, got {min_side}")
        self.transform, self.min_visible, self.min_side = transform, min_visible, min_side
        self._wrapped = require("torchvision.tv_tensors", "Joint", "train")

    def __getstate__(self) -> dict[str, Any]:
        """Without the module, which cannot be pickled."""
        return {name: value for name, value in self.__dict__.items() if name != "_wrapped"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """With it again."""
        self.__dict__.update(state)
        self._wrapped = require("torchvision.tv_tensors", "Joint", "train")

    def __call__(self, image: Tensor, target: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """Transform both."""
        wrapped = self._wrapped
        size = (image.shape[-2], image.shape[-1])
        boxes = wrapped.BoundingBoxes(target["boxes"], format="XYXY", canvas_size=size, clamping_mode=None)
        moved: dict[str, Any] = {"boxes": boxes}
        if "masks" in target:
            moved["masks"] = wrapped.Mask(target["masks"])
        picture, moved = self.transform(wrapped.Image(image), moved)
        picture = picture.as_subclass(torch.Tensor)
        whole = moved["boxes"].as_subclass(torch.Tensor)
        new: dict[str, Any] = {**target}
        height, width = picture.shape[-2:]
        inside = torch.minimum(whole.clamp(min=0), whole.new_tensor([width, height, width, height]))
        sides = inside[:, 2:] - inside[:, :2]
        extent = whole[:, 2:] - whole[:, :2]
        share = sides.clamp(min=0).prod(1) / extent.prod(1)
        if "masks" in target:
            new["masks"] = moved["masks"].as_subclass(torch.Tensor)
            # Scales change areas as they change the boxes'.
            grown = extent.prod(1) / (target["boxes"][:, 2:] - target["boxes"][:, :2]).prod(1)
            before, after = (masks.flatten(1).sum(1) for masks in (target["masks"], new["masks"]))
            share = torch.where(before > 0, after / (before * grown).clamp(min=1e-6), share)
        if "area" in target:  # of the object, as the annotation says: it changes as what is seen of the box does
            seen = sides.clamp(min=0).prod(1) / (target["boxes"][:, 2:] - target["boxes"][:, :2]).prod(1)
            new["area"] = target["area"] * seen
        new["boxes"] = inside
        keep = (share >= self.min_visible) & (sides >= self.min_side).all(1)
        for name in _BY_OBJECT:
            if name in new:
                new[name] = new[name][keep]
        return picture, new
