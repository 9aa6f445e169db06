"""Non-maximum suppression that lowers scores instead of dropping boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.ops._library import call, require_tensor

__all__ = ["soft_nms"]

_METHODS = {"naive": 0, "linear": 1, "gaussian": 2}


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    score_threshold: float = 1e-3,
    method: str = "gaussian",
) -> tuple[Tensor, Tensor]:
    """Take boxes in order of score, each time lowering the scores of those that overlap the one taken.

    Args:
        boxes: ``(N, 4)``, corners ``x1, y1, x2, y2``; float16, bfloat16, float32 or float64.
        scores: ``(N,)`` of the same dtype.
        iou_threshold: ``"linear"`` and ``"naive"`` act where the intersection over union is strictly greater.
        sigma: width of the decay of ``"gaussian"``.
        score_threshold: boxes whose score is, or falls, below it are dropped.
        method: what another score is multiplied by: ``"gaussian"``: ``exp(-iou**2 / sigma)``; ``"linear"``:
            ``1 - iou`` above the threshold; ``"naive"``: 0 above the threshold, and the box is dropped, as in `nms`.

    Returns:
        ``(keep, scores)``: int64 indices of the boxes in the order in which they were taken (ties: lower index first;
        NaN before all others), and their lowered scores, of the dtype of ``scores``.

    Raises:
        ValueError: on wrong shapes, a NaN threshold, ``sigma`` not greater than 0 or an unknown method;
            TypeError: on wrong dtypes.

    Source: Bodla et al., Soft-NMS: improving object detection with one line of code, ICCV 2017.

    >>> boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [20, 20, 30, 30]])
    >>> keep, scores = soft_nms(boxes, torch.tensor([0.9, 0.8, 0.7]), method="linear")
    >>> keep, scores
    (tensor([0, 2, 1]), tensor([0.9000, 0.7000, 0.1600]))
    """
    require_tensor("soft_nms", boxes=boxes, scores=scores)
    if method not in _METHODS:
        raise ValueError(f"soft_nms: method must be 'gaussian', 'linear' or 'naive', got {method!r}")
    op = torch.ops.saccade.soft_nms.default
    keep, kept = call(op, boxes, scores, iou_threshold, sigma, score_threshold, _METHODS[method])
    return keep, kept


@torch.library.register_fake("saccade::soft_nms")
def _(
    boxes: Tensor, scores: Tensor, iou_threshold: float, sigma: float, score_threshold: float, method: int
) -> tuple[Tensor, Tensor]:
    count = torch.library.get_ctx().new_dynamic_size()
    return boxes.new_empty(count, dtype=torch.int64), scores.new_empty(count)


for _device in ("cpu", "cuda"):
    torch.library.register_autocast("saccade::soft_nms", _device, torch.float32)
