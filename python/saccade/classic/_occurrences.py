"""Where on the object each visual word was seen: what the Implicit Shape Model learns."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Occurrences", "Sightings", "merge_sightings", "spread"]

Array = NDArray[Any]


class Sightings(NamedTuple):
    """Patches of training objects, in pixels of the object brought to its reference size."""

    pixels: Array  # (N, P) descriptors
    offset: Array  # (N, 2) from the patch's centre to the object's
    size: Array  # (N, 2) of the object
    figure: Array | None  # (N, P) in [0, 1]: which pixels are the object's


class Occurrences(NamedTuple):
    """Occurrences by word: those of word i are ``starts[i]`` to ``starts[i + 1]``."""

    starts: NDArray[np.int64]
    offset: Array  # (O, 2) float32
    size: Array  # (O, 2) float32
    weight: Array  # (O,) float32; those of a word add up to 1
    figure: Array | None  # (O, P) uint8, 255: figure


def merge_sightings(words: NDArray[np.int64], sightings: Sightings, n_words: int, cell: float) -> Occurrences:
    """Occurrences of words ``(N, k)``; a word's sightings within a square of ``cell`` pixels become one, their mean.

    Without that, the votes of a patch grow with the number of training images.
    """
    row, _ = np.nonzero(words >= 0)
    word = words[words >= 0]
    place = np.floor(sightings.offset[row] / cell).astype(np.int64)
    place -= place.min(0, initial=0)
    across, down = (int(most) + 1 for most in place.max(0, initial=0))
    _, group, counts = np.unique(
        (word * across + place[:, 0]) * down + place[:, 1], return_inverse=True, return_counts=True
    )
    group = group.reshape(-1)
    order = np.argsort(group, kind="stable")
    first = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    owner = word[order][first] if len(word) else word

    def mean(values: Array) -> Array:
        if len(word) == 0:
            return np.zeros((0, values.shape[1]), np.float32)
        sums = np.add.reduceat(values[row[order]], first, axis=0, dtype=np.float64)
        return (sums / counts[:, None]).astype(np.float32)

    totals = np.bincount(owner, counts, n_words)
    figure = None if sightings.figure is None else np.rint(255 * mean(sightings.figure)).astype(np.uint8)
    starts = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=n_words))])
    weight = (counts / np.maximum(totals[owner], 1)).astype(np.float32)
    return Occurrences(starts, mean(sightings.offset), mean(sightings.size), weight, figure)


def spread(words: NDArray[np.int64], occurrences: Occurrences) -> tuple[Array, Array]:
    """For each word of each feature ``(F, k)`` all of its occurrences: feature ``(V,)`` and occurrence ``(V,)``."""
    feature, _ = np.nonzero(words >= 0)
    word = words[words >= 0]
    counts = np.diff(occurrences.starts)[word]
    ends = np.cumsum(counts)
    inside = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
    return np.repeat(feature, counts), np.repeat(occurrences.starts[word], counts) + inside
