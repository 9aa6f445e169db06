"""COCO's annotations: what is read, and what is said of broken ones."""

import re

import numpy as np
import pytest
import torch
from faster_coco_eval import COCO
from PIL import Image

from saccade.data import CocoDataset
from tests.data.detection import coco_content, write_coco


def test_boxes_labels_and_crowds_of_images_of_any_size(tmp_path):
    data = CocoDataset(*write_coco(tmp_path))
    assert data.classes == ["cat", "dog"]
    assert data.category_ids == [3, 9]
    assert len(data) == 3
    image, target = data[0]
    assert image.shape == (3, 30, 40)
    assert np.array_equal(image.permute(1, 2, 0), np.asarray(Image.open(data.paths[0])))
    assert target["boxes"].tolist() == [[2, 3, 12, 8], [15.5, 4, 21.5, 12], [20, 0, 30, 30]]
    assert target["labels"].tolist() == [0, 1, 1]
    assert target["iscrowd"].tolist() == [0, 0, 1]
    assert target["area"].tolist() == [50, 48, 300]
    assert target["image_id"] == 1
    image, target = data[1]
    assert image.shape == (3, 20, 25)
    assert target["boxes"].shape == (0, 4)
    assert target["labels"].dtype == torch.int64
    image, target = data[2]
    assert image.shape == (3, 1, 1)
    assert target["boxes"].tolist() == [[0, 0, 1, 1]]
    assert data.bad_boxes == []


def test_masks_are_those_of_the_reference(tmp_path):
    images, file = write_coco(tmp_path)
    content = coco_content()
    for number, entry in enumerate(content["annotations"], 1):
        entry["id"] = number
    reference = COCO(content)
    data = CocoDataset(images, file, masks=True)
    for index, image_id in enumerate(data.image_ids):
        expected = [reference.annToMask(each) for each in reference.loadAnns(reference.getAnnIds(imgIds=[image_id]))]
        masks = data.target(index)["masks"]
        assert masks.dtype == torch.bool
        assert masks.shape == (len(expected), *data.sizes[index])
        for mask, wanted in zip(masks.numpy(), expected, strict=True):
            assert np.array_equal(mask, wanted)
    cat, _, crowd = data.target(0)["masks"]
    assert cat[3:8, 2:12].all()
    assert cat.sum() == 50
    assert crowd[:, 20:30].all()
    assert crowd.sum() == 300


def test_compressed_run_lengths(tmp_path):
    from faster_coco_eval import mask as coder

    wanted = np.zeros((30, 40), np.uint8)
    wanted[5:9, 7:30:3] = 1
    content = coco_content()
    encoded = coder.encode(np.asfortranarray(wanted))
    content["annotations"][0]["segmentation"] = {"size": [30, 40], "counts": encoded["counts"].decode()}
    data = CocoDataset(*write_coco(tmp_path, content), masks=True)
    assert np.array_equal(data.target(0)["masks"][0], wanted)


def test_some_classes_and_no_empty_images(tmp_path):
    data = CocoDataset(*write_coco(tmp_path), classes=["dog"], skip_empty=True)
    assert data.classes == ["dog"]
    assert data.image_ids == [1]
    assert data.target(0)["labels"].tolist() == [0, 0]
    with pytest.raises(
        ValueError, match=re.escape("CocoDataset: classes must be different ones of ['cat', 'dog'], got ['cow']")
    ):
        CocoDataset(*write_coco(tmp_path), classes=["cow"])


def test_transform_gets_both(tmp_path):
    data = CocoDataset(*write_coco(tmp_path), transform=lambda image, target: (image.float(), len(target["labels"])))
    assert data[0][0].dtype == torch.float32
    assert data[0][1] == 3


FLAT = "must have a box of finite, positive width and height, got corners [5.0, 6.0, 5.0, 16.0]"
OUT = "must have a box within its image of 40 x 30, got corners [-8.0, 3.0, 12.0, 8.0]"
AWAY = "must have a box within its image of 40 x 30, got corners [50.0, 3.0, 60.0, 8.0]"


@pytest.mark.parametrize(
    ("box", "reason", "clipped"),
    [
        ([5, 6, 0, 10], FLAT, None),
        ([-8, 3, 20, 5], OUT, [0, 3, 12, 8]),
        ([50, 3, 10, 5], AWAY, None),
        ([-0.6, 3, 12.6, 5], None, [0, 3, 12, 8]),  # what rounding does is no mistake
    ],
)
def test_bad_boxes_are_named_and_raised_dropped_or_clipped(tmp_path, box, reason, clipped):
    content = coco_content()
    content["annotations"][0]["bbox"] = box
    files = write_coco(tmp_path, content)
    entry = "annotations.json: annotations[0]"
    if reason is None:
        assert CocoDataset(*files).target(0)["boxes"][0].tolist() == clipped
        return
    with pytest.raises(ValueError, match=re.escape(f"CocoDataset: {entry} {reason}") + "$"):
        CocoDataset(*files)
    for how in ("drop", "clip"):
        data = CocoDataset(*files, on_bad_box=how)
        assert data.bad_boxes == [(entry, reason)]
        boxes = data.target(0)["boxes"].tolist()
        if how == "clip" and clipped is not None:
            assert len(boxes) == 3
            assert boxes[0] == clipped
        else:
            assert len(boxes) == 2


def change(path, value):
    def apply(content):
        place = content
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        return content

    return apply


def remove(path):
    def apply(content):
        place = content
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]
        return content

    return apply


NAME = "annotations.json: "


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (remove(["images"]), "annotations.json must hold a list of images, got none"),
        (change(["categories"], []), NAME + "categories must hold at least one class, got none"),
        (change(["annotations", 1], 5), NAME + "annotations[1] must have 'image_id', of type int, got None"),
        (remove(["annotations", 1, "bbox"]), NAME + "annotations[1] must have 'bbox', of type list, got None"),
        (
            change(["annotations", 1, "bbox"], [1, 2, "3", 4]),
            NAME + "annotations[1] must have a bbox of 4 numbers, got [1, 2, '3', 4]",
        ),
        (
            change(["annotations", 2, "image_id"], 77),
            NAME + "annotations[2] must have the image_id of an image, got 77",
        ),
        (
            change(["annotations", 2, "category_id"], 4),
            NAME + "annotations[2] must have a category_id of [3, 9], got 4",
        ),
        (change(["annotations", 2, "iscrowd"], 2), NAME + "annotations[2] must have an iscrowd of 0 or 1, got 2"),
        (remove(["images", 1, "file_name"]), NAME + "images[1] must have 'file_name', of type str, got None"),
        (change(["images", 1, "width"], 0), NAME + "images[1] must have a positive height and width, got 20 and 0"),
        (change(["images", 1, "id"], 1), NAME + "images must have different ids, got 1 twice"),
        (change(["categories", 1, "id"], 9), NAME + "categories[1] must have an id of its own, got 9 again"),
        (
            change(["annotations", 0, "segmentation"], [[1, 2, 3, 4]]),
            NAME + "annotations[0] must have polygons of at least 3 points, got [1, 2, 3, 4]",
        ),
        (
            change(["annotations", 2, "segmentation", "size"], [40, 30]),
            NAME + "annotations[2] must have run lengths of size [30, 40], got [40, 30]",
        ),
        (
            change(["annotations", 2, "segmentation", "counts"], [5, 6]),
            NAME + "annotations[2] must have run lengths that sum to 1200, got 2 of them",
        ),
        (
            remove(["annotations", 0, "segmentation"]),
            NAME + "annotations[0] must have a segmentation of polygons or run lengths, got None",
        ),
    ],
)
def test_broken_entries_are_named(tmp_path, broken, message):
    files = write_coco(tmp_path, broken(coco_content()))
    with pytest.raises(ValueError, match="^" + re.escape(f"CocoDataset: {message}") + "$"):
        CocoDataset(*files, masks=True)


def test_files_that_cannot_be_read(tmp_path):
    images, file = write_coco(tmp_path)
    with pytest.raises(ValueError, match=re.escape(f"CocoDataset: images must be a folder that exists, got {file}")):
        CocoDataset(file, file)
    with pytest.raises(ValueError, match=re.escape("CocoDataset: annotations must be a file that exists, got ")):
        CocoDataset(images, tmp_path / "none.json")
    data = CocoDataset(images, file)
    Image.new("RGB", (7, 5)).save(images / "a.png")
    with pytest.raises(ValueError, match=r"a\.png must have the size that annotations.json says, height and width"):
        data[0]
    (images / "a.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"CocoDataset: .*a\.png must be an image, could not read it: "):
        data[0]
    file.write_text(file.read_text()[:-20])
    with pytest.raises(ValueError, match=r"CocoDataset: annotations must be JSON, cannot read .*annotations\.json: "):
        CocoDataset(images, file)
    with pytest.raises(
        ValueError, match=re.escape("CocoDataset: on_bad_box must be 'raise', 'drop' or 'clip', got 'x'")
    ):
        CocoDataset(images, file, on_bad_box="x")
