"""Weak learners searched by several processes: each holds a share of the features, the best split wins.

Every process has all windows and takes the same decisions, so the cascade is that of one process, bit for bit. torch
is used only where the caller has begun a process group with it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.classic._boosting import Array, Source
from saccade.classic.haar_features import HaarFeatureSet

__all__ = ["is_first_process", "process_group", "sharded"]


def process_group() -> Any:
    """``torch.distributed`` where a group of more than one process runs, else None."""
    torch = sys.modules.get("torch")
    group = getattr(torch, "distributed", None)
    if group is None or not group.is_available() or not group.is_initialized() or group.get_world_size() == 1:
        return None
    return group


def is_first_process() -> bool:
    """Whether this process is the one that writes files."""
    group = process_group()
    return group is None or group.get_rank() == 0


def sharded(make: Callable[[HaarFeatureSet], Source], features: HaarFeatureSet) -> Source:
    """A source of all features, of which this process holds every ``world``-th."""
    group = process_group()
    if group is None:
        return make(features)
    finder = _ShardedFinder(make(features[group.get_rank() :: group.get_world_size()]), group)
    return Source(finder, finder.values)


class _ShardedFinder:
    def __init__(self, own: Source, group: Any) -> None:
        self._own, self._group = own, group
        self._rank, self._world = group.get_rank(), group.get_world_size()

    def best_split(self, weights: Array, squares: bool) -> tuple[float, int, int]:
        import torch

        worth, feature, place = self._own.finder.best_split(weights, squares)
        number = feature * self._world + self._rank if feature >= 0 else -1
        mine = torch.tensor([worth, number, place], dtype=torch.float64)
        everyone = [torch.empty_like(mine) for _ in range(self._world)]
        self._group.all_gather(everyone, mine)
        found = [(float(w), int(f), int(p)) for w, f, p in everyone if f >= 0]
        return max(found, key=lambda split: (split[0], -split[1])) if found else (-1.0, -1, -1)

    def left(self, feature: int, place: int) -> NDArray[np.bool_]:
        return self._from_owner(feature, np.bool_, lambda own: self._own.finder.left(own, place))

    def values(self, feature: int) -> Array:
        return self._from_owner(feature, np.float32, self._own.values)

    def _from_owner(self, feature: int, dtype: type, compute: Callable[[int], Array]) -> Array:
        import torch

        own, owner = divmod(feature, self._world)
        array = compute(own) if owner == self._rank else np.empty(self._own.finder.samples, dtype)
        self._group.broadcast(torch.from_numpy(array), src=owner)
        return array
