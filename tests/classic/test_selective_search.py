"""Selective search beside the plain version, and what its boxes are good for."""

import re

import numpy as np
import pytest
from skimage import color, data

import saccade
from saccade import classic
from saccade._native import numpy_module
from saccade.classic.selective_search import COLOR_SPACES, MODES
from saccade.reference import selective_search as reference

IMAGE = data.astronaut()[40:90, 180:240]


def overlaps(boxes, box):
    """IoU of boxes x, y, width, height with one."""
    boxes = boxes.astype(float)
    low = np.maximum(boxes[:, :2], box[:2])
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], np.add(box[:2], box[2:]))
    common = np.prod((high - low).clip(0), 1)
    return common / (np.prod(boxes[:, 2:], 1) + np.prod(box[2:]) - common)


def scene():
    """Two textured rectangles on a textured ground, and their boxes."""
    rng = np.random.default_rng(0)
    image = np.full((120, 160, 3), (90, 140, 90), np.uint8)
    image[20:70, 30:90] = (200, 60, 50)
    image[20:70:2, 30:90] = (120, 30, 20)
    image[80:110, 100:150] = (50, 60, 200)
    return (image + rng.integers(0, 12, image.shape)).astype(np.uint8), [(30, 20, 60, 50), (100, 80, 50, 30)]


@pytest.mark.parametrize("space", COLOR_SPACES)
def test_boxes_are_those_of_the_plain_version(space):
    arguments = {"color_spaces": [space], "similarities": ["CTSF", "T"], "scales": [40], "seed": 7}
    ours = classic.selective_search(IMAGE, **arguments)
    theirs = reference.selective_search(IMAGE, [space], ["CTSF", "T"], [40], 0.8, 7)
    np.testing.assert_array_equal(ours, theirs)
    assert ours.dtype == np.int32


@pytest.mark.parametrize("similarity", ["C", "S", "F", "TSF", "FC"])
def test_every_similarity(similarity):
    image = IMAGE[:30, :35]
    ours = classic.selective_search(image, color_spaces=["lab", "grey"], similarities=[similarity], scales=[5, 30])
    np.testing.assert_array_equal(
        ours, reference.selective_search(image, ["lab", "grey"], [similarity], [5, 30], 0.8, 0)
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (3, 2), (17, 16)])
def test_small_and_uniform_images(shape):
    noise = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    for image in (noise, np.full_like(noise, 9)):
        ours = classic.selective_search(image, color_spaces=["hsv"], similarities=["CTSF"], scales=[3])
        np.testing.assert_array_equal(ours, reference.selective_search(image, ["hsv"], ["CTSF"], [3], 0.8, 0))
        assert [0, 0, shape[1], shape[0]] in ours.tolist()


def test_colours():
    levels = np.random.default_rng(2).integers(0, 256, (40, 50, 3), np.uint8)
    levels[0, :8] = [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9], [1, 0, 0], [0, 0, 1]]
    for space, number in COLOR_SPACES.items():
        np.testing.assert_array_equal(numpy_module.color_planes(levels, number), reference.color_planes(levels, space))
    lab, hsv = (numpy_module.color_planes(levels, COLOR_SPACES[space]).transpose(1, 2, 0) for space in ("lab", "hsv"))
    np.testing.assert_allclose(lab, color.rgb2lab(levels) * [2.55, 1, 1] + [0, 128, 128], atol=0.501)
    np.testing.assert_allclose(hsv, color.rgb2hsv(levels) * 255, atol=0.501)


@pytest.mark.parametrize("mode", MODES)
def test_modes_find_objects(mode):
    image, objects = scene()
    boxes = classic.selective_search(image, mode)
    for box in objects:
        assert overlaps(boxes, box).max() >= 0.9
    assert len(np.unique(boxes, axis=0)) == len(boxes)
    assert boxes.min() >= 0
    assert (boxes[:, :2] + boxes[:, 2:] <= (160, 120)).all()


def test_modes_are_the_papers():
    assert [len(spaces) * len(sums) * len(scales) for spaces, sums, scales in MODES.values()] == [1, 8, 80]
    image, _ = scene()
    single, fast, quality = (
        {tuple(box) for box in classic.selective_search(image, mode).tolist()} for mode in ("single", "fast", "quality")
    )
    assert single < fast < quality


def test_order_and_seeds():
    image, _ = scene()
    boxes, others = classic.selective_search(image), classic.selective_search(image, seed=1)
    assert {tuple(box) for box in boxes} == {tuple(box) for box in others}
    assert not np.array_equal(boxes, others)
    np.testing.assert_array_equal(classic.selective_search(image, max_boxes=10), boxes[:10])
    # Regions from high in the hierarchy come first.
    area = boxes[:, 2] * boxes[:, 3]
    assert area[: len(area) // 2].mean() > 2 * area[len(area) // 2 :].mean()
    sides = boxes[:, 2:].min(1)
    assert sides.min() < 12
    np.testing.assert_array_equal(classic.selective_search(image, min_side=12), boxes[sides >= 12])


def test_grey_images():
    image, objects = scene()
    grey = image[:, :, 0]
    boxes = classic.selective_search(grey)
    assert overlaps(boxes, objects[0]).max() >= 0.9
    same = classic.selective_search(np.stack([grey] * 3, 2), color_spaces=["grey"])
    np.testing.assert_array_equal(boxes, same)


def test_strides():
    image, _ = scene()
    view = image[::-1, ::2, ::-1]
    np.testing.assert_array_equal(
        classic.selective_search(view, "single"), classic.selective_search(view.copy(), "single")
    )


def test_threads_change_nothing():
    image, _ = scene()
    before = saccade.get_num_threads()
    results = []
    for count in (1, 2, 3):
        saccade.set_num_threads(count)
        results.append([classic.selective_search(image, mode).tobytes() for mode in ("single", "quality")])
    saccade.set_num_threads(before)
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    ("image", "options", "error", "message"),
    [
        (IMAGE[..., :2], {}, ValueError, "image must have shape (H, W, 3), got (50, 60, 2)"),
        (IMAGE[:0], {}, ValueError, "image must not be empty, got (0, 60, 3)"),
        (IMAGE / 255, {}, TypeError, "image must be uint8, got float64"),
        (IMAGE, {"mode": "slow"}, ValueError, "mode must be one of 'single', 'fast', 'quality', got 'slow'"),
        (
            IMAGE,
            {"color_spaces": ["xyz"]},
            ValueError,
            "color_spaces must be of 'rgb', 'grey', 'hsv', 'lab', 'rgi', 'hue', got 'xyz'",
        ),
        (IMAGE, {"color_spaces": "hsv"}, TypeError, "color_spaces must be a sequence of strings, got 'hsv'"),
        (IMAGE, {"similarities": ["CC"]}, ValueError, "similarities must each be some of C, T, S, F, got 'CC'"),
        (IMAGE, {"similarities": ["X"]}, ValueError, "similarities must each be some of C, T, S, F, got 'X'"),
        (IMAGE, {"similarities": [""]}, ValueError, "similarities must each be some of C, T, S, F, got ''"),
        (IMAGE, {"scales": [0]}, ValueError, "scales must be positive and at most 1e9, got 0"),
        (IMAGE, {"scales": [np.nan]}, ValueError, "scales must be positive and at most 1e9, got nan"),
        (IMAGE, {"sigma": -1}, ValueError, "sigma must lie in [0, 10000], got -1"),
        (IMAGE, {"min_side": 0}, ValueError, "min_side must be at least 1, got 0"),
        (IMAGE, {"max_boxes": -1}, ValueError, "max_boxes must not be negative, got -1"),
        (IMAGE, {"seed": -1}, ValueError, "seed must lie in 0 to 2^64 - 1, got -1"),
    ],
)
def test_bad_input(image, options, error, message):
    with pytest.raises(error, match=re.escape(f"selective_search: {message}") + "$"):
        classic.selective_search(image, **options)


def test_exhaustive_windows():
    windows = classic.exhaustive_windows((60, 80), [16, 32], aspect_ratios=(0.5, 1, 2), stride=0.25)
    assert windows.dtype == np.int32
    assert len(np.unique(windows, axis=0)) == len(windows)
    assert (windows[:, :2] >= 0).all()
    assert (windows[:, :2] + windows[:, 2:] <= (80, 60)).all()
    assert set(map(tuple, windows[:, 2:].tolist())) == {(23, 11), (16, 16), (11, 23), (45, 23), (32, 32), (23, 45)}
    for width, height in np.unique(windows[:, 2:], axis=0):
        group = windows[(windows[:, 2:] == (width, height)).all(1)]
        # From one edge to the other, with steps of a quarter at most.
        for axis, (extent, side) in enumerate(((80, width), (60, height))):
            starts = np.unique(group[:, axis])
            assert starts[0] == 0
            assert starts[-1] == extent - side
            assert np.diff(starts).max() <= round(side / 4)
    # Whatever has one of the sizes and ratios is hit by some window.
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, y = rng.integers(0, 80 - 32), rng.integers(0, 60 - 32)
        assert overlaps(windows, (x, y, 32, 32)).max() >= 0.6


def test_windows_that_do_not_fit():
    assert classic.exhaustive_windows((10, 10), [16]).shape == (0, 4)
    assert classic.exhaustive_windows((16, 16), [16], aspect_ratios=[1]).tolist() == [[0, 0, 16, 16]]
    assert classic.exhaustive_windows((2, 2), [1], aspect_ratios=[1], stride=0.1).tolist() == [
        [0, 0, 1, 1],
        [1, 0, 1, 1],
        [0, 1, 1, 1],
        [1, 1, 1, 1],
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": (0, 5)}, "image_size must be positive, got 0"),
        ({"window_sizes": [8, -1]}, "window_sizes must be positive, got -1"),
        ({"aspect_ratios": [0.0]}, "aspect_ratios must be positive, got 0.0"),
        ({"stride": float("nan")}, "stride must be positive, got nan"),
    ],
)
def test_bad_windows(options, message):
    with pytest.raises(ValueError, match=re.escape(f"exhaustive_windows: {message}") + "$"):
        classic.exhaustive_windows(**{"image_size": (10, 10), "window_sizes": [4], **options})
