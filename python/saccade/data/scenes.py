"""Pictures that are generated: textured shapes on a textured ground, with their classes, boxes and masks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

__all__ = ["Scene", "SceneDataset"]

_CLASSES = ("disc", "square", "triangle", "star", "ring")
_VISIBLE = 0.5  # of a shape's area, below which it is not drawn at all
_MIN_EXTENT = 6  # pixels of a box's shorter side


class Scene(NamedTuple):
    """One picture: ``image`` ``(3, H, W)`` uint8; for each shape ``boxes`` ``(N, 4)`` float32 (x1, y1, x2, y2, the
    last ones exclusive), ``labels`` ``(N,)`` int64 from 0, ``masks`` ``(N, H, W)`` bool, of what can be seen of it."""

    image: Tensor
    boxes: Tensor
    labels: Tensor
    masks: Tensor

    def classes(self) -> Tensor:
        """The class of each pixel ``(H, W)`` int64: 0 for the ground, else 1 + the shape's label."""
        covered = self.masks.to(torch.int64) * (self.labels + 1)[:, None, None]
        return covered.sum(0)

    def detection(self) -> tuple[Tensor, dict[str, Tensor]]:
        """``(image, target)`` as detectors learn from: ``SceneDataset(500, transform=Scene.detection)``."""
        return self.image, {"boxes": self.boxes, "labels": self.labels, "masks": self.masks}

    def segmentation(self) -> tuple[Tensor, Tensor]:
        """The image as float32 from 0 to 1, and :meth:`classes`; as ``transform``: ``Scene.segmentation``."""
        return self.image.float() / 255, self.classes()


class SceneDataset(Dataset[Any]):
    """Scenes that are drawn when they are asked for: the same index and seed always give the same picture.

    A class is a shape (``SceneDataset.classes``) with a texture of its own (dots, stripes, checks, grain, waves);
    colours, sizes, places and turns are random, shapes may hide parts of others, and there is noise over everything.

    Args:
        count: number of scenes.
        size: height and width, in pixels; at least 32.
        shapes: the least and the greatest number of shapes that are placed; fewer may find room.
        seed: of everything random. Data sets of other seeds hold other pictures.
        transform: given each :class:`Scene`; what it returns is the item.

    Raises:
        ValueError: for a size, count or number of shapes out of range.

    >>> scene = saccade.data.SceneDataset(10, (64, 64), shapes=(2, 2), seed=3)[0]
    >>> scene.image.shape, scene.boxes.shape, scene.masks.shape
    (torch.Size([3, 64, 64]), torch.Size([2, 4]), torch.Size([2, 64, 64]))
    >>> scene.classes().unique()
    tensor([0, 1, 4])
    """

    classes = _CLASSES

    def __init__(
        self,
        count: int,
        size: tuple[int, int] = (256, 256),
        *,
        shapes: tuple[int, int] = (1, 6),
        seed: int = 0,
        transform: Callable[[Scene], Any] | None = None,
    ) -> None:
        if count < 0:
            raise ValueError(f"SceneDataset: count must not be negative, got {count}")
        if min(size) < 32:
            raise ValueError(f"SceneDataset: size must be at least 32 each way, got {tuple(size)}")
        if not 1 <= shapes[0] <= shapes[1]:
            raise ValueError(f"SceneDataset: shapes must be (least, greatest) from 1 on, got {tuple(shapes)}")
        self.count, self.size, self.shapes, self.seed, self.transform = count, size, shapes, seed, transform

    def __len__(self) -> int:
        """The number of scenes."""
        return self.count

    def __getitem__(self, index: int) -> Any:
        """The scene of an index, or what the transform makes of it."""
        if not 0 <= index < self.count:
            raise IndexError(f"SceneDataset: index must be from 0 to {self.count - 1}, got {index}")
        scene = _draw(np.random.default_rng([self.seed, index]), self.size, self.shapes)
        return scene if self.transform is None else self.transform(scene)


def _draw(rng: np.random.Generator, size: tuple[int, int], shapes: tuple[int, int]) -> Scene:
    height, width = size
    rows, columns = np.mgrid[:height, :width].astype(np.float32) + 0.5
    pixels = _ground(rng, rows, columns)
    masks: list[NDArray[np.bool_]] = []
    labels: list[int] = []
    areas: list[int] = []
    wanted = int(rng.integers(shapes[0], shapes[1] + 1))
    for _ in range(4 * wanted):
        if len(masks) == wanted:
            break
        label = int(rng.integers(len(_CLASSES)))
        radius = rng.uniform(0.09, 0.22) * min(size)
        x, y = (rng.uniform(0.8 * radius, extent - 0.8 * radius) for extent in (width, height))
        turn = rng.uniform(0, 2 * math.pi)
        right = ((columns - x) * math.cos(turn) + (rows - y) * math.sin(turn)) / radius
        down = ((rows - y) * math.cos(turn) - (columns - x) * math.sin(turn)) / radius
        mask = _inside(label, right, down)
        left_over = [old & ~mask for old in masks]
        if any(not _is_visible(old, area) for old, area in zip(left_over, areas, strict=True)):
            continue  # it would hide too much of another
        if not _is_visible(mask, 1):
            continue
        pixels[mask] = _texture(rng, label, right * radius, down * radius)[mask]
        masks = [*left_over, mask]
        labels.append(label)
        areas.append(int(mask.sum()))
    noise = rng.normal(0, 8, pixels.shape).astype(np.float32)
    image = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    stacked = np.stack(masks) if masks else np.zeros((0, height, width), bool)
    return Scene(
        torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
        torch.from_numpy(_boxes(stacked)),
        torch.tensor(labels, dtype=torch.int64),
        torch.from_numpy(stacked),
    )


def _is_visible(mask: NDArray[np.bool_], area: int) -> bool:
    if int(mask.sum()) < _VISIBLE * area:
        return False
    return all(int(np.count_nonzero(mask.any(axis))) >= _MIN_EXTENT for axis in (0, 1))


def _boxes(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    boxes = np.zeros((len(masks), 4), np.float32)
    for row, mask in zip(boxes, masks, strict=True):
        (columns,), (rows,) = np.nonzero(mask.any(0)), np.nonzero(mask.any(1))
        row[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def _inside(label: int, x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether points, in units of the shape's radius, lie in it."""
    distance = np.hypot(x, y)
    match _CLASSES[label]:
        case "disc":
            return distance <= 1
        case "square":
            return np.maximum(np.abs(x), np.abs(y)) <= 0.85
        case "triangle":
            slope = math.sqrt(3)
            return (y >= -0.6) & (y + slope * np.abs(x) <= 1.2)
        case "star":
            return distance <= 0.75 + 0.3 * np.cos(5 * np.arctan2(y, x))
        case _:
            return (distance <= 1) & (distance >= 0.5)


def _texture(rng: np.random.Generator, label: int, x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[Any]:
    """The colours ``(H, W, 3)`` of a class, ``x`` and ``y`` in pixels."""
    period = rng.uniform(5, 8)
    match _CLASSES[label]:
        case "disc":
            weight = ((x % period - period / 2) ** 2 + (y % period - period / 2) ** 2 < (0.33 * period) ** 2) * 1.0
        case "square":
            weight = (x % period < period / 2) * 1.0
        case "triangle":
            weight = ((x % period < period / 2) ^ (y % period < period / 2)) * 1.0
        case "star":
            weight = rng.random(x.shape)
        case _:
            weight = 0.5 + 0.5 * np.sin(2 * math.pi * np.hypot(x, y) / period)
    dark, bright = _two_colours(rng)
    return dark + weight[..., None] * (bright - dark)


def _two_colours(rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Two colours that a texture shows well."""
    dark = rng.uniform(0, 110, 3)
    return dark, np.minimum(dark + rng.uniform(70, 145, 3), 255)


def _ground(rng: np.random.Generator, rows: NDArray[np.float32], columns: NDArray[np.float32]) -> NDArray[Any]:
    """A slow change between two colours."""
    first, second = rng.uniform(30, 225, (2, 3))
    angle, period = rng.uniform(0, 2 * math.pi), rng.uniform(0.5, 2) * max(rows.shape)
    along = rows * math.sin(angle) + columns * math.cos(angle)
    weight = 0.5 + 0.5 * np.sin(2 * math.pi * along / period + rng.uniform(0, 2 * math.pi))
    return first + weight[..., None] * (second - first)
