"""AlexNet and VGG-16 beside torchvision's."""

import pytest
import torch

import saccade
from tests.util.reference_models import relative, same_start

models = pytest.importorskip("torchvision.models")


@pytest.mark.parametrize(("name", "side"), [("alexnet", 80), ("vgg16", 32)])
def test_as_torchvision(name, side):
    options = {"num_classes": 10, "dropout": 0.25}
    ours, theirs = same_start(lambda: saccade.models.build(name, **options), lambda: getattr(models, name)(**options))
    images = torch.rand(2, 3, side, side + 7)
    with torch.no_grad():
        assert relative(ours.eval()(images), theirs.eval()(images)) < 1e-4
        if name == "vgg16":
            return
        # The same numbers are drawn by drop-out.
        results = []
        for model in (ours.train(), theirs.train()):
            torch.manual_seed(3)
            results.append(model(images))
        assert relative(*results) < 1e-4


@pytest.mark.parametrize(
    ("name", "images", "message"),
    [
        ("alexnet", (1, 3, 62, 80), "AlexNet: sides of the images must be at least 63, got (62, 80)"),
        ("alexnet", (1, 1, 80, 80), "AlexNet: images must have shape (N, 3, H, W), got (1, 1, 80, 80)"),
        ("vgg16", (1, 3, 40, 31), "VGG: sides of the images must be at least 32, got (40, 31)"),
    ],
)
def test_errors(name, images, message):
    with torch.device("meta"):
        model = saccade.models.build(name)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        model(torch.zeros(images))
    assert str(error.value) == message
    with pytest.raises(ValueError, match=rf"^{name}: num_classes must be at least 1, got 0$"):
        saccade.models.build(name, num_classes=0)


def test_smallest_images():
    model = saccade.models.alexnet(num_classes=2, in_channels=1).eval()
    assert model(torch.rand(1, 1, 63, 63)).shape == (1, 2)
