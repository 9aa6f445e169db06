"""A check that splits have nothing in common, which names what they have."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset

__all__ = ["Overlap", "OverlapError", "check_disjoint"]

_BY = ("index", "id", "content")
_SHOWN = 5


class Overlap(NamedTuple):
    """An item that two splits share: its position in each, and what gave it away."""

    first: str
    first_item: int
    second: str
    second_item: int
    by: str
    name: str

    def __str__(self) -> str:
        """As it stands in the error."""
        what = "the same image" if self.by == "content" else f"{self.by} {self.name}"
        return f"{self.first}[{self.first_item}] = {self.second}[{self.second_item}] ({what})"


class OverlapError(ValueError):
    """Splits that overlap; ``overlaps`` lists every pair of items that are the same."""

    def __init__(self, overlaps: list[Overlap]) -> None:
        self.overlaps = overlaps
        pairs = list(dict.fromkeys(f"{found.first} and {found.second}" for found in overlaps))
        shown = "; ".join(map(str, overlaps[:_SHOWN]))
        more = f"; and {len(overlaps) - _SHOWN} more" if len(overlaps) > _SHOWN else ""
        super().__init__(f"check_disjoint: {', '.join(pairs)} must not share items, got {shown}{more}")


def check_disjoint(splits: Mapping[str, Any] | None = None, /, *, by: Sequence[str] = _BY, **named: Any) -> None:
    """Raise if two splits have an item in common.

    Args:
        splits: the splits by name; or as keyword arguments. Each is a data set, a Subset of one, a sequence of indices
            (of one data set: numbers) or a sequence of names (strings or paths).
        by: what makes two items the same: ``"index"``, in splits of one data set; ``"id"``, the data set's ``ids``, or
            paths; ``"content"``, a hash of the image before any transform (of the file's bytes, for files): finds
            copies. Data sets of other libraries are hashed as their images come, transforms included.

    Raises:
        OverlapError: a ValueError that names the first items and lists all in ``overlaps``.
        TypeError: for a split that is none of these.

    Source: the notes: the intersection of training, validation and test set must be empty.

    >>> saccade.data.check_disjoint(train=[0, 1, 2], val=[3, 4], test=[5])
    >>> saccade.data.check_disjoint(train=["a.png", "b.png"], test=["b.png"])
    Traceback (most recent call last):
    saccade.data.disjoint.OverlapError: check_disjoint: train and test must not share items, got train[1] = test[0] \
(id b.png)
    """
    every = {**(splits or {}), **named}
    if not set(by) <= set(_BY) or not by:
        raise ValueError(f"check_disjoint: by must be of 'index', 'id' and 'content', got {by!r}")
    seen: dict[Any, list[tuple[str, int]]] = {}
    overlaps: dict[tuple[str, int, str, int], Overlap] = {}
    for name, items in every.items():
        own: list[tuple[Any, tuple[str, int]]] = []
        for position, kind, key, label in _keys(name, items, by):
            for first, first_position in seen.get((kind, key), ()):
                pair = (first, first_position, name, position)
                overlaps.setdefault(pair, Overlap(*pair, kind, label))  # the first kind that finds a pair names it
            own.append(((kind, key), (name, position)))
        for key, place in own:  # afterwards: what a split holds twice is no overlap
            seen.setdefault(key, []).append(place)
    if overlaps:
        raise OverlapError(list(overlaps.values()))


def _keys(name: str, items: Any, by: Sequence[str]) -> Any:
    """Yield ``(position, kind, key, label)`` of every item, in the order of ``by`` within an item."""
    if _is_sequence_of(items, (int, np.integer)):
        for position, index in enumerate(np.asarray(items).tolist()):
            if "index" in by:
                yield position, "index", (None, index), str(index)
        return
    if _is_sequence_of(items, (str, os.PathLike)):
        for position, path in enumerate(items):
            if "id" in by:
                yield position, "id", os.path.normpath(os.fspath(path)), os.fspath(path)
        return
    if not hasattr(items, "__getitem__") or not hasattr(items, "__len__"):
        raise TypeError(
            f"check_disjoint: {name} must be a data set, indices or names, got {type(items).__name__}: {items!r}"
        )
    dataset, indices = _resolved(items)
    ids = _ids(dataset)
    for position, index in enumerate(indices):
        if "index" in by:
            yield position, "index", (id(dataset), index), str(index)
        if "id" in by and ids is not None:
            yield position, "id", ids[index], str(ids[index])
        if "content" in by:
            digest = hashlib.blake2b(_content(dataset, index), digest_size=16).digest()
            yield position, "content", digest, ""


def _is_sequence_of(items: Any, types: tuple[type, ...]) -> bool:
    if isinstance(items, np.ndarray | Tensor):
        numbers = items.dtype.kind in "iu" if isinstance(items, np.ndarray) else not items.dtype.is_floating_point
        return items.ndim == 1 and numbers and int in types
    return isinstance(items, Sequence) and not isinstance(items, str) and all(isinstance(x, types) for x in items)


def _resolved(items: Any) -> tuple[Any, list[int]]:
    """The data set at the bottom of nested subsets, and the items in it."""
    indices = list(range(len(items)))
    while isinstance(items, Subset):
        indices = [int(items.indices[i]) for i in indices]
        items = items.dataset
    return items, indices


def _ids(dataset: Any) -> list[Any] | None:
    paths = getattr(dataset, "paths", None)
    if paths is None:  # torchvision's folders list (path, class)
        samples = getattr(dataset, "samples", None)
        paths = [sample[0] for sample in samples] if samples and isinstance(samples[0], tuple) else None
    if paths is not None:
        return [os.path.realpath(path) for path in paths]
    return getattr(dataset, "ids", None)


def _content(dataset: Any, index: int) -> bytes:
    if hasattr(dataset, "content"):
        return dataset.content(index)
    item = dataset[index]
    image = item[0] if isinstance(item, tuple | list) else item
    if not isinstance(image, Tensor):
        image = torch.from_numpy(np.array(image))  # PIL's too
    return f"{image.dtype} {tuple(image.shape)} ".encode() + image.contiguous().numpy(force=True).tobytes()
