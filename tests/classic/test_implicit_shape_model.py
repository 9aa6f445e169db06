"""The Implicit Shape Model: its parts beside brute force, the whole on scenes of known truth."""

import pickle

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone

from benchmarks.quality._precision_recall import iou
from benchmarks.quality._side_views import make_scene
from saccade.classic import Codebook, ImplicitShapeModel, compare_histograms
from saccade.classic._hough import VoteSpace
from saccade.classic._occurrences import Sightings, merge_sightings, spread
from saccade.classic._patches import level_scales, resize, sample_patches
from saccade.classic._word_windows import window_correlations


@pytest.fixture(scope="module")
def scenes():
    rng = np.random.default_rng(5)
    names = ("grass.png", "gravel.png", "coffee.png")
    train = [make_scene(rng, names[i % 3], 280, 180, 1) for i in range(9)]
    return train, [
        make_scene(rng, name, 320, 240, 1, (110, 160)) for name in ("brick.png", "chelsea.png", "rocket.jpg")
    ]


@pytest.fixture(scope="module")
def model(scenes):
    images, boxes, masks = zip(*scenes[0], strict=True)
    return ImplicitShapeModel(Codebook(80, metric="correlation"), scale_factor=1.25).fit(images, boxes, masks)


def test_finds_and_segments(model, scenes):
    for scene in scenes[1]:
        boxes, scores, masks = model.detect(scene.image, threshold=0.2, return_scores=True, return_masks=True)
        assert boxes.dtype == np.int32
        assert (np.diff(scores) <= 0).all()
        assert iou(boxes[:1], scene.boxes)[0, 0] > 0.6
        assert masks.shape == (len(boxes), 240, 320)
        assert 0 <= masks.min() <= masks.max() <= 1
        found = masks[0] > 0.5
        assert (found & scene.masks[0]).sum() / (found | scene.masks[0]).sum() > 0.6


def test_small_objects_by_enlarging(model, scenes):
    scene = scenes[1][0]
    height, width = scene.image.shape[:2]
    half = np.asarray(Image.fromarray(scene.image).resize((width // 2, height // 2)))
    boxes = model.detect(half, min_scale=0.45)
    assert iou(boxes[:1], scene.boxes / 2)[0, 0] > 0.6
    assert len(model.detect(half, min_scale=0.2, max_scale=0.3, threshold=0.6)) == 0


@pytest.mark.parametrize("detector", ["harris", "hessian", "dog"])
def test_interest_points(detector, scenes):
    images, boxes, masks = zip(*scenes[0], strict=True)
    model = ImplicitShapeModel(
        Codebook(60, metric="correlation"), detector=detector, step=6, scale_factor=1.25, max_matches=2
    ).fit(images, boxes, masks)
    hits = [iou(model.detect(scene.image, threshold=0.1)[:1], scene.boxes).max(initial=0) > 0.5 for scene in scenes[1]]
    assert sum(hits) >= 2


def test_floats_and_grey_give_the_same(model, scenes):
    image = scenes[1][0].image
    expected, scores = model.detect(image, return_scores=True)
    boxes, float_scores = model.detect(image.astype(np.float64) / 255, return_scores=True)
    np.testing.assert_array_equal(boxes, expected)
    np.testing.assert_allclose(float_scores, scores, rtol=1e-3)
    np.testing.assert_array_equal(model.detect(image), expected)  # the same again


def test_histogram_method(model, scenes):
    scene = scenes[1][0]
    boxes, scores = model.detect(
        scene.image, method="histogram", threshold=0.3, return_scores=True, iou_threshold=0.9, max_scale=2
    )
    assert (scores >= 0.3).all()
    assert iou(boxes, scene.boxes).max() > 0.5


def test_window_correlations_equal_comparisons():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 3, (7, 9, 12))
    template = rng.random(12)
    actual = window_correlations(counts, template, 4, 3)
    assert actual.shape == (5, 6)
    for y in range(5):
        for x in range(6):
            expected = compare_histograms(counts[y : y + 3, x : x + 4].sum((0, 1)), template)
            np.testing.assert_allclose(actual[y, x], expected, rtol=1e-5, atol=1e-6)
    assert (window_correlations(np.zeros((3, 4, 12), int), template, 4, 3) == 0).all()


def density(votes, x, y, scale, radius, log_radius):
    """The documented sum, over all votes: columns x, y, scale, weight."""
    u2 = ((votes[:, 0] - x) ** 2 + (votes[:, 1] - y) ** 2) / (radius * scale) ** 2
    u2 += (np.log(votes[:, 2] / scale) / log_radius) ** 2
    return (votes[:, 3] * np.maximum(1 - u2, 0)).sum()


def test_maxima_of_votes_equal_brute_force():
    rng = np.random.default_rng(1)
    space, everything = VoteSpace(8.0, 0.3), []
    for number, scale in enumerate([1.0, 1.2, 1.44, 1.73]):
        clutter = rng.uniform(0, 200, (400, 2)) / scale
        near = 20 if number in (1, 2) else 5
        first = rng.normal([60, 70], 3, (10 * near, 2)) / scale
        second = rng.normal([150, 40], 2, (3 * near, 2)) / scale
        at = np.concatenate([clutter, first, second])
        weight = rng.uniform(0.5, 1, len(at))
        space.add(scale, *at.T, weight, np.arange(len(at))[:, None] + 10_000 * number)
        everything.append(np.column_stack([at * scale, np.full(len(at), scale), weight]))
    votes = np.concatenate(everything)
    peaks = space.peaks(15)
    for peak in peaks:
        expected = density(votes, peak.x, peak.y, peak.scale, 8, 0.3)
        np.testing.assert_allclose(peak.score, expected, rtol=1e-4)
        owners, weight = space.voters(peak)
        np.testing.assert_allclose(weight.sum(), peak.score, rtol=1e-4)
        assert len(np.unique(owners)) == len(owners)
        for dx, dy, ds in ((2, 0, 0), (-2, 0, 0), (0, 2, 0), (0, -2, 0), (0, 0, 0.1), (0, 0, -0.1)):
            assert density(votes, peak.x + dx, peak.y + dy, peak.scale * np.exp(ds), 8, 0.3) < expected
    assert abs(peaks[0].x - 60) < 2
    assert abs(peaks[0].y - 70) < 2
    assert 1.15 < peaks[0].scale < 1.5
    assert any(abs(peak.x - 150) < 2 and abs(peak.y - 40) < 2 for peak in peaks)
    assert VoteSpace(8.0, 0.3).peaks(1) == []


def test_a_feature_votes_for_one_object():
    space = VoteSpace(4.0, 0.3)
    # Features 0 to 9 vote for both places, 10 to 19 for the first, 20 to 24 for the second.
    x = np.repeat([20.0, 60.0], [20, 15])
    owners = np.concatenate([np.arange(20), np.arange(10), np.arange(20, 25)])[:, None]
    space.add(1.0, x, np.full(35, 30.0), np.ones(35), owners)
    peaks = space.peaks(1)
    assert [round(peak.score) for peak in peaks] == [20, 15]
    assert [round(peak.score) for peak in space.exclusive(peaks, 1)] == [20, 5]
    assert [round(peak.score) for peak in space.exclusive(peaks, 6)] == [20]
    assert space.exclusive([], 1) == []


def test_occurrences():
    offset = np.array([[0, 0], [1, 1], [30, 0], [5, 5]], float)
    sightings = Sightings(np.zeros((4, 2)), offset, np.full((4, 2), 9.0), np.array([[0, 1], [1, 1], [0, 0], [1, 0]]))
    occurrences = merge_sightings(np.array([[0, 2], [0, -1], [0, -1], [2, -1]]), sightings, 3, 3.0)
    np.testing.assert_array_equal(occurrences.starts, [0, 2, 2, 4])
    np.testing.assert_allclose(occurrences.offset, [[0.5, 0.5], [30, 0], [0, 0], [5, 5]])
    np.testing.assert_allclose(occurrences.weight, [2 / 3, 1 / 3, 1 / 2, 1 / 2])
    np.testing.assert_array_equal(occurrences.figure, [[128, 255], [0, 0], [0, 255], [255, 0]])
    feature, occurrence = spread(np.array([[2, 0], [1, -1], [-1, -1], [0, -1]]), occurrences)
    np.testing.assert_array_equal(feature, [0, 0, 0, 0, 3, 3])
    np.testing.assert_array_equal(occurrence, [2, 3, 0, 1, 0, 1])
    empty = merge_sightings(np.full((4, 2), -1), sightings, 3, 3.0)
    assert len(empty.weight) == 0
    assert spread(np.array([[0, 1]]), empty)[0].shape == (0,)


@pytest.mark.parametrize("size", [(20, 15), (31, 23), (64, 50), (1, 1)])
def test_resize_equals_pillow(size):
    image = np.random.default_rng(0).random((23, 31)).astype(np.float32)
    expected = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    np.testing.assert_allclose(resize(image, *size), expected, rtol=0, atol=1e-5)


def test_patches():
    image = np.zeros((20, 30), np.float32)
    image[:, 15:] = 1
    patches = sample_patches(image, 8, "dense", 4, 0.01)
    assert set(patches.corners[:, 0]) == {8, 12}
    x, y = patches.corners[-1]
    np.testing.assert_array_equal(patches.pixels[-1], image[y : y + 8, x : x + 8].ravel())
    assert sample_patches(image[:5], 8, "dense", 4, 0).pixels.shape == (0, 64)


def test_scales():
    assert level_scales((100, 200), (50, 50), 2, 0.5, None) == [0.5, 1, 2]
    assert level_scales((100, 200), (50, 50), 2, 0.5, 1.5) == [0.5, 1]
    assert level_scales((100, 200), (150, 150), 2, 1, None) == []


def test_background_lowers_words(scenes):
    images, boxes, _ = zip(*scenes[0], strict=True)
    crops = [image[y : y + h, x : x + w] for image, [(x, y, w, h)] in zip(images, boxes, strict=True)]
    whole = [[(0, 0, crop.shape[1], crop.shape[0])] for crop in crops]
    model = ImplicitShapeModel(Codebook(40, metric="correlation"), step=12)
    np.testing.assert_array_equal(model.fit(crops, whole).object_given_word_, 1)
    probability = model.fit(crops, whole, backgrounds=[images[0][:60]]).object_given_word_
    assert 0 < probability.min() < probability.max() < 1
    with pytest.raises(ValueError, match=r"^detect: return_masks must be False"):
        model.detect(images[0], return_masks=True)


def test_is_an_estimator(model, scenes):
    copy = clone(model)
    assert copy.get_params()["codebook__n_words"] == 80
    assert not hasattr(copy, "occurrences_")
    assert copy.set_params(codebook__n_words=7, step=5).codebook.n_words == 7
    assert model.codebook.n_words == 80
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.detect(scenes[1][0].image), model.detect(scenes[1][0].image))


def test_nothing_to_find(model):
    for image in (np.zeros((200, 300), np.uint8), np.zeros((5, 5), np.uint8)):
        for method in ("hough", "histogram"):
            boxes, scores = model.detect(image, method=method, return_scores=True)
            assert boxes.shape == (0, 4)
            assert scores.shape == (0,)
        assert model.detect(image, return_masks=True)[1].shape == (0, *image.shape)


IMAGE = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda m: m.fit([], []),
            ValueError,
            "fit: boxes must hold an array for each of at least one image, got 0 for 0",
        ),
        (lambda m: m.fit([IMAGE], [[[1, 2, 3]]]), ValueError, "fit: boxes[0] must have shape (M, 4), got (1, 3)"),
        (
            lambda m: m.fit([IMAGE], [[[1, 2, 3, 0]]]),
            ValueError,
            "fit: boxes[0] must be finite, of positive width and height, got [[1.0, 2.0, 3.0, 0.0]]",
        ),
        (lambda m: m.fit([IMAGE], [[]]), ValueError, "fit: boxes must hold at least one box, got none"),
        (
            lambda m: m.fit([IMAGE], [[[90, 90, 5, 5]]]),
            ValueError,
            "fit: boxes must meet their images, got [90.0, 90.0, 5.0, 5.0] for shape (40, 50)",
        ),
        (
            lambda m: m.fit([IMAGE], [[[0, 0, 30, 30]]], [IMAGE[:5]]),
            ValueError,
            "fit: masks[0] must have shape (40, 50) or (1, 40, 50), got (5, 50)",
        ),
        (
            lambda m: m.fit([IMAGE * 0], [[[0, 0, 30, 30]]]),
            ValueError,
            "fit: images must show objects with patches of a contrast of 0.02, got none of them",
        ),
        (
            lambda m: m.fit([IMAGE > 5], [[[0, 0, 9, 9]]]),
            TypeError,
            "fit: image must be uint8 or floating point, got bool",
        ),
        (lambda m: m.detect(IMAGE), RuntimeError, "ImplicitShapeModel: it has not been fitted; call fit first"),
        (
            lambda m: m.set_params(detector="sift").fit([IMAGE], [[[0, 0, 9, 9]]]),
            ValueError,
            "ImplicitShapeModel: detector must be 'dense', 'harris', 'hessian' or 'dog', got 'sift'",
        ),
        (
            lambda m: m.set_params(codebook=Codebook(3)).fit([IMAGE], [[[0, 0, 9, 9]]]),
            ValueError,
            "ImplicitShapeModel: codebook must have metric 'correlation', got Codebook(n_words=3)",
        ),
    ],
)
def test_bad_training(call, error, message):
    with pytest.raises(error) as caught:
        call(ImplicitShapeModel())
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "votes"}, "detect: method must be 'hough' or 'histogram', got 'votes'"),
        ({"min_scale": 0}, "detect: min_scale must be positive, got 0"),
        ({"max_scale": 0.5}, "detect: max_scale must be at least min_scale, 1.0, got 0.5"),
        ({"iou_threshold": 2}, "detect: iou_threshold must be from 0 to 1, got 2"),
        (
            {"method": "histogram", "return_masks": True},
            "detect: return_masks must be False where method is 'histogram' or fit had no masks, got True",
        ),
    ],
)
def test_bad_detection(model, arguments, message):
    with pytest.raises(ValueError, match=r"^detect: ") as caught:
        model.detect(IMAGE, **arguments)
    assert str(caught.value) == message
