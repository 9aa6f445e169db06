"""What the recipes of classification, segmentation and detection share: names, checks, the run, the summary."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from saccade._files import replace_whole
from saccade.models import build
from saccade.models._registry import _CONSTRUCTORS, _parameters
from saccade.train.checkpoint import read_checkpoint
from saccade.train.data_module import TaskData
from saccade.train.fitting import Run, evaluate, fit
from saccade.train.optim import AlexNetSGD, PolyLR
from saccade.train.task import Task

__all__ = [
    "PARTS",
    "check_recipe",
    "fit_and_test",
    "model_options",
    "optimization",
    "plain",
    "read_trained",
    "seeded_model",
    "write_summary",
]

PARTS = ("train", "val", "test")

OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "adamw": lambda p, lr, decay: torch.optim.AdamW(p, lr, weight_decay=decay),
    "sgd": lambda p, lr, decay: torch.optim.SGD(p, lr, momentum=0.9, weight_decay=decay),
    "alexnet": lambda p, lr, decay: AlexNetSGD(p, lr, 0.9, decay),
}
SCHEDULES: dict[str, Callable[..., Any] | None] = {
    "poly": PolyLR,
    "cosine": torch.optim.lr_scheduler.CosineAnnealingLR,
    "constant": None,
}


def check_recipe(op: str, recipe: Any, *, positive: Iterable[str], not_negative: Iterable[str]) -> None:
    """Known names of optimiser and schedule, and numbers in range."""
    for name, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
        if getattr(recipe, name) not in known:
            raise ValueError(f"{op}: {name} must be one of {', '.join(known)}, got {getattr(recipe, name)!r}")
    for name in positive:
        if not getattr(recipe, name) > 0:
            raise ValueError(f"{op}: {name} must be positive, got {getattr(recipe, name)}")
    for name in not_negative:
        if getattr(recipe, name) < 0:
            raise ValueError(f"{op}: {name} must not be negative, got {getattr(recipe, name)}")


def model_options(model: str) -> dict[str, bool]:
    """The options of a model by name, and whether each is required; ValueError for a name that there is not."""
    if model not in _CONSTRUCTORS:
        build(model)  # names the close ones
    return _parameters(_CONSTRUCTORS[model])


def seeded_model(model: str, seed: int, **options: Any) -> nn.Module:
    """A model whose initial weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(model, **options)


def optimization(recipe: Any) -> dict[str, Any]:
    """``optimizer`` and ``schedule`` of a :class:`Task`, of a recipe's names and numbers."""
    schedule = SCHEDULES[recipe.schedule]
    return {
        "optimizer": lambda p: OPTIMIZERS[recipe.optimizer](p, recipe.learning_rate, recipe.weight_decay),
        "schedule": None if schedule is None else lambda optimizer, steps: schedule(optimizer, max(1, steps)),
    }


def plain(options: dict[str, Any]) -> dict[str, Any]:
    """Options as a checkpoint keeps them."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}


def fit_and_test(
    task: Task,
    sets: TaskData,
    recipe: Any,
    out: str | os.PathLike[str],
    *,
    epochs: int,
    classes: Sequence[str],
    started: float,
    **options: Any,
) -> tuple[dict[str, Any], Run]:
    """Train, then test with the best epoch's weights (the last one's without validation data).

    ``started`` is time.perf_counter() when work began, ``options`` are those of :func:`saccade.train.fit`. Returns what
    a summary says, and the run.
    """
    run = fit(task, sets, epochs=epochs, out=out, seed=recipe.seed, **options)
    summary: dict[str, Any] = {
        "recipe": asdict(recipe),
        "classes": list(classes),
        "items": {name: len(part) for name in PARTS if (part := getattr(sets, name)) is not None},
        "epochs": len(run.history),
        "best_epoch": None if run.best_epoch is None else run.best_epoch + 1,
        "seconds": round(time.perf_counter() - started, 1),
        **{name: value for name, value in run.history[-1].items() if name.startswith(("train_", "val_"))},
    }
    if sets.test is not None:
        kept = {name: options[name] for name in ("precision", "progress", "accelerator") if name in options}
        summary |= evaluate(task, sets, checkpoint=run.best or run.last, **kept)
    return summary, run


def write_summary(summary: dict[str, Any], folder: str | os.PathLike[str]) -> None:
    """``summary.json`` in a folder, as a whole."""
    text = json.dumps(summary, indent=1) + "\n"
    replace_whole(Path(folder) / "summary.json", lambda aside: aside.write_text(text))


def read_trained(op: str, command: str, checkpoint: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A checkpoint that ``command`` wrote, and what it tells of itself."""
    content = read_checkpoint(checkpoint)
    info = content.get("info", {}) if isinstance(content, dict) else {}
    if "recipe" not in info or info.get("command", "saccade train classify") != command:
        raise ValueError(f"{op}: checkpoint must be one that '{command}' wrote, got {checkpoint}")
    return content, info
