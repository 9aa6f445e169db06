"""Sliding windows beside a plain loop, and the exact resize beside OpenCV."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from saccade._numpy import nms, resize_linear_exact
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

import saccade
from saccade.classic import SlidingWindowDetector, group_rectangles


@pytest.mark.parametrize("source", [(1, 1), (2, 3), (37, 53), (120, 161)])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (17, 16), (53, 37), (100, 240), (161, 120)])
def test_resize_equals_opencv(source, size):
    image = np.random.default_rng(0).integers(0, 256, source, np.uint8)
    expected = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR_EXACT)
    np.testing.assert_array_equal(resize_linear_exact(image, *size), expected)


@given(*[st.integers(1, 90)] * 4, st.integers(0, 2**32 - 1))
def test_any_resize_equals_opencv(height, width, out_height, out_width, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    expected = cv2.resize(image, (out_width, out_height), interpolation=cv2.INTER_LINEAR_EXACT)
    np.testing.assert_array_equal(resize_linear_exact(image, out_width, out_height), expected)
    turned = image[::-1, ::-1]
    np.testing.assert_array_equal(
        resize_linear_exact(turned, out_width, out_height), resize_linear_exact(turned.copy(), out_width, out_height)
    )


def test_resize_does_not_depend_on_threads():
    image = np.random.default_rng(0).integers(0, 256, (500, 300), np.uint8)
    before = saccade.get_num_threads()
    results = []
    for count in (1, 2, 3):
        saccade.set_num_threads(count)
        results.append(resize_linear_exact(image, 271, 450).tobytes())
    saccade.set_num_threads(before)
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: resize_linear_exact(np.zeros(3, np.uint8), 1, 1),
            ValueError,
            "image must have shape (H, W), got (3,)",
        ),
        (lambda: resize_linear_exact(np.zeros((2, 2)), 1, 1), TypeError, "image must be uint8, got float64"),
        (
            lambda: resize_linear_exact(np.zeros((0, 2), np.uint8), 1, 1),
            ValueError,
            "image must have sides from 1 to 2^30, got (0, 2)",
        ),
        (
            lambda: resize_linear_exact(np.zeros((2, 2), np.uint8), 0, 1),
            ValueError,
            "width and height must be from 1 to 2^30, got 0 and 1",
        ),
    ],
)
def test_bad_resize(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == f"resize_linear_exact: {message}"


def plain(image, score, window, step, factor, threshold):
    """Boxes and scores in a loop, by the documented rule."""
    height, width = image.shape[:2]
    boxes, scores, scale = [], [], 1.0
    while scale * window[0] <= width * (1 + 1e-9) and scale * window[1] <= height * (1 + 1e-9):
        size = round(width / scale), round(height / scale)
        kind = cv2.INTER_LINEAR_EXACT if image.dtype == np.uint8 else cv2.INTER_LINEAR
        level = cv2.resize(image, size, interpolation=kind) if size != (width, height) else image
        for y in range(0, size[1] - window[1] + 1, step):
            for x in range(0, size[0] - window[0] + 1, step):
                value = score(level[y : y + window[1], x : x + window[0]])
                if value >= threshold:
                    grow = np.array([width / size[0], height / size[1]] * 2)
                    boxes.append(np.rint(np.array([x, y, *window]) * grow).astype(int))
                    scores.append(value)
        scale *= factor
    return np.array(boxes).reshape(-1, 4), np.array(scores)


@pytest.mark.parametrize("batch_size", [1, 7, 10_000])
@pytest.mark.parametrize("shape", [(40, 57), (40, 57, 3)])
def test_equals_a_loop(batch_size, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    weights = np.random.default_rng(1).normal(size=(8, 10, *shape[2:]))
    weights -= weights.mean()
    detector = SlidingWindowDetector(
        lambda windows: np.array([(window * weights).sum() for window in windows]),
        (10, 8),
        step=3,
        scale_factor=1.3,
        batch_size=batch_size,
        grouping=None,
    )
    boxes, scores = detector.detect(image, return_scores=True)
    expected_boxes, expected_scores = plain(image, lambda part: (part * weights).sum(), (10, 8), 3, 1.3, 0)
    assert len(boxes) > 50
    np.testing.assert_array_equal(boxes, expected_boxes)
    np.testing.assert_array_equal(scores, expected_scores)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_are_resized_linearly(dtype):
    image = np.random.default_rng(0).normal(size=(30, 41)).astype(dtype)
    detector = SlidingWindowDetector(lambda windows: windows.sum((1, 2)), (8, 8), step=4, threshold=-1e9, grouping=None)
    boxes, scores = detector.detect(image, return_scores=True)
    expected_boxes, expected_scores = plain(image, np.sum, (8, 8), 4, 1.2, -1e9)
    np.testing.assert_array_equal(boxes, expected_boxes)
    np.testing.assert_allclose(scores, expected_scores, rtol=0, atol=1e-4 if dtype == "float32" else 1e-10)


def squares(seed=0):
    """An image with bright squares of 12 and 24 pixels, and windows of it to learn from."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 60, (100, 140), np.uint8)
    for x, y, size in ((20, 30, 12), (80, 50, 24)):
        image[y : y + size, x : x + size] += 150
    positive = rng.integers(0, 60, (150, 16, 16), np.uint8)
    positive[:, 2:14, 2:14] += 150
    shifted = [np.roll(window, rng.integers(4, 12, 2), (0, 1)) for window in positive]
    windows = np.concatenate([positive, rng.integers(0, 60, (150, 16, 16), np.uint8), shifted])
    return image, windows, np.repeat([1, 0], [150, 300])


@pytest.mark.parametrize(
    ("estimator", "grouping", "tolerance"),
    [(LinearSVC(), "nms", 4), (LinearSVC(), "group", 6), (LogisticRegression(max_iter=1000), "nms", 4)],
    ids=["decision", "grouped", "probability"],
)
def test_finds_objects_with_an_estimator(estimator, grouping, tolerance):
    image, windows, labels = squares()
    classifier = estimator.fit(windows.reshape(len(windows), -1) / 255, labels)
    if isinstance(estimator, LogisticRegression):  # without decision_function: as a forest has it
        fitted = classifier
        classifier = type("Probabilities", (), {"predict_proba": staticmethod(fitted.predict_proba)})()
    detector = SlidingWindowDetector(
        classifier,
        (16, 16),
        step=1,
        features=lambda windows: windows.reshape(len(windows), -1) / 255,
        grouping=grouping,
        min_neighbors=1,
    )
    assert detector.threshold == (0.5 if isinstance(estimator, LogisticRegression) else 0)
    boxes, scores = detector.detect(image, return_scores=True)
    assert (np.diff(scores) <= 0).all()
    for truth in ([18, 28, 16, 16], [76, 46, 32, 32]):
        assert np.abs(boxes - truth).max(1).min() <= tolerance


def test_estimator_gets_flat_pixels():
    class Mean:
        def decision_function(self, rows):
            assert rows.shape[1:] == (8 * 6 * 3,)
            return rows.mean(1, dtype=np.float64)[:, None]  # a column, as some estimators give it

    boxes = SlidingWindowDetector(Mean(), (6, 8), grouping=None).detect(np.full((20, 20, 3), 9, np.uint8))
    assert len(boxes) > 0


def test_grouping():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 80), np.uint8)
    common = {"window_size": (16, 16), "step": 2}

    def score(windows):
        return windows.mean((1, 2)) - 128

    raw, raw_scores = SlidingWindowDetector(score, grouping=None, **common).detect(image, return_scores=True)
    boxes, scores = SlidingWindowDetector(score, iou_threshold=0.4, **common).detect(image, return_scores=True)
    kept = nms(np.hstack([raw[:, :2], raw[:, :2] + raw[:, 2:]]).astype(float), raw_scores, 0.4)
    np.testing.assert_array_equal(boxes, raw[kept])
    np.testing.assert_array_equal(scores, raw_scores[kept])
    groups, _ = group_rectangles(raw, 2, 0.2)
    boxes, scores = SlidingWindowDetector(score, grouping="group", min_neighbors=2, **common).detect(
        image, return_scores=True
    )
    assert len(boxes) > 0
    assert sorted(map(tuple, boxes)) == sorted(map(tuple, groups))
    assert scores[0] == raw_scores.max()


def test_scales_steps_and_progress():
    image = np.zeros((64, 64), np.uint8)
    calls = []
    detector = SlidingWindowDetector(
        lambda windows: np.zeros(len(windows)),
        (16, 8),
        step=(8, 4),
        min_scale=0.5,
        max_scale=1,
        scale_factor=2,
        grouping=None,
        batch_size=100,
    )
    boxes = detector.detect(image, progress=lambda done, total: calls.append((done, total)))
    assert {tuple(box[2:]) for box in boxes} == {(8, 4), (16, 8)}
    total = 15 * 31 + 7 * 15
    assert len(boxes) == total
    assert [done for done, _ in calls] == [100, 200, 300, 400, 465, 565, 570]
    assert {of for _, of in calls} == {total}
    empty, scores = detector.detect(np.zeros((3, 3), np.uint8), return_scores=True)
    assert empty.shape == (0, 4)
    assert scores.shape == (0,)


def constant(windows):
    return np.zeros(len(windows))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: SlidingWindowDetector(3, (8, 8)),
            TypeError,
            "SlidingWindowDetector: classifier must be a function or have decision_function or predict_proba, got int",
        ),
        (
            lambda: SlidingWindowDetector(constant, 8),
            ValueError,
            "SlidingWindowDetector: window_size must be two integers, got 8",
        ),
        (
            lambda: SlidingWindowDetector(constant, (8, 0)),
            ValueError,
            "SlidingWindowDetector: window_size must be positive, got (8, 0)",
        ),
        (
            lambda: SlidingWindowDetector(constant, (8, 8), scale_factor=1),
            ValueError,
            "SlidingWindowDetector: scale_factor must be above 1, got 1",
        ),
        (
            lambda: SlidingWindowDetector(constant, (8, 8), grouping="soft"),
            ValueError,
            "SlidingWindowDetector: grouping must be 'nms' or 'group', got 'soft'",
        ),
        (
            lambda: SlidingWindowDetector(constant, (8, 8)).detect(np.zeros(4)),
            ValueError,
            "detect: image must have shape (H, W) or (H, W, C), got (4,)",
        ),
        (
            lambda: SlidingWindowDetector(constant, (8, 8)).detect(np.zeros((9, 9), int)),
            TypeError,
            "detect: image must be uint8 or floating point, got int64",
        ),
        (
            lambda: SlidingWindowDetector(lambda windows: windows, (8, 8)).detect(np.zeros((9, 9))),
            ValueError,
            "detect: classifier must return one score for each of 1 windows, got shape (1, 8, 8)",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message
