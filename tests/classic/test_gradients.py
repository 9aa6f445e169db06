"""Edge intensity and orientation beside SciPy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage import data

from saccade.classic import gradients, orientation_histogram
from tests.util import strategies

IMAGE = data.camera()[100:171, 90:183]


@pytest.mark.parametrize("dtype", ["uint8", "bool", "int32", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (1, 1), (1, 7), (7, 1), (2, 2), (71, 93)])
def test_equals_scipy(dtype, shape):
    image = (IMAGE[: shape[0], : shape[1]] // 2).astype(dtype)
    magnitude, orientation = gradients(image)
    values = image.astype(float)
    dx, dy = (ndimage.correlate1d(values, [-1, 0, 1], axis, mode="nearest") for axis in (1, 0))
    assert magnitude.shape == orientation.shape == shape
    assert magnitude.dtype == orientation.dtype == (np.float64 if dtype == "float64" else np.float32)
    np.testing.assert_allclose(magnitude, np.hypot(dx, dy), rtol=1e-6)
    np.testing.assert_allclose(orientation, np.arctan2(dy, dx), rtol=1e-6)


@given(st.data())
def test_awkward_images(data):
    image = IMAGE[:9, :11].astype(data.draw(st.sampled_from(["uint8", "int64", "float32", "float64"])))
    awkward = data.draw(strategies.awkward_layouts(image))
    for ours, plain in zip(gradients(awkward), gradients(image.copy()), strict=True):
        np.testing.assert_array_equal(ours, plain)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bins", [1, 4, 9])
def test_histogram_equals_numpy(bins, signed):
    rng = np.random.default_rng(0)
    magnitude, orientation = rng.random((30, 40)), rng.uniform(-np.pi, np.pi, (30, 40))
    period = 2 * np.pi if signed else np.pi
    expected, _ = np.histogram(orientation % period, bins, (0, period), weights=magnitude)
    np.testing.assert_allclose(orientation_histogram(magnitude, orientation, bins, signed=signed), expected)


def test_the_end_of_the_range_is_its_beginning():
    for angle in (0.0, np.pi, -np.pi, -1e-20, 2 * np.pi):
        np.testing.assert_array_equal(orientation_histogram([2.0], [angle], 4), [2, 0, 0, 0])


def test_errors():
    with pytest.raises(ValueError, match=r"^gradients: image must have shape \(H, W\), got \(2, 3, 4\)$"):
        gradients(np.zeros((2, 3, 4)))
    with pytest.raises(TypeError, match=r"^gradients: image must be real numbers, got complex128$"):
        gradients(np.zeros((2, 3), complex))
    message = r"^orientation_histogram: magnitude and orientation must have the same shape, got \(2,\) and \(3,\)$"
    with pytest.raises(ValueError, match=message):
        orientation_histogram([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match=r"^orientation_histogram: bins must be at least 1, got 0$"):
        orientation_histogram([1], [1], 0)
    with pytest.raises(ValueError, match=r"^orientation_histogram: orientation must be finite$"):
        orientation_histogram([1], [np.nan])
