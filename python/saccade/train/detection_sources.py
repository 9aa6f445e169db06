"""Where a detection recipe's images come from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from saccade import data as datasets
from saccade.data import CachedDataset, CocoDataset, Scene, SceneDataset, VocDataset
from saccade.train._recipe_parts import PARTS

if TYPE_CHECKING:
    from saccade.train.detection_recipe import DetectionRecipe

__all__ = ["detection_parts"]

_OP = "train detect"
_SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}


def detection_parts(recipe: DetectionRecipe, *, masks: bool = False) -> tuple[dict[str, Any], list[str]]:
    """The parts that a recipe's data has, by name, and the names of its classes.

    A folder may be

    - VOC's: ``Annotations``, ``JPEGImages``, and ``ImageSets/Main`` with ``train.txt``, ``val.txt``, ``test.txt``
      (the last two may be missing); without such lists it is split into 70 % training, 15 % validation, 15 % test;
    - COCO's: ``annotations/instances_train2017.json`` and ``train2017`` with the images, likewise ``val`` and ``test``,
      of any year; or ``train.json`` and ``train``; or one ``annotations.json`` and ``images``, which is split.
    """
    if recipe.data == "scenes":
        return _scenes(recipe, masks), list(SceneDataset.classes)
    root = Path(recipe.data)
    if not root.is_dir():
        raise ValueError(f"{_OP}: data must be 'scenes' or a folder that exists, got {recipe.data}")
    parts = _voc(root, recipe, masks) if (root / "Annotations").is_dir() else _coco(root, recipe, masks)
    if "train" not in parts:
        raise ValueError(
            f"{_OP}: data must hold annotations in VOC's or COCO's layout (Annotations, "
            f"annotations/instances_train*.json, train.json or annotations.json), got {root}"
        )
    classes = parts["train"].classes
    for name, part in parts.items():
        if part.classes != classes:
            raise ValueError(f"{_OP}: {name} must have the classes of train, {classes}, got {part.classes}")
    if len(parts) == 1:
        return datasets.split(parts["train"], _SHARES, seed=recipe.seed), classes
    return parts, classes


def _scenes(recipe: DetectionRecipe, masks: bool) -> dict[str, Any]:
    made = {}
    fifth = max(1, recipe.scenes // 5)
    for number, (name, count) in enumerate((("train", recipe.scenes), ("val", fifth), ("test", fifth))):
        side = recipe.image_size
        transform = Scene.detection if masks else _without_masks
        scenes = SceneDataset(count, (side, side), seed=3 * recipe.seed + number, transform=transform)
        made[name] = CachedDataset(scenes)
    return made


def _without_masks(scene: Scene) -> tuple[Tensor, dict[str, Tensor]]:
    return scene.image, {"boxes": scene.boxes, "labels": scene.labels}


def _voc(root: Path, recipe: DetectionRecipe, masks: bool) -> dict[str, Any]:
    options: dict[str, Any] = {"masks": masks, "on_bad_box": recipe.on_bad_box}
    lists = root / "ImageSets" / "Main"
    if not (lists / "train.txt").is_file():
        return {"train": VocDataset(root, **options)}
    train = VocDataset(root, "train", **options)
    others = {name: VocDataset(root, name, classes=train.classes, **options)
              for name in PARTS[1:] if (lists / f"{name}.txt").is_file()}  # fmt: skip
    return {"train": train, **others}


def _coco(root: Path, recipe: DetectionRecipe, masks: bool) -> dict[str, Any]:
    found: dict[str, tuple[Path, Path]] = {}
    for name in PARTS:
        official = sorted(root.glob(f"annotations/instances_{name}*.json"))
        if official:
            found[name] = root / official[-1].stem.removeprefix("instances_"), official[-1]
        elif (root / f"{name}.json").is_file():
            found[name] = root / name, root / f"{name}.json"
    if not found and (root / "annotations.json").is_file():
        found["train"] = root / "images", root / "annotations.json"
    options: dict[str, Any] = {"masks": masks, "on_bad_box": recipe.on_bad_box}
    return {name: CocoDataset(*paths, **options) for name, paths in found.items()}
