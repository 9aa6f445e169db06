"""Haar features beside scikit-image and the reference."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.feature import haar_like_feature as skimage_haar
from skimage.feature import haar_like_feature_coord
from skimage.transform import integral_image as skimage_integral_image

import saccade
from saccade import classic, ops
from saccade.reference.haar_features import haar_features as reference
from tests.util import strategies

TYPES = ["type-2-x", "type-2-y", "type-3-x", "type-3-y", "type-4"]


def make(dtype, shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape).astype(dtype) if "float" in dtype else rng.integers(0, 256, shape).astype(dtype)


@pytest.mark.parametrize(("mode", "count"), [("basic", 162336), ("core", 210400), ("all", 261600)])
def test_counts(mode, count):
    assert len(classic.HaarFeatureSet(24, 24, mode)) == count


@pytest.mark.parametrize("mode", ["basic", "core", "all"])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 1), (5, 4), (7, 9), (8, 8)])
def test_every_feature_is_there_once_and_fits(mode, width, height):
    features = classic.HaarFeatureSet(width, height, mode)
    every = list(features)
    assert len({(f.tilted, f.rects) for f in every}) == len(every)
    for feature in every:
        for x, y, w, h, _ in feature.rects:
            assert w > 0
            assert h > 0
            if feature.tilted:
                assert x - h >= 0
                assert x + w <= width
                assert 0 <= y <= y + w + h <= height
            else:
                assert 0 <= x <= x + w <= width
                assert 0 <= y <= y + h <= height
        areas = sum(w * h * weight for _, _, w, h, weight in feature.rects)
        assert areas == 0  # a uniform window gives 0


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "float64"])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (5, 4), (6, 11), (9, 8)])
def test_equals_reference(dtype, width, height):
    features = classic.HaarFeatureSet(width, height, "all")
    window = make(dtype, (height, width))
    values = classic.haar_features(window, features)
    expected = reference(window, features)
    assert values.shape == (len(features),)
    assert values.dtype == {"uint8": np.int32, "int32": np.int64}.get(dtype, np.float64)
    np.testing.assert_allclose(values, expected, rtol=0, atol=0 if "int" in dtype else 1e-10)
    np.testing.assert_array_equal(ops.haar_features(torch.from_numpy(window), features).numpy(), values)


def test_windows_of_images():
    features = classic.HaarFeatureSet(6, 5, "all")
    images = make("uint8", (3, 20, 31))
    rng = np.random.default_rng(1)
    windows = np.stack([rng.integers(0, n, 150) for n in (3, 26, 16)], 1)  # more than one lot of windows
    values = classic.haar_features(images, features, windows)
    for (i, x, y), row in zip(windows, values, strict=True):
        np.testing.assert_array_equal(row, classic.haar_features(images[i, y : y + 5, x : x + 6], features))
    in_first = windows[windows[:, 0] == 0]
    np.testing.assert_array_equal(
        classic.haar_features(images[0], features, in_first[:, 1:]), values[windows[:, 0] == 0]
    )
    actual = ops.haar_features(torch.from_numpy(images), features, torch.from_numpy(windows))
    np.testing.assert_array_equal(actual.numpy(), values)
    assert classic.haar_features(images, features, np.empty((0, 3), int)).shape == (0, len(features))


def test_thread_count_changes_nothing():
    features = classic.HaarFeatureSet(24, 24, "all")
    windows = make("float32", (5, 24, 24))
    before = saccade.get_num_threads()
    results = []
    for count in (1, 2, 3):
        saccade.set_num_threads(count)
        results.append(classic.haar_features(windows, features).tobytes())
    saccade.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_choices_keep_their_order():
    features = classic.HaarFeatureSet(8, 8, "all")
    window = make("uint8", (8, 8))
    values = classic.haar_features(window, features)
    chosen = np.random.default_rng(0).permutation(len(features))[:300]
    chosen = np.concatenate([chosen, chosen[:5], [-1]])
    subset = features[chosen]
    np.testing.assert_array_equal(classic.haar_features(window, subset), values[chosen])
    np.testing.assert_array_equal(subset.rects, features.rects[chosen])
    np.testing.assert_array_equal(subset.weights, features.weights[chosen])
    assert subset[3] == features[int(chosen[3])]
    np.testing.assert_array_equal(classic.haar_features(window, features[::7]), values[::7])
    np.testing.assert_array_equal(classic.haar_features(window, features[features.tilted]), values[features.tilted])
    assert classic.haar_features(window, features[:0]).shape == (0,)


def test_arrays_agree_with_items():
    features = classic.HaarFeatureSet(5, 6, "all")
    for i in range(0, len(features), 13):
        feature = features[i]
        rects = np.zeros((3, 5), int)
        rects[: len(feature.rects)] = feature.rects
        np.testing.assert_array_equal(features.rects[i], rects[:, :4])
        np.testing.assert_array_equal(features.weights[i], rects[:, 4])
        assert (features.kind[i], features.tilted[i]) == (feature.kind, feature.tilted)
        assert (features.x[i], features.y[i]) == feature.rects[0][:2]
        assert features.dx[i] >= 1
        assert features.dy[i] >= 1


def test_immutable_and_picklable():
    features = classic.HaarFeatureSet(6, 6, "all")[::3]
    with pytest.raises(AttributeError, match=r"^HaarFeatureSet is immutable: cannot set 'width'$"):
        features.width = 5
    with pytest.raises(ValueError, match="read-only"):
        features.x[0] = 1
    copy = pickle.loads(pickle.dumps(features))
    window = make("uint8", (6, 6))
    np.testing.assert_array_equal(classic.haar_features(window, copy), classic.haar_features(window, features))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "float64"])
@pytest.mark.parametrize("size", [(0, 0), (1, 1), (3, 2), (8, 13)])
def test_haar_like_feature_equals_scikit_image(dtype, size):
    width, height = size
    sums = skimage_integral_image(make(dtype, (13, 13)))
    actual = classic.haar_like_feature(sums, 0, 0, width, height)
    if width * height < 2:  # no feature: scikit-image fails
        assert actual.shape == (0,)
        return
    expected = skimage_haar(sums, 0, 0, width, height)
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=0, atol=0 if "int" in dtype else 1e-9)
    for kind in TYPES if width >= 3 <= height else ():
        np.testing.assert_allclose(
            classic.haar_like_feature(sums, 0, 0, width, height, kind),
            skimage_haar(sums, 0, 0, width, height, kind),
            rtol=0,
            atol=0 if "int" in dtype else 1e-9,
        )


def test_haar_like_feature_of_coordinates_equals_scikit_image():
    sums = skimage_integral_image(make("uint8", (9, 9)))
    coordinates, types = haar_like_feature_coord(9, 8)
    chosen = np.random.default_rng(0).permutation(len(types))[:200]
    actual = classic.haar_like_feature(sums, 0, 0, 9, 8, types[chosen], coordinates[chosen])
    every = classic.haar_like_feature(sums, 0, 0, 9, 8)
    np.testing.assert_array_equal(actual, every[chosen])
    np.testing.assert_array_equal(every, skimage_haar(sums, 0, 0, 9, 8))


def test_haar_like_feature_away_from_the_origin_is_right():
    # scikit-image 0.26 is wrong for features on the top or left border of such a region.
    image = make("uint8", (20, 20))
    sums = skimage_integral_image(image)
    expected = skimage_haar(skimage_integral_image(image[3:11, 4:12]), 0, 0, 8, 8)
    np.testing.assert_array_equal(classic.haar_like_feature(sums, 3, 4, 8, 8), expected)
    coordinates, types = haar_like_feature_coord(8, 8)
    np.testing.assert_array_equal(classic.haar_like_feature(sums, 3, 4, 8, 8, types, coordinates), expected)


@given(st.data())
def test_awkward_images(data):
    features = classic.HaarFeatureSet(4, 3, "all")
    image = make(data.draw(st.sampled_from(["uint8", "int32", "float64"])), (3, 4))
    awkward = data.draw(strategies.awkward_layouts(image))
    np.testing.assert_array_equal(
        classic.haar_features(awkward, features), classic.haar_features(image.copy(), features)
    )


@given(st.lists(st.tuples(st.integers(-3, 12), st.integers(-3, 12)), max_size=4))
def test_any_window(corners):
    features = classic.HaarFeatureSet(4, 3)
    image = make("uint8", (9, 10))
    windows = np.array(corners, np.int64).reshape(-1, 2)
    if all(0 <= x <= 6 and 0 <= y <= 6 for x, y in corners):
        assert classic.haar_features(image, features, windows).shape == (len(corners), len(features))
    else:
        with pytest.raises(ValueError, match=r"^haar_features: windows must lie inside the image, got 4 x 3 at"):
            classic.haar_features(image, features, windows)


def test_errors():
    features = classic.HaarFeatureSet(3, 2)
    with pytest.raises(ValueError, match=r"^HaarFeatureSet: mode must be 'basic', 'core' or 'all', got 'most'$"):
        classic.HaarFeatureSet(3, 2, "most")
    with pytest.raises(ValueError, match=r"^HaarFeatureSet: width and height must be at least 1 .*, got 0 and 4$"):
        classic.HaarFeatureSet(0, 4)
    with pytest.raises(ValueError, match=r"at most 16384, got 300 and 300$"):
        classic.HaarFeatureSet(300, 300)
    with pytest.raises(IndexError, match=r"^HaarFeatureSet: index must be an integer, a slice, or a mask or indices"):
        features[1.5]
    message = r"^haar_features: image must have the features' size \(2, 3\) where no windows are given, got \(3, 3\)$"
    for function, array in ((classic.haar_features, np.zeros), (ops.haar_features, torch.zeros)):
        with pytest.raises(ValueError, match=message):
            function(array((3, 3)), features)
        with pytest.raises(
            ValueError, match=r"^haar_features: image must have shape \(H, W\) or \(N, H, W\), got \(3,\)$"
        ):
            function(array((3,)), features)
        with pytest.raises(ValueError, match=r"^haar_features: windows must have shape \(M, 2\), got \(4, 3\)$"):
            function(array((3, 3)), features, array((4, 3)))
    with pytest.raises(TypeError, match=r"^haar_features: windows must be integers, got float64$"):
        classic.haar_features(np.zeros((3, 3)), features, np.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"^haar_features: windows must lie inside the image, got 3 x 2 at \(1, 0\)"):
        ops.haar_features(torch.zeros(3, 3), features, torch.tensor([[1, 0]]))
    sums = np.zeros((4, 4), int)
    with pytest.raises(ValueError, match=r"^haar_like_feature: the region must lie inside the image \(4, 4\)"):
        classic.haar_like_feature(sums, 2, 0, 2, 3)
    with pytest.raises(ValueError, match=r"^haar_like_feature: feature_type must be one of type-2-x, .*, got 'x'$"):
        classic.haar_like_feature(sums, 0, 0, 2, 2, "x")


def test_one_feature_of_a_set():
    feature = classic.HaarFeatureSet(4, 4)[0]
    assert isinstance(feature, classic.HaarFeature)
