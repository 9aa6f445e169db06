"""PSPNet's augmentation: image and classes stay together, nothing is interpolated that is a class."""

import re

import pytest
import torch

from saccade.data import Scene, SceneDataset, loader
from saccade.data.transforms import SegmentationAugmentation

ONLY = {"resize": None, "rotate": 0.0, "flip": 0.0, "blur": None}


def pair(height=40, width=56, cell=8):
    """Classes that can be read from the image's grey."""
    classes = torch.randint(0, 4, (height // cell, width // cell))
    classes = classes.repeat_interleave(cell, 0).repeat_interleave(cell, 1)
    return (classes[None] * 60).to(torch.uint8), classes


@pytest.mark.parametrize("seed", range(4))
def test_image_and_classes_move_together(seed):
    torch.manual_seed(seed)
    augment = SegmentationAugmentation(48, fill=200, blur=(0.1, 0.3))
    image, classes = augment(*pair(96, 112, 16))
    assert image.shape == (1, 48, 48)
    assert image.dtype == torch.uint8
    assert classes.shape == (48, 48)
    assert set(classes.unique().tolist()) <= {0, 1, 2, 3, 255}
    counted = classes != 255
    assert counted.float().mean() > 0.15
    off = (image[0].float() - 60.0 * classes).abs()[counted]
    assert (off < 30).float().mean() > 0.8  # the rest lies at boundaries
    assert (image[0][~counted] > 100).sum() >= 0.8 * (~counted).sum()


def test_nothing_asked_is_nothing_done():
    image, classes = pair()
    same = SegmentationAugmentation(**ONLY)(image, classes)
    assert type(same[0]) is type(same[1]) is torch.Tensor
    assert torch.equal(same[0], image)
    assert torch.equal(same[1], classes)


def test_flips():
    image, classes = pair()
    flipped = SegmentationAugmentation(**{**ONLY, "flip": 1.0, "flip_vertical": 1.0})(image, classes)
    assert torch.equal(flipped[0], image.flip(1, 2))
    assert torch.equal(flipped[1], classes.flip(0, 1))


def test_a_crop_larger_than_the_image_is_filled():
    image = torch.ones(3, 5, 30)
    augment = SegmentationAugmentation((9, 20), **ONLY, fill=[0.25, 0.5, 0.75], ignore_index=77)
    cropped, classes = augment(image, torch.zeros(5, 30, dtype=torch.int64))
    assert torch.equal(classes, torch.tensor([77] * 2 + [0] * 5 + [77] * 2)[:, None].expand(9, 20))
    for channel, value in zip(cropped, (0.25, 0.5, 0.75), strict=True):
        assert (channel[classes == 77] == value).all()
        assert (channel[classes == 0] == 1).all()
    tiny = SegmentationAugmentation(16)(torch.rand(3, 1, 1), torch.ones(1, 1, dtype=torch.int64))
    assert tiny[0].shape == (3, 16, 16)


def test_crops_reach_everywhere():
    image, _ = pair(16, 16)
    augment = SegmentationAugmentation(8, **ONLY)
    places = torch.arange(256).reshape(16, 16)
    seen = {int(augment(image, places)[1][0, 0]) for _ in range(400)}
    assert {divmod(corner, 16)[0] for corner in seen} == {divmod(corner, 16)[1] for corner in seen} == set(range(9))


def test_resizing_is_even_on_a_logarithmic_scale():
    augment = SegmentationAugmentation(**{**ONLY, "resize": (0.5, 2.0)})
    sides = [augment(torch.zeros(1, 32, 64), torch.zeros(32, 64, dtype=torch.int64))[1].shape for _ in range(300)]
    assert {abs(2 * height - width) <= 1 for height, width in sides} == {True}
    assert 0.4 < sum(height < 32 for height, _ in sides) / 300 < 0.6
    assert min(sides)[0] in (16, 17)
    assert max(sides)[0] in (62, 63, 64)


def test_workers_change_nothing():
    augment = SegmentationAugmentation(33)
    scenes = SceneDataset(5, (40, 40), transform=lambda scene: augment(*Scene.segmentation(scene)))
    alone, spread = (list(loader(scenes, 2, seed=1, num_workers=n)) for n in (0, 2))
    for one, other in zip(alone, spread, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
    again = next(iter(loader(scenes, 2, seed=2)))
    assert not torch.equal(again[0], alone[0][0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SegmentationAugmentation(0), "crop must be positive, got 0"),
        (
            lambda: SegmentationAugmentation(resize=(2, 0.5)),
            "resize must be two ascending positive numbers, got (2, 0.5)",
        ),
        (lambda: SegmentationAugmentation(blur=(0, 1)), "blur must be two ascending positive numbers, got (0, 1)"),
        (lambda: SegmentationAugmentation(rotate=181), "rotate must be from 0 to 180 degrees, got 181"),
        (lambda: SegmentationAugmentation(flip=1.5), "flip must be from 0 to 1, got 1.5"),
        (
            lambda: SegmentationAugmentation()(torch.zeros(3, 4, 5), torch.zeros(4, 4, dtype=torch.int64)),
            "classes must be as large as the image, (4, 5), got (4, 4)",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(f'SegmentationAugmentation: {message}')}$"):
        call()


def test_resized_classes_lie_where_the_image_does():
    image, classes = torch.zeros(1, 40, 40), torch.zeros(40, 40, dtype=torch.int64)
    image[:, :, 20:] = classes[:, 20:] = 1
    for factor in (0.6, 0.75, 1.3, 1.9):
        resized, moved = SegmentationAugmentation(**{**ONLY, "resize": (factor, factor)})(image, classes)
        assert torch.equal(resized[0].round().long(), moved)
