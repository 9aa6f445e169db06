"""Detection against OpenCV, exactly: the sets of raw windows and of groups, and their scores."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage import data

import saccade
from saccade.classic import CascadeClassifier
from saccade.reference.cascade import detect_raw
from tests.util.cascades import random_cascade
from tests.util.strategies import awkward_layouts

CASCADES = sorted(Path(cv2.data.haarcascades).glob("*.xml"))
FACE = str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml")


@pytest.fixture(autouse=True)
def _same_threads():
    count = saccade.get_num_threads()
    yield
    saccade.set_num_threads(count)


@cache
def image(name):
    if name == "noise":
        return np.random.default_rng(0).integers(0, 256, (97, 131), dtype=np.uint8)
    if name == "blurred noise":
        return cv2.normalize(cv2.GaussianBlur(image("noise"), (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)
    grey = cv2.cvtColor(getattr(data, name)(), cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (301, 263)) if name != "astronaut" else grey


def listed(boxes, scores):
    """A set whose elements can be repeated, as two scales may give the same box."""
    return sorted((*map(int, box), float(score)) for box, score in zip(boxes, scores, strict=True))


def assert_equals_cv2(ours, theirs, img, min_neighbors=(0, 3), **options):
    names = {"scale_factor": "scaleFactor", "min_size": "minSize", "max_size": "maxSize"}
    for count in min_neighbors:
        boxes, scores = ours.detect(img, min_neighbors=count, return_scores=True, **options)
        cv2_boxes, _, cv2_scores = theirs.detectMultiScale3(
            img, minNeighbors=count, outputRejectLevels=True, **{names[name]: v for name, v in options.items()}
        )
        assert listed(boxes, scores) == listed(cv2_boxes, cv2_scores)
    return len(boxes)


def both(tmp_path, xml):
    path = tmp_path / "cascade.xml"
    path.write_bytes(xml)
    return CascadeClassifier.load(xml), cv2.CascadeClassifier(str(path))


@pytest.mark.parametrize("path", CASCADES, ids=lambda path: path.stem.removeprefix("haarcascade_"))
def test_every_shipped_cascade(path):
    ours, theirs = CascadeClassifier.load(path), cv2.CascadeClassifier(str(path))
    for name in ("astronaut", "coffee", "chelsea", "noise", "blurred noise"):
        assert_equals_cv2(ours, theirs, image(name))


@pytest.mark.parametrize(
    "options",
    [
        {"scale_factor": 1.03},
        {"scale_factor": 1.5},
        {"scale_factor": 7.0},
        {"min_size": (60, 60)},
        {"max_size": (90, 120)},
        {"min_size": (50, 40), "max_size": (120, 140), "scale_factor": 1.2},
        {"min_size": (61, 61), "max_size": (61, 61)},
        {"min_size": (400, 900)},
        {"min_size": (2000, 2000)},
        {"max_size": (10, 10)},
    ],
    ids=str,
)
def test_options(options):
    for name in ("frontalface_default", "smile", "eye"):
        path = str(Path(cv2.data.haarcascades) / f"haarcascade_{name}.xml")
        assert_equals_cv2(CascadeClassifier.load(path), cv2.CascadeClassifier(path), image("astronaut"), **options)


@pytest.mark.parametrize("kind", ["HAAR", "LBP"])
@pytest.mark.parametrize("nodes", [1, 2, 3, 5])
def test_random_cascades(kind, nodes, tmp_path):
    found = 0
    for seed, (width, height) in enumerate([(24, 24), (12, 31), (40, 9)]):
        xml = random_cascade(seed, kind, width, height, stages=4, nodes=nodes)
        classifiers = both(tmp_path, xml)
        for name in ("chelsea", "noise"):
            found += assert_equals_cv2(*classifiers, image(name), min_neighbors=(3, 0), scale_factor=1.3)
    assert found > 1000


@pytest.mark.parametrize("kind", ["HAAR", "LBP"])
def test_equals_reference(kind):
    for nodes in (1, 3):
        xml = random_cascade(nodes, kind, 12, 10, stages=2, trees=3, nodes=nodes)
        classifier = CascadeClassifier.load(xml)
        img = image("chelsea")[40:120, 60:163]
        boxes, scores = detect_raw(kind == "HAAR", 12, 10, classifier._impl.arrays(), img, 1.4)
        ours, our_scores = classifier.detect(img, min_neighbors=0, scale_factor=1.4, return_scores=True)
        np.testing.assert_array_equal(our_scores, scores)  # in order: scale, y, x
        np.testing.assert_array_equal(ours[:, :2], boxes[:, :2])
        assert len(ours) > 100


def test_sums_at_the_threshold(tmp_path):
    """Integer leaves that often add up to the threshold, so large that a float sum cannot tell."""
    for kind in ("HAAR", "LBP"):
        xml = random_cascade(5, kind, stages=4, trees=9, leaf_scale=30000.0, integer_leaves=True)
        assert assert_equals_cv2(*both(tmp_path, xml), image("chelsea"), min_neighbors=(0,), scale_factor=1.5) > 100


@pytest.mark.parametrize("weights", [(-1, 1.75), (-0.3, 1.2, 0.7), (1, -2, -2), (-4, 9), (-100, 211, 17)])
def test_unusual_weights(weights, tmp_path):
    """Weights for which the shortened sums of corners would not be exact."""
    xml = random_cascade(8, width=30, height=40, stages=3, weights=weights)
    assert assert_equals_cv2(*both(tmp_path, xml), image("astronaut"), min_neighbors=(3, 0), scale_factor=1.4) > 10


def test_large_window(tmp_path):
    """Sums of this window are beyond what a float holds exactly."""
    xml = random_cascade(10, width=300, height=280, stages=2, trees=4)
    img = cv2.resize(image("astronaut"), (700, 640))
    assert assert_equals_cv2(*both(tmp_path, xml), img, min_neighbors=(3, 0)) > 10


def test_large_trees(tmp_path):
    xml = random_cascade(1, width=16, height=16, stages=2, trees=2, nodes=40)
    assert assert_equals_cv2(*both(tmp_path, xml), image("noise"), min_neighbors=(3, 0)) > 10


@pytest.mark.parametrize("kind", ["HAAR", "LBP"])
def test_small_images(kind, tmp_path):
    """Every size around the window's, and sizes at which the last row of windows is left out."""
    classifiers = both(tmp_path, random_cascade(6, kind, 13, 12, stages=2, trees=2))
    img = image("noise")
    found = 0
    for width in (1, 5, 12, 13, 14, 15, 28, 44, 45, 46, 47, 77, 79):
        for height in (1, 11, 12, 13, 14, 15, 16, 17, 33, 64):
            found += assert_equals_cv2(*classifiers, np.ascontiguousarray(img[:height, :width]), (3, 0))
    assert found > 200


def test_widths_around_a_vector(tmp_path):
    classifiers = both(tmp_path, random_cascade(4, width=10, height=10, stages=2, trees=2))
    for width in range(40, 121):
        assert_equals_cv2(*classifiers, np.ascontiguousarray(image("noise")[:40, :width]), (0,), scale_factor=1.7)


def test_colour():
    rgb = data.astronaut()
    classifier = CascadeClassifier.load(FACE)
    theirs = cv2.CascadeClassifier(FACE).detectMultiScale(rgb[..., ::-1].copy(), minNeighbors=0)
    for img in (rgb, np.asfortranarray(rgb), rgb[..., ::-1].copy()[..., ::-1]):
        assert sorted(classifier.detect(img, min_neighbors=0).tolist()) == sorted(theirs.tolist())


def test_colour_of_every_shade():
    """The weights and rounding of the conversion: windows of a cascade with one threshold tell grey levels apart."""
    rng = np.random.default_rng(3)
    rgb = rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)
    classifier = CascadeClassifier.load(random_cascade(9, "LBP", 3, 3, stages=2))
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    colour = classifier.detect(rgb, min_neighbors=0, max_size=(3, 3))
    assert len(colour) > 100
    np.testing.assert_array_equal(colour, classifier.detect(grey, min_neighbors=0, max_size=(3, 3)))


def test_threads():
    classifier = CascadeClassifier.load(str(Path(cv2.data.haarcascades) / "haarcascade_smile.xml"))
    results = []
    for threads in (1, 2, 5):
        saccade.set_num_threads(threads)
        results.append([classifier.detect(image("coffee"), min_neighbors=n, return_scores=True) for n in (0, 2)])
    for other in results[1:]:
        for (boxes, scores), (other_boxes, other_scores) in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(boxes, other_boxes)
            np.testing.assert_array_equal(scores, other_scores)
    assert len(results[0][0][0]) > 100


def test_batch():
    classifier = CascadeClassifier.load(FACE)
    images = [image("astronaut"), image("noise"), data.astronaut()[:200, 100:300], np.zeros((0, 0), np.uint8)]
    batch = classifier.detect_batch(images, return_scores=True, return_levels=True)
    assert len(batch) == 4
    for img, result in zip(images, batch, strict=True):
        for a, b in zip(result, classifier.detect(img, return_scores=True, return_levels=True), strict=True):
            np.testing.assert_array_equal(a, b)
    boxes, scores, levels = batch[0]
    assert boxes.dtype == np.int32
    assert scores.dtype == np.float64
    assert levels.tolist() == [25] * len(boxes) == [25]
    stacked = classifier.detect_batch(np.stack([image("astronaut")] * 2))
    np.testing.assert_array_equal(stacked[0], stacked[1])
    assert classifier.detect_batch([]) == []


def test_many_threads_at_once():
    classifier = CascadeClassifier.load(FACE)
    expected = classifier.detect(image("astronaut"), min_neighbors=0)
    with ThreadPoolExecutor(4) as pool:
        for boxes in pool.map(lambda _: classifier.detect(image("astronaut"), min_neighbors=0), range(12)):
            np.testing.assert_array_equal(boxes, expected)


def test_immutable_and_picklable():
    for xml in (Path(FACE).read_bytes(), random_cascade(0, "LBP", nodes=3)):
        classifier = CascadeClassifier.load(xml)
        copy = pickle.loads(pickle.dumps(classifier))
        assert repr(copy) == repr(classifier)
        np.testing.assert_array_equal(copy.detect(image("astronaut")), classifier.detect(image("astronaut")))
        with pytest.raises(AttributeError, match="cannot be changed"):
            classifier._impl = None
    assert repr(CascadeClassifier.load(FACE)) == "CascadeClassifier(HAAR, window 24x24, 25 stages, 2913 trees)"
    with pytest.raises(TypeError, match=r"use CascadeClassifier\.load"):
        CascadeClassifier()


def test_errors():
    classifier = CascadeClassifier.load(FACE)
    grey = np.zeros((40, 40), np.uint8)
    for img, kind, message in [
        (grey.astype(np.float32), TypeError, "detect: image must be uint8, got float32"),
        (grey[0], ValueError, r"detect: image must have shape \(H, W\) or \(H, W, 3\), got \(40,\)"),
        (np.zeros((4, 4, 4), np.uint8), ValueError, r"detect: image must .*, got \(4, 4, 4\)"),
        (np.broadcast_to(grey[:1, :1], (10**5, 10**5)), ValueError, "detect: image must have fewer than 2.31 pixels.*"),
        (np.broadcast_to(grey[:1, :1], (24, 5 * 10**7)), ValueError, "detect: image must be less wide for a window.*"),
    ]:
        with pytest.raises(kind, match=f"^{message}$"):
            classifier.detect(img)
    for options, message in [
        ({"scale_factor": 1.0}, "detect: scale_factor must be a finite number greater than 1, got 1"),
        ({"scale_factor": float("nan")}, "detect: scale_factor must be a finite number greater than 1, got nan"),
        ({"scale_factor": 1 + 1e-9}, "detect: scale_factor must give at most 4096 levels, got 1.0000000010000001"),
        ({"min_size": (-1, 3)}, r"detect: min_size must not be negative nor beyond 2\^30, got \(-1, 3\)"),
        ({"max_size": 7}, "detect: max_size must be two integers, width and height, got 7"),
    ]:
        with pytest.raises(ValueError, match=f"^{message}$"):
            classifier.detect(grey, **options)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_image(data):
    seed, kind, nodes = data.draw(st.tuples(st.integers(0, 5), st.sampled_from(["HAAR", "LBP"]), st.integers(1, 3)))
    xml = random_cascade(seed, kind, 9, 8, stages=2, trees=2, nodes=nodes)
    shape = data.draw(st.tuples(st.integers(0, 40), st.integers(0, 40)))
    if data.draw(st.booleans()):
        shape += (3,)
    img = data.draw(hnp.arrays(np.uint8, shape))
    classifier = CascadeClassifier.load(xml)
    plain = classifier.detect(img, min_neighbors=0, scale_factor=1.5)
    np.testing.assert_array_equal(
        plain, classifier.detect(data.draw(awkward_layouts(img)), min_neighbors=0, scale_factor=1.5)
    )
    assert (plain[:, :2] >= 0).all()
    assert (plain[:, 0] + plain[:, 2] <= shape[1]).all()
