"""Images that lie in memory as one array, with or without labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils.data import Dataset

from saccade.data._labels import as_tensor, require_labels

__all__ = ["ArrayDataset"]

_OP = "ArrayDataset"


class ArrayDataset(Dataset[Any]):
    """A data set of the items of an array: ``(image, label)``, or ``image`` alone where there are no labels.

    Args:
        images: ``(N, ...)``, NumPy or torch, of any numeric dtype; not copied where that is possible. Transforms of
            torchvision expect ``(N, C, H, W)``.
        labels: ``(N,)`` integers for classes, ``(N, H, W)`` integers for a class per pixel, or floating ``(N, ...)``
            for regression. None: unsupervised.
        transform: applied to each image as a tensor, when it is asked for.
        num_classes: what integer labels must stay below; None takes the greatest label.
        ignore_index: an integer label that is allowed beside the classes (pixels without a class).
        ids: a name for each item, by which :func:`check_disjoint` recognises it in other data sets.

    Attributes: ``images``, ``labels``, ``transform``, ``num_classes`` (None without integer labels), ``ids``.

    Raises:
        ValueError: for lengths that differ, a label out of range (named, with its count), or classes for labels that
            are none. TypeError: for what is not numbers.

    >>> data = saccade.data.ArrayDataset(np.zeros((3, 1, 8, 8), np.float32), [0, 2, 1])
    >>> image, label = data[1]
    >>> image.shape, label, data.num_classes
    (torch.Size([1, 8, 8]), tensor(2), 3)
    >>> saccade.data.ArrayDataset(np.zeros((3, 1, 8, 8)), [0, 2, 1], num_classes=2)
    Traceback (most recent call last):
    ValueError: ArrayDataset: labels must be from 0 to 1, got 2 (once)
    """

    def __init__(
        self,
        images: ArrayLike | Tensor,
        labels: ArrayLike | Tensor | None = None,
        *,
        transform: Callable[[Any], Any] | None = None,
        num_classes: int | None = None,
        ignore_index: int | None = None,
        ids: Sequence[Any] | None = None,
    ) -> None:
        self.images = as_tensor(_OP, "images", images)
        if self.images.ndim == 0:
            raise ValueError(f"{_OP}: images must have shape (N, ...), got ()")
        self.labels = None if labels is None else self._checked(as_tensor(_OP, "labels", labels), ignore_index)
        self.num_classes = self._count_classes(num_classes, ignore_index)
        self.transform = transform
        self.ids = None if ids is None else list(ids)
        if self.ids is not None and len(self.ids) != len(self.images):
            raise ValueError(f"{_OP}: ids must name each of the {len(self.images)} images, got {len(self.ids)}")

    def _checked(self, labels: Tensor, ignore_index: int | None) -> Tensor:
        if labels.ndim == 0 or len(labels) != len(self.images):
            raise ValueError(
                f"{_OP}: labels must be one for each of the {len(self.images)} images, got shape {tuple(labels.shape)}"
            )
        if labels.dtype.is_floating_point:
            if ignore_index is not None:
                raise ValueError(f"{_OP}: ignore_index must be None for floating labels, got {ignore_index}")
            return labels
        return labels.long()

    def _count_classes(self, num_classes: int | None, ignore_index: int | None) -> int | None:
        if self.labels is None or self.labels.dtype != torch.long:
            if num_classes is not None:
                kind = "no" if self.labels is None else "floating"
                raise ValueError(f"{_OP}: num_classes must be None where there are {kind} labels, got {num_classes}")
            return None
        if num_classes is None:
            counted = self.labels if ignore_index is None else self.labels[self.labels != ignore_index]
            num_classes = int(counted.max()) + 1 if counted.numel() else 0
        require_labels(_OP, "labels", self.labels, num_classes, ignore_index)
        return num_classes

    def __len__(self) -> int:
        """The number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        """``(image, label)``, or the image alone."""
        image: Any = self.images[index]
        if self.transform is not None:
            image = self.transform(image)
        return image if self.labels is None else (image, self.labels[index])

    def content(self, index: int) -> bytes:
        """The image's own bytes, before any transform: what :func:`check_disjoint` compares."""
        image = self.images[index].contiguous()
        head = f"{image.dtype} {tuple(image.shape)} ".encode()
        return head + image.reshape(-1).view(torch.uint8).numpy(force=True).tobytes()

    def __repr__(self) -> str:
        """Size, shape and classes."""
        size, *shape = self.images.shape
        classes = "unlabelled" if self.labels is None else f"num_classes={self.num_classes}"
        return f"ArrayDataset({size} images {tuple(shape)} of {self.images.dtype}, {classes})"
