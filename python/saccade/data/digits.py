"""Real handwriting that comes with scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from saccade._extras import require
from saccade.data.array_dataset import ArrayDataset

__all__ = ["digits"]


def digits(size: int = 8, *, transform: Callable[[Any], Any] | None = None) -> ArrayDataset:
    """The 1,797 handwritten digits that scikit-learn brings along; nothing is downloaded.

    Args:
        size: height and width. 8 is that of the data; 32, what LeNet-5 takes, is reached by bilinear interpolation.
        transform: applied to each image when it is asked for.

    Returns:
        A data set of float32 images ``(1, size, size)``, 0 (paper) to 1 (ink), with labels 0 to 9.

    Raises:
        ValueError: for a size below 1. ImportError: without scikit-learn.

    Source: sklearn.datasets.load_digits; Alpaydin, Kaynak, Optical Recognition of Handwritten Digits, UCI 1998.

    >>> data = saccade.data.digits()
    >>> len(data), data[0][0].shape, data.num_classes
    (1797, torch.Size([1, 8, 8]), 10)
    """
    if size < 1:
        raise ValueError(f"digits: size must be at least 1, got {size}")
    bunch = require("sklearn.datasets", "digits", "train").load_digits()
    images = torch.from_numpy(bunch.images).to(torch.float32)[:, None] / 16
    if size != 8:
        images = F.interpolate(images, (size, size), mode="bilinear", antialias=size < 8)
    return ArrayDataset(images, bunch.target, transform=transform, num_classes=10)
