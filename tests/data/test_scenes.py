"""Generated scenes: what they say of themselves holds, pixel by pixel."""

import re

import pytest
import torch

from saccade.data import SceneDataset


@pytest.mark.parametrize("size", [(32, 32), (64, 96)])
def test_boxes_and_classes_are_those_of_the_masks(size):
    data = SceneDataset(30, size, shapes=(1, 6), seed=1)
    seen = set()
    for index in range(len(data)):
        scene = data[index]
        assert scene.image.shape == (3, *size)
        assert scene.image.dtype == torch.uint8
        assert scene.masks.sum(0).max() <= 1  # what is hidden belongs to one shape only
        assert len(scene.labels) == len(scene.masks) == len(scene.boxes) >= 1
        seen |= set(scene.labels.tolist())
        for box, label, mask in zip(scene.boxes, scene.labels, scene.masks, strict=True):
            rows, columns = torch.nonzero(mask, as_tuple=True)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert (scene.classes()[mask] == label + 1).all()
        assert (scene.classes()[~scene.masks.any(0)] == 0).all()
    assert seen == set(range(5))


def test_an_index_and_a_seed_are_one_picture():
    one, again, other = (SceneDataset(5, (48, 48), seed=seed) for seed in (4, 4, 5))
    assert all(torch.equal(a, b) for a, b in zip(one[3], again[3], strict=True))
    assert not torch.equal(one[3].image, other[3].image)
    assert not torch.equal(one[3].image, one[2].image)


def test_the_transform_makes_the_item():
    assert SceneDataset(1, (32, 32), transform=lambda scene: scene.classes().shape)[0] == (32, 32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": -1}, "SceneDataset: count must not be negative, got -1"),
        ({"count": 1, "size": (31, 40)}, "SceneDataset: size must be at least 32 each way, got (31, 40)"),
        ({"count": 1, "shapes": (3, 2)}, "SceneDataset: shapes must be (least, greatest) from 1 on, got (3, 2)"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        SceneDataset(**arguments)


def test_an_index_outside_is_refused():
    with pytest.raises(IndexError, match=r"^SceneDataset: index must be from 0 to 1, got 2$"):
        SceneDataset(2)[2]
