"""The data of the benchmark's cases. Every generator is seeded: the same call gives the same arrays everywhere."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
IMAGE_WIDTH, IMAGE_HEIGHT = 1333, 800  # what torchvision's detectors resize a photo to


def clustered_boxes(count: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Boxes and scores as a region proposal network gives them: many around each of 200 objects."""
    rng = np.random.default_rng(seed)
    centres, sides = rng.uniform((0, 0), (IMAGE_WIDTH, IMAGE_HEIGHT), (200, 2)), np.exp(rng.normal(4.2, 0.6, (200, 2)))
    chosen = rng.integers(0, 200, count)
    error = rng.normal(size=(count, 4))
    centre = centres[chosen] + 0.12 * error[:, :2] * sides[chosen]
    half = 0.5 * sides[chosen] * np.exp(0.15 * error[:, 2:])
    scores = 0.9 * np.exp(-0.3 * (error**2).sum(1)) + 0.1 * rng.uniform(size=count)
    boxes = np.concatenate([centre - half, centre + half], 1).clip(0, [IMAGE_WIDTH, IMAGE_HEIGHT] * 2)
    return boxes.astype(np.float32), scores.astype(np.float32)


def rotated_boxes(count: int) -> tuple[Floats, Floats]:
    """The same boxes turned by any angle, as centre, sides and degrees, and their scores."""
    corners, scores = clustered_boxes(count)
    angle = np.random.default_rng(2).uniform(-90, 90, (count, 1)).astype(np.float32)
    boxes = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2], angle], 1)
    return boxes, scores


def uniform_boxes(count: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Boxes anywhere, nearly all of which survive suppression, and their scores."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform((0, 0), (IMAGE_WIDTH, IMAGE_HEIGHT), (count, 2))
    half = 0.5 * np.exp(rng.normal(3.5, 0.6, (count, 2)))
    boxes = np.concatenate([centre - half, centre + half], 1)
    return boxes.astype(np.float32), rng.uniform(size=count).astype(np.float32)


def classes(count: int, number: int = 80, seed: int = 1) -> NDArray[np.int64]:
    """A class for each box."""
    return np.random.default_rng(seed).integers(0, number, count)


def rois(count: int, map_height: int = 200, map_width: int = 272, scale: int = 4, seed: int = 0) -> Floats:
    """``(count, 5)``: batch index 0 and corners, over an image ``scale`` times as large as the feature map."""
    rng = np.random.default_rng(seed)
    size = np.array([map_width, map_height]) * scale
    centre = rng.uniform((0, 0), size, (count, 2))
    half = 0.5 * np.exp(rng.uniform(3.4, 5.5, (count, 2)))
    corners = np.concatenate([centre - half, centre + half], 1).clip(0, np.tile(size, 2))
    return np.concatenate([np.zeros((count, 1)), corners], 1).astype(np.float32)


PYRAMID = (4, 8, 16, 32)


def pyramid(channels: int = 256, height: int = 800, width: int = 1088) -> list[Floats]:
    """The maps of a feature pyramid, ``(1, channels, height / s, width / s)`` for each ``s`` of `PYRAMID`."""
    rng = np.random.default_rng(0)
    return [rng.random((1, channels, height // s, width // s), np.float32) for s in PYRAMID]


@functools.cache
def astronaut(width: int = 512, height: int = 512) -> NDArray[np.uint8]:
    """scikit-image's bundled photograph in grey, resized where another size is asked for; read-only."""
    from PIL import Image
    from skimage import data

    grey = Image.fromarray(data.astronaut()).convert("L")
    if grey.size != (width, height):
        grey = grey.resize((width, height), Image.Resampling.BILINEAR)
    image = np.asarray(grey).copy()
    image.setflags(write=False)
    return image


def with_statistics(model: Any) -> Any:
    """The network, its batch norms given statistics that keep the values of random weights in range.

    Heads that start at zero, which would hide any difference, are drawn.
    """
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.xavier_normal_(module.weight)
        if hasattr(module, "running_var"):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model
