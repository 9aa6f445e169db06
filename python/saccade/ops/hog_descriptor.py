"""OpenCV's HOG descriptor and detector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from saccade._hog import window_padding, window_stride
from saccade.ops._library import call, require_tensor, untraced

if TYPE_CHECKING:
    from saccade.classic import HOGDescriptor

__all__ = ["hog_descriptors", "hog_detect"]


@untraced
def hog_descriptors(
    image: Tensor,
    descriptor: HOGDescriptor,
    *,
    win_stride: tuple[int, int] | None = None,
    padding: tuple[int, int] = (0, 0),
    locations: Tensor | Sequence[tuple[int, int]] | None = None,
) -> Tensor:
    """The HOG descriptors of windows, on the device of the image. Not differentiable.

    Args:
        image: uint8, ``(H, W)`` or ``(H, W, 3)``.
        descriptor: a `saccade.classic.HOGDescriptor`.
        win_stride: between windows, ``(width, height)`` in pixels; ``cell_size`` unless given.
        padding: how far windows may reach beyond the image, which is mirrored there; rounded up to a multiple of the
            greatest common divisor of ``win_stride`` and ``block_stride``.
        locations: ``(N, 2)`` integers ``x, y``, the upper left corners of the windows, on any device: they are read on
            the CPU. A grid unless given.

    Returns:
        ``(N, descriptor.descriptor_size)`` float32, on the image's device. Windows of the grid are ordered by y,
        then x.

    Raises:
        ValueError: where no window fits, or for wrong shapes or parameters; TypeError: for a wrong dtype.

    On the CPU it is ``descriptor.compute``, bit for bit. On CUDA sums have the same order, but square roots are rounded
    correctly, which the CPU's reciprocal ones are not: values differ by 5e-7 at most. `torch.compile` leaves the call
    as it is.

    Source: N. Dalal, B. Triggs, "Histograms of oriented gradients for human detection", CVPR 2005.

    >>> import torch
    >>> from saccade import ops
    >>> from saccade.classic import HOGDescriptor
    >>> image = torch.arange(72, dtype=torch.uint8).repeat(128, 1)  # brighter to the right: 0 degrees
    >>> values = ops.hog_descriptors(image, HOGDescriptor())
    >>> values.shape
    torch.Size([2, 3780])
    >>> values[1, :4]
    tensor([0.3529, 0.0000, 0.0000, 0.0000])
    """
    name = "hog_descriptors"
    require_tensor(name, image=image)
    values: Tensor = call(
        torch.ops.saccade.hog_descriptors.default,
        image,
        *_geometry(descriptor),
        list(window_stride(name, win_stride)),
        list(window_padding(name, padding)),
        None if locations is None else _places(locations),
    )
    return values


@untraced
def hog_detect(
    image: Tensor,
    descriptor: HOGDescriptor,
    *,
    hit_threshold: float = 0.0,
    win_stride: tuple[int, int] | None = None,
    padding: tuple[int, int] = (0, 0),
    scale: float = 1.05,
    group_threshold: float = 2.0,
    return_weights: bool = True,
) -> Tensor | tuple[Tensor, Tensor]:
    """Find objects of all sizes with a HOG descriptor and its linear classifier, on the device of the image.

    The image is made smaller by ``scale`` until it holds no window, ``nlevels`` times at most.

    Args:
        image: uint8, ``(H, W)`` or ``(H, W, 3)``.
        descriptor: a `saccade.classic.HOGDescriptor` with coefficients (``set_svm``).
        hit_threshold: a window's score, the sum of values times coefficients and the constant term, is at least this.
        win_stride, padding: as for `hog_descriptors`.
        scale: from one image to the next; at 1 or less the image itself is searched only.
        group_threshold: a group of similar windows needs more than this many members (decimals are dropped); 0 returns
            the windows as they are.
        return_weights: also return scores; of a group, the largest.

    Returns:
        ``(N, 4)`` int32 boxes ``x, y, width, height``, clipped to the image, and ``(N,)`` float64 scores, on the
        image's device. Windows are ordered by scale, y and x, groups by their first window.

    Raises:
        ValueError: without coefficients, for wrong shapes or parameters; TypeError: for a wrong dtype.

    On the CPU it is ``descriptor.detect_multi_scale``, bit for bit. On CUDA scores are within 1e-5 times the length of
    the coefficients, so that a window whose score is that near to ``hit_threshold`` may be found on one device only.
    Windows are grouped on the CPU. `torch.compile` leaves the call as it is.

    >>> import torch
    >>> from saccade import ops
    >>> from saccade.classic import HOGDescriptor
    >>> plain = HOGDescriptor(win_size=(16, 16))
    >>> vertical = plain.set_svm([1, 0, 0, 0, 0, 0, 0, 0, 1] * 4)  # likes edges between left and right
    >>> image = torch.zeros(16, 48, dtype=torch.uint8)
    >>> image[:, 24:] = 200
    >>> boxes, weights = ops.hog_detect(image, vertical, hit_threshold=1, scale=1, group_threshold=0)
    >>> boxes
    tensor([[ 8,  0, 16, 16],
            [16,  0, 16, 16],
            [24,  0, 16, 16]], dtype=torch.int32)
    """
    name = "hog_detect"
    require_tensor(name, image=image)
    if not abs(group_threshold) < 2**31:
        raise ValueError(f"{name}: group_threshold must be within 2^31, got {group_threshold}")
    coefficients = descriptor.svm_coefficients
    if coefficients is None:
        raise ValueError(f"{name}: the descriptor must have coefficients, from set_svm")
    boxes, weights = call(
        torch.ops.saccade.hog_detect.default,
        image,
        *_geometry(descriptor),
        torch.from_numpy(coefficients),
        float(hit_threshold),
        list(window_stride(name, win_stride)),
        list(window_padding(name, padding)),
        float(scale),
        int(group_threshold),
    )
    return (boxes, weights) if return_weights else boxes


def _geometry(descriptor: HOGDescriptor) -> tuple[list[int], float, float, bool, bool]:
    p = descriptor.parameters
    sizes = [*p["win_size"], *p["block_size"], *p["block_stride"], *p["cell_size"], p["nbins"], p["nlevels"]]
    return sizes, p["win_sigma"], p["l2_hys_threshold"], p["gamma_correction"], p["signed_gradient"]


def _places(locations: Any) -> Tensor:
    places = torch.as_tensor(locations)
    if places.numel() == 0 and places.ndim < 2:
        places = places.reshape(-1, 2).to(torch.int64)
    if places.is_floating_point() or places.is_complex() or places.dtype == torch.bool:
        dtype = str(places.dtype).removeprefix("torch.")
        raise TypeError(f"hog_descriptors: locations must be integers, got {dtype}")
    return places.to("cpu", torch.int64)


def _count(length: int, stride: int, block_stride: int, padding: int, window: int) -> int:
    """How many windows stand beside each other, in one direction."""
    step = math.gcd(stride, block_stride)
    return (length + 2 * (-(-padding // step) * step) - window) // stride + 1


@torch.library.register_fake("saccade::hog_descriptors")
def _(
    image: Tensor,
    geometry: list[int],
    win_sigma: float,
    l2_hys_threshold: float,
    gamma_correction: bool,
    signed_gradient: bool,
    win_stride: list[int],
    padding: list[int],
    locations: Tensor | None,
) -> Tensor:
    window, block, block_stride, cell = (geometry[k : k + 2] for k in (0, 2, 4, 6))
    size = geometry[8]
    for k in range(2):
        size *= (block[k] // cell[k]) * ((window[k] - block[k]) // block_stride[k] + 1)
    if locations is None:
        stride = win_stride if win_stride[0] else cell
        height, width = image.shape[:2]
        count = _count(height, stride[1], block_stride[1], padding[1], window[1]) * _count(
            width, stride[0], block_stride[0], padding[0], window[0]
        )
    else:
        count = locations.shape[0]
    return image.new_empty((count, size), dtype=torch.float32)


@torch.library.register_fake("saccade::hog_detect")
def _(
    image: Tensor,
    geometry: list[int],
    win_sigma: float,
    l2_hys_threshold: float,
    gamma_correction: bool,
    signed_gradient: bool,
    coefficients: Tensor,
    hit_threshold: float,
    win_stride: list[int],
    padding: list[int],
    scale: float,
    min_neighbors: int,
) -> tuple[Tensor, Tensor]:
    count = torch.library.get_ctx().new_dynamic_size()
    return image.new_empty((count, 4), dtype=torch.int32), image.new_empty((count,), dtype=torch.float64)
