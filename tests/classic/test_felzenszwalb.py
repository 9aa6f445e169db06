"""Graph-based segmentation beside scikit-image's, and beside the plain version where edges are equally strong."""

import re

import numpy as np
import pytest
from skimage import data, segmentation

import saccade
from saccade import classic
from saccade.reference import selective_search as reference

IMAGE = data.astronaut()[40:140, 150:281]
SHAPES = [(1, 1, 1), (1, 9, 3), (9, 1, 3), (2, 2, 3), (7, 5, 1), (16, 17, 2), (23, 31, 3), (33, 8, 3)]


def test_labels_are_those_of_scikit_image():
    for scale, sigma, min_size in ((100, 0.8, 50), (1, 0.8, 20), (300, 0.5, 100), (20, 3.0, 0)):
        ours = classic.felzenszwalb(IMAGE, scale, sigma, min_size)
        theirs = segmentation.felzenszwalb(IMAGE, scale, sigma, min_size)
        np.testing.assert_array_equal(ours, theirs, strict=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_random_images(shape, dtype):
    image = np.random.default_rng(1).random(shape).astype(dtype)
    ours = classic.felzenszwalb(image, 60, 0.7, 4)
    # scikit-image takes float32 in its own precision before it makes edges of it.
    np.testing.assert_array_equal(ours, segmentation.felzenszwalb(image.astype(np.float64), 60, 0.7, 4))
    np.testing.assert_array_equal(ours, reference.felzenszwalb(image.astype(np.float64), 60, 0.7, 4))


def test_an_image_smaller_than_the_filter():
    image = np.random.default_rng(2).random((3, 5, 3))
    np.testing.assert_array_equal(classic.felzenszwalb(image, 60, 4, 2), segmentation.felzenszwalb(image, 60, 4, 2))


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_equal_edges_go_in_their_order(levels):
    image = np.random.default_rng(3).integers(0, levels, (13, 17, 1)) / 4
    for scale, min_size in ((0, 1), (100, 1), (300, 5), (3000, 20)):
        ours = classic.felzenszwalb(image, scale, 0, min_size)
        np.testing.assert_array_equal(ours, reference.felzenszwalb(image, scale, 0, min_size))


def test_grey_images_axes_and_strides():
    grey = data.camera()[100:180, 200:290]
    expected = segmentation.felzenszwalb(grey, 50, channel_axis=None)
    for image, axis in ((grey, None), (grey[:, :, None], -1), (grey[None], 0), (grey, -1)):
        np.testing.assert_array_equal(classic.felzenszwalb(image, 50, channel_axis=axis), expected)
    flipped = np.ascontiguousarray(IMAGE[::-1, ::2, ::-1])
    np.testing.assert_array_equal(
        classic.felzenszwalb(IMAGE[::-1, ::2, ::-1], 50), segmentation.felzenszwalb(flipped, 50)
    )


def test_float16_is_computed_with_as_float32():
    image = np.random.default_rng(4).random((20, 20, 3)).astype(np.float16)
    np.testing.assert_array_equal(classic.felzenszwalb(image), classic.felzenszwalb(image.astype(np.float32)))


def test_threads_change_nothing():
    before = saccade.get_num_threads()
    results = []
    for count in (1, 2, 3):
        saccade.set_num_threads(count)
        results.append(classic.felzenszwalb(IMAGE, 30).tobytes())
    saccade.set_num_threads(before)
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.zeros((2, 3, 4, 5)),), ValueError, "image must have shape (H, W, C), got (2, 3, 4, 5)"),
        ((np.zeros((0, 3, 3)),), ValueError, "image must not be empty, got (0, 3, 3)"),
        ((np.zeros((3, 3, 3), int),), TypeError, "image must be uint8, float32 or float64, got int64"),
        ((np.full((3, 3, 3), np.nan),), ValueError, "image must be finite, got NaN or infinity"),
        ((np.full((3, 3, 3), np.inf, np.float32),), ValueError, "image must be finite, got NaN or infinity"),
        ((IMAGE, -1), ValueError, "scale must be finite and not negative, got -1"),
        ((IMAGE, np.inf), ValueError, "scale must be finite and not negative, got inf"),
        ((IMAGE, 1, -0.5), ValueError, "sigma must lie in [0, 10000], got -0.5"),
        ((IMAGE, 1, np.nan), ValueError, "sigma must lie in [0, 10000], got nan"),
        ((IMAGE, 1, 0.8, -1), ValueError, "min_size must not be negative, got -1"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=re.escape(f"felzenszwalb: {message}") + "$"):
        classic.felzenszwalb(*arguments)


def test_bad_axes():
    with pytest.raises(ValueError, match=r"felzenszwalb: channel_axis must lie in -3 to 2, got 3$"):
        classic.felzenszwalb(IMAGE, channel_axis=3)
    with pytest.raises(ValueError, match=r"\(H, W\) with channel_axis=None, got \(100, 131, 3\)$"):
        classic.felzenszwalb(IMAGE, channel_axis=None)
