"""Training of a segmentation network from names and numbers alone: what ``saccade train segment`` does."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from saccade import data as datasets
from saccade.models import segmentation
from saccade.train._recipe_parts import (
    check_recipe,
    fit_and_test,
    model_options,
    optimization,
    plain,
    read_trained,
    seeded_model,
    write_summary,
)
from saccade.train._segmentation_parts import find_parts
from saccade.train.curves import plot_confusion_matrix
from saccade.train.fitting import Run, evaluate, load_weights
from saccade.train.segmentation import SegmentationTask
from saccade.train.segmentation_data import SegmentationData
from saccade.train.segmentation_metrics import per_class

__all__ = ["SegmentationRecipe", "evaluate_segmenter", "train_segmenter"]

_OP = "train segment"
_COMMAND = "saccade train segment"


@dataclass(frozen=True)
class SegmentationRecipe:
    """How a segmentation network is trained; it is written into the checkpoint, which can be evaluated without it.

    ``data`` is ``"scenes"`` (generated: ``scenes`` of them for training, a quarter of it each for validation and test,
    as large as the crop), or a folder: VOC's (``VOCdevkit/VOC2012``), Cityscapes', ADE20K's, one with ``images`` and
    ``masks`` (split into 70 % training, 15 % validation and 15 % test), or one that holds such folders named ``train``,
    ``val`` and ``test`` (the last two may be missing). Names of the classes are in ``classes.txt``, a line for each;
    without it the masks of the training set tell how many there are.

    ``crop_size`` 0 is 128 for scenes, 473 otherwise. ``resize`` to ``blur`` are those of
    :class:`saccade.data.transforms.SegmentationAugmentation`; ``augment`` False leaves only the crop.
    """

    data: str
    model: str = "pspnet50"
    crop_size: int = 0
    scenes: int = 400
    batch_size: int = 16
    optimizer: str = "sgd"
    learning_rate: float = 1e-2
    weight_decay: float = 1e-4
    schedule: str = "poly"
    aux_weight: float = 0.4
    augment: bool = True
    resize: tuple[float, float] = (0.5, 2.0)
    rotate: float = 10.0
    flip: float = 0.5
    blur: tuple[float, float] = (0.1, 1.0)
    boundary_radius: int = 3
    seed: int = 0

    def complete(self) -> SegmentationRecipe:
        """With the crop's size, checked."""
        model_options(self.model)  # names the close ones
        known = [name for name in segmentation.__all__ if name not in ("convert_to_fcn", "predict")]
        if self.model not in known:
            raise ValueError(f"{_OP}: model must give a class to each pixel ({', '.join(known)}), got {self.model!r}")
        not_negative = ("crop_size", "weight_decay", "aux_weight", "seed")
        positive = ("batch_size", "learning_rate", "scenes", "boundary_radius")
        check_recipe(_OP, self, positive=positive, not_negative=not_negative)
        return replace(self, crop_size=self.crop_size or (128 if self.data == "scenes" else 473))


def make_data(recipe: SegmentationRecipe, num_workers: int = 0) -> SegmentationData:
    """The parts of a recipe's data, normalised and augmented."""
    parts, classes = find_parts(recipe.data, recipe.crop_size, recipe.scenes, recipe.seed)
    normalize = datasets.transforms.MeanStd().fit(parts["train"])
    fill = normalize.mean.tolist()
    random = {"resize": recipe.resize, "rotate": recipe.rotate, "flip": recipe.flip, "blur": recipe.blur}
    fixed = {"resize": None, "rotate": 0.0, "flip": 0.0, "blur": None}
    options: dict[str, Any] = random if recipe.augment else fixed
    return SegmentationData(
        parts["train"],
        parts.get("val"),
        parts.get("test"),
        batch_size=recipe.batch_size,
        eval_batch_size=recipe.batch_size if recipe.data == "scenes" else 1,
        normalize=normalize,
        augment=datasets.transforms.SegmentationAugmentation(recipe.crop_size, fill=fill, **options),
        classes=classes,
        seed=recipe.seed,
        num_workers=num_workers,
        drop_last=len(parts["train"]) >= recipe.batch_size,  # a last batch of one cannot be normalised
    )


def make_task(
    recipe: SegmentationRecipe, classes: Sequence[str], channels: int, inference: dict[str, Any] | None = None
) -> SegmentationTask:
    """The network of a recipe, with seeded weights, and how it learns."""
    options = model_options(recipe.model)
    given: dict[str, Any] = {}
    for name in ("in_channels", "n_channels"):
        if name in options:
            given[name] = channels
    if "image_size" in options:
        given["image_size"] = recipe.crop_size
    if "aux_loss" in options:
        given["aux_loss"] = recipe.aux_weight > 0
    inference = dict(inference or {})
    if "image_size" in options:
        inference.setdefault("window", recipe.crop_size)  # it takes no other size
    pyramid = recipe.model.startswith("pspnet")
    return SegmentationTask(
        seeded_model(recipe.model, recipe.seed, num_classes=len(classes), **given),
        len(classes),
        aux_weight=recipe.aux_weight,
        multiple=8 if pyramid else 1,
        plus=1 if pyramid else 0,
        inference=inference,
        boundary_radius=recipe.boundary_radius,
        info={
            "command": _COMMAND,
            "recipe": plain(asdict(recipe)),
            "classes": list(classes),
            "channels": channels,
            "options": plain(given),
        },
        **optimization(recipe),
    )


def train_segmenter(
    recipe: SegmentationRecipe, out: str | os.PathLike[str], *, epochs: int, num_workers: int = 0, **options: Any
) -> tuple[dict[str, Any], Run]:
    """Train, test with the epoch of the best validation mean IoU, and write a summary.

    ``out`` gets, beside what :func:`saccade.train.fit` writes, ``summary.json`` and ``confusion_matrix.png``.
    ``options`` are those of :func:`saccade.train.fit`.
    """
    recipe = recipe.complete()
    start = time.perf_counter()
    sets = make_data(recipe, num_workers)
    task = make_task(recipe, sets.classes, sets.train[0][0].shape[0])
    if sets.val is not None:
        options = {"monitor": "val_mean_iou", "mode": "max", **options}
    summary, run = fit_and_test(task, sets, recipe, out, epochs=epochs, classes=sets.classes, started=start, **options)
    summary = _finite(summary) | _by_class(task, sets.classes)
    if run.trainer.is_global_zero:
        if task.confusion_matrix is not None:
            plot_confusion_matrix(task.confusion_matrix, Path(out) / "confusion_matrix.png", sets.classes)
        write_summary(summary, out)
    return summary, run


def evaluate_segmenter(
    checkpoint: str | os.PathLike[str],
    data: str | None = None,
    *,
    part: str | None = None,
    batch_size: int | None = None,
    num_workers: int = 0,
    window: int = 0,
    overlap: float = 1 / 3,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    **options: Any,
) -> tuple[dict[str, Any], SegmentationTask]:
    """Measure a checkpoint that :func:`train_segmenter` wrote: on a part of its own data, or of another folder.

    Args:
        checkpoint: a file.
        data: as in :class:`SegmentationRecipe`; None: what it was trained with.
        part: ``"train"``, ``"val"`` or ``"test"``, or ``"all"`` images of a folder with images and masks; None: the
            test part, where there is one, else the validation part.
        batch_size: default: that of training for scenes, else 1.
        num_workers: processes that read.
        window, overlap, scales, flip: see :func:`saccade.models.segmentation.predict`; a window of 0: whole images.

    Returns:
        What was measured, ``test_mean_iou``, ``per_class`` and ``confusion_matrix`` included, and the task.
    """
    op = "eval segment"
    content, info = read_trained(op, _COMMAND, checkpoint)
    kept: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in info["recipe"].items()}
    recipe = SegmentationRecipe(**kept)
    recipe = replace(recipe, data=data or recipe.data)
    parts, classes = find_parts(
        recipe.data, recipe.crop_size, recipe.scenes, recipe.seed, whole=part == "all", classes=info["classes"]
    )
    part = part or ("test" if "test" in parts else "val")
    if part not in parts:
        raise ValueError(f"{op}: part must be one that the data has ({', '.join(parts)}), got {part!r}")
    if list(classes) != info["classes"]:
        raise ValueError(f"{op}: data must have the classes of the training, {info['classes']}, got {list(classes)}")
    normalize = datasets.transforms.MeanStd()
    normalize.load_state_dict(content["SegmentationData"]["normalize"])
    chosen = parts[part]
    sets = SegmentationData(
        chosen,
        test=chosen,
        batch_size=batch_size or (recipe.batch_size if recipe.data == "scenes" else 1),
        normalize=normalize,
        classes=classes,
        num_workers=num_workers,
    )
    inference = {"overlap": overlap, "scales": tuple(scales), "flip": flip} | ({"window": window} if window else {})
    task = make_task(recipe, classes, info["channels"], inference)
    load_weights(task, checkpoint)
    measured = evaluate(task, sets, **options)
    found = {"items": len(chosen), "part": part, "classes": list(classes), **_finite(measured)}
    return found | _by_class(task, classes), task


def _by_class(task: SegmentationTask, classes: Sequence[str]) -> dict[str, Any]:
    matrix = task.confusion_matrix
    return {} if matrix is None else {"per_class": per_class(matrix, classes), "confusion_matrix": matrix.tolist()}


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """None for what there was nothing to measure of; JSON has no NaN."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
