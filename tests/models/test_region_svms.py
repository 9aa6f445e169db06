"""R-CNN's support vector machines and regressions, beside scikit-learn's own."""

import re

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC
from torch import nn

from saccade import models, ops
from saccade.models.detection import RCNN, fit_svms
from tests.models.test_region_cnn import some_boxes


class Means(nn.Module):
    """Features that are the mean colours of a crop, and squares of it."""

    def forward(self, crops):
        return torch.cat([crops.mean((2, 3)), crops[..., 4:12, 4:12].mean((2, 3))], 1)


@pytest.fixture
def coloured():
    """R-CNN on mean colours; images of a red and a green rectangle each, labels 1 and 2 of 4."""
    model = RCNN(Means(), 4, features=6, size=16, context=4, min_size=64, image_mean=(0,) * 3, image_std=(1,) * 3)
    images, targets, proposals = [], [], []
    for number in range(6):
        image = torch.full((3, 64, 64), 0.2)
        boxes = torch.tensor([[4.0 + number, 6, 24 + number, 26], [30, 34, 54, 54 + number]])
        for channel, (x1, y1, x2, y2) in enumerate(boxes.int().tolist()):
            image[channel, y1:y2, x1:x2] = 1
        images.append(image)
        targets.append({"boxes": boxes, "labels": torch.tensor([1, 2])})
        proposals.append(torch.cat([some_boxes(image, 40), boxes + torch.tensor([1.0, -1, 2, 1])]))
    return model, images, targets, proposals


def test_svms_find_objects(coloured):
    model, images, targets, proposals = coloured
    calls = []
    reports = fit_svms(model, images, targets, proposals, C=1.0, progress=lambda *done: calls.append(done))
    assert calls == [(number, 9) for number in range(1, 10)]
    assert [reports[label].positives for label in (1, 2, 3)] == [6, 6, 0]
    assert all(reports[label].rounds >= 1 and reports[label].negatives > 100 for label in (1, 2))
    with torch.no_grad():
        found = model.eval()(images, None, proposals)
    for result, target in zip(found, targets, strict=True):
        for label in (1, 2):
            own = result["labels"] == label
            best = result["boxes"][own][:1]
            assert ops.box_iou(best, target["boxes"][label - 1 : label]).item() > 0.6
        assert not (result["labels"] == 3).any()


def test_the_layer_is_scikit_learns_machine(coloured):
    model, images, targets, proposals = coloured
    fit_svms(model, images, targets, proposals, C=0.5, rounds=1)
    with torch.no_grad():
        features = torch.cat(
            [
                model.roi_heads.box_roi_pool({"0": image[None]}, [torch.cat([target["boxes"], boxes])], [])
                for image, target, boxes in zip(images, targets, proposals, strict=True)
            ]
        ).numpy()
        margins = model.roi_heads.box_predictor(torch.from_numpy(features))[0][:, 1].numpy()
    overlap = np.concatenate(
        [
            ops.box_iou(torch.cat([target["boxes"], boxes]), target["boxes"][:1])[:, 0].numpy()
            for target, boxes in zip(targets, proposals, strict=True)
        ]
    )
    positive = np.zeros(len(features), bool)
    positive[:: 2 + 42] = True
    scale = 20 / np.linalg.norm(features, axis=1).mean()
    negative = features[overlap <= 0.3]
    machine = LinearSVC(C=0.5, loss="hinge", intercept_scaling=10, max_iter=20000, random_state=0)
    machine.fit(
        np.concatenate([features[positive], negative]) * scale,
        np.repeat([1, 0], [positive.sum(), len(negative)]),
    )
    expected = machine.decision_function(features * scale)
    np.testing.assert_allclose(margins, expected, atol=0.05 * np.abs(expected).max())


def test_scores_are_margins_and_are_kept(coloured):
    model, images, targets, proposals = coloured
    fit_svms(model, images, targets, proposals)
    other = RCNN(Means(), 4, features=6, size=16, context=4, min_size=64, image_mean=(0,) * 3, image_std=(1,) * 3)
    assert not other.roi_heads.by_margin
    other.load_state_dict(model.state_dict())
    logits = torch.randn(5, 4)
    torch.testing.assert_close(other.roi_heads.probabilities(logits), logits.sigmoid())
    with torch.no_grad():
        torch.testing.assert_close(other.eval()(images, None, proposals), model.eval()(images, None, proposals))


def test_without_any_objects(coloured):
    model, images, _, proposals = coloured
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    reports = fit_svms(model, images, [empty] * 6, proposals)
    assert [report.positives for report in reports.values()] == [0, 0, 0]
    with torch.no_grad():
        assert [len(found["boxes"]) for found in model.eval()(images, None, proposals)] == [0] * 6


def test_svms_check_their_targets():
    model = models.rcnn_small(num_classes=3)
    target = {"boxes": torch.tensor([[1.0, 1, 9, 9]]), "labels": torch.tensor([3])}
    with pytest.raises(ValueError, match=re.escape("fit_svms: targets[0]['labels'][0] must lie in 1 to 2, got 3")):
        fit_svms(model, [torch.rand(3, 20, 30)], [target])
