"""Unsupervised centroids, and the appearance codebook made of them."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade._extras import require
from saccade.classic._estimator import Estimator, check_fitted, named

__all__ = ["Codebook", "centroids"]

Array = NDArray[Any]
ALGORITHMS = ("kmeans", "minibatch", "agglomerative")
CHUNK = 4096  # descriptors compared with all words at once: a table of 3 MB for 200 words


def centroids(
    samples: ArrayLike,
    n_centroids: int | None,
    *,
    algorithm: str = "kmeans",
    distance_threshold: float | None = None,
    random_state: int | None = 0,
) -> tuple[Array, NDArray[np.int64]]:
    """Group samples without labels, and return the mean of each group.

    Args:
        samples: ``(N, D)``, finite; float32 stays float32, everything else becomes float64.
        n_centroids: how many, at most ``N``; ``None`` with a ``distance_threshold``.
        algorithm: ``"kmeans"``, ``"minibatch"`` (k-means on batches: for very many samples) or ``"agglomerative"``
            (average linkage; needs memory of ``N * N``).
        distance_threshold: "agglomerative" only: groups farther apart than this (Euclidean) stay apart.
        random_state: seed of the k-means.

    Returns:
        ``(K, D)`` centroids and the ``(N,)`` int64 group of each sample.

    Raises:
        ValueError: for wrong shapes, values or arguments. ImportError: without scikit-learn (extra ``classic``).

    Source: Lloyd, 1982; Sculley, Web-scale k-means clustering, 2010. scikit-learn does the work.

    >>> points = np.array([[0.0, 0], [0, 2], [9, 9], [9, 11]])
    >>> means, labels = centroids(points, 2)
    >>> means[labels]
    array([[ 0.,  1.],
           [ 0.,  1.],
           [ 9., 10.],
           [ 9., 10.]])
    """
    named("centroids", "algorithm", algorithm, ALGORITHMS)
    array = _table("centroids", "samples", samples)
    if distance_threshold is not None:
        if algorithm != "agglomerative" or n_centroids is not None:
            raise ValueError(
                "centroids: distance_threshold goes with algorithm 'agglomerative' and n_centroids None, got "
                f"{algorithm!r} and {n_centroids!r}"
            )
        if not distance_threshold >= 0:
            raise ValueError(f"centroids: distance_threshold must not be negative, got {distance_threshold!r}")
    elif n_centroids is None or not 1 <= n_centroids <= len(array):
        raise ValueError(
            f"centroids: n_centroids must be from 1 to the number of samples, {len(array)}, got {n_centroids!r}"
        )
    labels = _cluster(array, n_centroids, algorithm, distance_threshold, random_state)
    # Means anew: for all algorithms alike, and exact where mini-batches only came near. Groups left empty are dropped.
    _, labels, counts = np.unique(labels, return_inverse=True, return_counts=True)
    labels = labels.reshape(-1).astype(np.int64)
    order = np.argsort(labels, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    means = np.add.reduceat(array[order].astype(np.float64), starts, axis=0) / counts[:, None]
    return means.astype(array.dtype), labels


def _cluster(
    array: Array, count: int | None, algorithm: str, threshold: float | None, random_state: int | None
) -> NDArray[np.int64]:
    cluster = require("sklearn.cluster", "centroids", "classic")
    if algorithm == "agglomerative":
        if len(array) == 1:
            return np.zeros(1, np.int64)
        model = cluster.AgglomerativeClustering(count, linkage="average", distance_threshold=threshold)
    elif algorithm == "minibatch":
        model = cluster.MiniBatchKMeans(count, n_init=3, random_state=random_state)
    else:
        model = cluster.KMeans(count, n_init=1, random_state=random_state)
    return np.asarray(model.fit_predict(array), np.int64)


class Codebook(Estimator):
    """Visual words: the centroids of many local descriptors, and the assignment of descriptors to them.

    A scikit-learn estimator: `fit`, `predict` (the nearest word), `transform` (distances to all words).

    Args:
        n_words: how many; ``None`` with a ``distance_threshold``.
        algorithm: ``"kmeans"``, ``"minibatch"`` or ``"agglomerative"``, see `centroids`.
        metric: of distances. ``"euclidean"``, or ``"correlation"``: 1 minus the normalised cross-correlation, from 0
            to 2; the words are then of mean 0 and length 1. A descriptor without any contrast is at distance 1.
        distance_threshold: agglomerative clustering goes on to this distance (of the metric) between groups.
        random_state: seed.

    Attributes:
        words_: ``(K, D)``. counts_: ``(K,)`` descriptors of each word in `fit`.

    Source: Leibe, Leonardis, Schiele, Robust object detection with interleaved categorization and segmentation, IJCV
    2008, section 3; Sivic, Zisserman, Video Google, 2003.

    >>> descriptors = np.array([[0.0, 0], [0, 2], [9, 9], [9, 11]])
    >>> codebook = Codebook(2).fit(descriptors)
    >>> words = codebook.assign([[1.0, 1], [8, 8], [9, 8]])
    >>> codebook.histogram(words).tolist() in ([1, 2], [2, 1])
    True
    """

    words_: Array
    counts_: NDArray[np.int64]

    def __init__(
        self,
        n_words: int | None = 200,
        *,
        algorithm: str = "kmeans",
        metric: str = "euclidean",
        distance_threshold: float | None = None,
        random_state: int | None = 0,
    ) -> None:
        self.n_words = n_words
        self.algorithm = algorithm
        self.metric = metric
        self.distance_threshold = distance_threshold
        self.random_state = random_state

    def fit(self, descriptors: ArrayLike, y: object = None) -> Codebook:
        """Find the words of descriptors ``(N, D)``. ``y`` is ignored."""
        named("Codebook", "metric", self.metric, ("euclidean", "correlation"))
        array = _table("Codebook", "descriptors", descriptors)
        threshold = self.distance_threshold
        if self.metric == "correlation":
            array = normalized(array)
            # For vectors of length 1: |a - b|^2 = 2 (1 - a.b).
            threshold = None if threshold is None else float(np.sqrt(2 * max(threshold, 0)))
        means, labels = centroids(
            array, self.n_words, algorithm=self.algorithm, distance_threshold=threshold, random_state=self.random_state
        )
        self.words_ = normalized(means) if self.metric == "correlation" else means
        self.counts_ = np.bincount(labels, minlength=len(means))
        self.n_features_in_ = array.shape[1]
        return self

    def transform(self, descriptors: ArrayLike) -> Array:
        """The distance of each descriptor to each word, ``(N, K)``."""
        array = self._check(descriptors)
        return np.concatenate([self._distances(part) for part in _chunks(array)])

    def predict(self, descriptors: ArrayLike) -> NDArray[np.int64]:
        """The nearest word of each descriptor, ``(N,)``; of equally near ones the first."""
        return self._nearest(self._check(descriptors), 1, None)[0][:, 0]

    def fit_predict(self, descriptors: ArrayLike, y: object = None) -> NDArray[np.int64]:
        """`fit`, then `predict` of the same descriptors."""
        return self.fit(descriptors).predict(descriptors)

    def fit_transform(self, descriptors: ArrayLike, y: object = None) -> Array:
        """`fit`, then `transform` of the same descriptors."""
        return self.fit(descriptors).transform(descriptors)

    def assign(
        self,
        descriptors: ArrayLike,
        k: int | None = 1,
        *,
        threshold: float | None = None,
        return_distances: bool = False,
    ) -> Any:
        """The ``k`` nearest words of each descriptor, nearest first.

        Args:
            descriptors: ``(N, D)``.
            k: how many at most; ``None``: all words (within the threshold).
            threshold: words farther away than this are not assigned.
            return_distances: also return the distances.

        Returns:
            ``(N, k)`` int64 words, -1 where the threshold left fewer; ``(N,)`` for ``k=1``. With ``return_distances`` a
            pair, distances infinite where the word is -1.
        """
        array = self._check(descriptors)
        k = len(self.words_) if k is None else k
        if not 1 <= k <= len(self.words_):
            raise ValueError(f"assign: k must be from 1 to the number of words, {len(self.words_)}, got {k!r}")
        words, distances = self._nearest(array, k, threshold)
        if k == 1:
            words, distances = words[:, 0], distances[:, 0]
        return (words, distances) if return_distances else words

    def histogram(self, words: ArrayLike, *, normalize: bool = False) -> Array:
        """How often each word occurs, ``(K,)``: counts (int64), or shares that add up to 1 (float64).

        ``words`` has any shape; -1 is left out. Without any word, shares are 0.
        """
        check_fitted(self, "words_")
        array = np.asarray(words)
        if array.size == 0:
            array = array.astype(np.int64)
        if array.dtype.kind not in "iu":
            raise TypeError(f"histogram: words must be integers, got {array.dtype}")
        if array.size and not (array.min() >= -1 and array.max() < len(self.words_)):
            raise ValueError(
                f"histogram: words must be from -1 to {len(self.words_) - 1}, got {array.min()} to {array.max()}"
            )
        counts = np.bincount(array[array >= 0], minlength=len(self.words_))
        return counts / max(counts.sum(), 1) if normalize else counts

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write words and parameters as ``.npz``."""
        check_fitted(self, "words_")
        params = json.dumps(self.get_params())
        with open(path, "wb") as file:
            np.savez_compressed(file, words=self.words_, counts=self.counts_, params=np.array(params))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Codebook:
        """Read what `save` wrote. Nothing in the file is executed."""
        with np.load(path, allow_pickle=False) as data:
            if set(data.files) != {"words", "counts", "params"}:
                raise ValueError(f"Codebook: path must name a file that save wrote, got arrays {sorted(data.files)}")
            self = cls(**json.loads(str(data["params"])))
            self.words_, self.counts_ = data["words"], data["counts"]
        self.n_features_in_ = self.words_.shape[1]
        return self

    def _check(self, descriptors: ArrayLike) -> Array:
        check_fitted(self, "words_")
        array = _table("Codebook", "descriptors", descriptors, empty=True)
        if array.shape[1] != self.words_.shape[1]:
            raise ValueError(f"Codebook: descriptors must have shape (N, {self.words_.shape[1]}), got {array.shape}")
        return normalized(array) if self.metric == "correlation" else array

    def _distances(self, array: Array) -> Array:
        if self.metric == "correlation":
            return 1 - array @ self.words_.T.astype(array.dtype)
        # |a|^2 - 2ab + |b|^2 in float64, around the words' mean: float32 would lose the difference of near ones.
        centre = self.words_.mean(0, dtype=np.float64)
        a, b = array - centre, self.words_ - centre
        squares = (a * a).sum(1)[:, None] - 2 * (a @ b.T) + (b * b).sum(1)
        return np.sqrt(np.maximum(squares, 0))

    def _nearest(self, array: Array, k: int, threshold: float | None) -> tuple[NDArray[np.int64], Array]:
        words, near = [np.empty((0, k), np.int64)], [np.empty((0, k), array.dtype)]
        for part in _chunks(array):
            distances = self._distances(part)
            if k == 1:
                index = distances.argmin(1)[:, None]
            else:
                index = np.argpartition(distances, k - 1, axis=1)[:, :k] if k < distances.shape[1] else None
                index = np.sort(index, axis=1) if index is not None else np.broadcast_to(np.arange(k), distances.shape)
                order = np.argsort(np.take_along_axis(distances, index, 1), axis=1, kind="stable")
                index = np.take_along_axis(index, order, 1)
            distances = np.take_along_axis(distances, index, 1)
            if threshold is not None:
                beyond = ~(distances <= threshold)
                index, distances = np.where(beyond, -1, index), np.where(beyond, np.inf, distances)
            words.append(index)
            near.append(distances)
        return np.concatenate(words), np.concatenate(near)


def normalized(array: Array) -> Array:
    """Rows of mean 0 and length 1; rows without contrast become 0."""
    centred = array - array.mean(1, keepdims=True)
    length = np.sqrt(np.einsum("ij,ij->i", centred, centred))[:, None]
    # Below this a constant row's rounding errors would be blown up to full length.
    least = 8 * np.finfo(array.dtype).eps * np.abs(array).max(1, initial=0, keepdims=True) * np.sqrt(array.shape[1])
    return np.where(length > least, centred / np.where(length > 0, length, 1), 0).astype(array.dtype)


def _chunks(array: Array) -> list[Array]:
    return [array[i : i + CHUNK] for i in range(0, max(len(array), 1), CHUNK)]


def _table(op: str, name: str, values: ArrayLike, empty: bool = False) -> Array:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{op}: {name} must be real numbers, got {array.dtype}")
    if array.ndim != 2 or array.shape[1] == 0 or (len(array) == 0 and not empty):
        raise ValueError(f"{op}: {name} must have shape (N, D), got {array.shape}")
    array = np.ascontiguousarray(array, np.float32 if array.dtype in (np.float32, np.float16) else np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{op}: {name} must be finite, got NaN or infinity")
    return array
