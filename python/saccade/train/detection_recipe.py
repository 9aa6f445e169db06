"""Training of a detector from names and numbers alone: what ``saccade train detect`` does."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from saccade import data as datasets
from saccade._files import replace_whole
from saccade.models import build
from saccade.models._registry import _CONSTRUCTORS, _parameters
from saccade.train.checkpoint import read_checkpoint
from saccade.train.detection import DetectionTask
from saccade.train.detection_anchors import yolo_anchors
from saccade.train.detection_data import DetectionData
from saccade.train.detection_pictures import plot_mistakes, plot_precision_recall
from saccade.train.detection_sources import PARTS, detection_parts
from saccade.train.detection_weights import first_label_of
from saccade.train.fitting import Run, evaluate, fit, load_weights
from saccade.train.recipe import _OPTIMIZERS, _SCHEDULES

__all__ = ["DetectionRecipe", "evaluate_detector", "train_detector"]

_OP = "train detect"
_CYCLE = "onecycle"
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
    schedule: str = _CYCLE
    scale: float = 0.0
    crop: int = 0
    flip: bool = False
    flip_vertical: bool = False
    on_bad_box: str = "raise"
    seed: int = 0

    def check(self) -> DetectionRecipe:
        """This, if it can be carried out."""
        known = {"optimizer": list(_OPTIMIZERS), "schedule": [_CYCLE, *_SCHEDULES]}
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{_OP}: {name} must be one of {', '.join(values)}, got {getattr(self, name)!r}")
        for name in ("batch_size", "learning_rate", "scenes"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{_OP}: {name} must be positive, got {getattr(self, name)}")
        for name in ("model_size", "weight_decay", "scale", "crop", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{_OP}: {name} must not be negative, got {getattr(self, name)}")
        if self.scale and not self.crop and self.data != "scenes":
            raise ValueError(f"{_OP}: crop must be given with scale, got {self.scale} and no crop")
        if self.model not in _CONSTRUCTORS:
            build(self.model)  # names the close ones
        if not _CONSTRUCTORS[self.model].__module__.startswith("saccade.models.detection."):
            raise ValueError(f"{_OP}: model must be a detector, got {self.model}")
        return self


def has_masks(model: str) -> bool:
    """Whether a model of a name learns masks."""
    return "mask_head" in _parameters(_CONSTRUCTORS[model])


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
    known = _parameters(_CONSTRUCTORS[recipe.model])
    two_stage = "rpn_head" in known
    given: dict[str, Any] = {"num_classes": sets.num_classes + two_stage}
    if recipe.model_size and "image_size" in known:
        given["image_size"] = recipe.model_size
    elif recipe.model_size:
        given |= {"min_size": recipe.model_size, "max_size": 2 * recipe.model_size}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        if "anchors" in known:
            generator = torch.Generator().manual_seed(recipe.seed)
            given["anchors"] = yolo_anchors(build(recipe.model, **given), sets.train, generator=generator)
            given["score_thresh"] = _LOW
            torch.manual_seed(recipe.seed)
        model = build(recipe.model, **given)
    return model, given


def make_task(recipe: DetectionRecipe, model: nn.Module, options: dict[str, Any], classes: list[str]) -> DetectionTask:
    """How a network learns."""
    rate = recipe.learning_rate

    def schedule(optimizer: torch.optim.Optimizer, steps: int) -> Any:
        if recipe.schedule == _CYCLE:
            return torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, max(2, steps), pct_start=0.15)
        made = _SCHEDULES[recipe.schedule]
        assert made is not None
        return made(optimizer, max(1, steps))

    return DetectionTask(
        model,
        len(classes),
        first_label=first_label_of(model),
        optimizer=lambda p: _OPTIMIZERS[recipe.optimizer](p, rate, recipe.weight_decay),
        schedule=None if recipe.schedule == "constant" else schedule,
        info={"task": "detect", "recipe": asdict(recipe), "classes": classes, "options": options},
    )


def train_detector(
    recipe: DetectionRecipe, out: str | os.PathLike[str], *, epochs: int, num_workers: int = 0, **options: Any
) -> tuple[dict[str, Any], Run]:
    """Train, test with the best epoch's weights (the last one's without validation data), and write a summary.

    ``out`` gets, beside what :func:`saccade.train.fit` writes, ``summary.json``, ``precision_recall.png`` and
    ``mistakes.png``. ``options`` are those of :func:`saccade.train.fit`.
    """
    recipe = recipe.check()
    start = time.perf_counter()
    sets = make_data(recipe, num_workers)
    model, given = make_model(recipe, sets)
    task = make_task(recipe, model, given, sets.classes)
    run = fit(task, sets, epochs=epochs, out=out, seed=recipe.seed, **{"gradient_clip_val": _CLIP, **options})
    seconds = time.perf_counter() - start
    summary: dict[str, Any] = {
        "recipe": asdict(recipe),
        "classes": sets.classes,
        "items": {name: len(part) for name in PARTS if (part := getattr(sets, name)) is not None},
        "epochs": len(run.history),
        "best_epoch": None if run.best_epoch is None else run.best_epoch + 1,
        "seconds": round(seconds, 1),
        **{name: value for name, value in run.history[-1].items() if name.startswith(("train_", "val_"))},
    }
    if sets.test is not None:
        kept = {name: options[name] for name in ("precision", "progress", "accelerator") if name in options}
        summary |= evaluate(task, sets, checkpoint=run.best or run.last, **kept)
        summary["class_ap50"] = class_precision(task, sets.classes)
    if run.trainer.is_global_zero:
        if sets.test is not None:
            write_pictures(task, out, sets.classes)
        path = Path(out) / "summary.json"
        replace_whole(path, lambda aside: aside.write_text(json.dumps(summary, indent=1) + "\n"))
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
    content = read_checkpoint(checkpoint)
    info = content.get("info", {}) if isinstance(content, dict) else {}
    if info.get("task") != "detect":
        raise ValueError(f"{op}: checkpoint must be one that 'saccade train detect' wrote, got {checkpoint}")
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
