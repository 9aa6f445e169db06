"""VOC's annotations: what is read, and what is said of broken ones."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from saccade.data import VocDataset
from saccade.data.voc_dataset import VOC_CLASSES
from tests.data.detection import voc_object, write_voc


@pytest.fixture
def root(tmp_path):
    objects = [voc_object(), voc_object("dog", (1, 1, 40, 30), difficult=1)]
    write_voc(tmp_path, {"a": objects, "b": [], "pixel": [voc_object("dog", (1, 1, 1, 1))]})
    (tmp_path / "ImageSets/Main/train.txt").write_text("a\npixel\n")
    (tmp_path / "ImageSets/Main/val.txt").write_text("b -1\n")
    return tmp_path


def test_objects_of_a_part(root):
    data = VocDataset(root, "train")
    assert [path.name for path in data.paths] == ["a.jpg", "pixel.jpg"]
    assert data.classes == list(VOC_CLASSES)
    image, target = data[0]
    assert image.shape == (3, 30, 40)
    assert target["boxes"].tolist() == [[2, 3, 12, 8], [0, 0, 40, 30]]
    assert [data.classes[label] for label in target["labels"]] == ["cat", "dog"]
    assert target["iscrowd"].tolist() == [0, 1]
    assert data[1][1]["boxes"].tolist() == [[0, 0, 1, 1]]
    assert VocDataset(root, difficult="keep").target(0)["iscrowd"].tolist() == [0, 0]
    empty = VocDataset(root, "val")
    assert empty[0][1]["boxes"].shape == (0, 4)
    assert len(VocDataset(root)) == 3


def test_other_classes(root):
    write_voc(root, {"c": [voc_object("zebra")]})
    assert VocDataset(root).classes == ["cat", "dog", "zebra"]
    with pytest.raises(ValueError, match=re.escape("c.xml: object 1 must have a name of ['dog', 'cat'], got 'zebra'")):
        VocDataset(root, classes=["dog", "cat"])


def test_masks(root):
    numbers = np.zeros((30, 40), np.uint8)
    numbers[3:8, 2:12] = 1
    numbers[20:, :] = 2
    numbers[10] = 255  # the border
    Image.fromarray(numbers).save(root / "SegmentationObject/a.png")
    masks = VocDataset(root, masks=True).target(0)["masks"]
    assert masks.dtype == torch.bool
    assert np.array_equal(masks, [numbers == 1, numbers == 2])
    with pytest.raises(ValueError, match=r"VocDataset: .*b\.png must be an image, could not read it: "):
        VocDataset(root, masks=True).target(1)


def test_bad_boxes(root):
    write_voc(root, {"a": [voc_object(box=(9, 4, 3, 8)), voc_object(box=(30, 4, 60, 8))]})
    flat = "must have a box of finite, positive width and height, got corners [8.0, 3.0, 3.0, 8.0]"
    out = "must have a box within its image of 40 x 30, got corners [29.0, 3.0, 60.0, 8.0]"
    with pytest.raises(ValueError, match="^" + re.escape(f"VocDataset: a.xml: object 1 {flat}") + "$"):
        VocDataset(root)
    data = VocDataset(root, on_bad_box="drop")
    assert data.bad_boxes == [("a.xml: object 1", flat), ("a.xml: object 2", out)]
    assert len(data.target(0)["boxes"]) == 0
    assert VocDataset(root, on_bad_box="clip").target(0)["boxes"].tolist() == [[29, 3, 40, 8]]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</annotation>", "", r"VocDataset: .*a\.xml must be XML, cannot read it: "),
        ("<xmin>3</xmin>", "<xmin>x</xmin>", r"object 1 must have a number for bndbox/xmin, got 'x'$"),
        ("<name>cat</name>", "", r"VocDataset: a\.xml: object 1 must have a name, got none$"),
        ("<width>40</width>", "", r"VocDataset: a\.xml must have a number for size/width, got None$"),
        ("<width>40</width>", "<width>0</width>", r"a\.xml must have a positive height and width, got 30 and 0$"),
    ],
)  # fmt: skip
def test_broken_files_are_named(root, old, new, message):
    file = root / "Annotations/a.xml"
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        VocDataset(root)


def test_what_is_missing_is_named(root, tmp_path):
    (root / "ImageSets/Main/train.txt").write_text("a\nnone\n")
    with pytest.raises(ValueError, match=r"VocDataset: .*none\.xml must exist, its image is listed"):
        VocDataset(root, "train")
    with pytest.raises(ValueError, match=r"VocDataset: part must be a file of .*Main, got 'test'"):
        VocDataset(root, "test")
    with pytest.raises(ValueError, match="VocDataset: root must hold a folder Annotations, got "):
        VocDataset(tmp_path / "none")
    Image.new("RGB", (4, 4)).save(root / "JPEGImages/a.jpg")
    with pytest.raises(ValueError, match=r"a\.jpg must have the size of its annotation, height and width \(30, 40\)"):
        VocDataset(root)[0]
