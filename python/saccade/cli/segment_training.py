"""``saccade train segment`` and ``saccade eval segment``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

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

__all__ = ["evaluate_segment", "train_segment"]

_LAYOUTS = "'scenes' (generated), or a folder: VOC, Cityscapes, ADE20K, images and masks, or train, val, test of those."


def train_segment(
    data: Annotated[str, typer.Argument(help=_LAYOUTS)],
    model: Annotated[str, typer.Option(help="A network of saccade.models.segmentation.")] = "pspnet50",
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, curves, table and summary.")] = Path("segmenter"),
    epochs: Epochs = 50,
    batch_size: BatchSize = 16,
    crop_size: Annotated[int, typer.Option(help="Side of the training crops; 0: 473, scenes: 128.")] = 0,
    scenes: Annotated[int, typer.Option(help="How many scenes are generated for training.")] = 400,
    optimizer: Optimizer = "sgd",
    learning_rate: Annotated[float, typer.Option(help="At the start.")] = 1e-2,
    weight_decay: WeightDecay = 1e-4,
    schedule: Schedule = "poly",
    aux_weight: Annotated[float, typer.Option(help="Of the loss of auxiliary classifiers.")] = 0.4,
    augment: Annotated[bool, typer.Option(help="Resized, turned, blurred, mirrored; otherwise cropped only.")] = True,
    resize: Annotated[tuple[float, float], typer.Option(help="Range of the random factor of the sides.")] = (0.5, 2.0),
    rotate: Annotated[float, typer.Option(help="Greatest random angle, in degrees.")] = 10.0,
    patience: Annotated[int | None, typer.Option(help="Stop after so many epochs without a better mean IoU.")] = None,
    accumulate: Accumulate = 1,
    precision: Precision = "32-true",
    checkpoint_steps: CheckpointSteps = None,
    workers: Workers = 0,
    seed: Annotated[int, typer.Option(help="Of data, weights, order and augmentation.")] = 0,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Train a network that gives a class to each pixel, by PSPNet's recipe. Interrupted, it goes on with --resume.

    Exit code 1 when training stops at a NaN, or is interrupted. Under torchrun (torchrun --nproc-per-node 2 -m saccade
    train segment ...) processes share each batch out, and batch normalisation runs over all of them.
    """
    with reported("train segment", out):
        from saccade.train.segmentation_recipe import SegmentationRecipe, train_segmenter

        recipe = SegmentationRecipe(
            data=data,
            model=model,
            crop_size=crop_size,
            scenes=scenes,
            batch_size=batch_size,
            optimizer=optimizer,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            schedule=schedule,
            aux_weight=aux_weight,
            augment=augment,
            resize=resize,
            rotate=rotate,
            seed=seed,
        )
        summary, run = train_segmenter(
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


def evaluate_segment(
    data: MeasuredData = None,
    checkpoint: Annotated[Path, typer.Option(help="last.ckpt or best.ckpt of 'saccade train segment'.")] = Path(
        "segmenter/best.ckpt"
    ),
    part: Annotated[
        str | None, typer.Option(help="train, val, test, or all images of a folder; default: test, else val.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the picture of the confusion matrix.")] = None,
    window: Annotated[int, typer.Option(help="Side of sliding windows; 0: whole images.")] = 0,
    overlap: Annotated[float, typer.Option(help="Least part of a window that the next one shares.")] = 1 / 3,
    scales: Annotated[str, typer.Option(help="Sizes that results are averaged over, e.g. 0.5,0.75,1,1.25.")] = "1",
    flip: Annotated[bool, typer.Option("--flip", help="Average over mirror images too.")] = False,
    batch_size: Annotated[int | None, typer.Option(help="Default: 1, scenes: that of training.")] = None,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Measure a trained segmentation network: mean IoU, pixel accuracy, each class, confusion matrix."""
    with reported("eval segment"):
        from saccade.train import plot_confusion_matrix
        from saccade.train.segmentation_recipe import evaluate_segmenter

        measured, task = evaluate_segmenter(
            checkpoint,
            data,
            part=part,
            batch_size=batch_size,
            num_workers=workers,
            window=window,
            overlap=overlap,
            scales=_numbers(scales),
            flip=flip,
        )
        if out is not None:
            plot_confusion_matrix(task.confusion_matrix, out / "confusion_matrix.png", measured["classes"])
    if as_json:
        print_json(measured)
    else:
        _print_measured(measured)


def _numbers(text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise ValueError(f"eval segment: scales must be numbers with commas between them, got {text!r}") from None


def _print_measured(measured: dict[str, Any]) -> None:
    if "test_mean_iou" not in measured:
        return
    items = measured["items"]
    count = items["test"] if isinstance(items, dict) else items

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"

    table = Table(box=None)
    table.add_column("class")
    for heading in ("IoU", "recall", "precision", "pixels"):
        table.add_column(heading, justify="right")
    for row in measured["per_class"]:
        cells = [number(row[name]) for name in ("iou", "recall", "precision")]
        table.add_row(row["class"], *cells, str(row["pixels"]))
    stdout.print(table)
    stdout.print(
        f"mean IoU {number(measured['test_mean_iou'])}, near boundaries {number(measured['test_boundary_mean_iou'])}, "
        f"pixel accuracy {number(measured['test_accuracy'])}, {count} images"
    )
