"""Integral images and the mean filter, beside OpenCV's; sums over boxes, beside NumPy's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from saccade.benchmarking import Case, Difference, Work, close, exact, reference

from . import _data

# What cv2 computes for uint8: int32 sums, float64 squares, int32 tilted sums; and the bytes that a pixel takes.
OUTPUTS = {"sum": 4, "squared": 12, "tilted": 8, "all": 16}
# cv2.integral moves image and sums at the speed of memory already, on one thread.
BARS: dict[str, float | dict[int, float]] = {"sum": {1: 1.2, 2: 1.8}, "squared": 1.5, "tilted": 8.0}


def cases(quick: bool) -> Iterator[Case]:
    for width, height in [(1920, 1080)] if quick else [(512, 512), (1920, 1080), (3840, 2160)]:
        for output in OUTPUTS:
            yield Case(
                name=f"integral_image/{output}-{width}x{height}",
                operation="integral_image",
                group=f"integral_image, {output}",
                size=f"uint8 {width}×{height}, {output}",
                threads=(1, 2),
                bar=BARS.get(output) if width > 512 else None,
                prepare=partial(_integral, output, width, height),
            )
        for size in (5, 31):
            yield Case(
                name=f"box_filter/{size}-{width}x{height}",
                operation="box_filter",
                group="box_filter",
                size=f"uint8 {width}×{height}, {size}×{size}",
                threads=(1, 2),
                bar={1: 1.3, 2: 1.8} if size == 5 else {1: 2.5, 2: 4.0},
                prepare=partial(_filter, size, width, height),
            )
    for count in (100_000,) if quick else (1000, 100_000):
        yield Case(
            name=f"box_sum/{count}-1920x1080",
            operation="box_sum",
            size=f"{count:,} boxes of 1920×1080",
            threads=(1, 2),
            prepare=partial(_box_sum, count),
        )


def _integral(output: str, width: int, height: int) -> Work:
    from saccade.classic import integral_image

    image = _data.astronaut(width, height)
    squared, tilted = output in ("squared", "all"), output in ("tilted", "all")
    name = "integral3" if tilted else "integral2" if squared else "integral"

    def verify(ours: Any, theirs: Any) -> Difference:
        return exact(
            ours, (theirs[0], theirs[2]) if output == "tilted" else theirs
        )  # cv2 has no tilted without squares

    return Work(
        ours=lambda: integral_image(image, squared=squared, tilted=tilted),
        references={f"cv2.{name}": reference("cv2", lambda cv2: partial(getattr(cv2, name), image))},
        verify=verify,
        bytes=(1 + OUTPUTS[output]) * width * height,
    )


def _filter(size: int, width: int, height: int) -> Work:
    from saccade.classic import box_filter

    image = _data.astronaut(width, height)
    return Work(
        ours=lambda: box_filter(image, size),
        references={"cv2.blur": reference("cv2", lambda cv2: lambda: cv2.blur(image, (size, size)))},
        verify=close(atol=1),
        bytes=2 * width * height,
    )


def _box_sum(count: int) -> Work:
    import numpy as np
    import torch

    from saccade import ops

    sums = ops.integral_image(torch.from_numpy(_data.astronaut(1920, 1080).copy()))
    boxes = torch.from_numpy(_data.uniform_boxes(count)[0]).long()
    boxes[:, 0::2].clamp_(0, 1920)
    boxes[:, 1::2].clamp_(0, 1080)
    table, (x1, y1, x2, y2) = sums.numpy(), np.ascontiguousarray(boxes.numpy().T)
    return Work(
        ours=lambda: ops.box_sum(sums, boxes),
        references={"numpy": lambda: table[y2, x2] - table[y1, x2] - table[y2, x1] + table[y1, x1]},
        bytes=(32 + 16 + 4) * count,
    )
