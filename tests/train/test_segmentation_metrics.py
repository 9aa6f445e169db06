"""Mean IoU and its kin, against torchmetrics, scikit-learn and pixels counted one by one."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, jaccard_score
from torchmetrics.classification import MulticlassJaccardIndex

from saccade.train import BoundaryMeanIoU, MeanIoU, per_class
from saccade.train.segmentation_metrics import boundary_pixels


def masks(classes, ignored=0.1, shape=(3, 19, 23)):
    labels = torch.randint(0, classes, shape)
    found = torch.where(torch.rand(shape) < 0.6, labels, torch.randint(0, classes, shape))
    labels[torch.rand(shape) < ignored] = 255
    return found, labels


def test_equals_torchmetrics_and_scikit_learn():
    found, labels = masks(4)
    metric, reference = MeanIoU(4), MulticlassJaccardIndex(4, ignore_index=255)
    for i in range(3):  # batch by batch
        metric.update(found[i : i + 1], labels[i : i + 1])
        reference.update(found[i : i + 1], labels[i : i + 1])
    assert metric.compute().item() == pytest.approx(reference.compute().item(), abs=1e-6)
    counted = labels != 255
    assert metric.compute().item() == pytest.approx(
        jaccard_score(labels[counted], found[counted], average="macro"), abs=1e-12
    )


def test_scores_and_classes_are_the_same():
    scores = torch.randn(2, 3, 9, 7)
    labels = torch.randint(0, 3, (2, 9, 7))
    values = []
    for found in (scores, scores.argmax(1)):
        metric = MeanIoU(3)
        metric.update(found, labels)
        values.append(metric.compute())
    assert values[0] == values[1]


def test_a_class_that_is_nowhere_does_not_count():
    metric = MeanIoU(5)
    metric.update(torch.tensor([[[0, 0, 1]]]), torch.tensor([[[0, 1, 1]]]))
    assert metric.compute() == 0.5
    metric.update(torch.tensor([[[4]]]), torch.tensor([[[1]]]))  # found where it is not: 0
    assert metric.compute().item() == pytest.approx((1 / 2 + 1 / 3 + 0) / 3)
    empty = MeanIoU(2)
    empty.update(torch.zeros(1, 1, 1, dtype=torch.long), torch.full((1, 1, 1), 255))
    assert empty.compute().isnan()


@pytest.mark.parametrize("radius", [1, 2, 5])
def test_boundary_pixels_one_by_one(radius):
    labels = torch.randint(0, 2, (2, 3, 4)).repeat_interleave(4, 1).repeat_interleave(5, 2)
    labels[0, 0, 0] = 255
    expected = torch.zeros_like(labels, dtype=torch.bool)
    for n, y, x in np.ndindex(*labels.shape):
        rows, columns = slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1)
        expected[n, y, x] = bool((labels[n, rows, columns] != labels[n, y, x]).any())
    assert torch.equal(boundary_pixels(labels, radius), expected)


@pytest.mark.parametrize("ignore_index", [255, None])
def test_boundary_mean_iou_is_mean_iou_of_those_pixels(ignore_index):
    labels = torch.randint(0, 3, (1, 4, 4)).repeat_interleave(6, 1).repeat_interleave(6, 2)
    found = torch.where(torch.rand(1, 24, 24) < 0.7, labels, torch.randint(0, 3, (1, 24, 24)))
    if ignore_index is not None:
        labels[0, :2] = ignore_index
    metric, plain = BoundaryMeanIoU(3, ignore_index, radius=2), MeanIoU(3)
    metric.update(found, labels)
    plain.update(found, labels.masked_fill(~boundary_pixels(labels, 2), 255))
    assert metric.compute() == plain.compute()


def test_one_pixel_has_no_boundary():
    metric = BoundaryMeanIoU(2)
    metric.update(torch.ones(1, 1, 1, dtype=torch.long), torch.ones(1, 1, 1, dtype=torch.long))
    assert metric.compute().isnan()


def test_per_class_against_scikit_learn():
    found, labels = masks(3, ignored=0)
    matrix = confusion_matrix(labels.flatten(), found.flatten())
    rows = per_class(matrix, ["a", "b", "c"])
    for average, name in ((jaccard_score, "iou"),):
        expected = average(labels.flatten(), found.flatten(), average=None)
        assert [row[name] for row in rows] == pytest.approx(expected.tolist())
    assert [row["pixels"] for row in rows] == matrix.sum(1).tolist()
    assert [row["recall"] for row in rows] == pytest.approx((matrix.diagonal() / matrix.sum(1)).tolist())
    assert [row["precision"] for row in rows] == pytest.approx((matrix.diagonal() / matrix.sum(0)).tolist())


def test_bad_radius():
    with pytest.raises(ValueError, match=r"^BoundaryMeanIoU: radius must be at least 1, got 0$"):
        BoundaryMeanIoU(2, radius=0)
