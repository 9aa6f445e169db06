"""Boxes as what a regression learns: offsets from anchors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["BoxCoder"]


class BoxCoder:
    """Offsets of a box from an anchor: of the centre in sides of the anchor, and logarithms of the ratios of the sides.

    ``(wx (x - xa) / wa, wy (y - ya) / ha, ww log(w / wa), wh log(h / ha))`` for centres ``x, y`` and sides ``w, h``.

    Args:
        weights: ``wx, wy, ww, wh``; 1 for proposals, 10, 10, 5, 5 for the second stage.
        clip: the largest logarithm that is decoded; its default lets a side grow from 16 to 1000 pixels.

    Source: Girshick et al., R-CNN, 2014, appendix C; torchvision's BoxCoder, whose results it equals.

    >>> coder = BoxCoder((1, 1, 1, 1))
    >>> anchor, box = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[5.0, 0, 15, 10]])
    >>> coder.encode(box, anchor)
    tensor([[0.5000, 0.0000, 0.0000, 0.0000]])
    >>> coder.decode(coder.encode(box, anchor), anchor)
    tensor([[ 5.,  0., 15., 10.]])
    """

    def __init__(self, weights: Sequence[float], clip: float = math.log(1000 / 16)) -> None:
        if len(weights) != 4 or min(weights) <= 0:
            raise ValueError(f"BoxCoder: weights must be 4 positive numbers, got {weights!r}")
        self.weights = tuple(float(weight) for weight in weights)
        self.clip = clip

    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Offsets of ``boxes`` from ``anchors``, corners of shape ``(..., 4)`` both."""
        centre, sides = _centre_and_sides(boxes)
        origin, unit = _centre_and_sides(anchors)
        weights = boxes.new_tensor(self.weights)
        return torch.cat([weights[:2] * (centre - origin) / unit, weights[2:] * torch.log(sides / unit)], -1)

    def decode(self, codes: Tensor, anchors: Tensor) -> Tensor:
        """Corners of the boxes at the offsets ``codes``, ``(..., 4)``, from ``anchors``, of a shape that broadcasts."""
        origin, unit = _centre_and_sides(anchors.to(codes.dtype))
        weights = codes.new_tensor(self.weights)
        centre = codes[..., :2] / weights[:2] * unit + origin
        half = 0.5 * (torch.exp((codes[..., 2:] / weights[2:]).clamp(max=self.clip)) * unit)
        return torch.cat([centre - half, centre + half], -1)


def _centre_and_sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    sides = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * sides, sides
