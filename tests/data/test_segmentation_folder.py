"""Images with masks, in the layouts of VOC, Cityscapes and ADE20K."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from saccade.data import Scene, SceneDataset, SegmentationFolder


def picture(path, size=(6, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 20, 30)).save(path)


def mask(path, values, palette=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values))
    if palette:
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    image.save(path)


def values(**at):
    """4 x 6 zeros, but for the first pixels."""
    made = np.zeros((4, 6), np.uint8)
    made.flat[: len(at["first"])] = at["first"]
    return made


@pytest.fixture
def root(tmp_path):
    for name in ("a", "deep/b"):
        picture(tmp_path / "images" / f"{name}.jpg")
        mask(tmp_path / "masks" / f"{name}.png", values(first=[1, 2, 255]))
    return tmp_path


def folder(root, **options):
    return SegmentationFolder(root / "images", root / "masks", **options)


def test_pairs_by_name(root):
    data = folder(root)
    assert data.ids == ["a", "deep/b"]
    assert data.num_classes == 3  # 255 is not counted
    assert data.classes == ["0", "1", "2"]
    image, classes = data[1]
    assert image.dtype == torch.uint8
    assert image.shape == (3, 4, 6)
    assert classes.dtype == torch.int64
    assert classes.flatten()[:4].tolist() == [1, 2, 255, 0]
    assert data.content(0) == (root / "images" / "a.jpg").read_bytes()
    assert repr(data) == "SegmentationFolder(2 images, 3 classes)"
    assert folder(root, mode="L", num_classes=3)[0][0].shape == (1, 4, 6)
    assert folder(root, transform=lambda image, classes: classes.max())[0] == 255


@pytest.mark.parametrize("kind", ["palette", "bool", "16 bits"])
def test_kinds_of_masks(root, kind):
    found = values(first=[0, 1, 1])
    if kind == "bool":
        mask(root / "masks" / "a.png", found.astype(bool))
    elif kind == "palette":
        mask(root / "masks" / "a.png", found, palette=True)
        assert Image.open(root / "masks" / "a.png").mode == "P"
    else:
        found = found.astype(np.uint16) * 700
        mask(root / "masks" / "a.png", found)
    assert torch.equal(folder(root, num_classes=701)[0][1], torch.from_numpy(found.astype(np.int64)))


def test_voc(tmp_path):
    for name in ("2007_1", "2007_2", "2007_3"):
        picture(tmp_path / "JPEGImages" / f"{name}.jpg")
    for name, value in (("2007_1", 20), ("2007_3", 1)):
        mask(tmp_path / "SegmentationClass" / f"{name}.png", values(first=[value, 255]), palette=True)
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_3\n2007_1\n")
    data = SegmentationFolder.voc(tmp_path, "train")
    assert data.ids == ["2007_3", "2007_1"]
    assert (data.num_classes, data.classes[0], data.classes[20]) == (21, "background", "tvmonitor")
    assert data[1][1].flatten()[:3].tolist() == [20, 255, 0]
    with pytest.raises(ValueError, match=r"root must hold ImageSets/Segmentation/val\.txt, got "):
        SegmentationFolder.voc(tmp_path, "val")


def test_cityscapes(tmp_path):
    city = tmp_path / "gtFine" / "val" / "ulm"
    picture(tmp_path / "leftImg8bit" / "val" / "ulm" / "ulm_1_leftImg8bit.png")
    mask(city / "ulm_1_gtFine_labelIds.png", values(first=[7, 33, 26, 29, 255, 1]))
    mask(city / "ulm_1_gtFine_instanceIds.png", values(first=[9]))  # of another kind: passed over
    data = SegmentationFolder.cityscapes(tmp_path, "val")
    assert data.ids == ["ulm/ulm_1"]
    assert data[0][1].flatten()[:7].tolist() == [0, 18, 13, 255, 255, 255, 255]
    assert [data.classes[i] for i in (0, 13, 18)] == ["road", "car", "bicycle"]


def test_ade20k(tmp_path):
    picture(tmp_path / "images" / "training" / "ADE_1.jpg")
    mask(tmp_path / "annotations" / "training" / "ADE_1.png", values(first=[1, 150]))
    data = SegmentationFolder.ade20k(tmp_path)
    assert data.num_classes == 150
    assert data[0][1].flatten()[:3].tolist() == [0, 149, 255]
    mask(tmp_path / "annotations" / "training" / "ADE_1.png", values(first=[151]))
    with pytest.raises(ValueError, match=r"must be from 0 to 149 or ignore_index 255, got 150 \(once\)$"):
        data[0]
    rows = [f"{i}\t0.1\t1\t1\t1\tthing {i}, other name" for i in range(1, 151)]
    (tmp_path / "objectInfo150.txt").write_text("\n".join(["Idx\tRatio\tTrain\tVal\tStuff\tName", *rows]) + "\n")
    assert SegmentationFolder.ade20k(tmp_path).classes[149] == "thing 150"


def test_labels_outside_are_named_with_their_counts(root):
    mask(root / "masks" / "a.png", values(first=[3, 3, 3, 9]))
    path = root / "masks" / "a.png"
    message = f"SegmentationFolder: labels of {path} must be from 0 to 2 or ignore_index 255, got 3 (3 times), 9 (once)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        folder(root, num_classes=3)[0]


def test_a_mask_of_another_size_is_named(root):
    mask(root / "masks" / "a.png", np.zeros((4, 5), np.uint8))
    message = f"SegmentationFolder: {root / 'masks' / 'a.png'} must be as large as its image, (4, 6), got (4, 5)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        folder(root, num_classes=3)[0]


def test_files_that_are_none(root):
    mask(root / "masks" / "a.png", np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(ValueError, match=r"a\.png must be a grey or palette image of classes, got mode RGB$"):
        folder(root, num_classes=3)[0]
    (root / "masks" / "a.png").write_text("no mask")
    with pytest.raises(ValueError, match=r"a\.png must be a mask, could not read it: "):
        folder(root, num_classes=3)[0]
    (root / "images" / "a.jpg").write_text("no image")
    with pytest.raises(ValueError, match=r"a\.jpg must be an image, could not read it: "):
        folder(root, num_classes=3)[0]


def test_what_does_not_pair(root, tmp_path):
    picture(root / "images" / "c.jpg")
    with pytest.raises(ValueError, match=r"^SegmentationFolder: every name must have a mask, got none for c$"):
        folder(root)
    assert len(folder(root, names=["a"])) == 1
    with pytest.raises(ValueError, match=r"^SegmentationFolder: every name must have an image, got none for d$"):
        folder(root, names=["d"])
    picture(root / "images" / "a.png")
    with pytest.raises(ValueError, match="names must differ without their extensions, got "):
        folder(root)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["a", "b"], "num_classes": 3}, "classes must be num_classes=3 names, got 2"),
        ({"num_classes": 1}, "classes must be at least 2, got 1"),
        ({"names": []}, "images must hold at least one image, got none in {}"),
    ],
)
def test_bad_arguments(root, options, message):
    expected = f"SegmentationFolder: {message.format(root / 'images')}"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        folder(root, **options)
    with pytest.raises(ValueError, match="masks must be a folder that exists, got "):
        SegmentationFolder(root / "images", root / "nowhere")


def test_a_scene_is_an_item():
    scenes = SceneDataset(2, (40, 32), transform=Scene.segmentation)
    image, classes = scenes[1]
    scene = SceneDataset(2, (40, 32))[1]
    assert torch.equal(image, scene.image / 255)
    assert torch.equal(classes, scene.classes())
