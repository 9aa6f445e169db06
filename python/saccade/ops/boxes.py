"""Areas, formats and limits of boxes: element-wise, differentiable, composed from torch operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from saccade.ops._library import require_tensor

__all__ = ["box_area", "box_convert", "clip_boxes_to_image", "remove_small_boxes"]

ROTATED_FORMATS = ("cxcywhr", "xywhr", "xyxyxyxy")
_WIDTH = {"xyxy": 4, "xywh": 4, "cxcywh": 4, "cxcywhr": 5, "xywhr": 5, "xyxyxyxy": 8}


def box_area(boxes: Tensor, fmt: str = "xyxy") -> Tensor:
    """Area of each box: width times height, without any + 1.

    Args:
        boxes: ``(..., 4)``; floating or integer dtype.
        fmt: ``"xyxy"``, ``"xywh"`` or ``"cxcywh"``.

    Returns:
        ``(...)``: float32 for narrower floats, int32 for narrower integers, otherwise the dtype of the boxes.

    Raises:
        ValueError: on a wrong shape or an unknown format; TypeError: if boxes is not a tensor.

    Source: torchvision.ops.box_area, whose results it equals.

    >>> box_area(torch.tensor([[1.0, 2, 4, 8]]))
    tensor([18.])
    """
    _require_boxes("box_area", boxes, 4)
    if fmt not in ("xyxy", "xywh", "cxcywh"):
        raise ValueError(f"box_area: fmt must be one of xyxy, xywh, cxcywh, got {fmt!r}")
    if boxes.dtype not in (torch.float32, torch.float64, torch.int32, torch.int64):
        boxes = boxes.float() if boxes.is_floating_point() else boxes.int()
    if fmt == "xyxy":
        return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return boxes[..., 2] * boxes[..., 3]


def box_convert(boxes: Tensor, in_fmt: str, out_fmt: str) -> Tensor:
    """Boxes in another format.

    Formats: ``xyxy`` corners; ``xywh`` corner and size; ``cxcywh`` centre and size; and, turned by r degrees
    counter-clockwise, ``cxcywhr``, ``xywhr`` (the corner turns with the box) and ``xyxyxyxy`` (four corners, clockwise
    from the top left one). Upright and turned formats do not convert into each other.

    Args:
        boxes: ``(..., 4)``, ``(..., 5)`` or ``(..., 8)``, as the format has it; floating or integer dtype.
        in_fmt: their format.
        out_fmt: the format wanted.

    Returns:
        A new tensor; integer boxes become float32 where halves can occur (a centre), turned integer boxes are rounded.

    Raises:
        ValueError: on a wrong shape or an unknown format; NotImplementedError: between upright and turned formats.

    Source: torchvision.ops.box_convert, whose results it equals.

    >>> box_convert(torch.tensor([[0.0, 0, 10, 20]]), "xyxy", "cxcywh")
    tensor([[ 5., 10., 10., 20.]])
    """
    for name, fmt in (("in_fmt", in_fmt), ("out_fmt", out_fmt)):
        if fmt not in _WIDTH:
            raise ValueError(f"box_convert: {name} must be one of {', '.join(_WIDTH)}, got {fmt!r}")
    _require_boxes("box_convert", boxes, _WIDTH[in_fmt])
    if in_fmt == out_fmt:
        return boxes.clone()
    if (in_fmt in ROTATED_FORMATS) != (out_fmt in ROTATED_FORMATS):
        raise NotImplementedError(f"box_convert: {in_fmt} boxes cannot become {out_fmt} ones: one of them is turned")
    if in_fmt not in ROTATED_FORMATS:
        corners = _TO_CORNERS[in_fmt](boxes) if in_fmt != "xyxy" else boxes
        return _FROM_CORNERS[out_fmt](corners) if out_fmt != "xyxy" else corners
    for step in _TURNED_STEPS[in_fmt, out_fmt]:
        turned = step(boxes)
        boxes = turned if boxes.is_floating_point() else turned.round().to(boxes.dtype)
    return boxes


def clip_boxes_to_image(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes with their corners moved into the image: x into [0, width], y into [0, height].

    Args:
        boxes: ``(..., 4)`` corners ``x1, y1, x2, y2``; floating or integer dtype.
        size: ``(height, width)`` of the image.

    Returns:
        A new tensor of the same shape and dtype. NaN stays NaN.

    Raises:
        ValueError: on a wrong shape; TypeError: if boxes is not a tensor.

    Source: torchvision.ops.clip_boxes_to_image, whose results it equals.

    >>> clip_boxes_to_image(torch.tensor([[-5.0, 2, 30, 40]]), (20, 25))
    tensor([[ 0.,  2., 25., 20.]])
    """
    _require_boxes("clip_boxes_to_image", boxes, 4)
    height, width = size
    x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return torch.stack((x, y), -1).flatten(-2)


def remove_small_boxes(boxes: Tensor, min_size: float) -> Tensor:
    """Indices of the boxes whose width and height are both at least ``min_size``.

    Args:
        boxes: ``(N, 4)`` corners ``x1, y1, x2, y2``; floating or integer dtype.
        min_size: smallest side that is kept.

    Returns:
        int64 ``(K,)``, ascending. A box with a NaN is not kept.

    Raises:
        ValueError: on a wrong shape; TypeError: if boxes is not a tensor.

    Source: torchvision.ops.remove_small_boxes, whose results it equals.

    >>> remove_small_boxes(torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 1]]), 2)
    tensor([0])
    """
    _require_boxes("remove_small_boxes", boxes, 4)
    sides = boxes[..., 2:] - boxes[..., :2]
    return torch.where((sides >= min_size).all(-1))[0]


def _require_boxes(op: str, boxes: Tensor, width: int) -> None:
    require_tensor(op, boxes=boxes)
    if boxes.ndim == 0 or boxes.shape[-1] != width:
        raise ValueError(f"{op}: boxes must have shape (..., {width}), got {tuple(boxes.shape)}")


def _corners_of_xywh(boxes: Tensor) -> Tensor:
    corner, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat((corner, corner + size), -1)


def _corners_of_cxcywh(boxes: Tensor) -> Tensor:
    centre, half = boxes[..., :2], 0.5 * boxes[..., 2:]
    return torch.cat((centre - half, centre + half), -1)


def _xywh_of_corners(boxes: Tensor) -> Tensor:
    return torch.cat((boxes[..., :2], boxes[..., 2:] - boxes[..., :2]), -1)


def _cxcywh_of_corners(boxes: Tensor) -> Tensor:
    return torch.cat(((boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]), -1)


def _turn(degrees: Tensor) -> tuple[Tensor, Tensor]:
    radians = degrees * torch.pi / 180.0
    return torch.cos(radians), torch.sin(radians)


def _xywhr_of_cxcywhr(boxes: Tensor) -> Tensor:
    cx, cy, w, h, r = boxes.unbind(-1)
    cos, sin = _turn(r)
    return torch.stack((cx - w / 2 * cos - h / 2 * sin, cy - h / 2 * cos + w / 2 * sin, w, h, r), -1)


def _cxcywhr_of_xywhr(boxes: Tensor) -> Tensor:
    x, y, w, h, r = boxes.unbind(-1)
    cos, sin = _turn(r)
    return torch.stack((x + w / 2 * cos + h / 2 * sin, y - w / 2 * sin + h / 2 * cos, w, h, r), -1)


def _points_of_xywhr(boxes: Tensor) -> Tensor:
    x1, y1, w, h, r = boxes.unbind(-1)
    cos, sin = _turn(r)
    x2, y2 = x1 + w * cos, y1 - w * sin
    down_x, down_y = h * sin, h * cos
    return torch.stack((x1, y1, x2, y2, x2 + down_x, y2 + down_y, x1 + down_x, y1 + down_y), -1)


def _xywhr_of_points(boxes: Tensor) -> Tensor:
    x1, y1, x2, y2, x3, y3 = boxes[..., :6].unbind(-1)
    r = torch.atan2(y1 - y2, x2 - x1) * 180 / torch.pi
    w = ((x2 - x1) ** 2 + (y1 - y2) ** 2).sqrt()
    h = ((x3 - x2) ** 2 + (y3 - y2) ** 2).sqrt()
    return torch.stack((x1, y1, w, h, r), -1)


_Step = Callable[[Tensor], Tensor]
_TO_CORNERS: dict[str, _Step] = {"xywh": _corners_of_xywh, "cxcywh": _corners_of_cxcywh}
_FROM_CORNERS: dict[str, _Step] = {"xywh": _xywh_of_corners, "cxcywh": _cxcywh_of_corners}
_TURNED_STEPS: dict[tuple[str, str], Sequence[_Step]] = {
    ("cxcywhr", "xywhr"): (_xywhr_of_cxcywhr,),
    ("xywhr", "cxcywhr"): (_cxcywhr_of_xywhr,),
    ("xywhr", "xyxyxyxy"): (_points_of_xywhr,),
    ("xyxyxyxy", "xywhr"): (_xywhr_of_points,),
    ("cxcywhr", "xyxyxyxy"): (_xywhr_of_cxcywhr, _points_of_xywhr),
    ("xyxyxyxy", "cxcywhr"): (_xywhr_of_points, _cxcywhr_of_xywhr),
}
