"""Grouping against OpenCV and the plain version."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from saccade.classic import group_rectangles
from saccade.reference.group_rectangles import group_rectangles as reference
from tests.util.strategies import awkward_layouts


def clustered(seed, count, spread):
    rng = np.random.default_rng(seed)
    objects = np.column_stack([rng.integers(0, 300, (9, 2)), rng.integers(20, 90, (9, 2))])
    return (objects[rng.integers(9, size=count)] + rng.integers(-spread, spread + 1, (count, 4))).astype(np.int32)


def listed(boxes, counts):
    return sorted((*map(int, box), int(count)) for box, count in zip(boxes, np.ravel(counts), strict=True))


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 300])
@pytest.mark.parametrize("spread", [0, 3, 12])
def test_equals_opencv(count, spread):
    for min_neighbors in (1, 2, 3, 20):
        for eps in (0.0, 0.1, 0.2, 0.5):
            boxes = clustered(count + spread, count, spread)
            ours = group_rectangles(boxes, min_neighbors, eps)
            theirs = cv2.groupRectangles(boxes.tolist(), min_neighbors, eps)
            assert listed(*ours) == listed(*theirs)
            if count <= 17:
                for a, b in zip(ours, reference(boxes, min_neighbors, eps), strict=True):
                    np.testing.assert_array_equal(a, b)


def test_order_of_the_input():
    """The set of groups does not depend on it; the order of the groups follows it."""
    boxes = clustered(1, 200, 3)
    expected = listed(*group_rectangles(boxes, 2))
    assert len(expected) > 3
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(boxes)
        assert listed(*group_rectangles(shuffled, 2)) == expected


def test_ungrouped():
    boxes = clustered(0, 20, 3)
    for min_neighbors in (0, -1):
        same, counts = group_rectangles(boxes, min_neighbors)
        np.testing.assert_array_equal(same, boxes)
        assert counts.tolist() == [1] * 20


def test_other_integers():
    boxes = clustered(0, 20, 3)
    expected = listed(*group_rectangles(boxes, 1))
    for dtype in (np.int64, np.uint16, ">i4"):
        assert listed(*group_rectangles(np.maximum(boxes, 0).astype(dtype), 1)) == listed(
            *group_rectangles(np.maximum(boxes, 0), 1)
        )
    assert listed(*group_rectangles(boxes.tolist(), 1)) == expected
    assert [part.tolist() for part in group_rectangles([], 1)] == [[], []]


def test_errors():
    for boxes, kind, message in [
        (np.zeros((2, 5), np.int32), ValueError, r"group_rectangles: boxes must have shape \(N, 4\), got \(2, 5\)"),
        (np.zeros((2, 4)), TypeError, "group_rectangles: boxes must be int32, got float64"),
        (np.full((2, 4), 2**31), ValueError, "group_rectangles: boxes must fit int32"),
    ]:
        with pytest.raises(kind, match=f"^{message}$"):
            group_rectangles(boxes, 1)
    for eps in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"^group_rectangles: eps must be finite and not negative, got "):
            group_rectangles(np.zeros((2, 4), np.int32), 1, eps)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_boxes(data):
    extremes = st.one_of(st.integers(-5, 40), st.sampled_from([-(2**31), 2**31 - 1, 2**30]))
    boxes = data.draw(hnp.arrays(np.int32, st.tuples(st.integers(0, 9), st.just(4)), elements=extremes))
    groups, counts = group_rectangles(data.draw(awkward_layouts(boxes)), data.draw(st.integers(-1, 3)))
    assert groups.shape == (len(counts), 4)
    assert counts.sum() <= len(boxes)
