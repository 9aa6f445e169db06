import subprocess
import sys

import numpy as np
import pytest
import torch

from saccade import classic, ops
from saccade.reference.dense_crf import dense_crf as reference_crf
from saccade.reference.dense_crf import image_features
from tests.util.threads import with_threads

NORMALIZATIONS = ["none", "before", "after", "symmetric"]


def problem(labels, height, width, dtype=np.float32):
    rng = np.random.default_rng(labels)
    unary = 2 * rng.normal(size=(labels, height, width))
    image = rng.integers(0, 20, (height, width, 3), np.uint8)
    image[:, width // 2 :] += 100
    return unary.astype(dtype), image


def by_torch(unary, image, **options):
    """The same by the operator on tensors."""
    given = {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value for name, value in options.items()
    }
    planes = None if image is None else torch.from_numpy(np.moveaxis(image, 2, 0).copy())
    return ops.dense_crf(torch.from_numpy(unary), planes, **given).numpy()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("kind", ["Potts", "diagonal", "matrix"])
def test_equals_the_operator_on_tensors(kind, normalization, dtype):
    unary, image = problem(5, 13, 19, dtype)
    rng = np.random.default_rng(1)
    compat = {"Potts": 0.75, "diagonal": rng.normal(size=5), "matrix": rng.normal(size=(5, 5))}[kind]
    options = {
        "iterations": 3, "normalization": normalization, "gaussian_sxy": (2.5, 3.1), "bilateral_sxy": 8.0,
        "bilateral_srgb": [13.0, 11.0, 9.0], "gaussian_compat": compat, "bilateral_compat": compat,
    }  # fmt: skip
    q = classic.dense_crf(unary, image, **options)
    assert q.dtype == dtype
    np.testing.assert_array_equal(q, by_torch(unary, image, **options))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 15)])
def test_equals_the_reference(shape):
    # Widths that are integers put pixels on the border of two simplices, where a rounding decides (tests/ops).
    unary, image = problem(3, *shape, np.float64)
    image = image + np.random.default_rng(0).random(image.shape)
    terms = [
        (image_features(shape, 3.1), -3 * np.eye(3)),
        (image_features(shape, 8.3, np.moveaxis(image, 2, 0), 13), -10 * np.eye(3)),
    ]
    right = reference_crf(unary.reshape(3, -1), terms, 4).reshape(unary.shape)
    q = classic.dense_crf(unary, image, iterations=4, gaussian_sxy=3.1, bilateral_sxy=8.3)
    np.testing.assert_allclose(q, right, rtol=0, atol=1e-12)


def test_kernels_are_multiplied_with_the_features():
    unary, image = problem(3, 8, 11, np.float64)
    plain = {"gaussian_sxy": (4.0, 2.0), "bilateral_sxy": (10.0, 5.0), "bilateral_srgb": [20.0, 13.0, 10.0]}
    wide = {"gaussian_sxy": 1.0, "bilateral_sxy": 1.0, "bilateral_srgb": 1.0}
    scales = 1 / np.array([10.0, 5.0, 20.0, 13.0, 10.0])
    diagonal = {"gaussian_kernel": 1 / np.array([4.0, 2.0]), "bilateral_kernel": scales}
    full = {"gaussian_kernel": np.diag(1 / np.array([4.0, 2.0])), "bilateral_kernel": np.diag(scales)}
    expected = classic.dense_crf(unary, image, **plain)
    for kernels in (diagonal, full):
        np.testing.assert_allclose(classic.dense_crf(unary, image, **wide, **kernels), expected, rtol=0, atol=1e-6)
        np.testing.assert_allclose(by_torch(unary, image, **wide, **kernels), expected, rtol=0, atol=1e-6)
    # Not symmetric: y counts as x does, x as nothing.
    sheared = np.array([[0.0, 0.5], [0.0, 0.0]])
    q = classic.dense_crf(unary, gaussian_sxy=1, gaussian_kernel=sheared)
    features = image_features((8, 11), 1) @ sheared.T
    right = reference_crf(unary.reshape(3, -1), [(features, -3 * np.eye(3))], 5).reshape(unary.shape)
    np.testing.assert_allclose(q, right, rtol=0, atol=1e-5)


def test_inputs_in_other_layouts_and_types():
    unary, image = problem(4, 12, 10)
    expected = classic.dense_crf(unary, image)
    np.testing.assert_array_equal(classic.dense_crf(np.asfortranarray(unary), image[::-1].copy()[::-1]), expected)
    np.testing.assert_array_equal(classic.dense_crf(unary.astype(">f4"), image.astype(np.float32)), expected)
    grey = image[..., :1]
    np.testing.assert_array_equal(classic.dense_crf(unary, grey[..., 0]), classic.dense_crf(unary, grey))
    half = classic.dense_crf(unary.astype(np.float16), image)
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, expected, atol=0.02)


def test_terms_can_be_left_out():
    unary, image = problem(3, 6, 7)
    softmax = np.exp(-unary) / np.exp(-unary).sum(0)
    np.testing.assert_allclose(classic.dense_crf(unary, gaussian_compat=None), softmax, rtol=1e-5)
    np.testing.assert_allclose(classic.dense_crf(unary, image, iterations=0), softmax, rtol=1e-5)
    gaussian = classic.dense_crf(unary)
    np.testing.assert_array_equal(classic.dense_crf(unary, image, bilateral_compat=None), gaussian)
    assert np.abs(gaussian - classic.dense_crf(unary, image)).max() > 0.01
    assert classic.dense_crf(np.zeros((3, 0, 5), np.float32)).shape == (3, 0, 5)


def test_threads():
    unary, image = problem(21, 190, 100)
    results = with_threads(lambda: classic.dense_crf(unary, image, iterations=2))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_torch_is_not_imported():
    code = (
        "import sys, numpy as np; from saccade import classic; "
        "q = classic.dense_crf(np.zeros((2, 3, 3), np.float32), np.zeros((3, 3, 3), np.uint8)); "
        "print(float(q.sum()), 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "9.0 False\n"


UNARY, IMAGE = problem(3, 4, 5)
NAN, INFINITE = UNARY.copy(), UNARY.copy()
NAN[1, 2, 3], INFINITE[0, 0, 0] = np.nan, np.inf


@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (ValueError, "unary must have shape (L, H, W), got (3, 20)", (UNARY.reshape(3, 20),), {}),
        (TypeError, "unary must be float16, float32 or float64, got int64", (np.zeros((3, 4, 5), int),), {}),
        (ValueError, "unary must be finite, got NaN or an infinity", (NAN, IMAGE), {}),
        (ValueError, "unary must be finite, got NaN or an infinity", (INFINITE, IMAGE), {}),
        (ValueError, "unary must have at least one label, got 0", (UNARY[:0],), {}),
        (
            ValueError,
            "image must have shape (H, W) or (H, W, C) beside unary of shape (3, 4, 5), with 1 to 6 channels, "
            "got (5, 4, 3)",
            (UNARY, IMAGE.transpose(1, 0, 2)),
            {},
        ),
        (TypeError, "image must be real numbers of at most 64 bits, got complex128", (UNARY, IMAGE * 1j), {}),
        (ValueError, "iterations must be at least 0, got -1", (UNARY,), {"iterations": -1}),
        (TypeError, "iterations must be an integer, got 2.5", (UNARY,), {"iterations": 2.5}),
        (
            ValueError,
            "gaussian_sxy must be a finite number above 0, or 2 of them, got 0",
            (UNARY,),
            {"gaussian_sxy": 0},
        ),
        (
            ValueError,
            "bilateral_srgb must be a finite number above 0, or 3 of them, got [1, 2]",
            (UNARY, IMAGE),
            {"bilateral_srgb": [1, 2]},
        ),
        (
            ValueError,
            "bilateral_compat must be a number, or have shape (3,) or (3, 3), got (2,)",
            (UNARY, IMAGE),
            {"bilateral_compat": [1, 2]},
        ),
        (ValueError, "gaussian_compat must be finite, got nan", (UNARY,), {"gaussian_compat": np.nan}),
        (TypeError, "gaussian_compat must be real numbers, got <U1", (UNARY,), {"gaussian_compat": "3"}),
        (
            ValueError,
            "bilateral_kernel must have shape (5,) or (5, 5), got (2, 2)",
            (UNARY, IMAGE),
            {"bilateral_kernel": np.eye(2)},
        ),
        (
            ValueError,
            "normalization must be 'none', 'before', 'after' or 'symmetric', got 'mean'",
            (UNARY,),
            {"normalization": "mean"},
        ),
    ],
)
def test_errors(error, message, arguments, options):
    with pytest.raises(error) as caught:
        classic.dense_crf(*arguments, **options)
    assert str(caught.value) == f"dense_crf: {message}"


def test_colours_that_are_too_large():
    with pytest.raises(ValueError, match=r"^permutohedral_filter: features must be finite and"):
        classic.dense_crf(UNARY, IMAGE * np.float32(np.nan))
