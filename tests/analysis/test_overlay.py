import numpy as np
import pytest
import skimage.data

from saccade.analysis import class_palette, overlay_classes


def test_palette_is_that_of_pascal_voc():
    # From the development kit's own table.
    known = {
        0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 4: (0, 0, 128), 7: (128, 128, 128), 8: (64, 0, 0),
        15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192),
    }  # fmt: skip
    palette = class_palette(256)
    assert palette.dtype == np.uint8
    for label, colour in known.items():
        assert tuple(palette[label].tolist()) == colour
    assert len(np.unique(palette, axis=0)) == 256
    np.testing.assert_array_equal(class_palette(5), palette[:5])


def test_colours_are_mixed_and_borders_are_whole():
    image = np.full((3, 4, 3), 100, np.uint8)
    classes = np.array([[0, 0, 2, 2]] * 3)
    painted = overlay_classes(image, classes, alpha=0.25, borders=False)
    np.testing.assert_array_equal(painted[:, :2], np.full((3, 2, 3), 75))
    np.testing.assert_array_equal(painted[0, 2], [75, 107, 75])
    with_borders = overlay_classes(image, classes, alpha=0.25)
    np.testing.assert_array_equal(with_borders[:, 1], np.zeros((3, 3)))
    np.testing.assert_array_equal(with_borders[:, [0, 2, 3]], painted[:, [0, 2, 3]])
    np.testing.assert_array_equal(overlay_classes(image, classes, alpha=0, borders=False), image)


def test_what_is_left_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (6, 7, 3)).astype(np.uint8)
    classes = np.zeros((6, 7), np.uint8)
    classes[2:4, 2:5], classes[5] = 1, 255
    painted = overlay_classes(image, classes, unpainted=[0], alpha=1)
    np.testing.assert_array_equal(painted[classes != 1], image[classes != 1])
    np.testing.assert_array_equal(painted[classes == 1], np.tile([128, 0, 0], (6, 1)))
    mask = overlay_classes(image, classes == 1, unpainted=[0], alpha=1)
    np.testing.assert_array_equal(mask, painted)
    own = overlay_classes(image, classes, palette=np.array([[1, 2, 3], [4, 5, 6]], np.uint8), alpha=1)
    np.testing.assert_array_equal(own[0, 0], [1, 2, 3])
    np.testing.assert_array_equal(own[5], image[5])


def test_grey_images():
    grey = skimage.data.camera()[:20, :30]
    classes = np.zeros(grey.shape, int)
    np.testing.assert_array_equal(
        overlay_classes(grey, classes), overlay_classes(grey[..., None].repeat(3, 2), classes)
    )


@pytest.mark.parametrize("size", [(1, 1), (40, 60), (200, 120)])
def test_legend_names_the_classes_that_occur(size):
    image = np.full((*size, 3), 90, np.uint8)
    classes = np.zeros(size, int)
    classes[: size[0] // 2] = 3
    names = ["wall", "floor", "lamp", "sky"]
    plain = overlay_classes(image, classes, names=names)
    shown = overlay_classes(image, classes, names=names, legend=True)
    height, width = size
    np.testing.assert_array_equal(shown[:height, :width], plain)
    assert shown.shape[0] >= height
    beside = shown[:, width:].reshape(-1, 3)
    occurring = {tuple(class_palette(4)[label].tolist()) for label in np.unique(classes)}
    assert occurring <= {tuple(colour) for colour in beside.tolist()}
    assert (class_palette(4)[1] != beside).any(1).all()
    longer = overlay_classes(image, classes, names=["a much longer name", *names[1:]], legend=True)
    assert longer.shape[1] > shown.shape[1]


def test_legend_of_nothing():
    image = np.full((4, 5, 3), 90, np.uint8)
    nothing = overlay_classes(image, np.full((4, 5), 255), legend=True)
    np.testing.assert_array_equal(nothing, image)


@pytest.mark.parametrize(
    ("error", "message", "image", "classes", "options"),
    [
        (ValueError, "image must have shape (H, W, 3) or (H, W), got (2, 2, 4)", np.zeros((2, 2, 4), np.uint8), 0, {}),
        (TypeError, "image must be uint8, got float64", np.zeros((2, 2)), 0, {}),
        (ValueError, "classes must have the image's height and width (2, 2), got (1, 2)", None, [[0, 1]], {}),
        (TypeError, "classes must be integers or bool, got float64", None, np.zeros((2, 2)), {}),
        (
            ValueError,
            "classes must be from 0 to 1 or 255, got -1 (1 times), 7 (2 times)",
            None,
            [[7, -1], [255, 7]],
            {"names": ["a", "b"]},
        ),
        (ValueError, "classes must be from 0 to 255 or 255, got 300 (1 times)", None, [[0, 1], [2, 300]], {}),
        (ValueError, "alpha must be from 0 to 1, got 1.5", None, [[0, 1], [2, 3]], {"alpha": 1.5}),
        (
            ValueError,
            "palette must have shape at least (3, 3), a colour for each name, got (2, 3)",
            None,
            [[0, 1], [2, 0]],
            {"palette": np.zeros((2, 3), np.uint8), "names": "abc"},
        ),
        (TypeError, "palette must be uint8, got float64", None, [[0, 1], [2, 0]], {"palette": np.zeros((3, 3))}),
    ],
)
def test_errors(error, message, image, classes, options):
    image = np.zeros((2, 2, 3), np.uint8) if image is None else image
    with pytest.raises(error) as caught:
        overlay_classes(image, classes, **options)
    assert str(caught.value) == f"overlay_classes: {message}"


def test_a_palette_needs_a_count():
    with pytest.raises(ValueError, match=r"^class_palette: count must be from 1 to 256, got 0$"):
        class_palette(0)
