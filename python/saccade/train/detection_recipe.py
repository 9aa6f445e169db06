"""Training of a detector from names and numbers alone: what ``saccade train detect`` does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from saccade import data as datasets
from saccade.models import build
from saccade.models._registry import _CONSTRUCTORS
from saccade.train._recipe_parts import (
    PARTS,
    check_recipe,
    fit_and_test,
    model_options,
    optimization,
    read_trained,
    seeded_model,
    write_summary,
)
from saccade.train.detection import DetectionTask
from saccade.train.detection_anchors import yolo_anchors
from saccade.train.detection_data import DetectionData
from saccade.train.detection_pictures import plot_mistakes, plot_precision_recall
from saccade.train.detection_sources import detection_parts
from saccade.train.detection_weights import COMMAND, first_label_of
from saccade.train.fitting import Run, evaluate, load_weights

__all__ = ["DetectionRecipe", "evaluate_detector", "train_detector"]

_OP = "train detect"
_LOW = 0.05  # average precision needs the findings that nobody would be shown; two-stage detectors begin there too
_CLIP = 10.0  # of the gradient's norm: the first steps of a regression may be far off


@dataclass(frozen=True)
class DetectionRecipe:
    """How a detector is trained; it is written into the checkpoint, which can be evaluated without it.

    ``data`` is ``"scenes"`` (generated ones: ``scenes`` to learn from, a fifth of that for validation and for the test)
    or a folder in COCO's or VOC's layout, see :func:`detection_parts`. ``image_size`` is the side of generated scenes,
    ``model_size`` the shorter side to which the network scales images (YOLO: the side), 0 its own. ``scale`` 0.5
    scales images by 1 / 1.5 to 1.5, which needs ``crop``, the side of a random crop (for scenes: their own).
    """

    data: str
    model: str = "fasterrcnn_small"
    scenes: int = 500
    image_size: int = 256
    model_size: int = 0
    batch_size: int = 4
    optimizer: str = "adamw"
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    schedule: str = "onecycle"
    scale: float = 0.0
    crop: int = 0
    flip: bool = False
    flip_vertical: bool = False
    on_bad_box: str = "raise"
    seed: int = 0

    def check(self) -> DetectionRecipe:
        """This, if it can be carried out."""
        not_negative = ("model_size", "weight_decay", "scale", "crop", "seed")
        check_recipe(_OP, self, positive=("batch_size", "learning_rate", "scenes"), not_negative=not_negative)
        if self.scale and not self.crop and self.data != "scenes":
            raise ValueError(f"{_OP}: crop must be given with scale, got {self.scale} and no crop")
        model_options(self.model)
        if not _CONSTRUCTORS[self.model].__module__.startswith("saccade.models.detection."):
            raise ValueError(f"{_OP}: model must be a detector, got {self.model}")
        return self


def has_masks(model: str) -> bool:
    """Whether a model of a name learns masks."""
    return "mask_head" in model_options(model)


def make_data(recipe: DetectionRecipe, num_workers: int = 0) -> DetectionData:
    """The parts of a recipe's data, augmented."""
    parts, classes = detection_parts(recipe, masks=has_masks(recipe.model))
    return DetectionData(
        parts["train"],
        parts.get("val"),
        parts.get("test"),
        batch_size=recipe.batch_size,
        augment=_augmentation(recipe),
        classes=classes,
        seed=recipe.seed,
        num_workers=num_workers,
    )


def _augmentation(recipe: DetectionRecipe) -> Callable[[Any, Any], Any] | None:
    size = recipe.crop or (recipe.image_size if recipe.scale else 0)
    if not (size or recipe.flip or recipe.flip_vertical):
        return None
    steps = datasets.transforms.augmentation(
        size or None,
        resize=(1 / (1 + recipe.scale), 1 + recipe.scale) if recipe.scale else None,
        flip=0.5 * recipe.flip,
        flip_vertical=0.5 * recipe.flip_vertical,
    )
    return datasets.transforms.Joint(steps)


def make_model(recipe: DetectionRecipe, sets: DetectionData) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a recipe, with seeded weights, and the options that it was built with."""
    known = model_options(recipe.model)
    two_stage = "rpn_head" in known
    given: dict[str, Any] = {"num_classes": sets.num_classes + two_stage}
    if recipe.model_size and "image_size" in known:
        given["image_size"] = recipe.model_size
    elif recipe.model_size:
        given |= {"min_size": recipe.model_size, "max_size": 2 * recipe.model_size}
    if "anchors" in known:
        generator = torch.Generator().manual_seed(recipe.seed)
        first = seeded_model(recipe.model, recipe.seed, **given)
        given["anchors"] = yolo_anchors(first, sets.train, generator=generator)
        given["score_thresh"] = _LOW
    return seeded_model(recipe.model, recipe.seed, **given), given


def make_task(recipe: DetectionRecipe, model: nn.Module, options: dict[str, Any], classes: list[str]) -> DetectionTask:
    """How a network learns."""
    return DetectionTask(
        model,
        len(classes),
        first_label=first_label_of(model),
        info={"command": COMMAND, "recipe": asdict(recipe), "classes": classes, "options": options},
        **optimization(recipe),
    )


def train_detector(
    recipe: DetectionRecipe, out: str | os.PathLike[str], *, epochs: int, num_workers: int = 0, **options: Any
) -> tuple[dict[str, Any], Run]:
    """Train, test with the best epoch's weights (the last one's without validation data), and write a summary.

    ``out`` gets, beside what :func:`saccade.train.fit` writes, ``summary.json``, ``precision_recall.png`` and
    ``mistakes.png``. ``options`` are those of :func:`saccade.train.fit`.
    """
    recipe = recipe.check()
    started = time.perf_counter()
    sets = make_data(recipe, num_workers)
    model, given = make_model(recipe, sets)
    task = make_task(recipe, model, given, sets.classes)
    options = {"gradient_clip_val": _CLIP, **options}
    summary, run = fit_and_test(
        task, sets, recipe, out, epochs=epochs, classes=sets.classes, started=started, **options
    )
    if sets.test is not None:
        summary["class_ap50"] = class_precision(task, sets.classes)
    if run.trainer.is_global_zero:
        if sets.test is not None:
            write_pictures(task, out, sets.classes)
        write_summary(summary, out)
    return summary, run


def class_precision(task: DetectionTask, classes: list[str]) -> dict[str, float | None]:
    """VOC's average precision of each class in the last test; None where it does not occur."""
    pairs = zip(classes, task.curves, strict=True)
    return {name: round(curve.average_precision(), 5) if curve.objects else None for name, curve in pairs}


def write_pictures(task: DetectionTask, out: str | os.PathLike[str], classes: list[str]) -> None:
    """Curves and mistakes of the last test, as PNG."""
    plot_precision_recall(task.curves, Path(out) / "precision_recall.png", classes)
    plot_mistakes(task.worst, Path(out) / "mistakes.png", classes)


def evaluate_detector(
    checkpoint: str | os.PathLike[str],
    data: str | None = None,
    *,
    part: str = "test",
    batch_size: int | None = None,
    num_workers: int = 0,
    **options: Any,
) -> tuple[dict[str, Any], DetectionTask]:
    """Measure a checkpoint that :func:`train_detector` wrote: on a part of its own data, or of other data.

    Args:
        checkpoint: a file.
        data: as in :class:`DetectionRecipe`; None: what it was trained with.
        part: ``"train"``, ``"val"`` or ``"test"``.

    Returns:
        What was measured, and the task, with ``curves`` and ``worst``.
    """
    op = "eval detect"
    if part not in PARTS:
        raise ValueError(f"{op}: part must be train, val or test, got {part!r}")
    _, info = read_trained(op, COMMAND, checkpoint)
    recipe = DetectionRecipe(**info["recipe"])
    recipe = replace(recipe, data=data or recipe.data, batch_size=batch_size or recipe.batch_size)
    parts, classes = detection_parts(recipe, masks=has_masks(recipe.model))
    if classes != info["classes"]:
        raise ValueError(f"{op}: data must have the classes of the training, {info['classes']}, got {classes}")
    if part not in parts:
        raise ValueError(f"{op}: part must be one that the data has ({', '.join(parts)}), got {part!r}")
    chosen = parts[part]
    sets = DetectionData(chosen, test=chosen, batch_size=recipe.batch_size, classes=classes, num_workers=num_workers)
    task = make_task(recipe, build(recipe.model, **info["options"]), info["options"], classes)
    load_weights(task, checkpoint)
    measured = evaluate(task, sets, **options)
    found = {"items": len(chosen), "part": part, "classes": classes, **measured}
    return {**found, "class_ap50": class_precision(task, classes)}, task
