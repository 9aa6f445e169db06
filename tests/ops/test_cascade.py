"""cascade_detect on every device: exactly what CascadeClassifier.detect finds, in the same order, and OpenCV's set."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage import data

from saccade import ops
from saccade.classic import CascadeClassifier
from saccade.ops.cascade import _model
from saccade.reference.cascade import cascade_detect as reference_cascade_detect
from tests.util.cascades import random_cascade

CASCADES = Path(cv2.data.haarcascades)


@cache
def image(name):
    if name == "noise":
        return np.random.default_rng(0).integers(0, 256, (67, 91), dtype=np.uint8)
    return cv2.resize(cv2.cvtColor(getattr(data, name)(), cv2.COLOR_RGB2GRAY)[:256, 100:356], (128, 120))


def listed(boxes, scores):
    return sorted((*map(int, box), float(score)) for box, score in zip(boxes, scores, strict=True))


def assert_equals_detect(classifier, img, device, **options):
    """Returns the number of raw detections."""
    for count in (3, 0):
        expected = classifier.detect(img, min_neighbors=count, return_scores=True, **options)
        tensor = torch.from_numpy(img).to(device)
        found = ops.cascade_detect(tensor, classifier, min_neighbors=count, return_scores=True, **options)
        assert [part.device.type for part in found] == [device] * 2
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours.cpu().numpy(), theirs, strict=True)
    return len(expected[0])


@pytest.mark.parametrize(
    "name", ["frontalface_default", "frontalface_alt_tree", "frontalface_alt2", "smile", "eye_tree_eyeglasses"]
)
def test_shipped_cascades(name, device):
    path = str(CASCADES / f"haarcascade_{name}.xml")
    classifier, theirs = CascadeClassifier.load(path), cv2.CascadeClassifier(path)
    img = image("astronaut")
    assert_equals_detect(classifier, img, device)
    boxes, scores = ops.cascade_detect(
        torch.from_numpy(img).to(device), classifier, min_neighbors=0, return_scores=True
    )
    cv2_boxes, _, cv2_scores = theirs.detectMultiScale3(img, minNeighbors=0, outputRejectLevels=True)
    assert listed(boxes, scores) == listed(cv2_boxes, cv2_scores)


@pytest.mark.parametrize("kind", ["HAAR", "LBP"])
@pytest.mark.parametrize("nodes", [1, 2, 5, 40])
def test_random_cascades(kind, nodes, device):
    found = 0
    for seed, (width, height) in enumerate([(24, 24), (12, 31), (40, 9)]):
        xml = random_cascade(seed, kind, width, height, stages=5, trees=4, nodes=nodes)
        for name in ("astronaut", "noise"):
            found += assert_equals_detect(CascadeClassifier.load(xml), image(name), device, scale_factor=1.3)
    assert found > 300


@pytest.mark.parametrize("min_neighbors", [0, 1, 3])
@pytest.mark.parametrize("kind", ["HAAR", "LBP"])
def test_equals_reference(kind, min_neighbors, device):
    classifier = CascadeClassifier.load(random_cascade(4, kind, 12, 10, stages=4, trees=3, nodes=2))
    img = image("astronaut")[30:100, 10:90]
    expected = reference_cascade_detect(img, classifier, 1.4, min_neighbors)
    found = ops.cascade_detect(
        torch.from_numpy(img).to(device),
        classifier,
        scale_factor=1.4,
        min_neighbors=min_neighbors,
        return_scores=True,
    )
    assert len(expected[0]) > 3
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.cpu().numpy(), theirs, strict=True)


@pytest.mark.parametrize("stages", [1, 2, 3, 4, 8])
def test_any_number_of_stages(stages, device):
    classifier = CascadeClassifier.load(random_cascade(11, width=13, height=12, stages=stages, trees=3))
    assert assert_equals_detect(classifier, image("astronaut"), device, scale_factor=1.5) > 0


@pytest.mark.parametrize("weights", [(-1, 1.75), (-0.3, 1.2, 0.7), (1, -2, -2)])
def test_unusual_weights(weights, device):
    classifier = CascadeClassifier.load(random_cascade(11, width=20, height=20, stages=3, weights=weights))
    assert assert_equals_detect(classifier, image("astronaut"), device, scale_factor=1.4) > 10


def test_sums_at_the_threshold(device):
    xml = random_cascade(5, stages=4, trees=9, leaf_scale=30000.0, integer_leaves=True)
    assert assert_equals_detect(CascadeClassifier.load(xml), image("astronaut"), device, scale_factor=1.5) > 10


@pytest.mark.parametrize(
    "options",
    [{"scale_factor": 1.03}, {"min_size": (40, 40)}, {"max_size": (50, 60)}, {"min_size": (2000, 2000)}],
    ids=str,
)
def test_options(options, device):
    classifier = CascadeClassifier.load(random_cascade(1, width=24, height=24))
    assert assert_equals_detect(classifier, image("noise"), device, **options) > 0


@pytest.mark.parametrize("kind", ["HAAR", "LBP"])
def test_small_images_and_strides(kind, device):
    classifier = CascadeClassifier.load(random_cascade(6, kind, 13, 12, stages=2, trees=2))
    img = image("noise")
    for height, width in [(0, 0), (0, 20), (20, 0), (1, 1), (11, 13), (12, 12), (12, 13), (13, 14), (32, 45), (33, 64)]:
        assert_equals_detect(classifier, img[:height, :width], device)
    assert_equals_detect(classifier, img.T, device)
    assert_equals_detect(classifier, img[::2, 1::2], device)
    for flat in (0, 255):
        assert_equals_detect(classifier, np.full((30, 30), flat, np.uint8), device)


@settings(max_examples=25)
@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(0, 40), st.integers(0, 40))),
    st.sampled_from(["HAAR", "LBP"]),
    st.floats(1.05, 4),
    st.integers(0, 3),
)
def test_any_image(img, kind, scale_factor, seed):
    classifier = CascadeClassifier.load(random_cascade(seed, kind, 9, 8, stages=2, trees=2))
    assert_equals_detect(classifier, img, "cpu", scale_factor=scale_factor)


def test_opcheck_and_compile(device):
    classifier = CascadeClassifier.load(random_cascade(1, width=24, height=24, stages=2, trees=2))
    img = torch.from_numpy(image("noise")).to(device)
    arguments = (img, True, 24, 24, _model(classifier), 1.2, 0, [0, 0], [0, 0])
    torch.library.opcheck(torch.ops.saccade.cascade_detect.default, arguments)
    compiled = torch.compile(lambda x: ops.cascade_detect(x + 1, classifier) + 1, backend="aot_eager")
    assert torch.equal(compiled(img), ops.cascade_detect(img + 1, classifier) + 1)


def test_errors(device):
    classifier = CascadeClassifier.load(random_cascade(1, width=24, height=24, stages=2, trees=2))
    img = torch.zeros(30, 30, dtype=torch.uint8, device=device)
    with pytest.raises(TypeError, match=r"^cascade_detect: image must be a torch.Tensor, got ndarray$"):
        ops.cascade_detect(image("noise"), classifier)
    with pytest.raises(TypeError, match=r"^detect: image must be uint8, got float32$"):
        ops.cascade_detect(img.float(), classifier)
    with pytest.raises(ValueError, match=r"^cascade_detect: image must have shape \(H, W\), got \(1, 30, 30\)$"):
        ops.cascade_detect(img[None], classifier)
    with pytest.raises(ValueError, match=r"^detect: scale_factor must be a finite number greater than 1, got 1$"):
        ops.cascade_detect(img, classifier, scale_factor=1)
    with pytest.raises(
        ValueError, match=r"^cascade_detect: min_size must not be negative nor beyond 2\^30, got \(-1, 3\)$"
    ):
        ops.cascade_detect(img, classifier, min_size=(-1, 3))
    with pytest.raises(ValueError, match=r"^cascade_detect: max_size must be two integers, width and height, got 3$"):
        ops.cascade_detect(img, classifier, max_size=(1, 2, 3))
    model = _model(classifier)
    operator = torch.ops.saccade.cascade_detect.default
    with pytest.raises(RuntimeError, match="ValueError: cascade_detect: model must be 10 tensors, got 9"):
        operator(img, True, 24, 24, model[1:], 1.2, 0, [0, 0], [0, 0])
    with pytest.raises(RuntimeError, match="TypeError: cascade_detect: stage_trees must be int32, got float32"):
        operator(img, True, 24, 24, [model[0], model[1].float(), *model[2:]], 1.2, 0, [0, 0], [0, 0])
    with pytest.raises(RuntimeError, match="ValueError: CascadeClassifier: width and height must be between 3 and"):
        operator(img, True, 2**40, 24, model, 1.2, 0, [0, 0], [0, 0])
