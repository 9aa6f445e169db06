"""Batches for detectors: lists of images of any size, and of their targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch.utils.data import Dataset

from saccade.train.data_module import TaskData, _of

__all__ = ["DetectionData"]


class DetectionData(TaskData):
    """Data sets of ``(image, target)`` for :class:`DetectionTask`; a batch is a list of images and a list of targets.

    Args:
        augment: of the training set: ``augment(image, target) -> (image, target)``, e.g. a
            :class:`saccade.data.transforms.Joint`.
        classes: names of the classes; default: the data set's.
        train, val, test, batch_size, seed, num_workers, drop_last: see :class:`TaskData`.

    Raises:
        ValueError: for an empty part, or a data set that does not tell its classes.

    >>> scenes = saccade.data.SceneDataset(4, (64, 64), transform=saccade.data.Scene.detection)
    >>> images, targets = next(iter(saccade.train.DetectionData(scenes, batch_size=2).train_dataloader()))
    >>> len(images), images[0].shape, sorted(targets[0])
    (2, torch.Size([3, 64, 64]), ['boxes', 'labels', 'masks'])
    """

    def __init__(
        self,
        train: Dataset[Any],
        val: Dataset[Any] | None = None,
        test: Dataset[Any] | None = None,
        *,
        batch_size: int = 8,
        augment: Callable[[Any, Any], Any] | None = None,
        classes: Sequence[str] | None = None,
        seed: int = 0,
        num_workers: int = 0,
        drop_last: bool = False,
    ) -> None:
        names = classes if classes is not None else _of(train, "classes")
        if not names:
            raise ValueError("DetectionData: classes must be given where the data set does not tell them")
        super().__init__(
            train if augment is None else _JointlyAugmented(train, augment),
            val,
            test,
            batch_size=batch_size,
            collate=_lists,
            seed=seed,
            num_workers=num_workers,
            drop_last=drop_last,
        )
        self.classes = [str(name) for name in names]
        self.num_classes = len(self.classes)

    def state_dict(self) -> dict[str, Any]:
        """What batches depend on."""
        return {**super().state_dict(), "classes": self.classes}


class _JointlyAugmented(Dataset[Any]):
    def __init__(self, dataset: Any, augment: Callable[[Any, Any], Any]) -> None:
        self.dataset, self.augment = dataset, augment

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.augment(*self.dataset[index])


def _lists(items: list[Any]) -> Any:
    images, targets = zip(*items, strict=True)
    return list(images), list(targets)
