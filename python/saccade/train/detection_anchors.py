"""Anchors of YOLO from the boxes of a data set."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Subset

from saccade.models.detection import cluster_anchors

__all__ = ["yolo_anchors"]

_IMAGES = 5000  # of a data set, whose boxes are enough


def yolo_anchors(model: Any, dataset: Any, *, generator: torch.Generator | None = None) -> list[list[float]]:
    """As many anchors as a YOLO has, fitted to a data set by :func:`saccade.models.detection.cluster_anchors`.

    They are in the model's units (cells or pixels of its input), to be given to the constructor of its name.

    Args:
        model: a saccade.models.detection.YOLO; its input size, grids and number of anchors are taken.
        dataset: of ``(image, target)``; where it has ``target(index)`` and ``sizes``, images are not read.
        generator: of the random numbers.

    Raises:
        ValueError: where there are fewer different boxes than anchors.
    """
    height, width = model.image_size
    sides = [
        (boxes[:, 2:] - boxes[:, :2]) * min(width / size[1], height / size[0])
        for boxes, size in (_boxes(dataset, index) for index in range(min(len(dataset), _IMAGES)))
    ]
    count = sum(len(anchors) for anchors in model.anchors)
    anchors, _ = cluster_anchors(torch.cat(sides), count, generator=generator)
    if model.in_cells:
        with torch.no_grad():
            probe = torch.zeros(1, 3, height, width)
            (cells,) = model.eval().predict(probe)[2]
        anchors = anchors / torch.tensor([width / cells[1], height / cells[0]])
    return [[round(side, 4) for side in anchor] for anchor in anchors.tolist()]


def _boxes(dataset: Any, index: int) -> tuple[Tensor, tuple[int, int]]:
    inner: Any = dataset
    while True:
        if isinstance(inner, Subset):
            inner, index = inner.dataset, inner.indices[index]
        elif hasattr(inner, "augment"):  # boxes as they are annotated
            inner = inner.dataset
        else:
            break
    if hasattr(inner, "target") and hasattr(inner, "sizes"):
        return inner.target(index)["boxes"], inner.sizes[index]
    image, target = inner[index][:2]
    return target["boxes"], (image.shape[-2], image.shape[-1])
