import colorsys

import cv2
import numpy as np
import pytest
import skimage.data

from saccade import classic

PHOTO = skimage.data.astronaut()[80:240, 140:300].copy()


def disc(height=160, width=160):
    y, x = np.mgrid[:height, :width]
    return (y - height / 2) ** 2 + (x - width / 2) ** 2 < (min(height, width) / 3) ** 2


def luminosity(image):
    return image.astype(float) @ [0.3, 0.59, 0.11]


@pytest.mark.parametrize("width", [0, 1.5, 4.0, 9.0])
def test_feather_is_nearly_a_gaussian(width):
    mask = disc().astype(np.float32)
    alpha = classic.feather_mask(mask > 0.5, width)
    assert alpha.dtype == np.float32
    assert alpha.min() >= 0
    assert alpha.max() <= 1
    expected = mask if width == 0 else cv2.GaussianBlur(mask, (0, 0), width, borderType=cv2.BORDER_REFLECT_101)
    np.testing.assert_allclose(alpha, expected, atol=0.03)
    np.testing.assert_array_equal(classic.feather_mask(mask, width), alpha)


def test_recolour_keeps_light_and_takes_hue():
    mask = disc()
    changed = classic.recolour(PHOTO, mask, (40, 90, 220), feather=0)
    np.testing.assert_array_equal(changed[~mask], PHOTO[~mask])
    assert np.abs(luminosity(changed) - luminosity(PHOTO)).max() < 1.5
    hue = colorsys.rgb_to_hsv(40, 90, 220)[0]
    vivid = changed[mask & (luminosity(PHOTO) > 60) & (luminosity(PHOTO) < 200)]
    assert max(abs(colorsys.rgb_to_hsv(*pixel)[0] - hue) for pixel in vivid[::50].tolist()) < 0.03
    half = classic.recolour(PHOTO, mask, (40, 90, 220), amount=0.5, feather=0)
    np.testing.assert_allclose(half, (changed.astype(float) + PHOTO) / 2, atol=1.1)
    grey = classic.recolour(PHOTO, np.ones(mask.shape), (7, 7, 7))
    np.testing.assert_allclose(grey, luminosity(PHOTO)[..., None].repeat(3, 2), atol=1)
    np.testing.assert_array_equal(classic.recolour(PHOTO, mask, (0, 255, 0), amount=0), PHOTO)


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 0, 255), (255, 255, 0), (1, 2, 255)])
def test_recolour_of_black_and_white(colour):
    ends = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    np.testing.assert_array_equal(classic.recolour(ends, np.ones((1, 2), bool), colour, feather=0), ends)


def test_blur_keeps_the_object_and_its_colours_out_of_the_blur():
    mask = disc()
    image = np.where(mask[..., None].repeat(3, 2), 255, 40).astype(np.uint8)
    np.testing.assert_array_equal(classic.blur_background(image, mask, 6, feather=0), image)
    blurred = classic.blur_background(PHOTO, mask, 6, feather=0)
    np.testing.assert_array_equal(blurred[mask], PHOTO[mask])
    expected = cv2.GaussianBlur(PHOTO, (0, 0), 6, borderType=cv2.BORDER_REFLECT_101)
    far = ~cv2.dilate(mask.astype(np.uint8), np.ones((41, 41), np.uint8)).astype(bool)
    np.testing.assert_allclose(blurred[far].astype(int), expected[far].astype(int), atol=6)
    np.testing.assert_array_equal(classic.blur_background(PHOTO, mask, 0, feather=0), PHOTO)
    everything = classic.blur_background(PHOTO, np.zeros(mask.shape, bool), 6)
    np.testing.assert_allclose(everything.astype(int), expected.astype(int), atol=8)


def test_a_replaced_background_does_not_shine_through():
    mask = disc()
    # At the edge of a photographed object half of each pixel is background.
    soft = classic.feather_mask(mask, 1)[..., None]
    image = (soft * [200, 30, 30] + (1 - soft) * [20, 220, 20]).astype(np.uint8)
    inner = classic.feather_mask(mask, 1) > 0.95
    cut = classic.replace_background(image, inner, (200, 30, 30))
    assert np.abs(cut.astype(int) - [200, 30, 30]).max() <= 15
    naive = soft * image + (1 - soft) * [200, 30, 30]
    assert np.abs(naive - [200, 30, 30]).max() > 40


def test_backgrounds():
    mask = disc()
    other = PHOTO[::-1].copy()
    before = classic.replace_background(PHOTO, mask, other, feather=0)
    np.testing.assert_array_equal(before, np.where(mask[..., None], PHOTO, other))
    transparent = classic.replace_background(PHOTO, mask, feather=2)
    np.testing.assert_allclose(transparent[..., 3], 255 * classic.feather_mask(mask, 2), atol=1)
    assert not transparent[transparent[..., 3] == 0].any()
    on_white = classic.replace_background(PHOTO, mask, (255, 255, 255), feather=2)
    alpha = transparent[..., 3:] / 255
    np.testing.assert_allclose(alpha * transparent[..., :3] + (1 - alpha) * 255, on_white, atol=2)


def test_small_images():
    for shape in ((1, 1), (1, 5), (3, 2)):
        image, mask = np.full((*shape, 3), 77, np.uint8), np.ones(shape, bool)
        np.testing.assert_array_equal(classic.blur_background(image, mask), image)
        np.testing.assert_array_equal(classic.replace_background(image, ~mask, (1, 2, 3))[0, 0], [1, 2, 3])
        assert classic.recolour(image, mask, (200, 0, 0)).shape == image.shape
    assert classic.blur_background(np.zeros((0, 4, 3), np.uint8), np.zeros((0, 4), bool)).shape == (0, 4, 3)


IMAGE, MASK = np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), bool)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (TypeError, "recolour: image must be uint8, got float64", lambda: classic.recolour(IMAGE / 1, MASK, (1, 2, 3))),
        (
            ValueError,
            "recolour: mask must have the image's height and width (4, 5), got (5, 4)",
            lambda: classic.recolour(IMAGE, MASK.T, (1, 2, 3)),
        ),
        (
            TypeError,
            "recolour: mask must be bool, or floats from 0 to 1, got uint8",
            lambda: classic.recolour(IMAGE, MASK.astype(np.uint8), (1, 2, 3)),
        ),
        (
            ValueError,
            "recolour: colour must be three numbers from 0 to 255, got (1, 2, 256)",
            lambda: classic.recolour(IMAGE, MASK, (1, 2, 256)),
        ),
        (
            ValueError,
            "recolour: amount must be from 0 to 1, got 2",
            lambda: classic.recolour(IMAGE, MASK, (1, 2, 3), amount=2),
        ),
        (
            ValueError,
            "blur_background: image must have shape (H, W, 3), got (4, 5)",
            lambda: classic.blur_background(IMAGE[..., 0], MASK),
        ),
        (
            ValueError,
            "blur_background: sigma must be from 0 to 1000 pixels, got -1",
            lambda: classic.blur_background(IMAGE, MASK, -1),
        ),
        (
            ValueError,
            "blur_background: feather must be from 0 to 1000 pixels, got nan",
            lambda: classic.blur_background(IMAGE, MASK, feather=float("nan")),
        ),
        (
            ValueError,
            "blur_background: mask must be from 0 to 1, got nan to nan",
            lambda: classic.blur_background(IMAGE, np.full((4, 5), np.nan)),
        ),
        (
            ValueError,
            "replace_background: background must have the image's shape (4, 5, 3), got (4, 4, 3)",
            lambda: classic.replace_background(IMAGE, MASK, IMAGE[:, :4]),
        ),
        (ValueError, "feather_mask: mask must have shape (H, W), got (5,)", lambda: classic.feather_mask(MASK[0])),
    ],
)
def test_errors(error, message, call):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message
