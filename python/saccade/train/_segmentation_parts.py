"""The parts of a segmentation data set, by the layout of its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from saccade import data as datasets
from saccade.data import Scene, SceneDataset, SegmentationFolder

__all__ = ["find_parts"]

_PARTS = ("train", "val", "test")


def find_parts(
    data: str, side: int, scenes: int, seed: int, *, whole: bool = False, classes: Sequence[str] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Data sets of ``(image, classes)`` by part, and the names of the classes; see :class:`SegmentationRecipe`.

    ``classes`` are those of a training, where a folder does not name its own; ``whole``: also all of it, as ``"all"``.
    """
    if data == "scenes":
        return _scenes(side, scenes, seed), ["ground", *SceneDataset.classes]
    root = Path(data)
    if not root.is_dir():
        raise ValueError(f"train segment: data must be 'scenes' or a folder that exists, got {data}")
    parts = _known(root)
    if not parts:
        parts = _plain(root, seed, _names(root, classes), whole)
    first = parts.get("train") or next(iter(parts.values()))
    while not isinstance(first, SegmentationFolder):
        first = first.dataset
    return parts, first.classes


def _scenes(side: int, count: int, seed: int) -> dict[str, Any]:
    # Validation and test are the same pictures for every seed of a training.
    counts = {"train": count, "val": max(1, count // 4), "test": max(1, count // 4)}
    seeds = {"train": seed + 2, "val": 0, "test": 1}
    return {
        name: SceneDataset(counts[name], (side, side), seed=seeds[name], transform=Scene.segmentation)
        for name in _PARTS
    }


def _known(root: Path) -> dict[str, Any]:
    """VOC, Cityscapes or ADE20K: their test sets have no labels."""
    if (root / "ImageSets" / "Segmentation").is_dir():
        lists = root / "ImageSets" / "Segmentation"
        found = [part for part in ("train", "val") if (lists / f"{part}.txt").is_file()]
        return {part: SegmentationFolder.voc(root, part) for part in found}
    if (root / "leftImg8bit").is_dir():
        found = [part for part in ("train", "val") if (root / "leftImg8bit" / part).is_dir()]
        return {part: SegmentationFolder.cityscapes(root, part) for part in found}
    if (root / "annotations").is_dir():
        places = {"train": "training", "val": "validation"}
        found = [part for part, place in places.items() if (root / "images" / place).is_dir()]
        return {part: SegmentationFolder.ade20k(root, places[part]) for part in found}
    return {}


def _names(root: Path, classes: Sequence[str] | None) -> list[str] | None:
    listed = root / "classes.txt"
    if listed.is_file():
        return [line.strip() for line in listed.read_text().splitlines() if line.strip()]
    return None if classes is None else list(classes)


def _plain(root: Path, seed: int, names: list[str] | None, whole: bool) -> dict[str, Any]:
    if (root / "train").is_dir():
        train = SegmentationFolder(root / "train" / "images", root / "train" / "masks", classes=names)
        others = {
            part: SegmentationFolder(root / part / "images", root / part / "masks", classes=train.classes)
            for part in _PARTS[1:]
            if (root / part).is_dir()
        }
        return {"train": train, **others}
    if not (root / "images").is_dir() or not (root / "masks").is_dir():
        raise ValueError(
            "train segment: data must hold images and masks, train/images and train/masks, or be a folder of VOC, "
            f"Cityscapes or ADE20K, got {root}"
        )
    every = SegmentationFolder(root / "images", root / "masks", classes=names)
    if whole:
        return {"all": every}
    return datasets.split(every, {"train": 0.7, "val": 0.15, "test": 0.15}, seed=seed)
