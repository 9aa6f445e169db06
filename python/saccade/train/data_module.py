"""Data of a training: its parts, their normalisation and their batches, the same after a resume."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import lightning as L
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, default_collate

from saccade.data import loader
from saccade.data.loader import SeededSampler

__all__ = ["ClassificationData", "TaskData"]


class TaskData(L.LightningDataModule):
    """Base of :class:`ClassificationData` and of the data of segmentation and detection: seeded batches of data sets.

    The training batches of a resumed training begin where the checkpoint was written, within an epoch too; no image is
    read to get there. Under torch.distributed every process gets its share (see :func:`saccade.data.loader`).

    Args:
        train, val, test: data sets of ``(image, target)``; val and test may be missing.
        batch_size: of one process.
        collate: makes a batch of items; default: torch's.
        augment: applied to each image of the training set, before normalisation.
        seed: of order and augmentation.
        num_workers: processes that read; 0: this one does.
        drop_last: whether a smaller last batch of the training set is dropped.
        eval_batch_size: of val and test; default: ``batch_size``.
    """

    allow_zero_length_dataloader_with_multiple_devices = True

    def __init__(
        self,
        train: Dataset[Any],
        val: Dataset[Any] | None = None,
        test: Dataset[Any] | None = None,
        *,
        batch_size: int = 64,
        collate: Callable[[list[Any]], Any] | None = None,
        augment: Callable[..., Any] | None = None,
        seed: int = 0,
        num_workers: int = 0,
        drop_last: bool = False,
        eval_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        for argument, size in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if size is not None and size < 1:
                raise ValueError(f"{name}: {argument} must be at least 1, got {size}")
        for part, dataset in (("train", train), ("val", val), ("test", test)):
            if dataset is not None and len(dataset) == 0:  # type: ignore[arg-type]
                raise ValueError(f"{name}: {part} must hold at least one item, got none")
        self.train, self.val, self.test = train, val, test
        self.batch_size, self.seed, self.num_workers, self.drop_last = batch_size, seed, num_workers, drop_last
        self.eval_batch_size = eval_batch_size or batch_size
        self._collate = collate or default_collate
        self._augment = augment

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled batches, from where training is."""
        epoch, done = self._progress()
        dataset = self.train if self._augment is None else self._augmented(self.train, self._augment)
        made = self._loader(dataset, shuffle=True)
        sampler = _Resumed(dataset, seed=self.seed, shuffle=True, drop_last=self.drop_last)
        sampler.set_epoch(epoch)
        sampler.start = done * self.batch_size if done < len(made) else 0
        return DataLoader(
            made.dataset,
            self.batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=made.collate_fn,
            drop_last=self.drop_last,
            generator=made.generator,
        )

    def val_dataloader(self) -> Any:
        """Batches in order; none without ``val``."""
        return [] if self.val is None else self._loader(self.val)

    def test_dataloader(self) -> Any:
        """Batches in order; none without ``test``."""
        return [] if self.test is None else self._loader(self.test)

    def predict_dataloader(self) -> Any:
        """Those of the test."""
        return self.test_dataloader()

    def batches_per_epoch(self) -> int:
        """Of the training set, for one process."""
        return len(self._loader(self.train, shuffle=True))

    def _loader(self, dataset: Any, *, shuffle: bool = False) -> DataLoader[Any]:
        return loader(
            dataset,
            self.batch_size if shuffle else self.eval_batch_size,
            seed=self.seed,
            shuffle=shuffle,
            num_workers=self.num_workers,
            drop_last=self.drop_last and shuffle,
            collate_fn=self._collate,
        )

    @staticmethod
    def _augmented(dataset: Dataset[Any], augment: Callable[..., Any]) -> Dataset[Any]:
        """The training set with its augmentation."""
        return _Augmented(dataset, augment)

    def _progress(self) -> tuple[int, int]:
        """The epoch that training is in, and how many of its batches are done: both 0 but after a resume."""
        if self.trainer is None or not self.trainer.training:
            return 0, 0
        loop: Any = self.trainer.fit_loop
        return loop.epoch_progress.current.processed, loop.epoch_loop.batch_progress.current.processed

    def _settings(self) -> dict[str, Any]:
        names = ("batch_size", "seed", "drop_last")
        return {"items": len(self.train), **{name: getattr(self, name) for name in names}}  # type: ignore[arg-type]

    def state_dict(self) -> dict[str, Any]:
        """What batches depend on."""
        return {"settings": self._settings()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Refuse other batches than those that training began with."""
        for name, value in self._settings().items():
            kept = state_dict["settings"].get(name)
            if kept != value:
                what = "train must hold as many items" if name == "items" else f"{name} must be"
                raise ValueError(f"{type(self).__name__}: {what} as when training began, {kept}, got {value}")


class ClassificationData(TaskData):
    """Data sets of ``(image, label)`` for :class:`Classifier`, normalised by what the training set is like.

    Args:
        normalize: e.g. saccade.data.transforms.MeanStd(): fitted on the training set (unless it is fitted already),
            applied to all batches, part of the checkpoint.
        num_classes: default: the data set's.
        classes: names of the classes; default: the data set's, or numbers.
        train, val, test, batch_size, augment, seed, num_workers, drop_last, eval_batch_size: see
            :class:`TaskData`.

    Raises:
        ValueError: for an empty part, or a data set that does not tell its number of classes.

    >>> digits = saccade.data.digits()
    >>> train, val, test = saccade.data.split(digits, [0.6, 0.2, 0.2], stratify=True)
    >>> data = saccade.train.ClassificationData(train, val, test, normalize=saccade.data.transforms.MeanStd())
    >>> data.num_classes, data.classes[:2], len(data.train_dataloader())
    (10, ['0', '1'], 17)
    """

    def __init__(
        self,
        train: Dataset[Any],
        val: Dataset[Any] | None = None,
        test: Dataset[Any] | None = None,
        *,
        batch_size: int = 64,
        normalize: nn.Module | None = None,
        augment: Callable[..., Any] | None = None,
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
            collate=_Normalized(normalize) if normalize is not None else None,
            augment=augment,
            seed=seed,
            num_workers=num_workers,
            drop_last=drop_last,
            eval_batch_size=eval_batch_size,
        )
        names = classes if classes is not None else _of(train, "classes")
        count = num_classes or (len(names) if names else _of(train, "num_classes"))
        if not count:
            raise ValueError("ClassificationData: num_classes must be given where the data set does not tell it")
        if names and len(names) != count:
            raise ValueError(f"ClassificationData: classes must be {count} names, got {len(names)}")
        self.num_classes = int(count)
        self.classes = [str(name) for name in (names or range(self.num_classes))]
        self.normalize = normalize
        if normalize is not None and int(getattr(normalize, "count", 1)) == 0:
            normalize.fit(train)  # type: ignore[operator]

    def state_dict(self) -> dict[str, Any]:
        """What batches depend on, normalisation included."""
        kept = {} if self.normalize is None else dict(self.normalize.state_dict())
        return {**super().state_dict(), "normalize": kept, "classes": self.classes}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Normalise as training did."""
        super().load_state_dict(state_dict)
        if self.normalize is not None:
            self.normalize.load_state_dict(state_dict["normalize"])


class _Resumed(SeededSampler):
    """Its first pass begins at an item within the epoch."""

    start = 0

    def __iter__(self) -> Iterator[Any]:
        keys = list(super().__iter__())
        start, self.start = self.start, 0
        return iter(keys[start:])


class _Augmented(Dataset[Any]):
    """The training set with its augmentation; the order and seeds are the loader's."""

    def __init__(self, dataset: Any, augment: Callable[[Any], Any]) -> None:
        self.dataset, self.augment = dataset, augment

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        image, *rest = self.dataset[index]
        return (self.augment(image), *rest)


class _Normalized:
    """torch's collation, then the normalisation of the whole batch at once."""

    def __init__(self, normalize: nn.Module) -> None:
        self.normalize = normalize

    def __call__(self, items: list[Any]) -> Any:
        images, *rest = default_collate(items)
        return (self.normalize(images), *rest)


def _of(dataset: Any, name: str) -> Any:
    """An attribute of a data set, or of what it is a part of."""
    while getattr(dataset, name, None) is None and isinstance(dataset, Subset):
        dataset = dataset.dataset
    return getattr(dataset, name, None)
