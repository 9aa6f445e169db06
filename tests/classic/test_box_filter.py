"""classic.box_sum and classic.box_filter beside OpenCV, SciPy and the reference."""

import cv2
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import saccade
from saccade import classic
from saccade.reference.box_filter import box_filter as filter_reference
from saccade.reference.box_filter import box_sum as sum_reference
from tests.util import strategies

SIZES = [(1, 1), (1, 2), (2, 1), (3, 3), (4, 5), (16, 16), (17, 17), (18, 40), (61, 3), (200, 150)]
SHAPES = [(1, 1), (1, 9), (9, 1), (2, 2), (16, 17), (37, 65)]


def make(dtype, shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape).astype(dtype) if "float" in dtype else rng.integers(0, 256, shape).astype(dtype)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_filter_equals_reference(size, shape):
    image = make("uint8", shape)
    sums = np.rint(filter_reference(image, *size) * (size[0] * size[1])).astype(np.int64)
    area = size[0] * size[1]
    expected = (2 * sums + area) // (2 * area)
    np.testing.assert_array_equal(classic.box_filter(image, size), expected.astype(np.uint8), strict=True)
    for dtype, tolerance in (("float32", 1e-6), ("float64", 1e-13)):
        values = make(dtype, shape)
        actual = classic.box_filter(values, size)
        assert actual.dtype == dtype
        np.testing.assert_allclose(actual, filter_reference(values, *size), rtol=0, atol=tolerance)


def exact_mean(image, rows, columns):
    """Integer arithmetic throughout: nearest, halves up."""
    sums = image.astype(np.int64)
    for axis, size in ((0, rows), (1, columns)):
        pad = [(size // 2 + 1, (size - 1) // 2) if a == axis else (0, 0) for a in (0, 1)]
        mode = "reflect" if image.shape[axis] > 1 else "edge"
        sums = np.cumsum(np.pad(sums, pad, mode=mode), axis)
        sums = np.take(sums, range(size, sums.shape[axis]), axis) - np.take(sums, range(image.shape[axis]), axis)
    area = rows * columns
    return ((2 * sums + area) // (2 * area)).astype(np.uint8)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 129])
def test_filter_of_every_width_of_window(width):
    image = make("uint8", (12, width))
    for columns in (*range(1, 20), 31, 32, 33, 64, 65):
        for rows in (2, 5, 60):  # totals in 16 bits, and beyond
            np.testing.assert_array_equal(
                classic.box_filter(image, (rows, columns)), exact_mean(image, rows, columns), f"{rows} x {columns}"
            )


def test_filter_of_every_total():
    """Windows over 0, 0, ..., 1, 1, ..., 255 repeated as often as the window is long add up to 0, 1, 2, ..."""
    for area in range(1, 257):
        line = np.repeat(np.arange(256, dtype=np.uint8), area)
        totals = np.arange(255 * area + 1)
        expected = (2 * totals + area) // (2 * area)
        places = totals + area // 2
        np.testing.assert_array_equal(classic.box_filter(line[None], (1, area))[0, places], expected, f"{area} columns")


@pytest.mark.parametrize("area", [255, 256, 257, 258, 500, 512, 961, 1000, 1024, 2047, 2048, 4095])
def test_filter_of_every_total_over_rows(area):
    line = np.repeat(np.arange(256, dtype=np.uint8), area)
    totals = np.arange(255 * area + 1)
    expected = ((2 * totals + area) // (2 * area)).astype(np.uint8)
    actual = classic.box_filter(np.stack([line, line[::-1]], 1), (area, 1))[totals + area // 2]
    np.testing.assert_array_equal(actual, np.stack([expected, expected[::-1]], 1))


LIMITS = [(1, 126), (1, 127), (1, 128), (1, 256), (1, 257), (2, 127), (257, 1), (31, 31), (90, 91), (101, 101)]
LIMITS += [(128, 128), (151, 151), (160, 161), (170, 170), (4000, 8), (4095, 7), (4095, 8), (7, 4095), (8, 3000)]


@pytest.mark.parametrize("size", LIMITS)
def test_filter_of_the_steepest_edges(size):
    """Differences between rows as large as they get, on either side of each limit of the 16-bit sums."""
    rng = np.random.default_rng(0)
    image = np.repeat(rng.integers(0, 2, (60, 3)), 100, 1).repeat(rng.integers(1, 12, 60), 0) * np.uint8(255)
    for pixels in (image, 255 - image, np.where(rng.random(image.shape) < 0.01, 128, image).astype(np.uint8)):
        np.testing.assert_array_equal(classic.box_filter(pixels.astype(np.uint8), size), exact_mean(pixels, *size))


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (4, 6), (5, 21), (31, 31)])
def test_filter_equals_opencv_and_scipy(size):
    image, values = make("uint8", (70, 90)), make("float32", (70, 90))
    difference = classic.box_filter(image, size).astype(int) - cv2.blur(image, size[::-1])
    assert abs(difference).max() <= 1  # how cv2 rounds depends on the area
    np.testing.assert_allclose(classic.box_filter(values, size), cv2.blur(values, size[::-1]), rtol=0, atol=1e-6)
    expected = scipy.ndimage.uniform_filter(values.astype(np.float64), size, mode="mirror")
    np.testing.assert_allclose(classic.box_filter(values.astype(np.float64), size), expected, rtol=0, atol=1e-12)


def test_filter_of_the_largest_sums():
    image = np.full((3, 4), 255, np.uint8)
    np.testing.assert_array_equal(classic.box_filter(image, 4095), image)


def test_filter_halves_round_up():
    image = np.array([[0, 1, 2, 3, 4, 5]], np.uint8)
    np.testing.assert_array_equal(classic.box_filter(image, (1, 2)), [[1, 1, 2, 3, 4, 5]])


def test_nan_stays_where_it_is():
    image = np.ones((30, 50))
    image[10, 20] = np.nan
    for size in (3, (5, 20)):
        actual = classic.box_filter(image, size)
        np.testing.assert_array_equal(np.isnan(actual), np.isnan(filter_reference(image, *np.broadcast_to(size, 2))))
        np.testing.assert_allclose(actual[~np.isnan(actual)], 1.0, rtol=1e-14)


def test_batch_and_threads_change_nothing():
    before = saccade.get_num_threads()
    for dtype in ("uint8", "float32", "float64"):
        images = make(dtype, (2, 3, 150, 170))
        for size in (5, 31, (9, 33), (40, 200)):
            results = []
            for count in (1, 2, 3):
                saccade.set_num_threads(count)
                results.append(classic.box_filter(images, size))
            for other in results[1:]:
                assert results[0].tobytes() == other.tobytes()
            np.testing.assert_array_equal(results[0][1, 2], classic.box_filter(images[1, 2], size))
    saccade.set_num_threads(before)


@given(st.data())
def test_filter_of_any_layout(data):
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=20))
    image = make(data.draw(st.sampled_from(["uint8", "float32", "float64"])), shape)
    size = (data.draw(st.integers(1, 25)), data.draw(st.integers(1, 25)))
    awkward = data.draw(strategies.awkward_layouts(image))
    np.testing.assert_array_equal(classic.box_filter(awkward, size), classic.box_filter(image.copy(), size))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float64"])
@pytest.mark.parametrize("box_dtype", [np.int32, np.int64])
def test_sum_equals_reference(dtype, box_dtype):
    image = make(dtype, (19, 31))
    rng = np.random.default_rng(0)
    boxes = rng.integers(-5, 40, (200, 4)).astype(box_dtype)
    sums = classic.integral_image(image)
    expected = sum_reference(image.astype(sums.dtype), boxes)
    actual = classic.box_sum(sums, boxes)
    assert actual.dtype == sums.dtype
    np.testing.assert_allclose(actual, expected, rtol=0, atol=0 if dtype != "float64" else 1e-11)


def test_sum_over_a_batch():
    images = make("uint8", (2, 3, 9, 8))
    boxes = np.array([[0, 0, 8, 9], [2, 3, 4, 5]])
    sums = classic.box_sum(classic.integral_image(images), boxes)
    assert sums.shape == (2, 3, 2)
    np.testing.assert_array_equal(sums[..., 0], images.sum((-2, -1)))
    np.testing.assert_array_equal(sums[..., 1], images[..., 3:5, 2:4].sum((-2, -1)))


def test_sum_of_extreme_boxes():
    sums = classic.integral_image(np.ones((3, 4)))
    lowest, highest = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    boxes = np.array([[lowest, lowest, highest, highest], [highest, 0, lowest, 3], [0, 0, 0, 3], [3, 2, 4, 3]])
    np.testing.assert_array_equal(classic.box_sum(sums, boxes), [12, 0, 0, 1])
    assert classic.box_sum(sums, np.empty((0, 4), np.int64)).shape == (0,)
    np.testing.assert_array_equal(classic.box_sum(np.zeros((1, 1)), boxes), [0, 0, 0, 0])
    spoilt = np.full((4, 5), np.nan)
    np.testing.assert_array_equal(classic.box_sum(spoilt, boxes), [np.nan, 0, 0, np.nan])


@given(st.data())
def test_sum_of_any_layout(data):
    image = make("uint8", data.draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=12)))
    boxes = data.draw(hnp.arrays(np.int32, st.tuples(st.integers(0, 6), st.just(4))))
    sums = data.draw(strategies.awkward_layouts(classic.integral_image(image)))
    actual = classic.box_sum(sums, data.draw(strategies.awkward_layouts(boxes)))
    np.testing.assert_array_equal(actual, sum_reference(image.astype(np.int32), boxes))


def test_errors():
    with pytest.raises(ValueError, match=r"^box_filter: image must have shape \(\.\.\., H, W\), got \(3,\)$"):
        classic.box_filter(np.zeros(3), 3)
    with pytest.raises(ValueError, match=r"^box_filter: size must be from 1 to 4095, got \(0, 3\)$"):
        classic.box_filter(np.zeros((3, 3)), (0, 3))
    with pytest.raises(ValueError, match=r"^box_filter: size must be from 1 to 4095, got \(3, 4096\)$"):
        classic.box_filter(np.zeros((3, 3)), (3, 4096))
    with pytest.raises(TypeError, match=r"^box_filter: image must be uint8, float32 or float64, got int32$"):
        classic.box_filter(np.zeros((3, 3), np.int32), 3)
    boxes = np.zeros((1, 4), int)
    with pytest.raises(
        ValueError, match=r"^box_sum: integral must have shape \(\.\.\., H \+ 1, W \+ 1\), got \(0, 4\)$"
    ):
        classic.box_sum(np.zeros((0, 4)), boxes)
    with pytest.raises(ValueError, match=r"^box_sum: boxes must have shape \(N, 4\), got \(4,\)$"):
        classic.box_sum(np.zeros((4, 4)), np.zeros(4, int))
    with pytest.raises(TypeError, match=r"^box_sum: boxes must be int32 or int64, got float64$"):
        classic.box_sum(np.zeros((4, 4)), np.zeros((1, 4)))
    with pytest.raises(TypeError, match=r"^box_sum: integral must be int32, int64, float32 or float64, got uint8$"):
        classic.box_sum(np.zeros((4, 4), np.uint8), boxes)
