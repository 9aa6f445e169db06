"""Training of a classifier from names and numbers alone: what ``saccade train classify`` does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from saccade import data as datasets
from saccade._extras import require
from saccade.models import map_loss
from saccade.train._recipe_parts import (
    PARTS,
    check_recipe,
    fit_and_test,
    model_options,
    optimization,
    plain,
    read_trained,
    seeded_model,
    write_summary,
)
from saccade.train.classifier import Classifier
from saccade.train.curves import plot_confusion_matrix
from saccade.train.data_module import ClassificationData
from saccade.train.fitting import Run, evaluate, load_weights

__all__ = ["Recipe", "evaluate_classifier", "train_classifier"]

_OP = "train classify"


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained; it is written into the checkpoint, which can be evaluated without it.

    ``data`` is ``"digits"`` (scikit-learn's), a folder that holds a folder of images for each class (split into 70 %
    training, 15 % validation and 15 % test, by class), or one that holds such folders named ``train``, ``val`` and
    ``test`` (the last two may be missing). ``image_size`` 0 is the model's own: 32 for LeNet-5 and small networks on
    digits, 224 for folders. ``augment`` 0 is none; 1 rotates by up to 10 degrees, moves by 6 % and scales by 10 %.
    """

    data: str
    model: str = "resnet18"
    image_size: int = 0
    grey: bool = False
    batch_size: int = 64
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 5e-4
    schedule: str = "poly"
    augment: float = 0.0
    flip: bool = False
    seed: int = 0

    def complete(self) -> Recipe:
        """With the model's own image size, checked."""
        not_negative = ("image_size", "weight_decay", "augment", "seed")
        check_recipe(_OP, self, positive=("batch_size", "learning_rate"), not_negative=not_negative)
        if self.image_size:
            return self
        options = model_options(self.model)
        flat = "in_features" in options
        size = 32 if self.model == "lenet5" or self.data == "digits" else 224
        return replace(self, image_size=8 if flat and self.data == "digits" else size)


def make_data(recipe: Recipe, num_workers: int = 0) -> ClassificationData:
    """The parts of a recipe's data, normalised and augmented."""
    parts, classes = _parts(recipe)
    return ClassificationData(
        parts["train"],
        parts.get("val"),
        parts.get("test"),
        batch_size=recipe.batch_size,
        normalize=datasets.transforms.MeanStd(),
        augment=_augmentation(recipe),
        num_classes=len(classes),
        classes=classes,
        seed=recipe.seed,
        num_workers=num_workers,
    )


def _digits(recipe: Recipe) -> tuple[dict[str, Any], list[str]]:
    digits = datasets.digits(recipe.image_size)
    shares = {"train": 0.7, "val": 0.15, "test": 0.15}
    return datasets.split(digits, shares, stratify=True, seed=recipe.seed), [str(i) for i in range(10)]


def _folder(recipe: Recipe) -> tuple[dict[str, Any], list[str]]:
    read = _reader(recipe)
    root = Path(recipe.data)
    if not root.is_dir():
        raise ValueError(f"{_OP}: data must be 'digits' or a folder that exists, got {recipe.data}")
    if (root / "train").is_dir():
        train = read(root / "train")
        others = {name: read(root / name, classes=train.classes) for name in PARTS[1:] if (root / name).is_dir()}
        return {"train": train, **others}, train.classes
    whole = read(root)
    shares = {"train": 0.7, "val": 0.15, "test": 0.15}
    return datasets.split(whole, shares, stratify=True, seed=recipe.seed), whole.classes


def _reader(recipe: Recipe) -> Callable[..., datasets.FolderDataset]:
    v2 = require("torchvision.transforms.v2", _OP, "train")
    size = recipe.image_size
    resize = v2.Compose([v2.Resize(size, antialias=True), v2.CenterCrop(size)])
    return partial(datasets.FolderDataset, transform=resize, mode="L" if recipe.grey else "RGB")


def _augmentation(recipe: Recipe) -> Callable[[Any], Any] | None:
    if not recipe.augment and not recipe.flip:
        return None
    v2 = require("torchvision.transforms.v2", _OP, "train")
    a = recipe.augment
    steps = []
    if a:
        move = min(1.0, 0.06 * a)
        scale = (max(0.05, 1 - 0.1 * a), 1 + 0.1 * a)
        bilinear = v2.InterpolationMode.BILINEAR
        steps.append(v2.RandomAffine(10 * a, (move, move), scale, interpolation=bilinear))
    if recipe.flip:
        steps.append(v2.RandomHorizontalFlip())
    return v2.Compose(steps)


def make_task(recipe: Recipe, sets: ClassificationData) -> Classifier:
    """The network of a recipe, with seeded weights, and how it learns."""
    options = model_options(recipe.model)
    image = sets.train[0][0]
    given: dict[str, Any] = {}
    if "in_features" in options:
        given["in_features"] = tuple(image.shape)
    if "in_channels" in options:
        given["in_channels"] = image.shape[0]
    if "image_size" in options:
        given["image_size"] = recipe.image_size
    return Classifier(
        seeded_model(recipe.model, recipe.seed, num_classes=sets.num_classes, **given),
        sets.num_classes,
        loss=map_loss if recipe.model == "lenet5" else nn.functional.cross_entropy,
        info={"recipe": asdict(recipe), "classes": sets.classes, "options": plain(given)},
        **optimization(recipe),
    )


def train_classifier(
    recipe: Recipe, out: str | os.PathLike[str], *, epochs: int, num_workers: int = 0, **options: Any
) -> tuple[dict[str, Any], Run]:
    """Train, test with the best epoch's weights (the last one's without validation data), and write a summary.

    ``out`` gets, beside what :func:`saccade.train.fit` writes, ``summary.json`` and ``confusion_matrix.png``.
    ``options`` are those of :func:`saccade.train.fit`.
    """
    recipe = recipe.complete()
    start = time.perf_counter()
    sets = make_data(recipe, num_workers)
    task = make_task(recipe, sets)
    summary, run = fit_and_test(task, sets, recipe, out, epochs=epochs, classes=sets.classes, started=start, **options)
    if task.confusion_matrix is not None:
        summary["confusion_matrix"] = _matrix(task)
    if run.trainer.is_global_zero:
        if task.confusion_matrix is not None:
            plot_confusion_matrix(task.confusion_matrix, Path(out) / "confusion_matrix.png", sets.classes)
        write_summary(summary, out)
    return summary, run


def evaluate_classifier(
    checkpoint: str | os.PathLike[str],
    data: str | None = None,
    *,
    part: str = "test",
    batch_size: int | None = None,
    num_workers: int = 0,
    **options: Any,
) -> tuple[dict[str, Any], Classifier]:
    """Measure a checkpoint that :func:`train_classifier` wrote: on a part of its own data, or all of another folder.

    Args:
        checkpoint: a file.
        data: as in :class:`Recipe`; None: what it was trained with.
        part: ``"train"``, ``"val"``, ``"test"`` of the split that training made, or ``"all"`` images of a folder.

    Returns:
        What was measured, ``test_accuracy`` and ``confusion_matrix`` included, and the classifier.
    """
    op = "eval classify"
    if part not in (*PARTS, "all"):
        raise ValueError(f"{op}: part must be train, val, test or all, got {part!r}")
    content, info = read_trained(op, "saccade train classify", checkpoint)
    recipe = Recipe(**info["recipe"])
    recipe = replace(recipe, data=data or recipe.data, batch_size=batch_size or recipe.batch_size, augment=0.0)
    parts, classes = _whole(recipe, info["classes"]) if part == "all" else _parts(recipe)
    if classes != info["classes"]:
        raise ValueError(f"{op}: data must have the classes of the training, {info['classes']}, got {classes}")
    if part not in parts:
        raise ValueError(f"{op}: part must be one that the data has ({', '.join(parts)}), got {part!r}")
    normalize = datasets.transforms.MeanStd()
    normalize.load_state_dict(content["ClassificationData"]["normalize"])
    chosen = parts[part]
    sets = ClassificationData(
        chosen, test=chosen, batch_size=recipe.batch_size, normalize=normalize, classes=classes, num_workers=num_workers
    )
    task = make_task(recipe, sets)
    load_weights(task, checkpoint)
    measured = evaluate(task, sets, **options)
    return {"items": len(chosen), "part": part, "classes": classes, **measured, "confusion_matrix": _matrix(task)}, task


def _parts(recipe: Recipe) -> tuple[dict[str, Any], list[str]]:
    return _digits(recipe) if recipe.data == "digits" else _folder(recipe)


def _whole(recipe: Recipe, classes: list[str]) -> tuple[dict[str, Any], list[str]]:
    if recipe.data == "digits":
        return {"all": datasets.digits(recipe.image_size)}, classes
    made = _reader(recipe)(recipe.data, classes=classes, allow_empty=True)
    return {"all": made}, classes


def _matrix(task: Classifier) -> list[list[int]]:
    matrix: Tensor | None = task.confusion_matrix
    return [] if matrix is None else matrix.tolist()
