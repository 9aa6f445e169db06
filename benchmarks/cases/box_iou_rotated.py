"""Overlap of rotated boxes, beside torchvision's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from saccade.benchmarking import Case, Work, close, reference

from . import _data


def cases(quick: bool) -> Iterator[Case]:
    for count in (300,) if quick else (300, 1000):
        yield Case(
            name=f"box_iou_rotated/{count}x{count}",
            operation="box_iou_rotated",
            size=f"{count:,} × {count:,} clustered",
            prepare=partial(_box_iou_rotated, count),
        )


def _box_iou_rotated(count: int) -> Work:
    import torch

    from saccade import ops

    corners = torch.from_numpy(_data.clustered_boxes(count)[0])
    angle = torch.from_numpy(np.random.default_rng(2).uniform(-90, 90, (count, 1)).astype(np.float32))
    boxes = torch.cat([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2], angle], 1)
    return Work(
        ours=lambda: ops.box_iou_rotated(boxes, boxes),
        references={
            "torchvision": reference("torchvision.ops", lambda tv: lambda: tv.box_iou(boxes, boxes, fmt="cxcywhr"))
        },
        verify=close(atol=1e-4),
    )
