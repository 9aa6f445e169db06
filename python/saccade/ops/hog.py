"""Histograms of oriented gradients."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from saccade._hog import norm_index, whole, whole_pair
from saccade.ops._library import call, require_tensor

__all__ = ["hog"]


def hog(
    image: Tensor,
    orientations: int = 9,
    pixels_per_cell: tuple[int, int] = (8, 8),
    cells_per_block: tuple[int, int] = (3, 3),
    block_norm: str = "L2-Hys",
    *,
    transform_sqrt: bool = False,
    feature_vector: bool = True,
) -> Tensor:
    """Histograms of oriented gradients of images. Not differentiable: the result carries no gradient.

    Args:
        image: ``(H, W)``, or ``(..., C, H, W)``: leading dimensions are a batch, so a batch of grey images is
            ``(N, 1, H, W)``. Any real dtype. A pixel's gradient is the longest of its channels', of equally long ones
            the first.
        orientations: bins of the histogram, over 180 degrees.
        pixels_per_cell: rows and columns of a cell, which has one histogram. What is left over at the right and at the
            bottom belongs to no cell.
        cells_per_block: rows and columns of a block of cells, normalised together. Blocks stand at every cell.
        block_norm: ``"L1"``, ``"L1-sqrt"``, ``"L2"`` or ``"L2-Hys"``: L2, values above 0.2 cut, and L2 again.
        transform_sqrt: take the square root of the image first; not for negative values.
        feature_vector: one dimension for an image's values; otherwise five.

    Returns:
        ``(..., F)``: the values of each image, or ``(..., rows, columns, rows of cells, columns of cells,
        orientations)`` of blocks, in the same order. float32 for float32, float16 and bfloat16 images, otherwise
        float64, as in scikit-image.

    Raises:
        ValueError: for images of less than a block, wrong shapes or parameters; TypeError: for complex images, or if
        image is not a tensor.

    Each image's values equal those of `saccade.classic.hog`, and ``skimage.feature.hog`` of scikit-image 0.26. A
    gradient within rounding of the edge between two bins, as at 45 degrees in a float64 image divided by 255 with 8
    orientations, is in the bin that the C library's ``atan2`` gives, on CUDA that of CUDA. Of pixels that are whole
    numbers up to 255, in any dtype, both put every gradient into the same bin.

    Source: N. Dalal, B. Triggs, "Histograms of oriented gradients for human detection", CVPR 2005.

    >>> image = torch.arange(24.0).repeat(2, 1, 24, 1)  # two grey images, brighter to the right: 0 degrees
    >>> features = hog(image, block_norm="L2", feature_vector=False)
    >>> features.shape
    torch.Size([2, 1, 1, 3, 3, 9])
    >>> features[0, 0, 0, 1, 1]
    tensor([0.3629, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000])
    """
    require_tensor("hog", image=image)
    norm, bins = norm_index(block_norm), whole("orientations", orientations)
    cell, block = whole_pair("pixels_per_cell", pixels_per_cell), whole_pair("cells_per_block", cells_per_block)
    if image.ndim < 2:
        raise ValueError(f"hog: image must have shape (H, W) or (..., C, H, W), got {tuple(image.shape)}")
    if image.is_complex():
        raise TypeError(f"hog: image must be real numbers, got {str(image.dtype).removeprefix('torch.')}")
    planes = image if image.ndim > 2 else image[None]
    images = _numbers(planes.detach(), transform_sqrt).reshape(math.prod(planes.shape[:-3]), *planes.shape[-3:])
    blocks: Tensor = call(torch.ops.saccade.hog, images, bins, *cell, *block, norm)
    if feature_vector:
        blocks = blocks.flatten(1)
    return blocks.reshape(*planes.shape[:-3], *blocks.shape[1:])


def _numbers(image: Tensor, transform_sqrt: bool) -> Tensor:
    """In a dtype that the kernels read; others become what scikit-image computes in."""
    if image.dtype == torch.uint8 and not transform_sqrt:
        return image
    dtype = torch.float32 if image.is_floating_point() and image.dtype.itemsize <= 4 else torch.float64
    if transform_sqrt:
        image = image.to(torch.float64).sqrt()  # a fifth of torch's float32 roots are off by a bit on the CPU
    return image.to(dtype)


@torch.library.register_fake("saccade::hog")
def _(
    images: Tensor,
    orientations: int,
    cell_rows: int,
    cell_columns: int,
    block_rows: int,
    block_columns: int,
    block_norm: int,
) -> Tensor:
    count, _, height, width = images.shape
    rows, columns = height // cell_rows - block_rows + 1, width // cell_columns - block_columns + 1
    dtype = torch.float32 if images.dtype == torch.float32 else torch.float64
    return images.new_empty((count, rows, columns, block_rows, block_columns, orientations), dtype=dtype)
