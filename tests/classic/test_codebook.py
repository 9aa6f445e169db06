"""Codebook and centroids beside scikit-learn and brute force."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from saccade.classic import Codebook, centroids


def blobs(seed=0, groups=5, each=40, size=6):
    rng = np.random.default_rng(seed)
    return (rng.normal(0, 20, (groups, 1, size)) + rng.normal(0, 1, (groups, each, size))).reshape(-1, size)


@pytest.mark.parametrize("algorithm", ["kmeans", "minibatch", "agglomerative"])
def test_centroids_find_groups(algorithm):
    samples = blobs()
    means, labels = centroids(samples, 5, algorithm=algorithm)
    expected = samples.reshape(5, 40, 6).mean(1)
    assert labels.dtype == np.int64
    assert all(len(set(part)) == 1 for part in labels.reshape(5, 40))
    np.testing.assert_allclose(means[labels[::40]], expected, rtol=0, atol=1e-12)


def test_centroids_equal_scikit_learn():
    samples = np.random.default_rng(1).normal(size=(300, 4))
    means, labels = centroids(samples, 7, random_state=3)
    model = KMeans(7, n_init=1, random_state=3, tol=0).fit(samples)
    np.testing.assert_array_equal(labels, KMeans(7, n_init=1, random_state=3).fit_predict(samples))
    assert np.sum((samples - means[labels]) ** 2) <= model.inertia_ * 1.001


def test_distance_threshold_decides_the_number():
    means, _ = centroids(blobs(), None, algorithm="agglomerative", distance_threshold=15)
    assert len(means) == 5
    assert len(centroids([[1.0, 2]], None, algorithm="agglomerative", distance_threshold=1)[0]) == 1


def test_same_seed_same_result():
    samples = np.random.default_rng(2).normal(size=(200, 3)).astype(np.float32)
    first, second = (Codebook(9, random_state=5).fit(samples).words_ for _ in range(2))
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("metric", ["euclidean", "correlation"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_assignment_equals_brute_force(metric, dtype):
    samples = np.random.default_rng(3).normal(3, 2, (5000, 12)).astype(dtype)  # more than one chunk
    codebook = Codebook(30, metric=metric).fit(samples[:600])
    expected = pairwise_distances(samples.astype(np.float64), codebook.words_.astype(np.float64), metric=metric)
    tolerance = 3e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(codebook.transform(samples), expected, rtol=0, atol=tolerance)
    words, distances = codebook.assign(samples, 4, return_distances=True)
    np.testing.assert_allclose(distances, np.sort(expected, 1)[:, :4], rtol=0, atol=tolerance)
    np.testing.assert_allclose(np.take_along_axis(expected, words, 1), distances, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(codebook.predict(samples), words[:, 0])
    np.testing.assert_array_equal(codebook.assign(samples), words[:, 0])


def test_correlation_ignores_light():
    patches = np.random.default_rng(4).normal(size=(50, 16))
    codebook = Codebook(10, metric="correlation").fit(patches)
    np.testing.assert_allclose(codebook.words_.mean(1), 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(codebook.words_, axis=1), 1)
    np.testing.assert_allclose(codebook.transform(5 * patches + 100), codebook.transform(patches), atol=1e-10)
    np.testing.assert_array_equal(codebook.transform(np.full((1, 16), 0.1)), np.ones((1, 10)))


def test_threshold_and_histogram():
    codebook = Codebook(3).fit([[0.0], [10], [20]])
    codebook.words_ = np.array([[0.0], [10], [20]])
    words = codebook.assign([[1.0], [9], [14], [100]], 2, threshold=6)
    np.testing.assert_array_equal(words, [[0, -1], [1, -1], [1, 2], [-1, -1]])
    np.testing.assert_array_equal(codebook.assign([[14.0]], None, threshold=100), [[1, 2, 0]])
    np.testing.assert_array_equal(codebook.histogram(words), [1, 2, 1])
    np.testing.assert_array_equal(codebook.histogram(words, normalize=True), [0.25, 0.5, 0.25])
    np.testing.assert_array_equal(codebook.histogram([], normalize=True), [0, 0, 0])
    assert codebook.assign(np.zeros((0, 1)), 2).shape == (0, 2)


def test_ties_go_to_the_first_word():
    codebook = Codebook(3).fit([[0.0], [2], [10]])
    codebook.words_ = np.array([[2.0], [0.0], [10]])
    np.testing.assert_array_equal(codebook.assign([[1.0]], 2), [[0, 1]])


def test_agglomerative_by_correlation():
    rng = np.random.default_rng(5)
    shapes = rng.normal(size=(4, 25))
    patches = np.repeat(shapes, 10, 0) * rng.uniform(0.5, 2, (40, 1)) + rng.normal(0, 0.05, (40, 25))
    codebook = Codebook(None, algorithm="agglomerative", metric="correlation", distance_threshold=0.3).fit(patches)
    assert len(codebook.words_) == 4
    np.testing.assert_array_equal(codebook.counts_, [10] * 4)


def test_is_an_estimator(tmp_path):
    samples = blobs()
    codebook = Codebook(5, random_state=1)
    copy = clone(codebook)
    assert copy is not codebook
    assert copy.get_params() == codebook.get_params()
    assert repr(Codebook(5, metric="correlation")) == "Codebook(n_words=5, metric='correlation')"
    assert codebook.set_params(n_words=4).n_words == 4
    pipeline = make_pipeline(StandardScaler(), Codebook(5))
    assert pipeline.fit_transform(samples).shape == (200, 5)
    assert pipeline.fit(samples).predict(samples).shape == (200,)
    np.testing.assert_array_equal(Codebook(5).fit_predict(samples), Codebook(5).fit(samples).predict(samples))
    loaded = pickle.loads(pickle.dumps(Codebook(5).fit(samples)))
    assert loaded.counts_.sum() == 200


def test_save_and_load(tmp_path):
    codebook = Codebook(5, metric="correlation", random_state=7).fit(blobs())
    codebook.save(tmp_path / "words.npz")
    loaded = Codebook.load(tmp_path / "words.npz")
    assert loaded.get_params() == codebook.get_params()
    np.testing.assert_array_equal(loaded.words_, codebook.words_)
    np.testing.assert_array_equal(loaded.counts_, codebook.counts_)
    np.testing.assert_array_equal(loaded.predict(blobs(1)), codebook.predict(blobs(1)))
    np.savez(tmp_path / "other.npz", a=np.zeros(1))
    with pytest.raises(ValueError, match=r"^Codebook: path must name a file that save wrote, got arrays \['a'\]$"):
        Codebook.load(tmp_path / "other.npz")


FITTED = Codebook(2).fit([[0.0, 1], [5, 5]])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: centroids([1.0], 1), ValueError, "centroids: samples must have shape (N, D), got (1,)"),
        (lambda: centroids([["a"]], 1), TypeError, "centroids: samples must be real numbers, got <U1"),
        (lambda: centroids([[np.nan]], 1), ValueError, "centroids: samples must be finite, got NaN or infinity"),
        (
            lambda: centroids([[1.0]], 2),
            ValueError,
            "centroids: n_centroids must be from 1 to the number of samples, 1, got 2",
        ),
        (
            lambda: centroids([[1.0]], 1, algorithm="k"),
            ValueError,
            "centroids: algorithm must be 'kmeans', 'minibatch' or 'agglomerative', got 'k'",
        ),
        (
            lambda: centroids([[1.0]], 1, distance_threshold=1),
            ValueError,
            "centroids: distance_threshold goes with algorithm 'agglomerative' and n_centroids None, "
            "got 'kmeans' and 1",
        ),
        (
            lambda: Codebook(1, metric="cosine").fit([[1.0]]),
            ValueError,
            "Codebook: metric must be 'euclidean' or 'correlation', got 'cosine'",
        ),
        (lambda: Codebook().predict([[1.0]]), RuntimeError, "Codebook: it has not been fitted; call fit first"),
        (lambda: FITTED.predict([[1.0]]), ValueError, "Codebook: descriptors must have shape (N, 2), got (1, 1)"),
        (
            lambda: FITTED.assign([[1.0, 2]], 3),
            ValueError,
            "assign: k must be from 1 to the number of words, 2, got 3",
        ),
        (lambda: FITTED.histogram([0.5]), TypeError, "histogram: words must be integers, got float64"),
        (lambda: FITTED.histogram([2]), ValueError, "histogram: words must be from -1 to 1, got 2 to 2"),
        (
            lambda: Codebook().set_params(words=1),
            ValueError,
            "Codebook: parameters are n_words, algorithm, metric, distance_threshold, random_state, got 'words'",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


def test_import_is_light():
    code = (
        "import sys, saccade.classic; print({'sklearn', 'scipy', 'skimage', 'torch', 'matplotlib'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(ImportError) as caught:
        centroids([[1.0]], 1)
    assert str(caught.value) == (
        "centroids: needs scikit-learn, which is not installed: python -m pip install 'saccade[classic]'"
    )


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 20), st.integers(1, 5)), elements=st.floats(-100, 100, width=16)),
    st.integers(1, 20),
)
def test_every_sample_counts_once(samples, count):
    count = min(count, len(np.unique(samples, axis=0)))
    means, labels = centroids(samples, count)
    assert labels.shape == (len(samples),)
    np.testing.assert_array_equal(np.unique(labels), np.arange(len(means)))
    for i, mean in enumerate(means):
        np.testing.assert_allclose(mean, samples[labels == i].mean(0), rtol=1e-12, atol=1e-10)
