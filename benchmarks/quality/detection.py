"""Average precision of the small detectors on generated scenes.

    python -m benchmarks.quality.detection --out detection-quality    # three seeds of each network
    python -m benchmarks.quality.detection --quick                    # under a minute: one seed of YOLO, small scenes

Writes ``detection.json`` (after every run) and, for each network, ``detection-NAME.jpg`` (what it finds, precision over
recall) into the folder. ``--models`` runs some of them; what the file holds of the others stays.

500 scenes of 256 x 256 pixels with one to six shapes of five classes are learned from, each seed draws others. The test
is on 100 scenes that are always the same and that no choice was made on: learning rates, epochs and sizes were chosen
on scenes of other seeds. The weights of the last epoch are tested.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from saccade import models
from saccade.data import CachedDataset, Scene, SceneDataset
from saccade.data.transforms import Joint, augmentation
from saccade.train import DetectionData, DetectionTask, draw_detections, evaluate, fit
from saccade.train.detection_anchors import yolo_anchors
from saccade.train.detection_recipe import class_precision, has_masks

TEST_SEED = 10_000
CLASSES = list(SceneDataset.classes)


class Setting(NamedTuple):
    """How a network is trained."""

    epochs: int
    learning_rate: float
    bar: tuple[str, float]
    options: dict[str, Any]
    batch_size: int = 4


SETTINGS = {
    "fasterrcnn_small": Setting(30, 2e-3, ("ap50", 0.90), {"num_classes": 6}),
    "maskrcnn_small": Setting(30, 2e-3, ("mask_ap50", 0.85), {"num_classes": 6}),
    "yolo_small": Setting(
        30, 3e-3, ("ap50", 0.90), {"num_classes": 5, "image_size": 128, "score_thresh": 0.05}, batch_size=8
    ),
}


class Size(NamedTuple):
    """Of the task."""

    images: int = 500
    test: int = 100
    side: int = 256
    shapes: tuple[int, int] = (1, 6)


FULL, QUICK = Size(), Size(120, 40, 64, (1, 5))
QUICK_SETTINGS = {
    "yolo_small": Setting(
        22, 6e-3, ("ap50", 0.40), {"num_classes": 5, "image_size": 64, "score_thresh": 0.05}, batch_size=8
    )
}


def without_masks(scene: Scene) -> Any:
    image, target = scene.detection()
    return image, {name: value for name, value in target.items() if name != "masks"}


def scenes(size: Size, count: int, seed: int, masks: bool) -> CachedDataset:
    """Drawn once."""
    transform = Scene.detection if masks else without_masks
    drawn = SceneDataset(count, (size.side, size.side), shapes=size.shapes, seed=seed, transform=transform)
    return CachedDataset(drawn)


def make(name: str, options: dict[str, Any], seed: int, train: CachedDataset) -> torch.nn.Module:
    """The network with its initial weights; YOLO's anchors are fitted to the boxes that it learns from."""
    torch.manual_seed(seed)
    model = models.build(name, **options)
    if "yolo" in name:
        anchors = yolo_anchors(model, train, generator=torch.Generator().manual_seed(seed))
        torch.manual_seed(seed)
        model = models.build(name, **options, anchors=anchors)
    return model


def train(name: str, seed: int, size: Size, setting: Setting) -> tuple[dict[str, Any], DetectionTask]:
    """One network with one seed."""
    masks = has_masks(name)
    start, used = time.perf_counter(), time.process_time()
    sets = DetectionData(
        scenes(size, size.images, seed, masks),
        test=scenes(size, size.test, TEST_SEED, masks),
        batch_size=setting.batch_size,
        augment=Joint(augmentation(flip=0.5, flip_vertical=0.5)),
        seed=seed,
    )
    task = DetectionTask(
        make(name, setting.options, seed, sets.train.dataset),
        len(CLASSES),
        optimizer=lambda p: torch.optim.AdamW(p, setting.learning_rate, weight_decay=1e-2),
        schedule=lambda o, n: torch.optim.lr_scheduler.OneCycleLR(o, setting.learning_rate, n, pct_start=0.15),
    )
    with tempfile.TemporaryDirectory() as folder:
        run = fit(task, sets, epochs=setting.epochs, out=folder, seed=seed, accelerator="cpu", gradient_clip_val=10.0)
    seconds, used = time.perf_counter() - start, time.process_time() - used
    measured = evaluate(task, sets, accelerator="cpu")
    values = {name.removeprefix("test_"): round(value, 5) for name, value in measured.items()}
    print(f"{name} seed {seed}: AP50 {values['ap50']:.4f}, {seconds:.0f} s, {values}", flush=True)
    return {
        "seed": seed,
        **values,
        "class_ap50": class_precision(task, CLASSES),
        "seconds": round(seconds, 1),
        "processor_seconds": round(used, 1),
        "epochs": setting.epochs,
        "train_loss": [round(row["train_loss"], 4) for row in run.history],
    }, task


def picture(name: str, task: DetectionTask, size: Size, path: Path, count: int = 4) -> None:
    """What a network finds in the first scenes of the test, and precision over recall of every class."""
    from matplotlib.figure import Figure

    test, zoom = scenes(size, size.test, TEST_SEED, True), max(1, 384 // size.side)
    images = [test[index][0] for index in range(count)]
    with torch.inference_mode():
        found = task.eval().find(images)
    figure = Figure(figsize=(3.0 * count + 3.6, 3.1), layout="constrained")
    *panels, panel = figure.subplots(1, count + 1, width_ratios=[3.0] * count + [3.6])
    for place, image, each in zip(panels, images, found, strict=True):
        larger = image.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)
        each = {**each, "boxes": each["boxes"] * zoom}
        if "masks" in each:
            each["masks"] = each["masks"].repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)
        place.imshow(draw_detections(larger, each, CLASSES, min_score=0.5))
        place.axis("off")
    for label, curve in zip(CLASSES, task.curves, strict=True):
        panel.plot(curve.recall, curve.precision, label=f"{label}: {curve.average_precision():.3f}")
    panel.set(title=f"{name}: average precision", xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
    panel.grid(alpha=0.3)
    panel.legend(fontsize=8, loc="lower left")
    figure.savefig(path, dpi=90, pil_kwargs={"quality": 85})


def summary(
    runs: dict[str, list[dict[str, Any]]], options: argparse.Namespace, size: Size, before: dict[str, Any]
) -> dict[str, Any]:
    """Of all runs; of networks that were not run this time what stands in the file already."""
    report: dict[str, Any] = {"quick": options.quick, "threads": options.threads}
    report |= {name: list(value) if isinstance(value, tuple) else value for name, value in size._asdict().items()}
    report |= {name: before[name] for name in SETTINGS if name in before}
    for name, seeds in runs.items():
        if seeds:
            measure, bar = (QUICK_SETTINGS if options.quick else SETTINGS)[name].bar
            report[name] = {
                f"mean_{measure}": round(statistics.fmean(run[measure] for run in seeds), 5),
                f"least_{measure}": min(run[measure] for run in seeds),
                "bar": bar,
                "most_seconds": max(run["seconds"] for run in seeds),
                "seeds": seeds,
            }
    return report


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("detection-quality"), help="folder for JSON and pictures")
    parser.add_argument("--models", nargs="+", choices=list(SETTINGS), default=None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one seed of YOLO on small scenes")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    size = QUICK if options.quick else FULL
    settings = QUICK_SETTINGS if options.quick else SETTINGS
    names = options.models or list(settings)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    file = options.out / "detection.json"
    old = json.loads(file.read_text()) if file.exists() else {}
    old = {} if (old.get("quick"), old.get("threads")) != (options.quick, options.threads) else old
    try:
        for seed in range(1 if options.quick else options.seeds):
            for name in names:
                run, task = train(name, seed, size, settings[name])
                runs[name].append(run)
                report = summary(runs, options, size, old)
                file.write_text(json.dumps(report, indent=1) + "\n")
                if seed == 0:
                    picture(name, task, size, options.out / f"detection-{name}.jpg")
    finally:
        torch.set_num_threads(before)
    print(json.dumps({name: value for name, value in report.items() if name not in names}, indent=1))
    return report


if __name__ == "__main__":
    main()
