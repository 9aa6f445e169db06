"""Overlap and suppression of rotated boxes, beside torchvision's overlaps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from saccade.benchmarking import Case, Work, close, reference

from . import _data, _greedy


def cases(quick: bool) -> Iterator[Case]:
    for count in (300,) if quick else (300, 1000):
        yield Case(
            name=f"box_iou_rotated/{count}x{count}",
            operation="box_iou_rotated",
            size=f"{count:,} × {count:,} clustered",
            prepare=partial(_box_iou_rotated, count),
        )
        yield Case(
            name=f"nms_rotated/{count}-iou0.5",
            operation="nms_rotated",
            size=f"{count:,} clustered, IoU 0.5",
            prepare=partial(_nms_rotated, count),
        )


def _box_iou_rotated(count: int) -> Work:
    import torch

    from saccade import ops

    boxes = torch.from_numpy(_data.rotated_boxes(count)[0])
    return Work(
        ours=lambda: ops.box_iou_rotated(boxes, boxes),
        references={
            "torchvision": reference("torchvision.ops", lambda tv: lambda: tv.box_iou(boxes, boxes, fmt="cxcywhr"))
        },
        verify=close(atol=1e-4),
    )


def _nms_rotated(count: int) -> Work:
    import torch

    from saccade import ops

    boxes, scores = map(torch.from_numpy, _data.rotated_boxes(count))

    def suppress(tv: Any) -> torch.Tensor:
        overlaps = tv.box_iou(boxes, boxes, fmt="cxcywhr")
        return torch.from_numpy(_greedy.nms_of_overlaps(overlaps.numpy(), scores.numpy(), 0.5))

    return Work(
        ours=lambda: ops.nms_rotated(boxes, scores, 0.5),
        references={"torchvision": reference("torchvision.ops", lambda tv: lambda: suppress(tv))},
    )
