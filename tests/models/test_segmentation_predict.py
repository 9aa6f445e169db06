"""Probabilities by windows, scales and mirror images, beside plain loops."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

import saccade
from saccade.models.segmentation import predict
from saccade.models.segmentation._predict import _starts
from tests.util.reference_models import randomised


class PositionInWindow(nn.Module):
    """Its logits depend on where in its input a pixel lies; notes the sizes that it gets."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, images):
        n, _, h, w = images.shape
        self.sizes.append((h, w))
        rows = torch.arange(h, dtype=images.dtype)[:, None].expand(h, w) / 3
        columns = torch.arange(w, dtype=images.dtype).expand(h, w) / 5
        return torch.stack([rows.expand(n, h, w), columns.expand(n, h, w), images[:, 0]], 1)


def pointwise(classes=3):
    torch.manual_seed(6)
    return nn.Conv2d(2, classes, 1).eval()


IMAGES = torch.rand(2, 2, 13, 17)


@pytest.mark.parametrize("options", [{}, {"window": 5}, {"window": (4, 9), "overlap": 0.7}, {"window": 40},
                                     {"flip": True}, {"window": 6, "flip": True, "overlap": 0},
                                     {"multiple": 8, "plus": 1}])  # fmt: skip
def test_pixels_that_do_not_see_others(options):
    model = pointwise()
    with torch.no_grad():
        torch.testing.assert_close(predict(model, IMAGES, **options), model(IMAGES).softmax(1))


def test_one_class():
    model = pointwise(1)
    with torch.no_grad():
        torch.testing.assert_close(predict(model, IMAGES, window=7), model(IMAGES).sigmoid())


@pytest.mark.parametrize("kind", [dict, tuple])
def test_several_outputs(kind):
    class Two(nn.Module):
        def forward(self, images):
            return {"aux": -images, "out": images} if kind is dict else (images, -images)

    torch.testing.assert_close(predict(Two().eval(), IMAGES), IMAGES.softmax(1))


def test_mean_over_windows():
    model = PositionInWindow().eval()
    found = predict(model, IMAGES, window=(6, 7), overlap=0.5)
    assert set(model.sizes) == {(6, 7)}
    total, count = torch.zeros_like(found), torch.zeros(13, 17)
    for y in (0, 2, 5, 7):
        for x in (0, 2, 5, 8, 10):
            total[:, :, y : y + 6, x : x + 7] += model(IMAGES[:, :, y : y + 6, x : x + 7]).softmax(1)
            count[y : y + 6, x : x + 7] += 1
    torch.testing.assert_close(found, total / count)


def test_mean_over_scales_and_mirror_images():
    model = PositionInWindow().eval()
    found = predict(model, IMAGES, scales=(0.5, 1, 2), flip=True)
    expected = torch.zeros_like(found)
    for size in ((6, 8), (13, 17), (26, 34)):
        scaled = functional.interpolate(IMAGES, size=size, mode="bilinear")
        for images, back in ((scaled, lambda x: x), (scaled.flip(3), lambda x: x.flip(3))):
            part = back(model(images).softmax(1))
            expected += functional.interpolate(part, size=(13, 17), mode="bilinear") / 6
    torch.testing.assert_close(found, expected)


def test_padding():
    model = PositionInWindow().eval()
    found = predict(model, IMAGES, multiple=8, plus=1, fill=2.0)
    assert model.sizes == [(17, 17)]
    expected = model(functional.pad(IMAGES, (0, 0, 0, 4), value=2.0)).softmax(1)
    torch.testing.assert_close(found, expected[:, :, :13])
    model.sizes.clear()
    predict(model, IMAGES[:, :, :1, :2], multiple=8)
    predict(model, IMAGES[:, :, :3, :4], window=5)
    assert model.sizes == [(8, 8), (5, 5)]


@pytest.mark.parametrize("overlap", [0, 0.25, 1 / 3, 0.9])
@pytest.mark.parametrize("window", [1, 5, 8])
def test_windows_overlap_and_reach_the_borders(window, overlap):
    for size in range(window, 40):
        starts = _starts(size, window, overlap)
        assert starts[0] == 0
        assert starts[-1] == size - window
        steps = [b - a for a, b in itertools.pairwise(starts)]
        assert all(0 < step <= max(1, window * (1 - overlap)) for step in steps)


@pytest.mark.parametrize("name", ["pspnet_small", "deeplabv3_small", "unet_small"])
def test_with_networks(name):
    model = randomised(saccade.models.build(name, num_classes=3)).eval()
    images = torch.rand(1, 3, 40, 45)
    size = {"multiple": 8, "plus": 1} if name == "pspnet_small" else {"multiple": 16}
    for options in (size, {"window": 33, "flip": True}):
        found = predict(model, images, **options)
        assert found.shape == (1, 3, 40, 45)
        torch.testing.assert_close(found.sum(1), torch.ones(1, 40, 45))


def test_smaller_output():
    model = saccade.models.pspnet_small(classes=3, zoom_factor=1).eval()
    images = torch.rand(1, 3, 33, 41)
    with torch.no_grad():
        expected = functional.interpolate(model(images), size=(33, 41), mode="bilinear").softmax(1)
    torch.testing.assert_close(predict(model, images), expected)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"images": torch.rand(2, 13, 17)}, ValueError,
         "predict: images must have shape (N, C, H, W), got (2, 13, 17)"),
        ({"images": 3}, ValueError, "predict: images must have shape (N, C, H, W), got int"),
        ({"overlap": 1.0}, ValueError, "predict: overlap must be from 0 to below 1, got 1.0"),
        ({"scales": ()}, ValueError, "predict: scales must be positive, and one at least, got ()"),
        ({"scales": (1, 0)}, ValueError, "predict: scales must be positive, and one at least, got (1, 0)"),
        ({"window": 0}, ValueError, "predict: window must be at least 1, got 0"),
        ({"window": (4, 2.5)}, TypeError, "predict: window must be an int, got 2.5"),
        ({"multiple": 8, "plus": 8}, ValueError, "predict: plus must be from 0 to below multiple=8, got 8"),
    ],
)  # fmt: skip
def test_errors(change, kind, message):
    with pytest.raises(kind) as error:
        predict(pointwise(), **{"images": IMAGES, **change})
    assert str(error.value) == message
    with pytest.raises(ValueError, match=r"^predict: model must be in evaluation mode \(model.eval\(\)\)$"):
        predict(pointwise().train(), IMAGES)
