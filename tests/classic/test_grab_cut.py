"""GrabCut beside OpenCV's, and against its own definition."""

import functools

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import data

from saccade import classic
from tests.util.threads import with_threads

STEPS = [(1, 0), (0, 1), (1, 1), (1, -1)]


def neighbours(shape, step):
    (h, w), (dy, dx) = shape, step
    return (
        (slice(0, h - dy), slice(max(0, -dx), w - max(0, dx))),
        (slice(dy, h), slice(max(0, dx), w + min(0, dx))),
    )


def contrast(image):
    """The weights of all directions, as the paper and OpenCV have them."""
    pixels = image.astype(np.float64)
    squares = []
    for step in STEPS:
        here, there = neighbours(image.shape[:2], step)
        squares.append(((pixels[here] - pixels[there]) ** 2).sum(-1))
    total, count = sum(s.sum() for s in squares), sum(s.size for s in squares)
    beta = count / (2 * total) if total else 0
    return [50 / np.hypot(*step) * np.exp(-beta * s) for step, s in zip(STEPS, squares, strict=True)]


def cost(image, model):
    """-log of a mixture's density, without the factor (2 pi)^1.5."""
    model = model.ravel()
    pixels = image.reshape(-1, 3).astype(np.float64)
    logs = []
    for k in range(5):
        if model[k] > 0:
            d = pixels - model[5 + 3 * k : 8 + 3 * k]
            covariance = model[20 + 9 * k : 29 + 9 * k].reshape(3, 3)
            distance = np.einsum("ij,jk,ik->i", d, np.linalg.inv(covariance), d)
            logs.append(np.log(model[k]) - 0.5 * np.linalg.slogdet(covariance)[1] - 0.5 * distance)
    return -np.logaddexp.reduce(logs, 0).reshape(image.shape[:2])


def energy(image, mask, background, foreground, free):
    """Of a mask's labels under its mixtures, over the pixels that were free."""
    front = (mask & 1).astype(bool)
    total = np.where(front, cost(image, foreground), cost(image, background))[free].sum()
    for step, weights in zip(STEPS, contrast(image), strict=True):
        here, there = neighbours(front.shape, step)
        total += weights[front[here] != front[there]].sum()
    return total


@functools.cache
def small():
    return np.ascontiguousarray(data.astronaut()[::4, ::4])


def of_cv2(image, rect, iterations=5, seed=0):
    cv2.setRNGSeed(seed)
    mask, background, foreground = np.zeros(image.shape[:2], np.uint8), np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(image, mask, rect, background, foreground, iterations, cv2.GC_INIT_WITH_RECT)
    return mask, background, foreground


@pytest.mark.parametrize("rect", [(30, 3, 67, 122), (15, 15, 75, 100)])
def test_energy_is_not_above_that_of_cv2(rect):
    image = small()
    free = classic.grab_cut(image, rect=rect, iterations=0) == 3
    theirs = min(energy(image, *of_cv2(image, rect, seed=seed), free) for seed in range(3))
    for seed in range(3):
        result = classic.grab_cut(image, rect=rect, seed=seed, return_models=True)
        assert energy(image, *result, free) <= theirs


def test_colours_apart_give_the_mask_of_cv2():
    rng = np.random.default_rng(0)
    image = rng.normal(60, 4, (40, 50, 3))
    image[10:30, 15:35] += 120
    image = image.clip(0, 255).astype(np.uint8)
    mask = classic.grab_cut(image, rect=(8, 5, 34, 30), iterations=0)
    theirs, *_ = of_cv2(image, (8, 5, 34, 30))
    ours = classic.grab_cut(image, mask)
    np.testing.assert_array_equal(ours, theirs)
    expected = np.zeros((40, 50), bool)
    expected[10:30, 15:35] = True
    np.testing.assert_array_equal((ours & 1).astype(bool), expected)


def test_models_are_the_moments_of_their_pixels():
    image = small()
    mask, *models = classic.grab_cut(image, rect=(30, 3, 67, 122), iterations=0, return_models=True)
    for side, model in enumerate(models):
        assert model.shape == (1, 65)
        weights, means = model[0, :5], model[0, 5:20].reshape(5, 3)
        second = model[0, 20:].reshape(5, 3, 3) + means[:, :, None] * means[:, None]
        pixels = image[(mask & 1) == side].astype(np.float64)
        assert weights.sum() == pytest.approx(1)
        np.testing.assert_allclose(weights @ means, pixels.mean(0), rtol=1e-9)
        np.testing.assert_allclose(np.tensordot(weights, second, 1), pixels.T @ pixels / len(pixels), rtol=1e-9)


def test_the_cut_is_optimal_for_its_models():
    """The last cut, which starts from the flow of the ones before, beside graph_cut from nothing."""
    image = small()
    rect = (30, 3, 67, 122)
    free = classic.grab_cut(image, rect=rect, iterations=0) == 3
    mask, background, foreground = classic.grab_cut(image, rect=rect, iterations=4, return_models=True)
    unary = np.stack([cost(image, background), cost(image, foreground)])
    unary[0][~free], unary[1][~free] = 0, 450
    weights = np.zeros((4, *mask.shape))
    for k, (step, values) in enumerate(zip(STEPS, contrast(image), strict=True)):
        weights[k][neighbours(mask.shape, step)[0]] = values
    labels, least = classic.graph_cut(unary, weights, connectivity=8, return_energy=True)
    assert energy(image, mask, background, foreground, free) == pytest.approx(least, abs=0.5, rel=1e-6)
    assert (labels != (mask & 1)).mean() < 1e-3


def test_threads_do_not_matter():
    image = data.astronaut()[:300, :401]
    one, *others = with_threads(
        lambda: classic.grab_cut(image, rect=(60, 10, 250, 280), iterations=2, return_models=True)
    )
    for other in others:
        for expected, result in zip(one, other, strict=True):
            np.testing.assert_array_equal(result, expected)


def test_seed():
    image = small()
    first = classic.grab_cut(image, rect=(15, 15, 75, 100), iterations=0, seed=1, return_models=True)[1]
    again = classic.grab_cut(image, rect=(15, 15, 75, 100), iterations=0, seed=1, return_models=True)[1]
    other = classic.grab_cut(image, rect=(15, 15, 75, 100), iterations=0, seed=-2, return_models=True)[1]
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_certain_pixels_stay_and_the_mask_is_not_changed():
    image = small()
    mask = np.random.default_rng(0).integers(0, 4, image.shape[:2]).astype(np.uint8)
    mask.setflags(write=False)
    before = mask.copy()
    result = classic.grab_cut(image, mask, iterations=2)
    np.testing.assert_array_equal(mask, before)
    np.testing.assert_array_equal(result[mask < 2], mask[mask < 2])
    assert (result[mask >= 2] >= 2).all()


def test_going_on_from_models():
    """Two and three iterations are five."""
    image = small()
    mask, *models = classic.grab_cut(image, rect=(30, 3, 67, 122), iterations=2, return_models=True)
    mask = classic.grab_cut(image, mask, iterations=3, bgd_model=models[0], fgd_model=models[1])
    np.testing.assert_array_equal(mask, classic.grab_cut(image, rect=(30, 3, 67, 122), iterations=5))


@pytest.mark.parametrize(
    "rect", [(10, 20, 30, 40), (-5, -6, 20, 30), (100, 100, 500, 500), (5, 5, 0, 9), (500, 5, 9, 9)]
)
def test_rect(rect):
    image = small()
    x, y, w, h = rect
    expected = np.zeros(image.shape[:2], np.uint8)
    expected[max(0, y) : max(0, y + h), max(0, x) : max(0, x + w)] = 3
    if not expected.any():
        with pytest.raises(ValueError, match="grab_cut: mask must hold pixels of the background and of the foreground"):
            classic.grab_cut(image, rect=rect)
        return
    np.testing.assert_array_equal(classic.grab_cut(image, rect=rect, iterations=0), expected)


@pytest.mark.parametrize("kind", ["flat", "two", "grey", "line"])
def test_degenerate_colours(kind):
    """Covariances without volume, and fewer colours than Gaussians."""
    image = np.full((24, 30, 3), 90, np.uint8)
    if kind == "two":
        image[8:16, 10:20] = (200, 10, 0)
    elif kind == "grey":
        image[:] = np.random.default_rng(0).integers(0, 256, (24, 30, 1))
    elif kind == "line":
        image[..., 0] = np.arange(30)
    mask = classic.grab_cut(image, rect=(4, 4, 22, 16))
    assert set(np.unique(mask)) <= {0, 2, 3}
    if kind == "two":
        expected = np.zeros((24, 30), bool)
        expected[8:16, 10:20] = True
        np.testing.assert_array_equal(mask == 3, expected)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 255), st.integers(0, 2**32 - 1))
def test_small_images(height, width, colours, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, colours + 1, (height, width, 3)).astype(np.uint8)
    mask = rng.integers(0, 4, (height, width)).astype(np.uint8)
    if len(np.unique(mask & 1)) < 2:
        with pytest.raises(ValueError, match="grab_cut: mask must hold pixels"):
            classic.grab_cut(image, mask)
        return
    result, *models = classic.grab_cut(image, mask, return_models=True)
    np.testing.assert_array_equal(result[mask < 2], mask[mask < 2])
    assert all(np.isfinite(model).all() for model in models)


def test_layouts():
    image = small()
    expected = classic.grab_cut(image, rect=(30, 3, 67, 122), iterations=1)
    wide = np.zeros((128, 256, 6), np.uint8)[:, ::2, ::2]
    wide[:] = image
    backwards = np.ascontiguousarray(image[::-1, ::-1])[::-1, ::-1]
    read_only = image.copy()
    read_only.setflags(write=False)
    for other in (wide, backwards, read_only, np.asfortranarray(image)):
        np.testing.assert_array_equal(classic.grab_cut(other, rect=(30, 3, 67, 122), iterations=1), expected)


IMAGE = np.zeros((4, 5, 3), np.uint8)
MASK = np.zeros((4, 5), np.uint8)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"image": MASK, "rect": (1, 1, 2, 2)}, ValueError, "image must have shape (H, W, 3), got (4, 5)"),
        ({"rect": (1, 1, 2, 2), "image": IMAGE.astype(float)}, TypeError, "image must be uint8, got float64"),
        ({}, ValueError, "mask or rect must be given, one of them, got neither"),
        ({"mask": MASK, "rect": (1, 1, 2, 2)}, ValueError, "mask or rect must be given, one of them, got both"),
        ({"mask": MASK.astype(int)}, TypeError, "mask must be uint8, got int64"),
        ({"mask": MASK[:3]}, ValueError, "mask must have shape (H, W) of the image, got (3, 5) for (4, 5, 3)"),
        ({"mask": MASK + 4}, ValueError, "mask must hold 0, 1, 2 and 3, got 4"),
        ({"mask": MASK}, ValueError, "mask must hold pixels of the background and of the foreground, got 20 and 0"),
        ({"mask": MASK + 3}, ValueError, "mask must hold pixels of the background and of the foreground, got 0 and 20"),
        (
            {"image": IMAGE[:0], "mask": MASK[:0]},
            ValueError,
            "mask must hold pixels of the background and of the foreground, got 0 and 0",
        ),
        ({"rect": (1, 1, 2)}, ValueError, "rect must be (x, y, width, height), got (1, 1, 2)"),
        ({"rect": (1, 1, -2, 2)}, ValueError, "rect must not have a negative size, got (1, 1, -2, 2)"),
        ({"rect": (1, 1, 2.5, 2)}, TypeError, "rect must be an integer, got 2.5"),
        ({"rect": (1, 1, 2, 2), "iterations": -1}, ValueError, "iterations must be at least 0, got -1"),
        ({"rect": (1, 1, 2, 2), "iterations": 1.0}, TypeError, "iterations must be an integer, got 1.0"),
        ({"rect": (1, 1, 2, 2), "seed": 2**63}, ValueError, f"seed must fit in 64 bits, got {2**63}"),
        (
            {"mask": MASK, "bgd_model": np.zeros((1, 65))},
            ValueError,
            "bgd_model and fgd_model must be given together, and with a mask",
        ),
        (
            {"mask": MASK, "bgd_model": np.zeros((1, 65)), "fgd_model": np.zeros((1, 64))},
            ValueError,
            "fgd_model must have shape (1, 65), got (1, 64)",
        ),
        (
            {"mask": MASK, "bgd_model": np.zeros((1, 65)), "fgd_model": np.zeros((1, 65))},
            ValueError,
            "bgd_model must hold weights that are not negative, means and positive definite covariances, "
            "as grab_cut returns it",
        ),
    ],
)
def test_arguments_that_are_refused(arguments, error, message):
    with pytest.raises(error) as raised:
        classic.grab_cut(**{"image": IMAGE, **arguments})
    assert str(raised.value) == f"grab_cut: {message}"
