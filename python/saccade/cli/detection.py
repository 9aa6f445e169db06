"""``saccade train detect`` and ``saccade eval detect``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from saccade.cli._output import print_json, stderr, stdout
from saccade.cli._training import print_history, reported

__all__ = ["evaluate_detect", "train_detect"]


def train_detect(
    data: Annotated[str, typer.Argument(help="'scenes' (generated ones), or a folder in COCO's or VOC's layout.")],
    model: Annotated[str, typer.Option(help="A detector of saccade.models.list_models().")] = "fasterrcnn_small",
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, curves, pictures, summary.")] = Path("detector"),
    epochs: Annotated[int, typer.Option(help="Of the whole training.")] = 30,
    scenes: Annotated[int, typer.Option(help="How many to learn from; a fifth of that to test on.")] = 500,
    image_size: Annotated[int, typer.Option(help="Side of generated scenes.")] = 256,
    model_size: Annotated[int, typer.Option(help="To which the network scales images; 0: its own.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Of each process.")] = 4,
    optimizer: Annotated[str, typer.Option(help="adamw, sgd or alexnet (the notes' rule).")] = "adamw",
    learning_rate: Annotated[float, typer.Option(help="The highest.")] = 2e-3,
    weight_decay: Annotated[float, typer.Option(help="Of the optimiser.")] = 1e-2,
    schedule: Annotated[str, typer.Option(help="onecycle, poly, cosine or constant.")] = "onecycle",
    scale: Annotated[float, typer.Option(help="0.5: images are scaled by 1 / 1.5 to 1.5, then cropped.")] = 0,
    crop: Annotated[int, typer.Option(help="Side of a random crop; 0: none (scenes with --scale: their own).")] = 0,
    flip: Annotated[bool, typer.Option("--flip", help="Also mirrored.")] = False,
    flip_vertical: Annotated[bool, typer.Option("--flip-vertical", help="Also upside down.")] = False,
    bad_boxes: Annotated[str, typer.Option(help="Without area, or out of the image: raise, drop or clip.")] = "raise",
    patience: Annotated[int | None, typer.Option(help="Stop after so many epochs without a higher AP.")] = None,
    accumulate: Annotated[int, typer.Option(help="Batches that make one step.")] = 1,
    precision: Annotated[str, typer.Option(help="32-true, bf16-mixed or 16-mixed.")] = "32-true",
    checkpoint_steps: Annotated[int | None, typer.Option(help="Also write a checkpoint after so many steps.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that read images; 0: the one that trains.")] = 0,
    seed: Annotated[int, typer.Option(help="Of scenes, split, weights, order and augmentation.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from OUT/last.ckpt, if it is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write the summary as JSON to stdout.")] = False,
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
    if int(os.environ.get("RANK", "0")) != 0:
        return
    if as_json:
        print_json({**summary, "history": run.history})
        return
    print_history(run.history)
    _print_measured(summary)
    stderr.print(f"Written to {out}.", markup=False, soft_wrap=True)


def evaluate_detect(
    data: Annotated[str | None, typer.Argument(help="As for training; default: what it was trained with.")] = None,
    checkpoint: Annotated[Path, typer.Option(help="last.ckpt or best.ckpt of 'saccade train detect'.")] = Path(
        "detector/best.ckpt"
    ),
    part: Annotated[str, typer.Option(help="test, val or train.")] = "test",
    out: Annotated[Path | None, typer.Option(help="Folder for the pictures of curves and mistakes.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Default: that of training.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that read images.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")] = False,
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
