"""Rectangles of image pixels, one for each element of a tensor, and what layers make of them.

An array ``(8, *shape)`` of float32 holds, for each element, ``top, left, -bottom, -right`` of the pixels that it
depends on (half-open), and the same four once more as they would be if the image went on beyond its border. All are
stored so that the union of two rectangles is the minimum, and "depends on nothing" is plus infinity. float32 is exact
up to 16 million, and every kernel of torch takes it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "NOTHING", "adaptive_windows", "crop_or_extend", "extend", "image_rectangles", "interpolated", "lined_up",
    "scattered", "windows",
]  # fmt: skip

NOTHING = math.inf
_LONGEST_PERIOD = 64


def image_rectangles(shape: tuple[int, ...]) -> Tensor:
    """Each pixel of an image ``(..., H, W)`` depends on itself."""
    rows = torch.arange(float(shape[-2]))[:, None].expand(shape)
    columns = torch.arange(float(shape[-1])).expand(shape)
    four = torch.stack([rows, columns, -(rows + 1), -(columns + 1)])
    return torch.cat([four, four])


def lined_up(rectangles: Tensor, dim: int) -> Tensor:
    """Leading axes of length 1, so that the elements broadcast as those of a tensor with ``dim`` axes do."""
    return rectangles.reshape(8, *[1] * (dim - rectangles.dim() + 1), *rectangles.shape[1:])


def extend(rectangles: Tensor, axis: int, before: int, after: int, jump: tuple[float, float]) -> Tensor:
    """Cells around a map, which negative padding cuts off: as far as the image goes, they depend on nothing.

    The other four planes go on as inside the map: exactly where it repeats itself after some cells, moved by pixels;
    otherwise by ``jump`` (pixels for each cell), rounded outwards.
    """
    if before < 0 or after < 0:
        length = rectangles.shape[axis] + min(after, 0) - max(-before, 0)
        rectangles = rectangles.narrow(axis, max(-before, 0), length)
        before, after = max(before, 0), max(after, 0)
    if before == after == 0:
        return rectangles
    inside, plane = rectangles.movedim(axis, -1).split(4)
    shape = (*inside.shape[:-1],)
    padded = torch.cat(
        [inside.new_full((*shape, before), NOTHING), inside, inside.new_full((*shape, after), NOTHING)], -1
    )
    cells = torch.arange(-before, inside.shape[-1] + after)
    return torch.cat([padded, _beyond(plane, cells, axis, jump)]).movedim(-1, axis)


def _beyond(plane: Tensor, cells: Tensor, axis: int, jump: tuple[float, float]) -> Tensor:
    """The planes at cell numbers that may lie outside of the map."""
    n = plane.shape[-1]
    period, shift = _period(plane)
    if period:
        turns = torch.div(cells, period, rounding_mode="floor")
        turns = torch.where((cells >= 0) & (cells < n), 0, turns)
        first = torch.where((cells >= 0) & (cells < n), cells, cells - turns * period)
        return plane[..., first] + torch.where(torch.isfinite(shift), shift, 0) * turns
    nearest = cells.clamp(0, n - 1)
    away = (cells - nearest) * (jump[0] if axis in (-2, plane.dim() - 2) else jump[1])
    along_rows = axis in (-2, plane.dim() - 2)
    signs = torch.tensor([1.0, 0, -1, 0] if along_rows else [0, 1.0, 0, -1]).reshape(4, *[1] * (plane.dim() - 1))
    return torch.floor(plane[..., nearest] + signs * away)


def _period(plane: Tensor) -> tuple[int, Tensor]:
    """After how many cells a map repeats itself, moved by how many pixels; 0 where it does not."""
    n = plane.shape[-1]
    for period in range(1, min(_LONGEST_PERIOD, n // 2) + 1):
        later, earlier = plane[..., period:], plane[..., :-period]
        moved = torch.where(torch.isinf(later) & torch.isinf(earlier), 0.0, later - earlier)
        shift = moved.amax(-1, keepdim=True)
        finite = torch.isfinite(earlier)
        if bool(((moved == shift) | ~finite).all()) and bool((torch.isfinite(later) == finite).all()):
            return period, shift
    return 0, plane.new_zeros(())


def windows(
    rectangles: Tensor,
    axis: int,
    out: int,
    kernel: int,
    stride: int,
    before: int,
    dilation: int,
    jump: tuple[float, float],
) -> Tensor:
    """What the ``out`` windows of a convolution or pooling along ``axis`` depend on."""
    reach = (out - 1) * stride + dilation * (kernel - 1) + 1
    padded = extend(rectangles, axis, before, reach - before - rectangles.shape[axis], jump)
    taps = [padded.narrow(axis, t * dilation, reach - dilation * (kernel - 1)) for t in range(kernel)]
    result = taps[0]
    for tap in taps[1:]:
        result = torch.minimum(result, tap)
    return _every(result, axis, stride)


def _every(values: Tensor, axis: int, stride: int) -> Tensor:
    return values[(slice(None),) * (axis % values.dim()) + (slice(None, None, stride),)]


def scattered(
    rectangles: Tensor,
    axis: int,
    out: int,
    kernel: int,
    stride: int,
    before: int,
    dilation: int,
    jump: tuple[float, float],
) -> Tensor:
    """What the ``out`` cells of a transposed convolution depend on: those along ``axis`` whose windows reach them."""
    margin = (dilation * (kernel - 1)) // stride + 1
    last = (out - 1 + before) // stride + 1  # no window starts behind it
    padded = extend(rectangles, axis, margin, max(0, last - rectangles.shape[axis]), jump)
    n = padded.shape[axis]
    shape = list(padded.shape)
    shape[axis] = max((n - 1) * stride + dilation * (kernel - 1) + 1, margin * stride + before + out)
    result = padded.new_full(shape, NOTHING)
    for t in range(kernel):
        taken = _every(result.narrow(axis, t * dilation, (n - 1) * stride + 1), axis, stride)
        taken.copy_(torch.minimum(taken, padded))
    return result.narrow(axis, margin * stride + before, out)


def adaptive_windows(rectangles: Tensor, axis: int, out: int) -> Tensor:
    """What the parts of an adaptive pooling along ``axis`` depend on."""
    n = rectangles.shape[axis]
    bounds = [(i * n // out, -(-(i + 1) * n // out)) for i in range(out)]
    return torch.cat([rectangles.narrow(axis, a, b - a).amin(axis, keepdim=True) for a, b in bounds], axis)


def interpolated(
    rectangles: Tensor, axis: int, out: int, taps: int, scale: float | None, align_corners: bool
) -> Tensor:
    """What cells of a resized map depend on; ``taps``: 1 nearest, 2 linear, 4 cubic; beyond the edge lies the edge."""
    n = rectangles.shape[axis]
    cells = torch.arange(out, dtype=torch.float64)
    if taps == 1:
        step = 1 / scale if scale else n / out
        first = torch.floor(cells * step).long()
        return rectangles.index_select(axis, first.clamp(0, n - 1))
    step = ((n - 1) / (out - 1) if out > 1 else 0.0) if align_corners else (1 / scale if scale else n / out)
    at = cells * step if align_corners else (cells + 0.5) * step - 0.5
    if taps == 2:
        at = at.clamp(min=0)
    first = torch.floor(at).long()
    on_cell = at == first
    result = rectangles.index_select(axis, first.clamp(0, n - 1))
    for offset in range(1 - taps // 2, taps // 2 + 1):
        # On a cell the others' weights are zero.
        cell = torch.where(on_cell, first, first + offset).clamp(0, n - 1)
        result = torch.minimum(result, rectangles.index_select(axis, cell))
    return result


def crop_or_extend(rectangles: Tensor, padding: list[int], jump: tuple[float, float]) -> Tensor:
    """Zeros around a tensor, as ``torch.nn.functional.pad`` counts them: from the last axis on, before and after."""
    for number in range(len(padding) // 2):
        axis = rectangles.dim() - 1 - number
        before, after = padding[2 * number : 2 * number + 2]
        if number < 2:
            rectangles = extend(rectangles, axis, before, after, jump)
        else:
            rectangles = torch.nn.functional.pad(rectangles, [0] * (2 * number) + [before, after], value=NOTHING)
    return rectangles
