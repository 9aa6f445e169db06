"""Items that are read or drawn once."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset

__all__ = ["CachedDataset"]


class CachedDataset(Dataset[Any]):
    """Keeps every item of a data set from the first time that it is asked for; each worker process keeps its own.

    The items must not depend on random numbers, and what is done to them must not change them in place.

    >>> scenes = saccade.data.CachedDataset(saccade.data.SceneDataset(2, (64, 64)))
    >>> scenes[0] is scenes[0], len(scenes)
    (True, 2)
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self._items: dict[int, Any] = {}

    def __len__(self) -> int:
        """The number of items."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        """An item."""
        if index not in self._items:
            self._items[index] = self.dataset[index]
        return self._items[index]

    def __getattr__(self, name: str) -> Any:
        """What the data set tells of itself: its classes, for example."""
        if name.startswith("_") or name == "dataset":  # also while it is unpickled, when it has no data set yet
            raise AttributeError(name)
        return getattr(self.dataset, name)
