"""Images in folders: classes, damaged files, empty classes."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from saccade.data import FolderDataset


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for i, name in enumerate(["dog/b.png", "dog/a.png", "cat/x/deep.png", "cat/c.bmp", "emu/1.jpg"]):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (5 + i, 7, 3), np.uint8)).save(path)
    (tmp_path / "cat/notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "dog/._a.png").write_text("what macOS leaves behind")
    return tmp_path


def damage(path):
    """Leave the first half of a file: opens, but does not decode."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def test_equals_torchvisions_image_folder(root):
    (root / "dog/._a.png").unlink()
    (root / ".hidden").rmdir()
    data, other = FolderDataset(root), ImageFolder(root)
    assert data.classes == other.classes
    assert sorted(map(str, data.paths)) == sorted(path for path, _ in other.imgs)
    expected = {path: (pil_to_tensor(other[i][0]), label) for i, (path, label) in enumerate(other.imgs)}
    for path, (image, label) in zip(data.paths, data, strict=False):
        torch.testing.assert_close(image, expected[str(path)][0], rtol=0, atol=0)
        assert label == expected[str(path)][1]


def test_hidden_files_are_passed_over(root):
    assert FolderDataset(root).ids == ["cat/c.bmp", "cat/x/deep.png", "dog/a.png", "dog/b.png", "emu/1.jpg"]


def test_unlabelled_is_any_tree(root):
    data = FolderDataset(root, labelled=False, mode="L", transform=lambda image: image.float().mean())
    assert len(data) == 5
    assert data.labels is None
    assert data[0].ndim == 0
    assert FolderDataset(root, labelled=False, mode="L")[0].shape == (1, 8, 7)


def test_a_damaged_image_is_named_when_it_is_read(root):
    damage(root / "dog/a.png")
    data = FolderDataset(root)
    assert data[3][1] == 1
    with pytest.raises(ValueError, match=r"^FolderDataset: .*dog/a\.png must be an image, could not read it: .*trunc"):
        data[2]
    assert [path.name for path, _ in data.verify()] == ["a.png"]


def test_damaged_images_are_skipped_and_listed(root):
    damage(root / "dog/a.png")
    (root / "cat/c.bmp").write_bytes(b"")
    data = FolderDataset(root, on_error="skip")
    assert data.ids == ["cat/x/deep.png", "dog/b.png", "emu/1.jpg"]
    assert data.labels.tolist() == [0, 1, 2]
    assert [path.relative_to(root).as_posix() for path, _ in data.skipped] == ["cat/c.bmp", "dog/a.png"]
    assert "truncated" in data.skipped[1].reason
    assert len(list(iter(data[i] for i in range(3)))) == 3


def test_an_empty_class_is_named(root):
    (root / "ant").mkdir()
    (root / "bee").mkdir()
    with pytest.raises(ValueError, match=r"^FolderDataset: every class must hold .* one image, got none in ant, bee$"):
        FolderDataset(root)
    data = FolderDataset(root, allow_empty=True)
    assert data.num_classes == 5
    assert data.labels.tolist() == [2, 2, 3, 3, 4]


def test_a_class_of_damaged_images_is_empty(root):
    damage(root / "emu/1.jpg")
    (root / "emu/1.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(ValueError, match=r"at least one image, got none in emu \(1 could not be read\)$"):
        FolderDataset(root, on_error="skip")


def test_given_classes_keep_their_labels(root):
    names = ["emu", "fox", "dog", "cat"]
    data = FolderDataset(root, classes=names, allow_empty=True)
    assert data.labels.tolist() == [0, 2, 2, 3, 3]
    with pytest.raises(ValueError, match=r"^FolderDataset: classes must name every folder in .*, got none for cat$"):
        FolderDataset(root, classes=["emu", "dog"])
    with pytest.raises(ValueError, match=r"^FolderDataset: classes must differ, got \['emu', 'emu'\]$"):
        FolderDataset(root, classes=["emu", "emu"])


def test_sixteen_bits_keep_the_upper_eight(tmp_path):
    grey = np.array([[0, 255, 256], [4096, 32768, 65535]], np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    image = FolderDataset(tmp_path, labelled=False, mode="L")[0]
    np.testing.assert_array_equal(image[0].numpy(), grey >> 8)


def test_photographs_are_turned_upright(tmp_path):
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[0, 0] = 200
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    image.save(tmp_path / "turned.png", exif=exif)
    upright = FolderDataset(tmp_path, labelled=False)[0]
    assert upright.shape == (3, 8, 4)
    assert upright[0].argmax() == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 2}, "root must hold num_classes=2 classes, got 3: cat, dog, emu"),
        ({"on_error": "ignore"}, "on_error must be 'raise' or 'skip', got 'ignore'"),
        ({"mode": "CMYK"}, "mode must be 'RGB' or 'L', got 'CMYK'"),
        (
            {"labelled": False, "num_classes": 3},
            "num_classes and classes must be None without labels, got 3, None",
        ),
    ],
)
def test_bad_options(root, options, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the whole message is compared
        FolderDataset(root, **options)
    assert str(error.value) == f"FolderDataset: {message}"


def test_folders_without_images(tmp_path):
    with pytest.raises(ValueError, match=r"^FolderDataset: root must be a folder that exists, got .*/none$"):
        FolderDataset(tmp_path / "none")
    with pytest.raises(ValueError, match=r"^FolderDataset: root must hold a folder for each class \(or set labelled=F"):
        FolderDataset(tmp_path)
    with pytest.raises(ValueError, match=r"^FolderDataset: root must hold at least one image, got none in /"):
        FolderDataset(tmp_path, labelled=False)
