"""LBP codes beside brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.classic import lbp_codes

CLOCKWISE = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]  # row, column; 128 first


def brute_force(image, width, height):
    rows, columns = image.shape[0] - 3 * height + 1, image.shape[1] - 3 * width + 1
    codes = np.zeros((rows, columns), np.uint8)
    for y in range(rows):
        for x in range(columns):
            blocks = image[y : y + 3 * height, x : x + 3 * width].astype(np.int64)
            sums = blocks.reshape(3, height, 3, width).sum((1, 3))
            for bit, (row, column) in enumerate(CLOCKWISE):
                codes[y, x] |= (sums[row, column] >= sums[1, 1]) << (7 - bit)
    return codes


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 5), st.integers(0, 5), st.integers(1, 255), st.booleans())
def test_equals_brute_force(width, height, more_x, more_y, most, wide):
    rng = np.random.default_rng(most)
    shape = 3 * height + more_y, 3 * width + more_x
    image = rng.integers(0, most, shape).astype(np.uint8)
    if wide:
        image = image.astype(np.int32) * 7_000_000 - 800_000_000
    np.testing.assert_array_equal(lbp_codes(image, (width, height)), brute_force(image, width, height))


def test_each_bit():
    for bit, (row, column) in enumerate(CLOCKWISE):
        image = np.zeros((3, 3), np.uint8)
        image[1, 1], image[row, column] = 1, 2
        assert lbp_codes(image)[0, 0] == 128 >> bit


def test_batches_and_layouts():
    images = np.random.default_rng(0).integers(0, 9, (2, 3, 12, 13), np.uint8)
    codes = lbp_codes(images, (2, 1))
    assert codes.shape == (2, 3, 10, 8)
    np.testing.assert_array_equal(codes[1, 2], brute_force(images[1, 2], 2, 1))
    turned = images[0, 0].T
    np.testing.assert_array_equal(lbp_codes(turned, (1, 2)), brute_force(turned, 1, 2))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: lbp_codes(np.zeros((3, 3))), TypeError, "image must be uint8 or int32, got float64"),
        (
            lambda: lbp_codes(np.zeros((3, 3), np.uint8), 2),
            ValueError,
            "block must be two integers, width and height, got 2",
        ),
        (
            lambda: lbp_codes(np.zeros((3, 3), np.uint8), (0, 1)),
            ValueError,
            "block must be at least (1, 1), got (0, 1)",
        ),
        (
            lambda: lbp_codes(np.zeros((3, 5), np.uint8), (2, 1)),
            ValueError,
            "image must hold 3 x 3 blocks of (2, 1), got shape (3, 5)",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == f"lbp_codes: {message}"
