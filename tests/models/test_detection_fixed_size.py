"""Detectors with results of a fixed size find what they find without, and can be exported."""

import re

import pytest
import torch

from saccade import models
from saccade.models.detection import FixedSize

NAMES = ["fasterrcnn_small", "maskrcnn_small", "retinanet_small", "yolo_small"]
IMAGES = torch.rand(2, 3, 70, 96, generator=torch.Generator().manual_seed(0))


def spread(model):
    """Random weights that find boxes of scores far apart, so that no rounding decides what is suppressed."""
    generator = torch.Generator().manual_seed(1)
    for name, layer in model.named_modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)
        if name.endswith(("cls_score", "cls_logits", "bbox_pred")):
            torch.nn.init.normal_(
                layer.weight, std=0.03 if isinstance(layer, torch.nn.Conv2d) else 0.2, generator=generator
            )
    return model.eval()


def detector(name):
    torch.manual_seed(0)
    limit = "detections_per_img" if name.startswith(("yolo", "retina")) else "box_detections_per_img"
    more = {"score_thresh": 0.01} if name == "yolo_small" else {}
    return spread(models.build(name, num_classes=4, **{limit: 12}, **more))


@pytest.mark.parametrize("name", NAMES)
def test_findings_are_those_of_the_detector(name):
    model = detector(name)
    with torch.no_grad():
        expected, fixed = model(list(IMAGES)), FixedSize(model, candidates=20_000)(IMAGES)
    assert fixed["boxes"].shape == (2, 12, 4)
    assert any(len(found["scores"]) > 0 for found in expected)
    for number, found in enumerate(expected):
        count = len(found["scores"])
        assert fixed["count"][number] == count
        assert set(fixed) == {*found, "count"}
        for key, values in found.items():
            torch.testing.assert_close(fixed[key][number, :count], values, rtol=1e-5, atol=1e-5)
        assert (fixed["labels"][number, count:] == -1).all()
        assert (fixed["scores"][number, count:] == 0).all()
        assert (fixed["boxes"][number, count:] == 0).all()


def test_nothing_found():
    model = detector("maskrcnn_small")
    model.roi_heads.score_thresh = 1.0
    with torch.no_grad():
        found = FixedSize(model)(IMAGES)
    assert found["count"].tolist() == [0, 0]
    assert found["masks"].shape == (2, 12, 1, 70, 96)
    assert all(found[key].abs().max() == 0 for key in ("boxes", "scores", "masks"))


@pytest.mark.parametrize("name", NAMES)
def test_exported_and_compiled_whole(name):
    fixed = FixedSize(detector(name), candidates=200)
    with torch.no_grad():
        expected = fixed(IMAGES)
        exported = torch.export.export(fixed, (IMAGES,)).module()
        compiled = torch.compile(fixed, fullgraph=True, backend="aot_eager")
        for other in (exported(IMAGES), compiled(IMAGES)):
            assert set(other) == set(expected)
            for key in expected:
                torch.testing.assert_close(other[key], expected[key], rtol=1e-5, atol=1e-5)


def test_few_candidates_are_the_best():
    model = detector("fasterrcnn_small")
    with torch.no_grad():
        few, all_of_them = FixedSize(model, candidates=1)(IMAGES), FixedSize(model, candidates=20_000)(IMAGES)
    assert few["count"].tolist() == [1, 1]
    torch.testing.assert_close(few["boxes"][:, 0], all_of_them["boxes"][:, 0])


def test_errors():
    def fails(error, message, call):
        with pytest.raises(error, match=f"^{re.escape(message)}$"):
            call()

    model = detector("yolo_small")
    fails(
        TypeError,
        "FixedSize: model must be a FasterRCNN, RetinaNet or YOLO, got Linear",
        lambda: FixedSize(torch.nn.Linear(2, 2)),
    )
    fails(ValueError, "FixedSize: candidates must be at least 1, got 0", lambda: FixedSize(model, 0))
    fails(
        ValueError,
        "FixedSize: images must have shape (N, C, H, W), N at least 1, got (3, 70, 96)",
        lambda: FixedSize(model)(IMAGES[0]),
    )
    fails(ValueError, "FixedSize: model must be in evaluation, call eval()", lambda: FixedSize(model.train())(IMAGES))
