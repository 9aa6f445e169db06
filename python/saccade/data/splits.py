"""Splits that cannot overlap: at random, by class, by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import Subset

__all__ = ["split"]

Index: TypeAlias = NDArray[np.int64]


@overload
def split(
    dataset: Any,
    shares: Mapping[str, float],
    *,
    seed: int = ...,
    stratify: bool | ArrayLike | Tensor = ...,
    groups: ArrayLike | Sequence[Any] | None = ...,
) -> dict[str, Any]: ...
@overload
def split(
    dataset: Any,
    shares: Sequence[float],
    *,
    seed: int = ...,
    stratify: bool | ArrayLike | Tensor = ...,
    groups: ArrayLike | Sequence[Any] | None = ...,
) -> list[Any]: ...
def split(
    dataset: Any,
    shares: Mapping[str, float] | Sequence[float],
    *,
    seed: int = 0,
    stratify: bool | ArrayLike | Tensor = False,
    groups: ArrayLike | Sequence[Any] | None = None,
) -> dict[str, Any] | list[Any]:
    """Split a data set into parts that have no item in common; every item is in exactly one.

    Args:
        dataset: a data set with a length, or the number of items.
        shares: of each part, by name or in order: fractions that add up to 1, or whole numbers that add up to the
            length.
        seed: the same seed gives the same parts on every machine.
        stratify: True (by the data set's ``labels`` or ``targets``) or labels ``(N,)``: every class is divided in
            these shares, to within one item; sizes stay exact.
        groups: ``(N,)`` of anything that can be compared, the same for items that must stay together (frames of one
            video, images of one patient). Sizes, and classes with ``stratify``, then come as close as a greedy
            assignment of whole groups, the largest first, brings them.

    Returns:
        torch.utils.data.Subset objects, or arrays of indices if ``dataset`` is a number: a dict if ``shares`` has
        names, otherwise a list. Indices are in ascending order.

    Raises:
        ValueError: for shares that do not add up, a part without items, a class (named) with fewer items than there
            are parts, fewer groups than parts, or lengths that differ.

    Source: the notes' training, validation and test set; stratified as scikit-learn's StratifiedShuffleSplit.

    >>> parts = saccade.data.split(10, {"train": 0.6, "val": 0.2, "test": 0.2}, seed=1)
    >>> {name: len(part) for name, part in parts.items()}
    {'train': 6, 'val': 2, 'test': 2}
    >>> train, test = saccade.data.split(8, [0.5, 0.5], stratify=[0, 0, 0, 0, 0, 0, 1, 1])
    >>> (train >= 6).sum(), (test >= 6).sum()
    (np.int64(1), np.int64(1))
    """
    names = list(shares) if isinstance(shares, Mapping) else [f"part {i}" for i in range(len(shares))]
    length = dataset if isinstance(dataset, int) else len(dataset)
    values = list(shares.values()) if isinstance(shares, Mapping) else list(shares)
    sizes = _sizes(values, names, length)
    classes = _classes(dataset, stratify, length, len(sizes))
    rng = np.random.default_rng(seed)
    if groups is not None:
        part = _by_group(_codes("groups", groups, length), classes, sizes, rng)
    else:
        part = _by_class(classes, sizes, rng)
    indices: list[Any] = [np.flatnonzero(part == k) for k in range(len(sizes))]
    if not isinstance(dataset, int):
        indices = [Subset(dataset, index.tolist()) for index in indices]
    return dict(zip(names, indices, strict=True)) if isinstance(shares, Mapping) else indices


def labels_of(dataset: Any) -> Any:
    """The labels of a data set, or of a subset of one; None where it keeps none as a list."""
    if isinstance(dataset, Subset):
        labels = labels_of(dataset.dataset)
        return None if labels is None else np.asarray(labels)[np.asarray(dataset.indices, np.int64)]
    labels = getattr(dataset, "labels", None)
    return getattr(dataset, "targets", None) if labels is None else labels


def _sizes(shares: list[float], names: list[str], length: int) -> Index:
    values = np.asarray(shares, np.float64)
    if values.size == 0 or not (values > 0).all():
        raise ValueError(f"split: shares must be positive numbers, got {shares}")
    if all(isinstance(share, int | np.integer) for share in shares):
        if sum(shares) != length:
            raise ValueError(f"split: whole shares must add up to the length {length}, got {sum(shares)}")
        return values.astype(np.int64)
    if abs(values.sum() - 1) > 1e-6:
        raise ValueError(f"split: shares must add up to 1, got {values.sum():.6g}")
    exact = values / values.sum() * length
    sizes = np.floor(exact + 1e-9).astype(np.int64)
    order = np.argsort(sizes - exact, kind="stable")  # the greatest remainders round up
    sizes[order[: length - sizes.sum()]] += 1
    if (sizes == 0).any():
        raise ValueError(f"split: every part must get an item, got none of {length} for {names[int(sizes.argmin())]!r}")
    return sizes


def _classes(dataset: Any, stratify: Any, length: int, parts: int) -> Index:
    if stratify is False or stratify is None:
        return np.zeros(length, np.int64)
    labels = stratify
    if stratify is True:
        labels = None if isinstance(dataset, int) else labels_of(dataset)
        if labels is None:
            raise ValueError(f"split: stratify=True needs a data set with labels, got {type(dataset).__name__}")
    codes = _codes("stratify", labels, length)
    counts = np.bincount(codes)
    if counts.min() < parts:
        rare = np.asarray(labels)[codes == counts.argmin()][0]
        raise ValueError(
            f"split: stratify needs at least {parts} items of every class, got {counts.min()} of class {rare}"
        )
    return codes


def _codes(name: str, values: Any, length: int) -> Index:
    array = np.asarray(values)
    if array.shape != (length,):
        raise ValueError(f"split: {name} must have shape ({length},), got {array.shape}")
    return np.unique(array, return_inverse=True)[1].astype(np.int64).reshape(length)


def _by_class(classes: Index, sizes: Index, rng: np.random.Generator) -> Index:
    part = np.empty(len(classes), np.int64)
    for members, counts in zip(_members(classes), _rounded(np.bincount(classes), sizes), strict=True):
        part[rng.permutation(members)] = np.repeat(np.arange(len(sizes)), counts)
    return part


def _members(codes: Index) -> list[Index]:
    order = np.argsort(codes, kind="stable")
    return [np.asarray(part, np.int64) for part in np.split(order, np.cumsum(np.bincount(codes))[:-1])]


def _rounded(class_sizes: Index, sizes: Index) -> Index:
    """Items of each class for each part, ``(classes, parts)``: both sums exact, each number within one of its share.

    Such a rounding exists for every table (Bacharach, Matrix rounding problems, 1966). Every class hands its remainder
    to the parts that are furthest behind; parts that end up too large pass an item on, along a chain of classes.
    """
    total = int(sizes.sum())
    product = class_sizes[:, None] * sizes[None, :]
    floor, uneven = product // total, product % total > 0
    extra = np.zeros(product.shape, bool)
    behind = np.zeros(len(sizes))
    for c, left in enumerate(class_sizes - floor.sum(1)):
        behind += product[c] / total - floor[c]
        wanting = np.argsort(np.where(uneven[c], -behind, np.inf), kind="stable")[:left]
        extra[c, wanting] = True
        behind[wanting] -= 1
    while (over := np.flatnonzero((floor + extra).sum(0) > sizes)).size:
        _pass_on(extra, uneven, int(over[0]), (floor + extra).sum(0) < sizes)
    return floor + extra


def _pass_on(extra: NDArray[np.bool_], uneven: NDArray[np.bool_], start: int, short: NDArray[np.bool_]) -> None:
    came: dict[int, tuple[int, int]] = {}
    reached = [start]
    for here in reached:  # breadth first; the list grows
        for there in range(extra.shape[1]):
            givers = np.flatnonzero(extra[:, here] & uneven[:, there] & ~extra[:, there])
            if there not in reached and givers.size:
                came[there] = (here, int(givers[0]))
                reached.append(there)
    end = next(there for there in reached if short[there])
    while end != start:
        here, giver = came[end]
        extra[giver, here], extra[giver, end] = False, True
        end = here


def _by_group(groups: Index, classes: Index, sizes: Index, rng: np.random.Generator) -> Index:
    members = _members(groups)
    if len(members) < len(sizes):
        raise ValueError(f"split: groups must be at least as many as the {len(sizes)} parts, got {len(members)}")
    contents = np.stack([np.bincount(classes[items], minlength=classes.max() + 1) for items in members])
    wanted = sizes[:, None] * np.bincount(classes) / len(classes)  # (parts, classes)
    got = np.zeros_like(wanted)
    empty = np.ones(len(sizes), bool)
    part = np.empty(len(classes), np.int64)
    shuffled = rng.permutation(len(members))
    order = shuffled[np.argsort(-contents[shuffled].sum(1), kind="stable")]
    for done, g in enumerate(order):
        # What the squared distance from the wanted numbers grows by, relative to the size of each class.
        cost = (contents[g] * (2 * (got - wanted) + contents[g]) / wanted.sum(0)).sum(1)
        if len(order) - done <= empty.sum():  # the last groups are for parts that have none
            cost[~empty] = np.inf
        k = int(cost.argmin())
        part[members[g]] = k
        got[k] += contents[g]
        empty[k] = False
    return part
