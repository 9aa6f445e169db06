"""Images, boxes and masks are transformed together."""

import pickle
import re

import pytest
import torch
from torchvision.transforms import v2

from saccade.data import CachedDataset, Scene, SceneDataset, loader
from saccade.data.transforms import Joint, augmentation
from saccade.ops import masks_to_boxes


def example():
    image = torch.zeros(3, 20, 40, dtype=torch.uint8)
    image[:, 2:8, 4:14] = 200
    masks = torch.zeros(2, 20, 40, dtype=torch.bool)
    masks[0, 2:8, 4:14] = True
    masks[1, 10:20, 30:40] = True
    return image, {
        "boxes": torch.tensor([[4.0, 2, 14, 8], [30, 10, 40, 20]]),
        "labels": torch.tensor([3, 1]),
        "masks": masks,
        "iscrowd": torch.tensor([0, 1]),
        "area": torch.tensor([60.0, 100.0]),
        "image_id": 5,
    }


def test_mirror():
    image, target = example()
    mirrored, new = Joint(v2.RandomHorizontalFlip(1.0))(image, target)
    assert torch.equal(mirrored, image.flip(-1))
    assert new["boxes"].tolist() == [[26, 2, 36, 8], [0, 10, 10, 20]]
    assert torch.equal(new["masks"], target["masks"].flip(-1))
    assert new["area"].tolist() == [60, 100]
    assert new["image_id"] == 5
    assert type(mirrored) is type(new["boxes"]) is type(new["masks"]) is torch.Tensor
    assert target["boxes"][0].tolist() == [4, 2, 14, 8]


class Crop(v2.Transform):
    def __init__(self, top, left, height, width):
        super().__init__()
        self.place = top, left, height, width

    def transform(self, value, params):
        return self._call_kernel(v2.functional.crop, value, *self.place)


def test_objects_at_the_edge_are_cut_and_dropped():
    image, target = example()
    cropped, new = Joint(Crop(0, 8, 20, 26), min_visible=0.5)(image, target)
    assert cropped.shape == (3, 20, 26)
    assert new["boxes"].tolist() == [[0, 2, 6, 8]]  # 0.6 of one is left, 0.4 of the other
    assert new["labels"].tolist() == [3]
    assert new["iscrowd"].tolist() == [0]
    assert new["area"].tolist() == [pytest.approx(36)]
    assert torch.equal(new["masks"], target["masks"][:1, :, 8:34])
    assert len(Joint(Crop(0, 8, 20, 26), min_visible=0.3)(image, target)[1]["boxes"]) == 2
    assert len(Joint(Crop(0, 8, 20, 26), min_visible=0.3, min_side=5)(image, target)[1]["boxes"]) == 1
    nothing = Joint(Crop(0, 15, 5, 10))(image, target)[1]
    assert nothing["boxes"].shape == (0, 4)
    assert nothing["masks"].shape == (0, 5, 10)


def test_the_share_of_a_mask_counts():
    image, target = example()
    target["masks"][0] = False
    target["masks"][0, 2:8, 4:6] = True  # what is seen of it lies at the left
    assert Joint(Crop(0, 8, 20, 26), min_visible=0.5)(image, target)[1]["labels"].tolist() == []


def test_images_without_objects():
    image = torch.zeros(3, 1, 1, dtype=torch.uint8)
    target = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    scaled, new = Joint(augmentation(8, resize=(0.5, 2), flip=0.5))(image, target)
    assert scaled.shape == (3, 8, 8)
    assert new["boxes"].shape == (0, 4)


def test_boxes_stay_around_masks_whatever_is_drawn():
    scenes = SceneDataset(4, (64, 64), transform=Scene.detection)
    change = Joint(augmentation((48, 56), resize=(0.6, 1.6), flip=0.5, flip_vertical=0.5))
    torch.manual_seed(0)
    kept = 0
    for index in [0, 1, 2, 3] * 5:
        image, target = change(*scenes[index])
        assert image.shape == (3, 48, 56)
        assert len(target["boxes"]) == len(target["masks"]) == len(target["labels"])
        kept += len(target["boxes"])
        if len(target["boxes"]):
            seen = masks_to_boxes(target["masks"])  # its right and lower corners are the last pixels
            assert (target["boxes"][:, :2] <= seen[:, :2] + 1).all()
            assert (target["boxes"][:, 2:] >= seen[:, 2:]).all()
    assert kept > 20


@pytest.mark.parametrize("num_workers", [0, 1])
def test_batches_are_the_same_for_a_seed(num_workers):
    class Changed(torch.utils.data.Dataset):
        scenes = CachedDataset(SceneDataset(3, (48, 48), transform=Scene.detection))
        change = Joint(augmentation(40, resize=(0.5, 2)))

        def __len__(self):
            return 3

        def __getitem__(self, index):
            return self.change(*self.scenes[index])

    def epoch(workers):
        batches = loader(Changed(), 2, seed=5, shuffle=True, collate_fn=list, num_workers=workers)
        return [item for batch in batches for item in batch]

    for (image, target), (other, same) in zip(epoch(0), epoch(num_workers), strict=True):
        assert torch.equal(image, other)
        assert torch.equal(target["boxes"], same["boxes"])


def test_can_be_pickled():
    change = pickle.loads(pickle.dumps(Joint(augmentation(flip=1.0))))
    assert change(*example())[1]["boxes"][0].tolist() == [26, 2, 36, 8]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_visible": 1.5}, "Joint: min_visible must be from 0 to 1, got 1.5"),
        ({"min_side": -1}, "Joint: min_side must not be negative, got -1"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        Joint(v2.Identity(), **options)


def test_cached_data_sets():
    scenes = SceneDataset(2, (32, 32))
    cached = CachedDataset(scenes)
    assert cached[1] is cached[1]
    assert torch.equal(cached[1].image, scenes[1].image)
    assert len(cached) == 2
    assert cached.classes == SceneDataset.classes
    assert pickle.loads(pickle.dumps(cached)).seed == 0
    with pytest.raises(AttributeError, match="nothing"):
        cached.nothing  # noqa: B018
