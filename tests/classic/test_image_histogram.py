"""Histograms of images beside OpenCV and NumPy."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from saccade.classic import image_histogram


def make(dtype, shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random(shape).astype(dtype) if "float" in dtype else rng.integers(0, 256, shape).astype(dtype)


@pytest.mark.parametrize("bins", [1, 7, 32, 255, 256, 300])
@pytest.mark.parametrize("limits", [(0, 256), (10, 200), (-50.5, 300.25), (3, 4)])
def test_grey_equals_opencv(bins, limits):
    image = make("uint8", (61, 47))
    expected = cv2.calcHist([image], [0], None, [bins], list(limits))[:, 0]
    actual = image_histogram(image, bins, limits)
    assert actual.dtype == np.int64
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(("dtype", "scale"), [("float32", 1), ("float32", 300), ("uint16", 1)])
def test_other_dtypes_equal_opencv(dtype, scale):
    image = make(dtype, (50, 40)) * np.array(scale, dtype)
    high = 1 if scale == 1 and dtype == "float32" else 256
    expected = cv2.calcHist([image], [0], None, [37], [0, high])[:, 0]
    np.testing.assert_array_equal(image_histogram(image, 37, (0, high)), expected)


def test_colour_equals_opencv():
    image = make("uint8", (40, 50, 3))
    mask = make("uint8", (40, 50), 1) // 128
    expected = cv2.calcHist([image], [0, 1, 2], mask, [4, 7, 5], [0, 256, 20, 200, 0, 100])
    actual = image_histogram(image, (4, 7, 5), [(0, 256), (20, 200), (0, 100)], mask)
    np.testing.assert_array_equal(actual, expected)
    separate = image_histogram(image, 16, mask=mask, channels="separate")
    for channel in range(3):
        expected = cv2.calcHist([image], [channel], mask, [16], [0, 256])[:, 0]
        np.testing.assert_array_equal(separate[channel], expected)


def test_defaults():
    assert image_histogram(make("uint8", (5, 5))).shape == (256,)
    assert image_histogram(make("uint8", (5, 5, 3))).shape == (8, 8, 8)
    assert image_histogram(make("uint8", (5, 5, 3)), channels="separate").shape == (3, 256)
    assert image_histogram(make("float64", (5, 5))).sum() == 25
    assert image_histogram(np.full((2, 2), 65535, np.uint16))[-1] == 4
    assert image_histogram(np.zeros((0, 4), np.uint8)).sum() == 0


def test_outside_and_nan_do_not_count():
    image = np.array([[-0.1, 0.0, 0.999, 1.0, np.nan, np.inf, -np.inf]])
    np.testing.assert_array_equal(image_histogram(image, 2), [1, 1])


@pytest.mark.parametrize(("norm", "order"), [("sum", 1), ("max", np.inf), ("l2", 2)])
def test_normalised(norm, order):
    image = make("uint8", (20, 30, 3))
    for channels, part in (("joint", image), ("joint", image[..., 0]), ("separate", image)):
        counts = image_histogram(part, 6, channels=channels)
        actual = image_histogram(part, 6, channels=channels, normalize=norm)
        rows = counts.reshape(3, -1) if channels == "separate" else counts.reshape(1, -1)
        expected = rows / np.linalg.norm(rows, order, axis=1, keepdims=True)
        np.testing.assert_allclose(actual.reshape(expected.shape), expected, rtol=1e-15)
    np.testing.assert_array_equal(image_histogram(image[:0, :, 0], 3, normalize=norm), [0, 0, 0])


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))),
    st.integers(1, 300),
    st.floats(-300, 300, width=32),
    st.floats(0.5, 500, width=32),
)
def test_any_range_equals_opencv(image, bins, low, width):
    limits = (float(np.float32(low)), float(np.float32(low + width)))
    for kind in ("uint8", "float32"):
        expected = cv2.calcHist([image.astype(kind)], [0], None, [bins], list(limits))[:, 0]
        np.testing.assert_array_equal(image_histogram(image.astype(kind), bins, limits), expected)


GREY = np.zeros((4, 5), np.uint8)
COLOUR = np.zeros((4, 5, 3), np.uint8)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: image_histogram(GREY[0]), ValueError, "image must have shape (H, W) or (H, W, C), got (5,)"),
        (
            lambda: image_histogram(GREY.astype(int)),
            TypeError,
            "image must be uint8, uint16, float32 or float64, got int64",
        ),
        (lambda: image_histogram(GREY, 0), ValueError, "bins must be positive integers, one or 1, got 0"),
        (lambda: image_histogram(COLOUR, (2, 2)), ValueError, "bins must be positive integers, one or 3, got (2, 2)"),
        (lambda: image_histogram(COLOUR, 700), ValueError, "bins must give at most 2^28 cells, got (700, 700, 700)"),
        (
            lambda: image_histogram(COLOUR, (2, 2, 3), channels="separate"),
            ValueError,
            "bins must be the same for separate channels, got (2, 2, 3)",
        ),
        (
            lambda: image_histogram(GREY, 4, (5, 5)),
            ValueError,
            "range must be (low, high), one or 1, low below high, got (5, 5)",
        ),
        (lambda: image_histogram(GREY, mask=GREY[:2]), ValueError, "mask must have shape (4, 5), got (2, 5)"),
        (
            lambda: image_histogram(GREY, channels="all"),
            ValueError,
            "channels must be 'joint' or 'separate', got 'all'",
        ),
        (lambda: image_histogram(GREY, normalize="l1"), ValueError, "normalize must be 'sum', 'max' or 'l2', got 'l1'"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == f"image_histogram: {message}"
