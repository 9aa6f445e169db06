"""Average precision against examples that are worked by hand."""

import re

import numpy as np
import pytest
import torch

from saccade.train import average_precision, match_detections, precision_recall


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def found(rows, labels, scores):
    return {"boxes": boxes(*rows), "labels": torch.tensor(labels, dtype=torch.int64), "scores": torch.tensor(scores)}


def known(rows, labels, crowd=None):
    target = {"boxes": boxes(*rows), "labels": torch.tensor(labels, dtype=torch.int64)}
    return target if crowd is None else {**target, "iscrowd": torch.tensor(crowd)}


A, B, C = (0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)
HALF = (0, 0, 10, 5)  # IoU 0.5 with A
LESS = (0, 0, 10, 4)  # 0.4


def test_worked_example():
    # Five objects. Ranked: right, wrong, right, right, wrong, right. Precision 1, 1/2, 2/3, 3/4, 3/5, 4/6 at the recall
    # 1/5, 1/5, 2/5, 3/5, 3/5, 4/5; the highest from there on 1, 3/4, 3/4, 3/4, 2/3, 2/3.
    recall = np.array([1, 1, 2, 3, 3, 4]) / 5
    precision = [1, 1 / 2, 2 / 3, 3 / 4, 3 / 5, 4 / 6]
    assert average_precision(recall, precision) == pytest.approx(0.2 * 1 + 0.4 * 0.75 + 0.2 * 2 / 3)
    # At 0, 0.1, 0.2: 1; at 0.3 to 0.6: 3/4; at 0.7, 0.8: 2/3; at 0.9 and 1: 0.
    assert average_precision(recall, precision, "11") == pytest.approx((3 * 1 + 4 * 0.75 + 2 * 2 / 3) / 11)


def test_points_at_tenths_are_reached():
    # 0.1 * 3 is more than 3 / 10.
    assert average_precision(np.arange(1, 11) / 10, [1.0] * 10, "11") == 1
    assert average_precision([0.3], [1.0], "11") == pytest.approx(4 / 11)
    assert average_precision([], []) == average_precision([], [], "11") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], [1.0], "12"), "average_precision: method must be 'all' or '11', got '12'"),
        (([1.0], [1.0, 2.0]), "average_precision: recall and precision must have shape (N,), got (1,) and (2,)"),
        (([0.5, 0.2], [1.0, 1.0]), "average_precision: recall must not fall"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        average_precision(*arguments)


@pytest.mark.parametrize(
    ("detections", "target", "right", "taken"),
    [
        (found([A, B], [0, 0], [0.5, 0.9]), known([B, A], [0, 0]), [1, 1], [1, 1]),
        (found([A, A], [0, 0], [0.5, 0.9]), known([A], [0]), [0, 1], [1]),  # the better one has it
        (found([A], [1], [0.9]), known([A], [0]), [0], [0]),
        (found([HALF, LESS], [0, 1], [0.9, 0.8]), known([A, A], [0, 1]), [1, 0], [1, 0]),
        # Of its class the one that it overlaps most, though that is taken and another would do.
        (found([A, A], [0, 0], [0.9, 0.8]), known([A, HALF], [0, 0]), [1, 0], [1, 0]),
        (found([A, A, B], [0, 0, 0], [0.9, 0.8, 0.7]), known([A, B], [0, 0], [1, 0]), [-1, -1, 1], [0, 1]),
        (found([], [], []), known([A], [0]), [], [0]),
        (found([A], [0], [0.9]), known([], []), [0], []),
    ],
)
def test_matching(detections, target, right, taken):
    result, matched = match_detections(detections, target)
    assert result.tolist() == right
    assert matched.tolist() == [bool(value) for value in taken]


def test_curves_over_images_and_classes():
    detections = [
        found([A, B, C], [0, 0, 1], [0.9, 0.6, 0.7]),
        found([A], [0], [0.8]),
        found([], [], []),
    ]
    targets = [known([A, C, B], [0, 1, 0], [0, 0, 1]), known([B], [0]), known([A], [0])]
    first, second, third = precision_recall(detections, targets, 3)
    # Of class 0 the 0.9 is right, the 0.8 wrong, the 0.6 on a crowd; three objects that are none.
    assert first.scores == pytest.approx([0.9, 0.8])
    assert first.recall == pytest.approx([1 / 3, 1 / 3])
    assert first.precision == pytest.approx([1, 0.5])
    assert first.objects == 3
    assert first.average_precision() == pytest.approx(1 / 3)
    assert second.average_precision() == second.average_precision("11") == 1
    assert third.objects == 0
    assert np.isnan(third.average_precision())
    with pytest.raises(ValueError, match=r"^precision_recall: targets must be as many as found, got 1 for 2$"):
        precision_recall(detections[:2], targets[:1], 1)
    with pytest.raises(ValueError, match=r"^precision_recall: iou_threshold must lie in \(0, 1\], got 0$"):
        precision_recall(detections, targets, 3, iou_threshold=0)
