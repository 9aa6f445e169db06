"""Images in memory: what comes back, and what is refused by name."""

import pickle

import cv2
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from saccade.data import ArrayDataset, digits


def test_items_are_images_with_their_labels():
    images = np.arange(24, dtype=np.float32).reshape(3, 1, 2, 4)
    data = ArrayDataset(images, [2, 0, 1], transform=lambda image: image * 2)
    assert len(data) == 3
    assert data.num_classes == 3
    image, label = data[1]
    torch.testing.assert_close(image, torch.from_numpy(images[1] * 2))
    assert label == 0


def test_without_labels_items_are_images():
    data = ArrayDataset(np.ones((2, 5), np.uint8))
    assert data[0].tolist() == [1] * 5
    assert data.labels is None
    assert data.num_classes is None


def test_memory_is_shared_where_torch_can():
    images = np.zeros((2, 3))
    data = ArrayDataset(images)
    images[1, 2] = 7
    assert data[1][2] == 7


@pytest.mark.parametrize(
    "odd", [np.arange(6)[::-1], np.arange(6, dtype=">i4"), np.arange(6).astype(np.float16)[::2]], ids=lambda a: a.dtype
)
def test_odd_arrays_keep_their_values(odd):
    np.testing.assert_array_equal(ArrayDataset(odd).images.numpy(), odd)


def test_read_only_memory_is_copied():
    images = np.arange(4)
    images.flags.writeable = False
    data = ArrayDataset(images)
    data.images[0] = 9
    assert images[0] == 0


def test_floating_labels_are_for_regression():
    data = ArrayDataset(np.zeros((2, 3)), [0.5, -1.5])
    assert data[1][1] == -1.5
    assert data.num_classes is None


def test_pixel_labels_may_hold_the_ignored_index():
    labels = np.array([[[0, 1], [255, 2]]])
    data = ArrayDataset(np.zeros((1, 3, 2, 2)), labels, ignore_index=255)
    assert data.num_classes == 3
    assert data[0][1].tolist() == labels[0].tolist()


@pytest.mark.parametrize(
    ("images", "labels", "options", "message"),
    [
        (
            np.zeros((6, 2)),
            [0, 1, 12, 12, 12, -1],
            {"num_classes": 10},
            "ArrayDataset: labels must be from 0 to 9, got 12 (3 times), -1 (once)",
        ),
        (
            np.zeros((2, 2)),
            [7, 255],
            {"num_classes": 5, "ignore_index": 255},
            "ArrayDataset: labels must be from 0 to 4 or ignore_index 255, got 7 (once)",
        ),
        (
            np.zeros((8, 2)),
            np.arange(10, 18),
            {"num_classes": 10},
            "ArrayDataset: labels must be from 0 to 9, got 10 (once), 11 (once), 12 (once), 13 (once), 14 (once) "
            "and 3 other values",
        ),
        (np.zeros((2, 2)), [-1, 0], {}, "ArrayDataset: labels must be from 0 to 0, got -1 (once)"),
        (np.zeros((2, 2)), [0], {}, "ArrayDataset: labels must be one for each of the 2 images, got shape (1,)"),
        (np.float32(3), None, {}, "ArrayDataset: images must have shape (N, ...), got ()"),
        (
            np.zeros((2, 2)),
            None,
            {"num_classes": 3},
            "ArrayDataset: num_classes must be None where there are no labels, got 3",
        ),
        (
            np.zeros((2, 2)),
            [0.0, 1.0],
            {"num_classes": 3},
            "ArrayDataset: num_classes must be None where there are floating labels, got 3",
        ),
        (
            np.zeros((2, 2)),
            [0.0, 1.0],
            {"ignore_index": 3},
            "ArrayDataset: ignore_index must be None for floating labels, got 3",
        ),
        (np.zeros((2, 2)), None, {"ids": "a"}, "ArrayDataset: ids must name each of the 2 images, got 1"),
        (
            [np.zeros((2, 2)), np.zeros((3, 2))],
            None,
            {},
            "ArrayDataset: images must be one array, got a sequence of arrays that differ in shape",
        ),
    ],
)
def test_bad_arguments(images, labels, options, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the whole message is compared
        ArrayDataset(images, labels, **options)
    assert str(error.value) == message


def test_text_is_no_image():
    with pytest.raises(TypeError, match=r"^ArrayDataset: images must be numbers, got <U1$"):
        ArrayDataset(["a", "b"])


def test_pickles():
    data = pickle.loads(pickle.dumps(ArrayDataset(np.ones((2, 2)), [0, 1])))
    assert data[1][1] == 1


def test_digits_are_scikit_learns():
    data, bunch = digits(), load_digits()
    np.testing.assert_array_equal(data.images[:, 0].numpy() * 16, bunch.images)
    np.testing.assert_array_equal(data.labels.numpy(), bunch.target)
    assert data.images.dtype == torch.float32


def test_digits_are_resized():
    large = digits(32)
    assert large.images.shape == (1797, 1, 32, 32)
    expected = cv2.resize(digits().images[5, 0].numpy(), (32, 32), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(large.images[5, 0].numpy(), expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"^digits: size must be at least 1, got 0$"):
        digits(0)
