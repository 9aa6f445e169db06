"""Histograms of oriented gradients beside scikit-image's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import data
from skimage.feature import hog as skimage_hog

import saccade
from saccade.classic import hog
from tests.util import strategies

NORMS = ["L1", "L1-sqrt", "L2", "L2-Hys"]
GREY = data.camera()[100:171, 90:183]
COLOUR = data.astronaut()[:71, 60:153]
EMPTY, THREE = np.zeros((9, 9, 0)), {"cells_per_block": 3}


def make(dtype, image=GREY):
    if dtype == "bool":
        return image > 100
    return (image / 255).astype(dtype) if "float" in dtype else image.astype(dtype)


def assert_equals_skimage(image, **options):
    actual, expected = hog(image, **options), skimage_hog(image, **options)
    if not isinstance(actual, tuple):
        actual, expected = (actual,), (expected,)
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        tolerance = 1e-10 if theirs.dtype == np.float64 else 2e-7
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


@pytest.mark.parametrize("block_norm", NORMS)
@pytest.mark.parametrize("dtype", ["uint8", "bool", "int32", "float16", "float32", "float64"])
def test_equals_skimage(dtype, block_norm):
    for orientations in (1, 2, 7, 9):
        assert_equals_skimage(make(dtype), orientations=orientations, block_norm=block_norm)
    assert_equals_skimage(make(dtype), block_norm=block_norm, feature_vector=False, transform_sqrt=True)


@pytest.mark.parametrize("orientations", [4, 6, 8, 12, 18])
def test_gradients_on_the_edge_of_a_bin(orientations):
    # Of integers they are exact: at 0, 45, 90 and 135 degrees.
    assert_equals_skimage(GREY, orientations=orientations, block_norm="L1")
    assert_equals_skimage(GREY // 64, orientations=orientations, block_norm="L1")


@pytest.mark.parametrize("pixels_per_cell", [(8, 8), (7, 5), (6, 9), (1, 1), (3, 30), (70, 2)])
@pytest.mark.parametrize("cells_per_block", [(1, 1), (1, 3)])
def test_sizes_of_cells_and_blocks(pixels_per_cell, cells_per_block):
    assert_equals_skimage(
        make("float64"), pixels_per_cell=pixels_per_cell, cells_per_block=cells_per_block, feature_vector=False
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 8), (3, 10), (9, 1), (5, 11), (4, 12), (17, 19), (8, 64)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_sizes_of_images(shape, dtype):
    image = (np.random.default_rng(0).random(shape) * 255).astype(dtype)
    assert_equals_skimage(image, pixels_per_cell=(1, 1), cells_per_block=(1, 1))


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_colour(dtype):
    image = make(dtype, COLOUR)
    assert_equals_skimage(image, channel_axis=-1)
    assert_equals_skimage(np.moveaxis(image, 2, 0), channel_axis=0)
    assert_equals_skimage(np.moveaxis(image, 2, 1), channel_axis=1, transform_sqrt=True)
    assert_equals_skimage(image[..., :1], channel_axis=2)
    assert_equals_skimage(np.concatenate([image, image[::-1]], 2), channel_axis=2)  # six channels


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_channels_of_equal_gradients(dtype):
    image = make(dtype)
    # Turned, the second channel's gradients are as long as the first's and point elsewhere.
    square = image[:64, :64]
    for second in (square, square.T, square[::-1], square[:, ::-1].T):
        assert_equals_skimage(np.stack([square, second], 2), channel_axis=2)


@pytest.mark.parametrize("pixels_per_cell", [(8, 8), (5, 7), (16, 12), (3, 3), (2, 2)])
@pytest.mark.parametrize("orientations", [1, 4, 9])
def test_visualisation(pixels_per_cell, orientations):
    for dtype in ("uint8", "float32"):
        assert_equals_skimage(make(dtype), orientations=orientations, pixels_per_cell=pixels_per_cell, visualize=True)


def test_visualisation_of_tiny_cells():
    _, drawn = hog(GREY, pixels_per_cell=(1, 1), visualize=True)  # scikit-image fails
    assert drawn.shape == GREY.shape


def test_nan_and_infinity():
    image = make("float64")
    image[30, 40], image[50, 10], image[20, 70] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        actual, expected = hog(image, feature_vector=False), skimage_hog(image, feature_vector=False)
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)
    assert np.isnan(actual).any()
    assert not np.isnan(actual).all()


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e-20, 1e20, 1e150, 1e300])
def test_extreme_values(scale):
    assert_equals_skimage(make("float64") * scale)


def test_flat_image():
    assert_equals_skimage(np.full((40, 50), 7.0))
    np.testing.assert_array_equal(hog(np.full((40, 50), 7, np.uint8)), 0)


def test_thread_count_changes_nothing():
    image = data.camera()
    before, results = saccade.get_num_threads(), []
    for count in (1, 2, 3):
        saccade.set_num_threads(count)
        results.append(hog(image).tobytes())
    saccade.set_num_threads(before)
    assert results[0] == results[1] == results[2]


@given(st.data())
def test_awkward_images(data):
    image = make(data.draw(st.sampled_from(["uint8", "int32", "float32", "float64"])))[:30, :37]
    awkward = data.draw(strategies.awkward_layouts(image))
    np.testing.assert_array_equal(hog(awkward), hog(image.copy()))


@given(
    st.tuples(st.integers(0, 20), st.integers(0, 20)),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.integers(1, 12),
    st.sampled_from(NORMS),
)
def test_any_size(shape, cell, block, orientations, norm):
    image = np.random.default_rng(sum(shape)).random(shape)
    options = {"pixels_per_cell": cell, "cells_per_block": block, "orientations": orientations, "block_norm": norm}
    if shape[0] // cell[0] >= block[0] and shape[1] // cell[1] >= block[1]:
        assert_equals_skimage(image, **options)
    else:
        with pytest.raises(ValueError, match=r"^hog: image must have at least \d+ rows and \d+ columns, got"):
            hog(image, **options)


@pytest.mark.parametrize(
    ("error", "message", "image", "options"),
    [
        (ValueError, "hog: image must have shape (H, W), got (3, 4, 5)", np.zeros((3, 4, 5)), {}),
        (ValueError, "hog: image must have shape (H, W), got ()", 3.0, {}),
        (ValueError, "hog: image must have shape (H, W) and channels, got (9, 9)", GREY[:9, :9], {"channel_axis": 0}),
        (ValueError, "hog: channel_axis must be from -3 to 2, got 3", COLOUR, {"channel_axis": 3}),
        (ValueError, "hog: image must have a channel, got (9, 9) and 0 channels", EMPTY, {"channel_axis": 2}),
        (ValueError, "hog: image must have at least 24 rows and 24 columns, got 23 and 93", GREY[:23], {}),
        (ValueError, "hog: image must have at least 24 rows and 24 columns, got 0 and 0", np.zeros((0, 0)), {}),
        (ValueError, "hog: block_norm must be one of L1, L1-sqrt, L2, L2-Hys, got 'L3'", GREY, {"block_norm": "L3"}),
        (ValueError, "hog: orientations must be from 1 to 65536, got 0", GREY, {"orientations": 0}),
        (TypeError, "hog: orientations must be an integer, got 9.0", GREY, {"orientations": 9.0}),
        (ValueError, "hog: pixels_per_cell must be from 1 to 2^30, got (0, 8)", GREY, {"pixels_per_cell": (0, 8)}),
        (ValueError, "hog: cells_per_block must be from 1 to 2^30, got (3, -1)", GREY, {"cells_per_block": (3, -1)}),
        (ValueError, "hog: cells_per_block must be two integers, rows and columns, got 3", GREY, THREE),
        (TypeError, "hog: image must be real numbers, got complex128", np.zeros((40, 40), complex), {}),
        (TypeError, "hog: image must be real numbers, got object", np.zeros((40, 40), object), {}),
    ],
)  # fmt: skip
def test_errors(error, message, image, options):
    with pytest.raises(error) as caught:
        hog(image, **options)
    assert str(caught.value) == message
