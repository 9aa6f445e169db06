"""Proposals that come from outside the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Proposals", "SelectiveSearch", "boxes_of"]

Proposals = Callable[[Tensor], Tensor]


class SelectiveSearch:
    """Boxes of `saccade.classic.selective_search` for an image tensor.

    Args:
        mode: "single", "fast" or "quality".
        max_boxes: how many, at most.
        min_side: boxes of a shorter side are left out, in pixels.
        options: more of `saccade.classic.selective_search`.

    >>> image = torch.full((3, 60, 80), 0.8)
    >>> image[:, 10:30, 20:50] = 0.2
    >>> [20.0, 10.0, 50.0, 30.0] in SelectiveSearch("single")(image).tolist()
    True
    """

    def __init__(self, mode: str = "fast", *, max_boxes: int | None = 2000, min_side: int = 8, **options: Any) -> None:
        self.options = {"mode": mode, "max_boxes": max_boxes, "min_side": min_side, **options}

    def __call__(self, image: Tensor) -> Tensor:
        """Corners ``(N, 4)`` in pixels of ``image``, ``(3, H, W)`` or ``(1, H, W)`` in the range 0 to 1."""
        from saccade.classic.selective_search import selective_search  # models do without the rest of saccade.classic

        levels = (image.detach() * 255).round().clamp(0, 255).to("cpu", torch.uint8)
        pixels = levels[0] if len(levels) == 1 else levels.permute(1, 2, 0)
        boxes = torch.from_numpy(selective_search(np.asarray(pixels), **self.options)).to(image)
        return torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)


def boxes_of(op: str, images: Sequence[Tensor], proposals: Any, source: Proposals | None) -> list[Tensor]:
    """Proposals of each image, checked; from ``source`` where none are given."""
    if proposals is None:
        if source is None:
            raise ValueError(f"{op}: proposals must be given where the model has no source of its own, got None")
        return [source(image) for image in images]
    proposals = list(proposals)
    if len(proposals) != len(images):
        raise ValueError(f"{op}: proposals must be as many as images, got {len(proposals)} for {len(images)}")
    for number, (boxes, image) in enumerate(zip(proposals, images, strict=True)):
        if not isinstance(boxes, Tensor) or not boxes.is_floating_point():
            kind = boxes.dtype if isinstance(boxes, Tensor) else type(boxes).__name__
            raise TypeError(f"{op}: proposals[{number}] must be a floating tensor, got {kind}")
        if boxes.dim() != 2 or boxes.shape[1] != 4:
            raise ValueError(f"{op}: proposals[{number}] must have shape (N, 4), got {tuple(boxes.shape)}")
        height, width = image.shape[-2:]
        limits = boxes.new_tensor([width, height, width, height])
        good = (boxes[:, 2:] > boxes[:, :2]).all(1) & ((boxes >= 0) & (boxes <= limits)).all(1)
        if not bool(good.all()):
            worst = int(torch.where(~good)[0][0])
            raise ValueError(
                f"{op}: proposals[{number}] must have area and lie in its image of {height} x {width}, "
                f"got {boxes[worst].tolist()} at {worst}"
            )
    return proposals
