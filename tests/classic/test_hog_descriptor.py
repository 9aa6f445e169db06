"""The HOG descriptor and detector beside OpenCV's, and beside a version pixel by pixel where OpenCV is wrong."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

import saccade
from saccade.classic import HOGDescriptor, group_rectangles
from saccade.reference.hog import hog_descriptor
from tests.util.strategies import awkward_layouts

PEOPLE = cv2.HOGDescriptor_getDefaultPeopleDetector()
# OpenCV takes the magnitude's root and the angle's quotient in other ways: measured 1e-6 at most.
TOLERANCE = 5e-6
STRIDES = "win_size must be block_size and a multiple of block_stride, got (64, 128), (16, 16) and (7, 8)"


@pytest.fixture(autouse=True)
def _same_threads():
    count = saccade.get_num_threads()
    yield
    saccade.set_num_threads(count)


@cache
def image(name):
    if name == "noise":
        return np.random.default_rng(0).integers(0, 256, (163, 131), dtype=np.uint8)
    if name == "few values":
        return np.random.default_rng(1).integers(0, 2, (163, 131), dtype=np.uint8) * 255
    if name == "flat":
        return np.full((150, 90), 77, np.uint8)
    if name == "colour":
        return data.astronaut()[:240, :300].copy()
    return cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY)[:260, :301].copy()


@cache
def people():
    theirs = cv2.HOGDescriptor()
    theirs.setSVMDetector(PEOPLE)
    return HOGDescriptor().set_svm(PEOPLE), theirs


def cv2_descriptor(ours):
    return cv2.HOGDescriptor(*ours.parameters.values())  # in OpenCV's order


def test_defaults_are_those_of_opencv():
    theirs, ours = cv2.HOGDescriptor(), HOGDescriptor().parameters
    for name, value in {
        "win_size": theirs.winSize,
        "block_size": theirs.blockSize,
        "block_stride": theirs.blockStride,
        "cell_size": theirs.cellSize,
        "nbins": theirs.nbins,
        "deriv_aperture": theirs.derivAperture,
        "win_sigma": theirs.winSigma,
        "histogram_norm_type": theirs.histogramNormType,
        "l2_hys_threshold": theirs.L2HysThreshold,
        "gamma_correction": theirs.gammaCorrection,
        "nlevels": theirs.nlevels,
        "signed_gradient": theirs.signedGradient,
    }.items():
        assert ours[name] == value, name
    assert HOGDescriptor().descriptor_size == theirs.getDescriptorSize() == 3780


@pytest.mark.parametrize("name", ["noise", "few values", "flat", "astronaut", "colour"])
@pytest.mark.parametrize("win_stride", [(8, 8), (4, 4), (16, 8), (8, 24), (3, 5), (64, 128)])
@pytest.mark.parametrize("padding", [(0, 0), (8, 8), (3, 12)])
def test_compute_equals_opencv(name, win_stride, padding):
    ours, theirs = people()
    actual = ours.compute(image(name), win_stride, padding)
    expected = theirs.compute(image(name), win_stride, padding)
    assert actual.shape == expected.shape
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE)


GEOMETRIES = [
    {"win_size": (64, 64), "block_size": (32, 32), "block_stride": (16, 16), "cell_size": (8, 8)},
    {"win_size": (48, 96), "block_size": (16, 16), "block_stride": (16, 8), "cell_size": (4, 4), "nbins": 6},
    {"win_size": (20, 20), "block_size": (10, 10), "block_stride": (5, 5), "cell_size": (5, 5), "nbins": 18},
    {"win_size": (18, 18), "block_size": (6, 6), "block_stride": (3, 3), "cell_size": (2, 2), "nbins": 3},
    {"win_size": (32, 32), "block_size": (8, 8), "block_stride": (12, 12), "cell_size": (4, 4)},
    {"gamma_correction": False},
    {"win_sigma": 2.5},
    {"nbins": 9, "signed_gradient": True},
    {"nbins": 16, "signed_gradient": True, "win_size": (16, 16)},
]


@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
@pytest.mark.parametrize("name", ["noise", "astronaut", "colour"])
def test_other_geometries_equal_opencv(options, name):
    ours = HOGDescriptor(**options)
    theirs = cv2_descriptor(ours)
    assert ours.descriptor_size == theirs.getDescriptorSize()
    actual, expected = ours.compute(image(name), (11, 7)), theirs.compute(image(name), (11, 7))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["noise", "colour"])
def test_locations(name):
    ours, theirs = people()
    places = [(0, 0), (3, 1), (67, 20), (11, 32), (0, 0)]
    actual = ours.compute(image(name), locations=places)
    np.testing.assert_allclose(actual, theirs.compute(image(name), locations=places), rtol=0, atol=TOLERANCE)
    outside = [(-5, -8), (70, 40)]
    actual = ours.compute(image("noise"), padding=(8, 8), locations=outside)
    expected = theirs.compute(image("noise"), padding=(8, 8), locations=outside)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE)
    assert ours.compute(image(name), locations=[]).shape == (0,)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"block_size": (8, 16), "win_size": (16, 16), "block_stride": (8, 4), "nbins": 5},  # OpenCV: wrong weights
        {"block_size": (16, 8), "win_size": (24, 16), "block_stride": (4, 4), "cell_size": (4, 8)},
        {"win_size": (8, 8), "block_size": (8, 8), "nbins": 2},  # OpenCV crashes
        {"win_size": (7, 5), "block_size": (1, 1), "block_stride": (2, 2), "cell_size": (1, 1)},
        {"l2_hys_threshold": 0.1, "win_size": (16, 24)},  # OpenCV: the threshold of its first descriptor
        {"signed_gradient": True, "win_size": (16, 16), "gamma_correction": False},
    ],
    ids=str,
)
def test_equals_reference(options):
    hog = HOGDescriptor(**{"win_size": (24, 16), **options})
    for name in ("astronaut", "colour"):
        for x, y in ((0, 0), (13, 5), (-3, -7)):
            actual = hog.compute(image(name), padding=(8, 8), locations=[(x, y)])
            # The approximate angle is up to 0.009 degrees off.
            np.testing.assert_allclose(actual, hog_descriptor(image(name), x, y, hog.parameters), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ["noise", "astronaut", "colour"])
@pytest.mark.parametrize("win_stride", [(8, 8), (4, 4), (16, 16), (8, 24), (3, 5)])
@pytest.mark.parametrize("padding", [(0, 0), (16, 8)])
def test_detect_equals_opencv(name, win_stride, padding):
    ours, theirs = people()
    places, scores = ours.detect(image(name), -1.5, win_stride, padding)
    expected, weights = theirs.detect(image(name), -1.5, win_stride, padding)
    assert not (np.abs(np.ravel(weights) + 1.5) < 1e-4).any()  # none that rounding could decide
    np.testing.assert_array_equal(places, np.reshape(expected, (-1, 2)))
    np.testing.assert_allclose(scores, np.ravel(weights), atol=2e-5)
    assert (places.dtype, scores.dtype) == (np.int32, np.float64)


@pytest.mark.parametrize("options", GEOMETRIES[:3] + GEOMETRIES[4:6], ids=str)
@pytest.mark.parametrize("constant", [0, 1])
def test_detect_with_other_geometries(options, constant):
    ours = HOGDescriptor(**options)
    theirs = cv2_descriptor(ours)
    svm = np.random.default_rng(0).normal(size=ours.descriptor_size + constant).astype(np.float32)
    ours = ours.set_svm(svm)
    theirs.setSVMDetector(svm)
    for stride in ((4, 4), (8, 16)):
        places, scores = ours.detect(image("astronaut"), -1e9, stride)
        expected, weights = theirs.detect(image("astronaut"), -1e9, stride)
        np.testing.assert_array_equal(places, expected)
        np.testing.assert_allclose(scores, weights, atol=2e-4)  # coefficients are 50 times those of people


def listed(boxes, scores):
    return sorted((*map(int, box), float(score)) for box, score in zip(boxes, np.ravel(scores), strict=True))


@pytest.mark.parametrize("name", ["astronaut", "colour"])
@pytest.mark.parametrize(
    ("options", "cv2_options"),
    [
        ({}, {}),
        ({"hit_threshold": -0.5}, {"hitThreshold": -0.5}),
        ({"win_stride": (4, 4)}, {"winStride": (4, 4)}),
        ({"padding": (8, 16)}, {"padding": (8, 16)}),
        ({"scale": 1.2}, {"scale": 1.2}),
        ({"scale": 1.0}, {"scale": 1.0}),
        ({"group_threshold": 1.9}, {}),
    ],
    ids=str,
)
def test_detect_multi_scale_equals_opencv(name, options, cv2_options):
    ours, theirs = people()
    options, cv2_options = {"hit_threshold": -1, **options}, {"hitThreshold": -1, **cv2_options}
    for threshold in (0, 1, options.get("group_threshold", 2)):
        options, cv2_options = {**options, "group_threshold": threshold}, {**cv2_options, "groupThreshold": threshold}
        actual = listed(*ours.detect_multi_scale(image(name), **options))
        expected = listed(*theirs.detectMultiScale(image(name), **cv2_options))
        assert [a[:4] for a in actual] == [e[:4] for e in expected]
        np.testing.assert_allclose([a[4] for a in actual], [e[4] for e in expected], atol=2e-5)


def test_nlevels():
    ours = HOGDescriptor(nlevels=3).set_svm(PEOPLE)
    theirs = cv2.HOGDescriptor((64, 128), (16, 16), (8, 8), (8, 8), 9, 1, -1, 0, 0.2, True, 3)
    theirs.setSVMDetector(PEOPLE)
    for hog_scale in (1.05, 1.3):
        actual = listed(*ours.detect_multi_scale(image("astronaut"), -1, scale=hog_scale, group_threshold=0))
        expected = listed(*theirs.detectMultiScale(image("astronaut"), -1, scale=hog_scale, groupThreshold=0))
        assert [a[:4] for a in actual] == [e[:4] for e in expected]


def test_return_weights():
    ours, _ = people()
    boxes, weights = ours.detect_multi_scale(image("astronaut"), -0.5, group_threshold=0)
    alone = ours.detect_multi_scale(image("astronaut"), -0.5, group_threshold=0, return_weights=False)
    np.testing.assert_array_equal(alone, boxes)
    assert len(weights) == len(boxes) > 0
    grouped, _ = ours.detect_multi_scale(image("astronaut"), -0.5, group_threshold=1)
    np.testing.assert_allclose(sorted(map(tuple, grouped)), sorted(map(tuple, group_rectangles(boxes, 1)[0])), atol=1)


def test_images_without_windows():
    ours, _ = people()
    for shape in ((0, 0), (0, 9), (127, 64), (128, 63), (1, 1), (60, 60, 3)):
        places, scores = ours.detect(np.zeros(shape, np.uint8))
        boxes, weights = ours.detect_multi_scale(np.zeros(shape, np.uint8))
        assert places.shape == (0, 2)
        assert boxes.shape == (0, 4)
        assert scores.shape == weights.shape == (0,)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_tiny_images_are_mirrored(size):
    ours, theirs = people()
    tiny = image("noise")[:size, :size].copy()
    actual = ours.compute(tiny, padding=(64, 64))
    np.testing.assert_allclose(actual, theirs.compute(tiny, (8, 8), (64, 64)), rtol=0, atol=TOLERANCE)


def test_thread_count_changes_nothing():
    ours, _ = people()
    results = []
    for count in (1, 2, 3, 7):
        saccade.set_num_threads(count)
        found = ours.detect_multi_scale(image("astronaut"), -1, padding=(8, 8), group_threshold=0)
        results.append(b"".join(part.tobytes() for part in (*found, ours.compute(image("colour")))))
    assert all(result == results[0] for result in results)


def test_many_threads_with_one_descriptor():
    ours, _ = people()
    expected = ours.detect_multi_scale(image("colour"), -1)[0]
    with ThreadPoolExecutor(4) as pool:
        for boxes, _ in pool.map(lambda _: ours.detect_multi_scale(image("colour"), -1), range(8)):
            np.testing.assert_array_equal(boxes, expected)


def test_large_results():
    # More than the caches hold, written past them; 7 values to a block, so that nothing is aligned.
    hog = HOGDescriptor((40, 56), (8, 8), (8, 8), (8, 8), nbins=7)
    grey = np.random.default_rng(3).integers(0, 256, (700, 901), dtype=np.uint8)
    actual = hog.compute(grey, (3, 3)).reshape(-1, hog.descriptor_size)
    assert actual.nbytes > 2**24
    expected = cv2_descriptor(hog).compute(grey, (3, 3)).reshape(actual.shape)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE)


def test_immutable_and_picklable():
    plain = HOGDescriptor(win_size=(32, 64), nbins=6)
    svm = np.random.default_rng(0).normal(size=plain.descriptor_size + 1)
    hog = plain.set_svm(svm)
    assert plain.svm_coefficients is None
    np.testing.assert_array_equal(hog.svm_coefficients, svm.astype(np.float32))
    copy = pickle.loads(pickle.dumps(hog))
    assert copy.parameters == hog.parameters
    for a, b in zip(copy.detect(image("astronaut")), hog.detect(image("astronaut")), strict=True):
        np.testing.assert_array_equal(a, b)
    assert pickle.loads(pickle.dumps(plain)).svm_coefficients is None
    with pytest.raises(AttributeError, match=r"^HOGDescriptor: it cannot be changed, tried to set 'nbins'$"):
        hog.nbins = 9
    assert repr(hog) == "HOGDescriptor(win_size=(32, 64), nbins=6)"


@given(st.data())
def test_awkward_images(data):
    ours = HOGDescriptor((16, 16))
    plain = image(data.draw(st.sampled_from(["noise", "colour"])))[:33, :40]
    awkward = data.draw(awkward_layouts(plain))
    np.testing.assert_array_equal(ours.compute(awkward), ours.compute(plain.copy()))


@settings(max_examples=50)
@given(
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.integers(1, 10),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.booleans(),
)
def test_any_geometry(blocks, cells, cell, step, bins, win_stride, signed):
    # OpenCV crashes on blocks of one small cell.
    size = tuple(n * c for n, c in zip(cells, cell, strict=True))
    win = tuple(s + (n - 1) * d for s, n, d in zip(size, blocks, step, strict=True))
    hog = HOGDescriptor(win, size, step, cell, bins, signed_gradient=signed)
    picture = image("astronaut")[: win[1] + 2, : win[0] + 5]
    actual = hog.compute(picture, win_stride).reshape(-1, hog.descriptor_size)
    places = [(x, y) for y in range(0, 3, win_stride[1]) for x in range(0, 6, win_stride[0])]
    assert len(actual) == len(places)
    for row, (x, y) in zip(actual, places, strict=True):
        np.testing.assert_allclose(row, hog_descriptor(picture, x, y, hog.parameters), rtol=0, atol=2e-3)


@given(st.tuples(st.integers(-3, 20), st.integers(-3, 20)), st.tuples(st.integers(-2, 9), st.integers(-2, 9)))
def test_any_location(place, padding):
    hog, picture = HOGDescriptor((16, 16)), image("noise")[:20, :24]
    if min(padding) < 0:
        with pytest.raises(ValueError, match=r"^compute: padding must be from 0 to 16383, got"):
            hog.compute(picture, padding=padding, locations=[place])
        return
    reach_x, reach_y = (-(-p // 8) * 8 for p in padding)
    if -reach_x <= place[0] <= 8 + reach_x and -reach_y <= place[1] <= 4 + reach_y:
        assert hog.compute(picture, padding=padding, locations=[place]).shape == (hog.descriptor_size,)
    else:
        with pytest.raises(ValueError, match=r"^compute: locations must be of windows inside the image"):
            hog.compute(picture, padding=padding, locations=[place])


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (ValueError, "win_size must be from 1 to 16384, got (0, 128)", {"win_size": (0, 128)}),
        (ValueError, "block_size must be a multiple of cell_size, got (16, 16) and (7, 8)", {"cell_size": (7, 8)}),
        (ValueError, "block_size must be at most win_size, got (16, 16) and (8, 128)", {"win_size": (8, 128)}),
        (ValueError, STRIDES, {"block_stride": (7, 8)}),
        (ValueError, "nbins must be from 1 to 256, got 0", {"nbins": 0}),
        (TypeError, "nbins must be an integer, got 9.0", {"nbins": 9.0}),
        (ValueError, "win_sigma must be finite and not 0, got 0", {"win_sigma": 0}),
        (ValueError, "win_sigma must be finite and not 0, got nan", {"win_sigma": float("nan")}),
        (ValueError, "l2_hys_threshold must be finite and greater than 0, got 0", {"l2_hys_threshold": 0}),
        (ValueError, "nlevels must be at least 1, got 0", {"nlevels": 0}),
        (ValueError, "histogram_norm_type must be 0, for L2-Hys, got 1", {"histogram_norm_type": 1}),
        (ValueError, "cell_size must be two integers, width and height, got 8", {"cell_size": 8}),
    ],
)  # fmt: skip
def test_errors_of_the_constructor(error, message, options):
    with pytest.raises(error) as caught:
        HOGDescriptor(**options)
    assert str(caught.value) == f"HOGDescriptor: {message}"


def test_errors():
    hog, grey = HOGDescriptor(), image("astronaut")
    for array, message in (
        (np.zeros(5, np.uint8), r"image must have shape \(H, W\) or \(H, W, 3\), got \(5,\)"),
        (np.zeros((200, 200, 4), np.uint8), r"image must have shape \(H, W\) or \(H, W, 3\), got \(200, 200, 4\)"),
        (np.zeros((127, 64), np.uint8), r"image must hold a window of \(64, 128\) .*, got \(127, 64\) and \(0, 0\)"),
    ):
        with pytest.raises(ValueError, match=rf"^compute: {message}$"):
            hog.compute(array)
    for dtype in (np.float32, np.float64, np.int32, bool):
        with pytest.raises(TypeError, match=rf"^compute: image must be uint8, got {np.dtype(dtype)}$"):
            hog.compute(grey.astype(dtype))
    with pytest.raises(ValueError, match=r"^compute: win_stride must be at least 1, got \(0, 8\)$"):
        hog.compute(grey, (0, 8))
    with pytest.raises(ValueError, match=r"^detect: padding must be from 0 to 16383, got \(8, -1\)$"):
        hog.detect(grey, padding=(8, -1))
    with pytest.raises(ValueError, match=r"^compute: locations must have shape \(N, 2\), got \(2,\)$"):
        hog.compute(grey, locations=[1, 2])
    with pytest.raises(TypeError, match=r"^compute: locations must be integers, got float64$"):
        hog.compute(grey, locations=[[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"^detect: the descriptor must have coefficients, from set_svm$"):
        hog.detect(grey)
    with pytest.raises(ValueError, match=r"^set_svm: coefficients must be 3780 or 3781, got 5$"):
        hog.set_svm(np.zeros(5))
    with pytest.raises(ValueError, match=r"^set_svm: coefficients must be finite, got nan$"):
        hog.set_svm(np.full(3780, np.nan))
    with pytest.raises(TypeError, match=r"^set_svm: coefficients must be real numbers, got complex128$"):
        hog.set_svm(np.zeros(3780, complex))
    people_hog = hog.set_svm(PEOPLE)
    with pytest.raises(ValueError, match=r"^detect_multi_scale: scale must be finite, got nan$"):
        people_hog.detect_multi_scale(grey, scale=float("nan"))
    with pytest.raises(ValueError, match=r"^detect_multi_scale: group_threshold must be within 2\^31, got nan$"):
        people_hog.detect_multi_scale(grey, group_threshold=float("nan"))
    with pytest.raises(ValueError, match=r"^detect: hit_threshold must be a number, got nan$"):
        people_hog.detect(grey, float("nan"))
