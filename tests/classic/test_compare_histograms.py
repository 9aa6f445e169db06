"""Comparison of histograms beside OpenCV."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from saccade.classic import compare_histograms, image_histogram

METHODS = {
    "correlation": cv2.HISTCMP_CORREL,
    "chi_square": cv2.HISTCMP_CHISQR,
    "intersection": cv2.HISTCMP_INTERSECT,
    "hellinger": cv2.HISTCMP_BHATTACHARYYA,
    "kl_divergence": cv2.HISTCMP_KL_DIV,
}


def expected_of(a, b, method):
    return cv2.compareHist(np.float32(a).ravel(), np.float32(b).ravel(), METHODS[method])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bins", [1, 2, 7, 64, 1000])
def test_equals_opencv(method, bins):
    rng = np.random.default_rng(bins)
    a, b = rng.integers(0, 50, (2, bins)) * (rng.random((2, bins)) < 0.7)  # some bins empty in one, some in both
    actual = compare_histograms(a, b, method)
    assert isinstance(actual, float)
    # Hellinger takes the root of a difference from 1: rounding by 1e-7 (OpenCV's float32 products) becomes 3e-4 at 0.
    np.testing.assert_allclose(actual, expected_of(a, b, method), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_many_at_once(method):
    rng = np.random.default_rng(1)
    a, b = rng.random((4, 1, 20)).astype(np.float32), rng.random((3, 20)).astype(np.float32)
    actual = compare_histograms(a, b, method)
    assert actual.shape == (4, 3)
    expected = [[expected_of(a[i, 0], b[j], method) for j in range(3)] for i in range(4)]
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_joint_histograms(method):
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (2, 30, 40, 3), np.uint8)
    a, b = (image_histogram(image, 4, normalize="sum") for image in images)
    expected = expected_of(a, b, method)
    np.testing.assert_allclose(compare_histograms(a, b, method, ndim=3), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "same", "empty"),
    [
        ("correlation", 1, 1),
        ("chi_square", 0, 0),
        ("intersection", 6, 0),
        ("hellinger", 0, 1),
        ("kl_divergence", 0, 0),
    ],
)
def test_same_and_empty(method, same, empty):
    np.testing.assert_allclose(compare_histograms([1, 2, 3], [1, 2, 3], method), same, atol=1e-7)
    assert compare_histograms([0, 0, 0], [0, 0, 0], method) == empty
    assert expected_of([0, 0, 0], [0, 0, 0], method) == empty


def test_constant_beside_varied():
    assert compare_histograms([2, 2, 2], [1, 2, 3]) == expected_of([2, 2, 2], [1, 2, 3], "correlation") == 1


counts = hnp.arrays(np.int64, 12, elements=st.integers(0, 1000))


@given(counts, counts, st.sampled_from(sorted(METHODS)))
def test_any_counts_equal_opencv(a, b, method):
    tolerance = 1e-3 if method == "hellinger" else 1e-5
    np.testing.assert_allclose(compare_histograms(a, b, method), expected_of(a, b, method), rtol=1e-5, atol=tolerance)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: compare_histograms([1], [1], "l2"),
            ValueError,
            "method must be 'correlation', 'chi_square', 'intersection', 'hellinger' or 'kl_divergence', got 'l2'",
        ),
        (lambda: compare_histograms([1, 2], [1]), ValueError, "a and b must have the same bins, got (2,) and (1,)"),
        (
            lambda: compare_histograms(np.ones((2, 5)), np.ones((3, 5))),
            ValueError,
            "a and b must have leading dimensions that broadcast, got (2, 5) and (3, 5)",
        ),
        (lambda: compare_histograms(1, [1]), ValueError, "a must have at least ndim=1 dimensions, got ()"),
        (lambda: compare_histograms([1], [-1]), ValueError, "b must be finite and not negative, got -1.0 as least"),
        (lambda: compare_histograms([1], ["x"]), TypeError, "b must be real numbers, got <U1"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == f"compare_histograms: {message}"
