"""classic.integral_image beside OpenCV, scikit-image, NumPy and the reference."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.transform import integral_image as skimage_integral_image

import saccade
from saccade import classic
from saccade.reference.integral_image import integral_image as reference
from saccade.reference.integral_image import tilted_integral_image as tilted_reference
from tests.util import strategies

SUM_DTYPES = {"bool": "int32", "uint8": "int32", "int32": "int64", "float32": "float64", "float64": "float64"}
# Around the register widths of every level and the chunk of 256 columns, and the four rows of a block.
WIDTHS = [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, 257, 521]
HEIGHTS = [1, 2, 3, 4, 5, 7, 8, 61]


@pytest.fixture(params=[1, 2])
def threads(request):
    before = saccade.get_num_threads()
    saccade.set_num_threads(request.param)
    yield request.param
    saccade.set_num_threads(before)


def make(dtype, shape, seed=0):
    rng = np.random.default_rng(seed)
    if dtype in ("float32", "float64"):
        return rng.normal(size=shape).astype(dtype)
    low, high = {"bool": (0, 2), "uint8": (0, 256), "int32": (-(2**31), 2**31)}[dtype]
    return rng.integers(low, high, shape).astype(dtype)


@pytest.mark.parametrize("height", HEIGHTS)
@pytest.mark.parametrize("width", WIDTHS)
def test_equals_opencv(height, width):
    image = make("uint8", (height, width))
    expected = cv2.integral3(image)
    for actual, sums in zip(classic.integral_image(image, squared=True, tilted=True), expected, strict=True):
        assert actual.dtype == sums.dtype
        np.testing.assert_array_equal(actual, sums)


@pytest.mark.parametrize("width", [8191, 8192, 8193, 16384, 24607])
def test_squares_of_wide_white_images(width):
    # The largest squares there are, across the stretches of 8,192 columns that are summed as integers.
    image = np.full((5, width), 255, np.uint8)
    square = classic.integral_image(image, squared=True)[1]
    assert np.array_equal(square, cv2.integral2(image)[1])


@pytest.mark.parametrize("dtype", SUM_DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (37, 300), (300, 1100)])
def test_equals_reference(dtype, shape, threads):
    image = make(dtype, shape)
    wide = image.astype(SUM_DTYPES[dtype])
    sums, squares = classic.integral_image(image, squared=True)
    np.testing.assert_array_equal(sums, reference(wide), strict=True)
    np.testing.assert_array_equal(squares, reference(image.astype(np.float64) ** 2), strict=True)
    np.testing.assert_array_equal(classic.integral_image(image, padded=False), sums[1:, 1:], strict=True)


@pytest.mark.parametrize("dtype", SUM_DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (13, 8), (8, 13)])
def test_tilted_equals_reference(dtype, shape):
    image = make(dtype, shape)
    expected = tilted_reference(image.astype(SUM_DTYPES[dtype]))
    for padded in (True, False):
        _, tilted = classic.integral_image(image, tilted=True, padded=padded)
        wanted = expected if padded else expected[1:, 1:]
        assert tilted.dtype == wanted.dtype
        np.testing.assert_allclose(tilted, wanted, rtol=0, atol=0 if tilted.dtype.kind == "i" else 1e-12)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_thread_count_changes_nothing(dtype):
    image = make(dtype, (301, 1203))
    before = saccade.get_num_threads()
    results = []
    for count in (1, 2, 3):
        saccade.set_num_threads(count)
        results.append(classic.integral_image(image, squared=True, tilted=True))
    saccade.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "float64"])
def test_equals_scikit_image(dtype):
    image = make(dtype, (31, 45))
    # scikit-image adds the columns first: floats differ in their last bits.
    tolerance = 1e-12 if image.dtype.kind == "f" else 0
    actual = classic.integral_image(image, padded=False)
    np.testing.assert_allclose(actual, skimage_integral_image(image), rtol=0, atol=tolerance * image.size)


def test_batch_is_image_by_image(threads):
    images = make("uint8", (3, 2, 150, 190))
    batch = classic.integral_image(images, squared=True, tilted=True)
    for i in np.ndindex(3, 2):
        for whole, one in zip(batch, classic.integral_image(images[i], squared=True, tilted=True), strict=True):
            np.testing.assert_array_equal(whole[i], one)


def test_int32_wraps_and_rectangles_survive():
    image = np.full((2000, 4400), 255, np.uint8)  # 2.24e9 in all
    sums = classic.integral_image(image)
    assert sums[-1, -1] == 255 * image.size - 2**32
    with np.errstate(over="ignore"):
        assert sums[2000, 4400] - sums[1000, 4400] - sums[2000, 2200] + sums[1000, 2200] == 255 * 1000 * 2200


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (2, 0, 3), (0, 4, 4)])
@pytest.mark.parametrize("padded", [True, False])
def test_no_pixels(shape, padded):
    for sums in classic.integral_image(np.zeros(shape, np.uint8), squared=True, tilted=True, padded=padded):
        assert sums.shape == (*shape[:-2], shape[-2] + padded, shape[-1] + padded)
        assert not sums.any()


def test_infinite_pixel_spoils_only_what_contains_it():
    image = np.ones((6, 7))
    image[2, 3] = np.inf
    sums, tilted = classic.integral_image(image, tilted=True)
    np.testing.assert_array_equal(np.isinf(sums), reference(np.isinf(image).astype(int)) > 0)
    np.testing.assert_array_equal(np.isinf(tilted), tilted_reference(np.isinf(image).astype(int)) > 0)


@given(st.data())
def test_any_layout(data):
    dtype = data.draw(st.sampled_from(list(SUM_DTYPES)))
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=40))
    image = make(dtype, shape, seed=data.draw(st.integers(0, 9)))
    expected = classic.integral_image(np.ascontiguousarray(image), squared=True, tilted=True)
    awkward = data.draw(strategies.awkward_layouts(image))
    for actual, sums in zip(classic.integral_image(awkward, squared=True, tilted=True), expected, strict=True):
        np.testing.assert_array_equal(actual, sums)


@given(st.data())
def test_awkward_values(data):
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))
    image = data.draw(hnp.arrays(np.float32, shape, elements=strategies.awkward_floats))
    with np.errstate(all="ignore"):
        expected = reference(image.astype(np.float64))
    np.testing.assert_array_equal(classic.integral_image(image), expected)


def test_errors():
    with pytest.raises(ValueError, match=r"^integral_image: image must have shape \(\.\.\., H, W\), got \(5,\)$"):
        classic.integral_image(np.zeros(5))
    with pytest.raises(
        TypeError, match=r"^integral_image: image must be bool, uint8, int32, float32 or float64, got int16$"
    ):
        classic.integral_image(np.zeros((2, 2), np.int16))
    endless = np.broadcast_to(np.uint8(1), (2**21, 2**21))
    with pytest.raises(ValueError, match=r"^integral_image: image must have at most 2\*\*40 pixels, got \(2097152, 2"):
        classic.integral_image(endless)
