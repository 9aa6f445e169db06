"""Batches of images and the classes of their pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from saccade.train.data_module import ClassificationData

__all__ = ["SegmentationData"]

_OP = "SegmentationData"


class SegmentationData(ClassificationData):
    """Data sets of ``(image, classes)`` for :class:`SegmentationTask`, normalised by what the training set is like.

    Args:
        train, val, test: data sets of images ``(C, H, W)`` and classes ``(H, W)``.
        augment: given image and classes of the training set, returns both, e.g.
            saccade.data.transforms.SegmentationAugmentation(...).
        eval_batch_size: of val and test; default: ``batch_size``. 1 where images differ in size.
        batch_size, normalize, num_classes, classes, seed, num_workers, drop_last: as for :class:`ClassificationData`.

    Raises:
        ValueError: as ClassificationData, for masks of another size than the image, and for images of several sizes in
            a batch.

    >>> scenes = saccade.data.SceneDataset(6, (32, 32), transform=saccade.data.Scene.segmentation)
    >>> names = ["ground", *scenes.classes]
    >>> data = saccade.train.SegmentationData(scenes, batch_size=4, classes=names)
    >>> [part.shape for part in next(iter(data.train_dataloader()))]
    [torch.Size([4, 3, 32, 32]), torch.Size([4, 32, 32])]
    """

    def __init__(
        self,
        train: Dataset[Any],
        val: Dataset[Any] | None = None,
        test: Dataset[Any] | None = None,
        *,
        batch_size: int = 16,
        normalize: nn.Module | None = None,
        augment: Callable[[Any, Any], Any] | None = None,
        num_classes: int | None = None,
        classes: Sequence[str] | None = None,
        seed: int = 0,
        num_workers: int = 0,
        drop_last: bool = False,
        eval_batch_size: int | None = None,
    ) -> None:
        super().__init__(
            train,
            val,
            test,
            batch_size=batch_size,
            normalize=normalize,
            augment=augment,
            num_classes=num_classes,
            classes=classes,
            seed=seed,
            num_workers=num_workers,
            drop_last=drop_last,
            eval_batch_size=eval_batch_size,
        )
        self._collate = _Collated(normalize)

    @staticmethod
    def _augmented(dataset: Dataset[Any], augment: Callable[..., Any]) -> Dataset[Any]:
        return _AugmentedPairs(dataset, augment)


class _AugmentedPairs(Dataset[Any]):
    """The training set with its augmentation of image and classes; the order and seeds are the loader's."""

    def __init__(self, dataset: Any, augment: Callable[[Any, Any], Any]) -> None:
        self.dataset, self.augment = dataset, augment

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.augment(*self.dataset[index])


class _Collated:
    """A batch, its images normalised."""

    def __init__(self, normalize: nn.Module | None) -> None:
        self.normalize = normalize

    def __call__(self, items: list[Any]) -> Any:
        first = items[0][0].shape
        for image, classes in items:
            if classes.shape != image.shape[1:]:
                size = tuple(image.shape[1:])
                raise ValueError(f"{_OP}: classes must be as large as the image, {size}, got {tuple(classes.shape)}")
            if image.shape != first:
                raise ValueError(
                    f"{_OP}: images of a batch must have one shape, got {tuple(first)} and {tuple(image.shape)}; "
                    "crop them, or set the batch size to 1"
                )
        images, labels = (torch.stack(part) for part in zip(*items, strict=True))
        return (images if self.normalize is None else self.normalize(images)), labels
