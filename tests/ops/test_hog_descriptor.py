"""hog_descriptors and hog_detect on every device: what HOGDescriptor computes and finds, and OpenCV's detections."""

from functools import cache

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from saccade import ops
from saccade.classic import HOGDescriptor
from saccade.ops.hog_descriptor import _geometry
from saccade.reference.hog_descriptor import hog_descriptors as reference_hog_descriptors
from saccade.reference.hog_descriptor import hog_detect as reference_hog_detect
from tests.util.devices import runs_cuda_kernels

PEOPLE = cv2.HOGDescriptor_getDefaultPeopleDetector()
# The CUDA kernels take the same sums in the same order, with a root that is rounded correctly: measured 8e-8 for values
# and 1e-6 for the scores of people.
VALUES, SCORES = 5e-7, 1e-5


@cache
def image(name):
    if name == "noise":
        return np.random.default_rng(0).integers(0, 256, (149, 91), dtype=np.uint8)
    if name == "flat":
        return np.full((140, 70), 77, np.uint8)
    if name == "colour":
        return data.astronaut()[:150, 120:230].copy()
    return cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY)[:170, 100:221].copy()


@cache
def people():
    return HOGDescriptor().set_svm(PEOPLE)


@cache
def small():
    """16 x 16 pixels, of coefficients that tell windows apart, and a constant term."""
    plain = HOGDescriptor((16, 16), (8, 8), (4, 4), (4, 4))
    return plain.set_svm(np.random.default_rng(2).normal(size=plain.descriptor_size + 1))


def assert_values(actual, expected, device):
    assert (actual.device.type, actual.dtype) == (device, torch.float32)
    assert actual.shape == expected.shape
    if runs_cuda_kernels(device):
        np.testing.assert_allclose(actual.cpu().numpy(), expected, rtol=0, atol=VALUES)
    else:
        np.testing.assert_array_equal(actual.numpy(), expected, strict=True)


def assert_equals_compute(hog, img, device, **options):
    tensor = torch.from_numpy(np.ascontiguousarray(img)).to(device)
    expected = hog.compute(img, **options).reshape(-1, hog.descriptor_size)
    assert_values(ops.hog_descriptors(tensor, hog, **options), expected, device)


def assert_equals_detect(hog, img, device, **options):
    """Returns the number of boxes."""
    expected, weights = hog.detect_multi_scale(img, **options)
    boxes, scores = ops.hog_detect(torch.from_numpy(img).to(device), hog, **options)
    assert [part.device.type for part in (boxes, scores)] == [device] * 2
    np.testing.assert_array_equal(boxes.cpu().numpy(), expected, strict=True)
    assert scores.dtype == torch.float64
    if runs_cuda_kernels(device):
        np.testing.assert_allclose(scores.cpu().numpy(), weights, rtol=0, atol=SCORES)
    else:
        np.testing.assert_array_equal(scores.numpy(), weights, strict=True)
    return len(expected)


@pytest.mark.parametrize("name", ["noise", "flat", "astronaut", "colour"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"win_stride": (4, 8)},
        {"win_stride": (8, 24), "padding": (8, 8)},
        {"win_stride": (9, 15), "padding": (3, 5)},
    ],
    ids=str,
)
def test_equals_compute(name, options, device):
    assert_equals_compute(people(), image(name), device, **options)


@pytest.mark.parametrize("name", ["astronaut", "colour"])
def test_equals_opencv(name, device):
    theirs = cv2.HOGDescriptor().compute(image(name), (8, 8)).reshape(-1, 3780)
    ours = ops.hog_descriptors(torch.from_numpy(image(name)).to(device), HOGDescriptor())
    np.testing.assert_allclose(ours.cpu().numpy(), theirs, rtol=0, atol=5e-6)


GEOMETRIES = [
    {"win_size": (64, 64), "block_size": (32, 32), "block_stride": (16, 16), "cell_size": (8, 8)},
    {"win_size": (48, 96), "block_size": (16, 16), "block_stride": (16, 8), "cell_size": (4, 4), "nbins": 6},
    {"win_size": (18, 18), "block_size": (6, 6), "block_stride": (3, 3), "cell_size": (2, 2), "nbins": 3},
    {"win_size": (32, 32), "block_size": (8, 8), "block_stride": (12, 12), "cell_size": (4, 4)},
    {"win_size": (16, 16), "block_size": (8, 16), "block_stride": (8, 4), "cell_size": (8, 8), "nbins": 5},
    {"win_size": (7, 5), "block_size": (1, 1), "block_stride": (2, 2), "cell_size": (1, 1)},
    {"win_size": (16, 16), "nbins": 1},
    {"win_size": (16, 16), "nbins": 2, "signed_gradient": True},
    {"win_size": (16, 16), "nbins": 256, "signed_gradient": True},
    {"win_size": (16, 16), "nbins": 97, "gamma_correction": False},
    {"win_sigma": 2.5, "l2_hys_threshold": 0.1},
]


@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
def test_other_geometries(options, device):
    hog = HOGDescriptor(**options)
    for name in ("astronaut", "colour"):
        width, height = hog.parameters["win_size"]
        picture = image(name)[: height + 8, : width + 13]
        assert_equals_compute(hog, picture, device, win_stride=(11, 7))
        assert_equals_compute(hog, picture, device, padding=(8, 8), locations=[(0, 0), (13, 5), (-3, -7)])


def test_locations(device):
    img = torch.from_numpy(image("noise")).to(device)
    expected = people().compute(image("noise"), locations=[(3, 1), (27, 20), (3, 1)]).reshape(3, -1)
    for places in ([(3, 1), (27, 20), (3, 1)], torch.tensor([[3, 1], [27, 20], [3, 1]], dtype=torch.int16).to(device)):
        assert_values(ops.hog_descriptors(img, people(), locations=places), expected, device)
    for places in ([], torch.zeros(0, 2, dtype=torch.int64)):
        assert ops.hog_descriptors(img, people(), locations=places).shape == (0, 3780)


@pytest.mark.native  # the windows of several launches
def test_many_locations(device):
    places = [(k % 27, k % 22) for k in range(1100)]
    assert_equals_compute(people(), image("noise"), device, locations=places)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_tiny_images_are_mirrored(size, device):
    assert_equals_compute(small(), image("noise")[:size, :size], device, padding=(24, 20), win_stride=(5, 4))


@pytest.mark.parametrize("options", [{}, {"padding": (4, 8)}, {"locations": [(3, 0), (-1, -4)], "padding": (4, 4)}])
def test_descriptors_equal_reference(options, device):
    for name in ("astronaut", "colour"):
        img = image(name)[60:83, 20:45]
        actual = ops.hog_descriptors(torch.from_numpy(img.copy()).to(device), small(), win_stride=(6, 5), **options)
        expected = reference_hog_descriptors(img, small().parameters, (6, 5), **options)
        # The approximate angle is up to 0.009 degrees off.
        np.testing.assert_allclose(actual.cpu().numpy(), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("min_neighbors", [0, 1])
def test_detect_equals_reference(min_neighbors, device):
    img = image("astronaut")[60:90, 20:44]
    for picture in (img, image("colour")[60:92, 20:56]):
        options = {"win_stride": (4, 3), "padding": (4, 0), "scale": 1.2}
        coefficients = small().svm_coefficients
        boxes, scores = ops.hog_detect(
            torch.from_numpy(picture.copy()).to(device),
            small(),
            hit_threshold=-2,
            group_threshold=min_neighbors,
            **options,
        )
        expected, weights = reference_hog_detect(
            picture, small().parameters, coefficients, -2, min_neighbors=min_neighbors, **options
        )
        assert len(expected) > 0
        assert not (np.abs(weights + 2) < 5e-3).any()  # none that the angle could decide
        np.testing.assert_array_equal(boxes.cpu().numpy(), expected)
        np.testing.assert_allclose(scores.cpu().numpy(), weights, rtol=0, atol=5e-3)


@pytest.mark.parametrize("name", ["astronaut", "colour"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"win_stride": (4, 8), "padding": (8, 16)},
        {"win_stride": (12, 20), "padding": (3, 12)},
        {"scale": 1.3, "win_stride": (16, 16)},
        {"scale": 1.0},
        {"hit_threshold": 1e9},
    ],
    ids=str,
)
def test_people(name, options, device):
    for threshold in (0, 1.9):
        options = {"hit_threshold": -2.5, "group_threshold": threshold, **options}
        assert_equals_detect(people(), image(name), device, **options)


def test_people_as_opencv_finds_them(device):
    theirs = cv2.HOGDescriptor()
    theirs.setSVMDetector(PEOPLE)
    boxes, weights = ops.hog_detect(
        torch.from_numpy(image("astronaut")).to(device), people(), hit_threshold=-2.5, group_threshold=0
    )
    expected, cv2_weights = theirs.detectMultiScale(image("astronaut"), hitThreshold=-2.5, groupThreshold=0)
    assert len(expected) > 3
    found = sorted((*map(int, box), float(w)) for box, w in zip(boxes, weights, strict=True))
    listed = sorted((*map(int, box), float(w)) for box, w in zip(expected, np.ravel(cv2_weights), strict=True))
    assert [f[:4] for f in found] == [e[:4] for e in listed]
    np.testing.assert_allclose([f[4] for f in found], [e[4] for e in listed], atol=2e-5)


@pytest.mark.parametrize("stride", [(4, 4), (6, 9), (1, 16)])
@pytest.mark.parametrize("constant", [0, 1])
def test_detect_with_other_geometries(stride, constant, device):
    # Windows of more rows of blocks than a launch takes at a time, and of more than 32 rows of the grid.
    for options in ({"win_size": (16, 80), "block_size": (8, 8), "block_stride": (4, 4), "cell_size": (4, 4)}, {}):
        hog = HOGDescriptor(**{"win_size": (24, 24), **options})
        count = hog.descriptor_size + constant
        hog = hog.set_svm(np.random.default_rng(0).normal(size=count) / np.sqrt(count))
        found = assert_equals_detect(
            hog, image("noise")[:, :40], device, hit_threshold=-1e9, win_stride=stride, scale=1.4, group_threshold=0
        )
        assert found > 20


def test_images_without_windows(device):
    for shape in ((0, 0), (0, 9), (127, 64), (128, 63), (1, 1), (60, 60, 3)):
        img = torch.zeros(shape, dtype=torch.uint8, device=device)
        boxes, weights = ops.hog_detect(img, people())
        assert (boxes.shape, weights.shape) == ((0, 4), (0,))
    assert ops.hog_detect(
        torch.zeros(20, 20, dtype=torch.uint8, device=device), people(), return_weights=False
    ).shape == (
        0,
        4,
    )


def test_strided_images(device):
    for name in ("noise", "colour"):
        plain = torch.from_numpy(image(name)[:40, :60].copy()).to(device)
        wide = torch.zeros(2 * plain.shape[0], *plain.shape[1:], dtype=torch.uint8, device=device)
        wide[::2] = plain
        planes = plain.movedim(-1, 0).contiguous().movedim(0, -1)
        for awkward in (wide[::2], planes, plain.flip(1).contiguous().flip(1), plain.mT.contiguous().mT):
            assert torch.equal(awkward, plain)
            expected = ops.hog_descriptors(plain, small())
            assert torch.equal(ops.hog_descriptors(awkward, small()), expected)
            for a, b in zip(ops.hog_detect(awkward, small()), ops.hog_detect(plain, small()), strict=True):
                assert torch.equal(a, b)


@settings(max_examples=30)
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
    size = tuple(n * c for n, c in zip(cells, cell, strict=True))
    win = tuple(s + (n - 1) * d for s, n, d in zip(size, blocks, step, strict=True))
    hog = HOGDescriptor(win, size, step, cell, bins, signed_gradient=signed)
    hog = hog.set_svm(np.random.default_rng(1).normal(size=hog.descriptor_size))
    picture = image("astronaut")[: win[1] + 7, : win[0] + 9].copy()
    assert_equals_compute(hog, picture, "cpu", win_stride=win_stride)
    assert_equals_detect(hog, picture, "cpu", win_stride=win_stride, hit_threshold=-1e9, group_threshold=0, scale=1.1)


def test_opcheck_and_compile(device):
    img = torch.from_numpy(image("astronaut")).to(device)
    options = ([8, 8], [4, 4])
    for descriptor, places in ((people(), None), (small(), torch.tensor([[3, 4], [0, 0]]))):
        arguments = (img, *_geometry(descriptor), *options, places)
        torch.library.opcheck(torch.ops.saccade.hog_descriptors.default, arguments)
    coefficients = torch.from_numpy(people().svm_coefficients)
    arguments = (img, *_geometry(people()), coefficients, -2.5, *options, 1.3, 0)
    torch.library.opcheck(torch.ops.saccade.hog_detect.default, arguments)
    compiled = torch.compile(lambda x: ops.hog_descriptors(x + 1, small()) + 1, backend="aot_eager")
    assert torch.equal(compiled(img), ops.hog_descriptors(img + 1, small()) + 1)
    compiled = torch.compile(lambda x: ops.hog_detect(x + 1, small())[0] + 1, backend="aot_eager")
    assert torch.equal(compiled(img), ops.hog_detect(img + 1, small())[0] + 1)


def test_fake_kernel_counts_windows():
    fake = torch.ops.saccade.hog_descriptors.default
    for stride, padding in (([0, 0], [0, 0]), ([3, 5], [7, 2]), ([16, 4], [8, 8])):
        arguments = (*_geometry(small()), stride, padding, None)
        img = torch.from_numpy(image("colour"))
        assert fake(img.to("meta"), *arguments).shape == fake(img, *arguments).shape


def test_errors(device):
    img = torch.zeros(140, 70, dtype=torch.uint8, device=device)
    for op, run in (("hog_descriptors", ops.hog_descriptors), ("hog_detect", ops.hog_detect)):
        for error, message, picture, options in (
            (TypeError, r"image must be a torch.Tensor, got ndarray", image("noise"), {}),
            (TypeError, r"image must be uint8, got float32", img.float(), {}),
            (ValueError, r"image must have shape \(H, W\) or \(H, W, 3\), got \(140, 70, 4\)",
             torch.zeros(140, 70, 4, dtype=torch.uint8, device=device), {}),
            (ValueError, r"win_stride must be at least 1, got \(0, 8\)", img, {"win_stride": (0, 8)}),
            (ValueError, r"win_stride must be two integers, width and height, got 8", img, {"win_stride": 8}),
            (ValueError, r"padding must be from 0 to 16383, got \(8, -1\)", img, {"padding": (8, -1)}),
        ):  # fmt: skip
            with pytest.raises(error, match=rf"^{op}: {message}$"):
                run(picture, people(), **options)
    message = r"image must hold a window of \(64, 128\) with its padding, got \(127, 70\) and \(0, 0\)"
    with pytest.raises(ValueError, match=rf"^hog_descriptors: {message}$"):
        ops.hog_descriptors(img[:127], people())
    for error, message, places in (
        (TypeError, r"locations must be integers, got float32", torch.zeros(1, 2)),
        (TypeError, r"locations must be integers, got bool", torch.zeros(1, 2, dtype=torch.bool)),
        (ValueError, r"locations must have shape \(N, 2\), got \(2,\)", [1, 2]),
        (ValueError, r"locations must be of windows inside the image and its padding, got \(7, 0\)", [(7, 0)]),
    ):
        with pytest.raises(error, match=rf"^hog_descriptors: {message}$"):
            ops.hog_descriptors(img, people(), locations=places)
    for message, options in (
        (r"hit_threshold must be a number, got nan", {"hit_threshold": float("nan")}),
        (r"scale must be finite, got inf", {"scale": float("inf")}),
        (r"group_threshold must be within 2\^31, got nan", {"group_threshold": float("nan")}),
    ):
        with pytest.raises(ValueError, match=rf"^hog_detect: {message}$"):
            ops.hog_detect(img, people(), **options)
    with pytest.raises(ValueError, match=r"^hog_detect: the descriptor must have coefficients, from set_svm$"):
        ops.hog_detect(img, HOGDescriptor())


def test_errors_of_the_operators(device):
    img = torch.zeros(140, 70, dtype=torch.uint8, device=device)
    describe, detect = torch.ops.saccade.hog_descriptors.default, torch.ops.saccade.hog_detect.default
    sizes, *others = _geometry(people())
    with pytest.raises(RuntimeError, match="ValueError: hog_descriptors: geometry must be 10 integers, got 9"):
        describe(img, sizes[1:], *others, [0, 0], [0, 0], None)
    with pytest.raises(
        RuntimeError, match=r"ValueError: HOGDescriptor: win_size must be from 1 to 16384, got \(0, 128\)"
    ):
        describe(img, [0, *sizes[1:]], *others, [0, 0], [0, 0], None)
    for name, stride, padding, rule in (
        ("win_stride", [8], [0, 0], "must be two integers, width and height, from 0 to 1073741823"),
        ("win_stride", [0, 8], [0, 0], "must be at least 1, or 0 both ways"),
        ("padding", [8, 8], [0, 16384], "must be two integers, width and height, from 0 to 16383"),
    ):
        with pytest.raises(RuntimeError, match=f"ValueError: hog_descriptors: {name} {rule}"):
            describe(img, sizes, *others, stride, padding, None)
    tail = (0.0, [0, 0], [0, 0], 1.05, 2)
    with pytest.raises(RuntimeError, match="TypeError: hog_detect: coefficients must be float32, got float64"):
        detect(img, sizes, *others, torch.zeros(3780, dtype=torch.float64), *tail)
    with pytest.raises(RuntimeError, match="ValueError: set_svm: coefficients must be 3780 or 3781, got 5"):
        detect(img, sizes, *others, torch.zeros(5), *tail)
