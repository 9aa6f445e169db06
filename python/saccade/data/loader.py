"""Batches that are the same in every run, for any number of worker processes."""

from __future__ import annotations

import hashlib
import math
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Subset, get_worker_info

from saccade.data.array_dataset import ArrayDataset
from saccade.data.folder_dataset import FolderDataset

__all__ = ["SeededSampler", "loader"]


def loader(
    dataset: Dataset[Any],
    batch_size: int,
    *,
    seed: int = 0,
    shuffle: bool = False,
    num_workers: int = 0,
    drop_last: bool = False,
    rank: int | None = None,
    world_size: int | None = None,
    **options: Any,
) -> DataLoader[Any]:
    """A torch DataLoader whose batches depend on ``seed`` and the epoch, and on nothing else.

    The order, and what random transforms do to each item: before an item is read, Python's, NumPy's and torch's random
    generators are seeded by ``(seed, epoch, index)``. So the batches are the same for any ``num_workers``, any
    ``batch_size`` gives the same items in the same order, and the process's own random numbers are not used up. A
    transform that keeps a generator of its own is not covered.

    Every pass is a new epoch; ``loader.sampler.set_epoch(n)`` sets the next one, e.g. to resume (Lightning does).

    Args:
        dataset: with a length.
        batch_size: of this process.
        seed: of order and transforms.
        shuffle: a new order in every epoch.
        num_workers: processes that read; 0: this one does.
        drop_last: whether a smaller last batch is dropped.
        rank, world_size: of torch.distributed, which says so itself if it runs; the batches of all ranks together are
            the batches of one process with ``batch_size * world_size``. With ``shuffle`` the first items are repeated
            until every rank has as many (drop_last: the last ones are dropped); without, every item comes once.
        options: further arguments of torch.utils.data.DataLoader.

    Raises:
        ValueError: for a batch size below 1, a negative seed, an option that is set here already, a rank out of range.

    >>> data = saccade.data.digits()
    >>> batches = saccade.data.loader(data, 64, shuffle=True, seed=3)
    >>> images, labels = next(iter(batches))
    >>> images.shape, len(batches)
    (torch.Size([64, 1, 8, 8]), 29)
    """
    if batch_size < 1:
        raise ValueError(f"loader: batch_size must be at least 1, got {batch_size}")
    if seed < 0:
        raise ValueError(f"loader: seed must not be negative, got {seed}")
    taken = sorted({"sampler", "batch_sampler", "generator"} & set(options))
    if taken:
        raise ValueError(f"loader: options must leave order and seeds to it, got {', '.join(taken)}")
    sampler = SeededSampler(dataset, seed=seed, shuffle=shuffle, drop_last=drop_last, rank=rank, world_size=world_size)
    return DataLoader(
        _Seeded(dataset, seed),
        batch_size,
        sampler=sampler,
        num_workers=num_workers,
        drop_last=drop_last,
        generator=torch.Generator().manual_seed(seed),
        **options,
    )


class _Key(NamedTuple):
    epoch: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody looks for in a key


class SeededSampler(DistributedSampler[Any]):
    """The order of :func:`loader`: yields ``(epoch, index)``, the share of this process.

    It is a DistributedSampler so that Lightning leaves it in its place and sets its epoch.

    >>> sampler = saccade.data.SeededSampler(range(4), shuffle=False)
    >>> [tuple(key) for key in sampler], next(iter(sampler)).epoch
    ([(0, 0), (0, 1), (0, 2), (0, 3)], 1)
    """

    def __init__(
        self,
        dataset: Any,
        *,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        self._given = rank, world_size
        super().__init__(dataset, 1, 0, shuffle=shuffle, seed=seed, drop_last=drop_last)
        self._find_place()

    def _find_place(self) -> None:
        """Ask torch.distributed each time: a loader may be made before it starts."""
        rank, world_size = self._given
        together = dist.is_available() and dist.is_initialized()
        self.num_replicas = (dist.get_world_size() if together else 1) if world_size is None else world_size
        self.rank = (dist.get_rank() if together else 0) if rank is None else rank
        if not 0 <= self.rank < self.num_replicas:
            raise ValueError(f"loader: rank must be from 0 to {self.num_replicas - 1}, got {self.rank}")

    def __iter__(self) -> Iterator[_Key]:
        """The keys of one epoch; the next call is the next epoch's."""
        total = self._total()
        epoch = self.epoch
        self.epoch += 1
        length = len(self.dataset)  # type: ignore[arg-type]
        order = np.arange(length)
        if self.shuffle:
            order = np.random.default_rng((self.seed, epoch)).permutation(length)
        order = np.resize(order, total)  # repeats the first ones
        return iter([_Key(epoch, index) for index in order[self.rank :: self.num_replicas].tolist()])

    def __len__(self) -> int:
        """How many items this process gets."""
        total = self._total()
        return len(range(self.rank, total, self.num_replicas))

    def _total(self) -> int:
        """How many items all processes get together."""
        self._find_place()
        length, world = len(self.dataset), self.num_replicas  # type: ignore[arg-type]
        if self.drop_last:
            return length // world * world
        return math.ceil(length / world) * world if self.shuffle else length


class _Seeded(Dataset[Any]):
    """Reads the item of a key with all random generators seeded by it."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: _Key | int) -> Any:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[_Key | int]) -> list[Any]:
        # An index without an epoch comes from a sampler that somebody put in the place of ours.
        full = [key if isinstance(key, tuple) else _Key(0, int(key)) for key in keys]
        if not _may_draw(self.dataset):
            return [self.dataset[key[1]] for key in full]
        return _with_own_randomness(lambda: [self._read(*key) for key in full])

    def _read(self, epoch: int, index: int) -> Any:
        digest = hashlib.blake2b(struct.pack("<qqq", self.seed, epoch, index), digest_size=12).digest()
        # CPU generator only: torch.manual_seed would also reset every GPU's.
        torch.default_generator.manual_seed(int.from_bytes(digest[:8], "little", signed=True))
        np.random.seed(int.from_bytes(digest[8:], "little"))  # noqa: NPY002  # transforms draw from it
        random.seed(digest)
        return self.dataset[index]


def _with_own_randomness(read: Callable[[], list[Any]]) -> list[Any]:
    """Leave the generators of this process as they were; those of a worker serve nothing else."""
    if get_worker_info() is not None:
        return read()
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        return read()
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])


def _may_draw(dataset: Any) -> bool:
    """False for our own data sets without a transform: seeding costs more than reading an item of an array."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    return not (type(dataset) in (ArrayDataset, FolderDataset) and dataset.transform is None)
