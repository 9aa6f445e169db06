"""``saccade train classify`` and ``saccade eval classify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from saccade.cli._output import print_json, stdout
from saccade.cli._training import (
    Accumulate,
    AsJson,
    BatchSize,
    CheckpointSteps,
    Epochs,
    MeasuredData,
    Optimizer,
    Precision,
    Resume,
    Schedule,
    WeightDecay,
    Workers,
    print_training,
    reported,
)

__all__ = ["evaluate_classify", "train_classify"]


def train_classify(
    data: Annotated[str, typer.Argument(help="'digits', or a folder: of one per class, or of train, val and test.")],
    model: Annotated[str, typer.Option(help="A name of saccade.models.list_models().")] = "resnet18",
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, curves, table and summary.")] = Path("classifier"),
    epochs: Epochs = 20,
    batch_size: BatchSize = 64,
    image_size: Annotated[int, typer.Option(help="In pixels; 0: the model's own.")] = 0,
    grey: Annotated[bool, typer.Option("--grey", help="One channel instead of three.")] = False,
    optimizer: Optimizer = "adamw",
    learning_rate: Annotated[float, typer.Option(help="At the start.")] = 1e-3,
    weight_decay: WeightDecay = 5e-4,
    schedule: Schedule = "poly",
    augment: Annotated[float, typer.Option(help="1: turned by up to 10 degrees, moved, scaled; 2: twice that.")] = 0,
    flip: Annotated[bool, typer.Option("--flip", help="Also mirrored.")] = False,
    patience: Annotated[int | None, typer.Option(help="Stop after so many epochs without a lower loss.")] = None,
    accumulate: Accumulate = 1,
    precision: Precision = "32-true",
    checkpoint_steps: CheckpointSteps = None,
    workers: Workers = 0,
    seed: Annotated[int, typer.Option(help="Of split, weights, order and augmentation.")] = 0,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Train an image classifier. Interrupted, it goes on with --resume as if it had never stopped.

    Exit code 1 when training stops at a NaN, or is interrupted. Under torchrun (torchrun --nproc-per-node 2 -m saccade
    train classify ...) processes share each batch out, and batch normalisation runs over all of them.
    """
    with reported("train classify", out):
        from saccade.train.recipe import Recipe, train_classifier

        recipe = Recipe(
            data=data,
            model=model,
            image_size=image_size,
            grey=grey,
            batch_size=batch_size,
            optimizer=optimizer,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            schedule=schedule,
            augment=augment,
            flip=flip,
            seed=seed,
        )
        summary, run = train_classifier(
            recipe,
            out,
            epochs=epochs,
            num_workers=workers,
            resume=resume,
            patience=patience,
            accumulate=accumulate,
            precision=precision,
            checkpoint_steps=checkpoint_steps,
        )
    print_training(summary, run, out, as_json, _print_measured)


def evaluate_classify(
    data: MeasuredData = None,
    checkpoint: Annotated[Path, typer.Option(help="last.ckpt or best.ckpt of 'saccade train classify'.")] = Path(
        "classifier/best.ckpt"
    ),
    part: Annotated[str, typer.Option(help="test, val or train of the split; all: every image of a folder.")] = "test",
    out: Annotated[Path | None, typer.Option(help="Folder for the picture of the confusion matrix.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Default: that of training.")] = None,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Measure a trained image classifier: loss, accuracy, confusion matrix."""
    with reported("eval classify"):
        from saccade.train import plot_confusion_matrix
        from saccade.train.recipe import evaluate_classifier

        measured, task = evaluate_classifier(checkpoint, data, part=part, batch_size=batch_size, num_workers=workers)
        if out is not None:
            plot_confusion_matrix(task.confusion_matrix, out / "confusion_matrix.png", measured["classes"])
    if as_json:
        print_json(measured)
    else:
        _print_measured(measured)


def _print_measured(measured: dict[str, Any]) -> None:
    if "test_accuracy" not in measured:
        return
    items = measured["items"]
    count = items["test"] if isinstance(items, dict) else items
    stdout.print(f"accuracy {measured['test_accuracy']:.4f}, loss {measured['test_loss']:.4f}, {count} images")
    wrong = [
        (count, true, found)
        for true, row in zip(measured["classes"], measured["confusion_matrix"], strict=True)
        for found, count in zip(measured["classes"], row, strict=True)
        if count and true != found
    ]
    for count, true, found in sorted(wrong, reverse=True)[:5]:
        stdout.print(f"  {count} of {true} taken for {found}", markup=False)
