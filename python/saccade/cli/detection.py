"""``saccade train detect`` and ``saccade eval detect``."""

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

__all__ = ["evaluate_detect", "train_detect"]


def train_detect(
    data: Annotated[str, typer.Argument(help="'scenes' (generated ones), or a folder in COCO's or VOC's layout.")],
    model: Annotated[str, typer.Option(help="A detector of saccade.models.list_models().")] = "fasterrcnn_small",
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, curves, pictures, summary.")] = Path("detector"),
    epochs: Epochs = 30,
    scenes: Annotated[int, typer.Option(help="How many to learn from; a fifth of that to test on.")] = 500,
    image_size: Annotated[int, typer.Option(help="Side of generated scenes.")] = 256,
    model_size: Annotated[int, typer.Option(help="To which the network scales images; 0: its own.")] = 0,
    batch_size: BatchSize = 4,
    optimizer: Optimizer = "adamw",
    learning_rate: Annotated[float, typer.Option(help="The highest.")] = 2e-3,
    weight_decay: WeightDecay = 1e-2,
    schedule: Schedule = "onecycle",
    scale: Annotated[float, typer.Option(help="0.5: images are scaled by 1 / 1.5 to 1.5, then cropped.")] = 0,
    crop: Annotated[int, typer.Option(help="Side of a random crop; 0: none (scenes with --scale: their own).")] = 0,
    flip: Annotated[bool, typer.Option("--flip", help="Also mirrored.")] = False,
    flip_vertical: Annotated[bool, typer.Option("--flip-vertical", help="Also upside down.")] = False,
    bad_boxes: Annotated[str, typer.Option(help="Without area, or out of the image: raise, drop or clip.")] = "raise",
    patience: Annotated[int | None, typer.Option(help="Stop after so many epochs without a higher AP.")] = None,
    accumulate: Accumulate = 1,
    precision: Precision = "32-true",
    checkpoint_steps: CheckpointSteps = None,
    workers: Workers = 0,
    seed: Annotated[int, typer.Option(help="Of scenes, split, weights, order and augmentation.")] = 0,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Train an object detector. Interrupted, it goes on with --resume as if it had never stopped.

    Exit code 1 when training stops at a NaN, or is interrupted. Under torchrun (torchrun --nproc-per-node 2 -m saccade
    train detect ...) processes share each batch out. YOLO's anchors are fitted to the boxes of the training set.
    """
    with reported("train detect", out):
        from saccade.train.detection_recipe import DetectionRecipe, train_detector

        recipe = DetectionRecipe(
            data=data,
            model=model,
            scenes=scenes,
            image_size=image_size,
            model_size=model_size,
            batch_size=batch_size,
            optimizer=optimizer,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            schedule=schedule,
            scale=scale,
            crop=crop,
            flip=flip,
            flip_vertical=flip_vertical,
            on_bad_box=bad_boxes,
            seed=seed,
        )
        summary, run = train_detector(
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


def evaluate_detect(
    data: MeasuredData = None,
    checkpoint: Annotated[Path, typer.Option(help="last.ckpt or best.ckpt of 'saccade train detect'.")] = Path(
        "detector/best.ckpt"
    ),
    part: Annotated[str, typer.Option(help="test, val or train.")] = "test",
    out: Annotated[Path | None, typer.Option(help="Folder for the pictures of curves and mistakes.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Default: that of training.")] = None,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Measure a trained detector: COCO's and VOC's average precision, of boxes and masks."""
    with reported("eval detect"):
        from saccade.train.detection_recipe import evaluate_detector, write_pictures

        measured, task = evaluate_detector(checkpoint, data, part=part, batch_size=batch_size, num_workers=workers)
        if out is not None:
            write_pictures(task, out, measured["classes"])
    if as_json:
        print_json(measured)
    else:
        _print_measured(measured)


def _print_measured(measured: dict[str, Any]) -> None:
    if "test_ap" not in measured:
        return
    items = measured["items"]
    count = items["test"] if isinstance(items, dict) else items
    for prefix, what in (("test_", "boxes"), ("test_mask_", "masks")):
        if f"{prefix}ap" in measured:
            values = (f"{name.upper()} {measured[prefix + name]:.4f}" for name in ("ap", "ap50", "ap75"))
            stdout.print(f"{what}: {', '.join(values)}, {count} images")
    stdout.print(f"VOC: {measured['test_voc_ap']:.4f}, at 11 points {measured['test_voc_ap11']:.4f}")
    for name, value in measured["class_ap50"].items():
        stdout.print(f"  {name}: {'none' if value is None else f'{value:.4f}'}", markup=False)
