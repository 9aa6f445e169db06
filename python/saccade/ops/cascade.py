"""Object detection with boosted cascades."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from saccade.ops._library import call, require_tensor, untraced

if TYPE_CHECKING:
    from saccade.classic import CascadeClassifier

__all__ = ["cascade_detect"]

_ARRAYS = (
    "stage_thresholds",
    "stage_trees",
    "tree_nodes",
    "nodes",
    "thresholds",
    "subsets",
    "leaves",
    "rects",
    "weights",
    "tilted",
)


@untraced
def cascade_detect(
    image: Tensor,
    cascade: CascadeClassifier,
    *,
    scale_factor: float = 1.1,
    min_neighbors: int = 3,
    min_size: tuple[int, int] | None = None,
    max_size: tuple[int, int] | None = None,
    return_scores: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Find objects of all sizes with a cascade, on the device of the image.

    Args:
        image: ``(H, W)`` uint8, grey.
        cascade: a `saccade.classic.CascadeClassifier`.
        scale_factor: the size of the window grows by this factor from one scale to the next; above 1.
        min_neighbors: a group of raw detections needs more than this many; 0 returns the raw detections.
        min_size: smallest object, ``(width, height)`` in pixels. Where no scale is left, the nearest is searched.
        max_size: largest object; the image's size unless given.
        return_scores: also return the sum of the last stage (of a group: the largest).

    Returns:
        ``(N, 4)`` int32 boxes ``x, y, width, height``, on the image's device; with ``return_scores`` also ``(N,)``
        float64 scores. Raw detections are ordered by scale, y and x, groups by their first raw detection.

    Raises:
        ValueError: on wrong shapes or parameters; TypeError: on a wrong dtype.

    Equals ``cascade.detect`` on every device. Raw windows are grouped on the CPU. `torch.compile` leaves the call as it
    is.

    >>> import torch
    >>> from saccade import ops
    >>> from saccade.classic import CascadeClassifier
    >>> stump = b'''<opencv_storage><cascade>
    ...   <stageType>BOOST</stageType> <featureType>HAAR</featureType> <height>8</height> <width>8</width>
    ...   <featureParams><maxCatCount>0</maxCatCount></featureParams>
    ...   <stages><_><stageThreshold>0.5</stageThreshold><weakClassifiers><_>
    ...     <internalNodes>0 -1 0 1.7</internalNodes><leafValues>0 1</leafValues></_></weakClassifiers></_></stages>
    ...   <features><_><rects><_>0 0 8 8 -1</_><_>0 0 4 8 2</_></rects></_></features>
    ... </cascade></opencv_storage>'''
    >>> image = torch.zeros(8, 20, dtype=torch.uint8)
    >>> image[:, 4:8] = 200  # a window at x = 4 is bright on the left, dark on the right
    >>> ops.cascade_detect(image, CascadeClassifier.load(stump), min_neighbors=0, max_size=(8, 8))
    tensor([[4, 0, 8, 8]], dtype=torch.int32)
    """
    require_tensor("cascade_detect", image=image)
    boxes, scores = call(
        torch.ops.saccade.cascade_detect.default,
        image,
        cascade.feature_type == "HAAR",
        *cascade.window_size,
        _model(cascade),
        float(scale_factor),
        operator.index(min_neighbors),
        list(min_size or (0, 0)),
        list(max_size or (0, 0)),
    )
    return (boxes, scores) if return_scores else boxes


def _model(cascade: CascadeClassifier) -> list[Tensor]:
    arrays = cascade._impl.arrays()
    return [torch.from_numpy(arrays[name]) for name in _ARRAYS]


@torch.library.register_fake("saccade::cascade_detect")
def _(
    image: Tensor,
    haar: bool,
    width: int,
    height: int,
    model: list[Tensor],
    scale_factor: float,
    min_neighbors: int,
    min_size: list[int],
    max_size: list[int],
) -> tuple[Tensor, Tensor]:
    count = torch.library.get_ctx().new_dynamic_size()
    return image.new_empty((count, 4), dtype=torch.int32), image.new_empty((count,), dtype=torch.float64)
