import itertools
import math

import numpy as np
import pytest
import skimage.data

from saccade import classic

STEPS = {4: [(1, 0), (0, 1)], 8: [(1, 0), (0, 1), (1, 1), (1, -1)]}


def energy(u, image, strength, data, connectivity):
    """Written out from the docstring."""
    u, image = np.asarray(u, float), np.asarray(image, float)
    total = np.sum((u - image) ** 2 if data == "squared" else np.abs(u - image))
    scale = 1 if connectivity == 4 else 2 / (2 + math.sqrt(2))
    height, width = u.shape
    for (y, x), (down, right) in itertools.product(np.ndindex(u.shape), STEPS[connectivity]):
        if 0 <= y + down < height and 0 <= x + right < width:
            total += strength * scale / math.hypot(down, right) * abs(u[y, x] - u[y + down, x + right])
    return total


@pytest.mark.parametrize("data", ["squared", "absolute"])
@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("shape", [(2, 3), (1, 5), (6, 1)])
def test_the_minimum_of_all_images(shape, connectivity, data):
    rng = np.random.default_rng(connectivity)
    for strength in (0.4, 1.3):
        image = rng.integers(100, 105, shape).astype(np.uint8)
        found = classic.denoise(image, strength, data=data, connectivity=connectivity)
        best = min(
            energy(np.reshape(values, shape), image, strength, data, connectivity)
            for values in itertools.product(range(int(image.min()), int(image.max()) + 1), repeat=image.size)
        )
        assert energy(found, image, strength, data, connectivity) == pytest.approx(best, rel=1e-12)


def test_nothing_near_it_is_better():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (12, 11)).astype(np.uint8)
    found = classic.denoise(image, 40)
    least = energy(found, image, 40, "squared", 8)
    assert least < energy(image, image, 40, "squared", 8)
    for _ in range(300):  # level sets moved up or down by one, and single pixels
        level = rng.integers(256)
        moved = found.astype(int)
        if rng.random() < 0.5:
            moved[found >= level] += rng.choice([-1, 1])
        else:
            moved[rng.integers(12), rng.integers(11)] += rng.choice([-1, 1])
        assert energy(moved, image, 40, "squared", 8) >= least - 1e-9


def test_ends_of_the_strength():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (9, 8)).astype(np.uint8)
    np.testing.assert_array_equal(classic.denoise(image, 0), image)
    flat = classic.denoise(image, 1e6)
    assert (flat == flat[0, 0]).all()
    assert abs(int(flat[0, 0]) - image.mean()) <= 1
    middle = classic.denoise(image, 1e6, data="absolute")[0, 0]
    assert np.quantile(image, 0.45) <= middle <= np.quantile(image, 0.55)


def test_bool_images_and_channels():
    rng = np.random.default_rng(2)
    drawing = np.zeros((40, 40), bool)
    drawing[10:30, 10:30] = True
    noisy = drawing ^ (rng.random(drawing.shape) < 0.15)
    clean = classic.denoise(noisy, 0.6)
    assert clean.dtype == bool
    assert (clean != drawing).sum() < 40 < (noisy != drawing).sum()
    as_bytes = classic.denoise(255 * noisy.astype(np.uint8), 0.6, data="absolute") == 255
    energies = [energy(labels, noisy, 0.6, "absolute", 8) for labels in (clean, as_bytes)]
    assert energies[0] == pytest.approx(energies[1], rel=1e-12)  # there are several minima
    colour = rng.integers(0, 256, (7, 6, 3)).astype(np.uint8)
    together = classic.denoise(colour, 20)
    for channel in range(3):
        np.testing.assert_array_equal(together[..., channel], classic.denoise(colour[..., channel], 20))
    assert classic.denoise(np.zeros((0, 3), np.uint8), 1).shape == (0, 3)


@pytest.mark.parametrize(("data", "strength", "gain"), [("squared", 25, 6), ("absolute", 0.5, 14)])
def test_a_photograph(data, strength, gain):
    photo = skimage.data.camera()[100:260, 180:340]
    rng = np.random.default_rng(3)
    if data == "squared":
        noisy = np.clip(photo + rng.normal(0, 25, photo.shape), 0, 255).astype(np.uint8)
    else:
        dice = rng.random(photo.shape)
        noisy = np.where(dice < 0.1, 0, np.where(dice > 0.9, 255, photo)).astype(np.uint8)
    clean = classic.denoise(noisy, strength, data=data)

    def ratio(image):
        return -10 * math.log10(np.mean((image.astype(float) - photo) ** 2) / 255**2)

    assert ratio(clean) > ratio(noisy) + gain


@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (ValueError, "image must have shape (H, W) or (H, W, C), got (3,)", (np.zeros(3, np.uint8), 1), {}),
        (TypeError, "image must be uint8 or bool, got float64", (np.zeros((3, 3)), 1), {}),
        (ValueError, "strength must be 0 or more and finite, got -1", (np.zeros((3, 3), np.uint8), -1), {}),
        (
            ValueError,
            "data must be 'squared' or 'absolute', got 'l2'",
            (np.zeros((3, 3), np.uint8), 1),
            {"data": "l2"},
        ),
        (ValueError, "connectivity must be 4 or 8, got 6", (np.zeros((3, 3), np.uint8), 1), {"connectivity": 6}),
    ],
)
def test_errors(error, message, arguments, options):
    with pytest.raises(error) as caught:
        classic.denoise(*arguments, **options)
    assert str(caught.value) == f"denoise: {message}"
