"""Box operations with kernels of their own, beside torchvision's compositions of torch operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.benchmarking import Case, Work, close, exact, reference

from . import _data

FUNCTIONS = ("box_iou", "generalized_box_iou", "distance_box_iou", "complete_box_iou")


def cases(quick: bool) -> Iterator[Case]:
    for name in FUNCTIONS[:1] if quick else FUNCTIONS:
        yield Case(
            name=f"{name}/1000x1000",
            operation=name,
            group="box_iou",
            size="1,000 × 1,000",
            threads=(1, 2),
            prepare=partial(_box_iou, name, 1000, 1000),
        )
    if quick:
        return
    yield Case(
        name="box_iou/20x200000",
        operation="box_iou",
        group="box_iou",
        size="20 objects × 200,000 anchors",
        threads=(1, 2),
        prepare=partial(_box_iou, "box_iou", 20, 200_000),
    )
    yield Case(
        name="generalized_box_iou/backward-1000x1000",
        operation="generalized_box_iou backward",
        group="box_iou backward",
        size="1,000 × 1,000",
        threads=(1, 2),
        prepare=_backward,
    )
    yield Case(
        name="masks_to_boxes/100x800x1333",
        operation="masks_to_boxes",
        size="100 masks of 1333×800",
        threads=(1, 2),
        prepare=_masks_to_boxes,
    )


def _box_iou(name: str, n: int, m: int) -> Work:
    import torch

    from saccade import ops

    a, b = (torch.from_numpy(_data.uniform_boxes(count, seed)[0]) for count, seed in ((n, 0), (m, 1)))
    ours: Callable[..., Any] = getattr(ops, name)
    return Work(
        ours=lambda: ours(a, b),
        references={"torchvision": reference("torchvision.ops", lambda tv: lambda: getattr(tv, name)(a, b))},
        # The complete IoU has arc tangents, which differ in the last bit.
        verify=close(atol=1e-6) if name == "complete_box_iou" else exact,
        bytes=4.0 * (n * m + 4 * n + 4 * m),
    )


def _backward() -> Work:
    import torch

    from saccade import ops

    boxes = [torch.from_numpy(_data.uniform_boxes(1000, seed)[0]).requires_grad_() for seed in (0, 1)]
    weights = torch.rand(1000, 1000, generator=torch.Generator().manual_seed(0))

    def gradients(function: Callable[..., Any]) -> Callable[[], Any]:
        result = function(*boxes)
        return lambda: torch.autograd.grad(result, boxes, weights, retain_graph=True)

    return Work(
        ours=gradients(ops.generalized_box_iou),
        references={"torchvision": reference("torchvision.ops", lambda tv: gradients(tv.generalized_box_iou))},
        verify=close(rtol=1e-4),
    )


def _masks_to_boxes() -> Work:
    import torch

    from saccade import ops

    masks = torch.from_numpy(_rectangles(100, _data.IMAGE_HEIGHT, _data.IMAGE_WIDTH))
    return Work(
        ours=lambda: ops.masks_to_boxes(masks),
        references={"torchvision": reference("torchvision.ops", lambda tv: lambda: tv.masks_to_boxes(masks))},
        bytes=float(masks.numel()),
    )


def _rectangles(count: int, height: int, width: int) -> NDArray[np.bool_]:
    """Masks of one object each, as a detector gives them: a box of the image, the corners of it cut off."""
    masks = np.zeros((count, height, width), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, _data.uniform_boxes(count)[0].clip(0).astype(int), strict=True):
        y, x = np.ogrid[y1 : y2 + 1, x1 : x2 + 1]
        inside = ((2 * x - x1 - x2) / (x2 - x1 + 1)) ** 2 + ((2 * y - y1 - y2) / (y2 - y1 + 1)) ** 2 <= 1
        window = mask[y1 : y2 + 1, x1 : x2 + 1]
        window |= inside[: window.shape[0], : window.shape[1]]
    return masks
