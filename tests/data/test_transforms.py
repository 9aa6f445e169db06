"""Normalisation against scikit-learn; what it keeps; the augmentations."""

import copy

import numpy as np
import pytest
import torch
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from torch.utils.data import Subset, TensorDataset
from torchvision import tv_tensors

from saccade.data import ArrayDataset, digits, loader
from saccade.data.transforms import MeanStd, MinMax, augmentation

BOTH = pytest.mark.parametrize(("ours", "theirs"), [(MinMax, MinMaxScaler), (MeanStd, StandardScaler)])


@pytest.fixture
def images():
    channels = torch.tensor([[[1.0]], [[30.0]], [[0.01]]])
    return torch.randn(50, 3, 6, 4) * channels + torch.tensor([[[5.0]], [[-1000.0]], [[0.0]]])


@BOTH
def test_features_as_scikit_learn(ours, theirs):
    data = digits().images.flatten(1)  # of 64 pixels, three are always 0
    scale, other = ours().fit(data), theirs().fit(data.double().numpy())
    np.testing.assert_allclose(scale.double()(data.double()).numpy(), other.transform(data.double().numpy()), atol=1e-9)
    assert scale.constant.sum() == 3
    assert torch.isfinite(scale(data)).all()


@BOTH
def test_channels_as_scikit_learn(ours, theirs, images):
    rows = images.permute(0, 2, 3, 1).reshape(-1, 3).double().numpy()
    expected = torch.from_numpy(theirs().fit_transform(rows)).reshape(50, 6, 4, 3).permute(0, 3, 1, 2)
    torch.testing.assert_close(ours().fit(images)(images.double()), expected, rtol=1e-9, atol=1e-9)


@BOTH
def test_all_ways_of_reading_fit_the_same(ours, theirs, images):
    whole = ours().fit(images)
    data = ArrayDataset(images, torch.zeros(50, dtype=torch.long))
    ways = [images.numpy(), data, Subset(data, range(50)), loader(data, 7), TensorDataset(images), images.split(9)]
    for way in ways:
        for name, value in ours().fit(way).state_dict().items():
            torch.testing.assert_close(value, whole.state_dict()[name], rtol=1e-12, atol=1e-12)


@BOTH
def test_sample_and_batch(ours, theirs, images):
    scale = ours().fit(images)
    torch.testing.assert_close(scale(images[3]), scale(images)[3], rtol=0, atol=0)
    torch.testing.assert_close(scale.inverse(scale(images)), images, rtol=1e-5, atol=1e-3)
    square = ours().fit(torch.rand(3, 3, 3, 3))  # every axis could be the channels'
    assert square(torch.rand(3, 3, 3)).shape == (3, 3, 3)


@BOTH
def test_state_is_kept(ours, theirs, images):
    scale, fresh = ours().fit(images), ours()
    model = torch.nn.Sequential(fresh)
    model.load_state_dict(torch.nn.Sequential(scale).state_dict())
    torch.testing.assert_close(fresh(images), scale(images), rtol=0, atol=0)
    torch.testing.assert_close(copy.deepcopy(fresh)(images), scale(images), rtol=0, atol=0)
    # Goes on where the other stopped.
    more = torch.rand(10, 3, 6, 4)
    together = ours().fit(torch.cat([images, more]))
    torch.testing.assert_close(fresh.partial_fit(more)(images), together(images), rtol=1e-5, atol=1e-5)


@BOTH
def test_integers_and_all_values(ours, theirs):
    pixels = torch.arange(200, dtype=torch.uint8).reshape(2, 10, 10)
    scaled = ours(per_channel=False).fit(pixels)(pixels)
    assert scaled.dtype == torch.float32
    expected = theirs().fit_transform(pixels.reshape(-1, 1).double().numpy()).reshape(2, 10, 10)
    np.testing.assert_allclose(scaled.numpy(), expected, rtol=1e-6, atol=1e-6)
    assert ours(per_channel=False).fit(pixels)(pixels.half()).dtype == torch.float16


@BOTH
@pytest.mark.parametrize("value", [0.1, 1e8, -3.3e-12])
def test_constants_stay_harmless(ours, theirs, value):
    data = torch.full((1000, 1), value, dtype=torch.float64)
    scale = ours().fit([data, data[:7]])
    assert scale.constant.tolist() == [True]
    assert scale(data[0]).item() == 0
    assert scale.inverse(scale(data[0])).item() == value
    assert scale(data[0] + 2).item() == pytest.approx(2)  # shifted, not scaled


def test_ranges():
    scale = MinMax((-0.1, 1.175)).fit([[0.0], [4.0]])
    torch.testing.assert_close(scale(torch.tensor([[0.0], [4.0], [8.0]])), torch.tensor([[-0.1], [1.175], [2.45]]))
    assert scale.inverse(torch.tensor([1.175])).item() == pytest.approx(4)


def test_a_great_mean_loses_no_digits():
    data = np.random.default_rng(0).normal(1e8, 1e-2, (10_000, 1))
    scale = MeanStd().fit(np.array_split(data, 7))
    assert scale.std.item() == pytest.approx(data.std(), rel=1e-6)


def test_fitting_again_forgets():
    scale = MinMax().fit([[100.0]]).fit([[0.0], [1.0]])
    assert (scale.minimum.item(), scale.maximum.item()) == (0, 1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: MeanStd()(torch.zeros(3)),
            RuntimeError,
            "MeanStd: fit must come first, on the training data (or load_state_dict)",
        ),
        (lambda: MinMax((1, 1)), ValueError, "MinMax: range must ascend, got (1, 1)"),
        (lambda: MinMax().fit([]), ValueError, "MinMax.fit: data must hold at least one sample, got none"),
        (
            lambda: MinMax().fit([[1.0], [np.nan], [np.inf]]),
            ValueError,
            "MinMax.fit: data must be finite, got 2 values that are not",
        ),
        (
            lambda: MeanStd().fit(torch.zeros(2, 5, 5)),
            ValueError,
            "MeanStd.fit: data must have shape (N, C, H, W) or (N, D) per channel, got (2, 5, 5); "
            "per_channel=False takes any",
        ),
        (
            lambda: MeanStd().fit([torch.zeros(2, 3), torch.zeros(2, 4)]),
            ValueError,
            "MeanStd.fit: data must have 3 channels as before, got shape (2, 4)",
        ),
        (
            lambda: MeanStd().fit(torch.zeros(2, 3, 4, 4))(torch.zeros(4, 4)),
            ValueError,
            "MeanStd: x must have shape (3, ...) or be a batch of it, got (4, 4)",
        ),
        (lambda: augmentation(flip=2.0), ValueError, "augmentation: flip must be from 0 to 1, got 2.0"),
        (
            lambda: augmentation(rotate=-5),
            ValueError,
            "augmentation: rotate must be from 0 to 180 degrees, got -5",
        ),
        (
            lambda: augmentation(resize=(0.5, 2)),
            ValueError,
            "augmentation: resize needs size, which it is relative to, got (0.5, 2) and no size",
        ),
        (
            lambda: augmentation(8, resize=(2, 0.5)),
            ValueError,
            "augmentation: resize must be two ascending positive factors, got (2, 0.5)",
        ),
        (
            lambda: augmentation(padding=4),
            ValueError,
            "augmentation: padding needs size, to which is cropped, got 4 and no size",
        ),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


def test_nothing_asked_is_nothing_done():
    image = torch.rand(3, 5, 7)
    assert torch.equal(augmentation()(image), image)


def test_flips_are_certain_at_one():
    image = torch.rand(3, 5, 7)
    assert torch.equal(augmentation(flip=1.0)(image), image.flip(-1))
    assert torch.equal(augmentation(flip_vertical=1.0)(image), image.flip(-2))


def test_masks_and_boxes_move_along():
    image = torch.zeros(1, 40, 60)
    image[:, 10:20, 30:50] = 1
    sample = (
        tv_tensors.Image(image),
        tv_tensors.Mask(image[0].long()),
        tv_tensors.BoundingBoxes([[30, 10, 50, 20]], format="XYXY", canvas_size=(40, 60)),
    )
    augment = augmentation((40, 60), resize=(0.9, 1.2), flip=0.5, padding=3, blur=(0.1, 0.4))
    for _ in range(10):
        changed, mask, boxes = augment(sample)
        assert changed.shape[-2:] == mask.shape == (40, 60)
        x1, y1, x2, y2 = boxes[0].round().int().tolist()
        inside = mask[max(y1, 0) : y2, max(x1, 0) : x2]
        assert inside.float().mean() > 0.85
        assert mask.sum() - inside.sum() < 45  # a border of rounding
        assert ((changed[0] > 0.5) == mask.bool()).float().mean() > 0.95


def test_a_non_square_size_just_fits_at_scale_one():
    augment = augmentation((20, 60), resize=(1.0, 1.0))
    image = torch.ones(1, 40, 60)  # fits at one half: 20 x 30, padded to 20 x 60
    assert augment(image).shape == (1, 20, 60)
    assert augment(image).mean() == pytest.approx(0.5, abs=0.02)


def test_blur_and_rotation_happen():
    image = torch.zeros(1, 21, 21)
    image[0, 10] = 1
    assert augmentation(blur=(2.0, 2.0), blur_share=1.0)(image).max() < 0.3
    turned = augmentation(rotate=90)(image)
    assert not torch.equal(turned, image)
    assert turned[0, 10, 10] > 0.9
