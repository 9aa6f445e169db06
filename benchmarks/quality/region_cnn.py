"""Average precision of Fast R-CNN and R-CNN with selective search on generated scenes, and the time of an image.

    python -m benchmarks.quality.region_cnn --out region-cnn-quality    # three seeds of each network
    python -m benchmarks.quality.region_cnn --quick                     # under a minute: one seed, small scenes

Writes ``region_cnn.json`` (after every run) and ``region-cnn-predictions.jpg`` into the folder.

500 scenes of 256 x 256 pixels with one to six shapes of five classes are learned from, each seed draws others. The test
is on 100 scenes that are always the same and that no choice was made on: learning rates, epochs and sizes were chosen
on scenes of other seeds. The weights of the last epoch are tested. R-CNN is tested with its softmax, and with support
vector machines and ridge regression fitted to its features.

The time of an image is that of one thread from the pixels to the findings, selective search included; Faster R-CNN
beside them, which proposes for itself, has initial weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics.detection import MeanAveragePrecision

from saccade import models
from saccade.data import SceneDataset
from saccade.models.detection import SelectiveSearch, fit_svms

TEST_SEED = 10_000
CLASSES = list(SceneDataset.classes)
SVM_IMAGES = 200  # scenes that the support vector machines learn from, of those that the network did
BAR = 0.80  # AP50 of Fast R-CNN


class Setting(NamedTuple):
    """How a network is trained."""

    epochs: int
    learning_rate: float
    batch_size: int = 4


SETTINGS = {"fast_rcnn_small": Setting(10, 2e-3), "rcnn_small": Setting(8, 2e-3)}


class Size(NamedTuple):
    """Of the task."""

    images: int = 500
    test: int = 100
    side: int = 256
    shapes: tuple[int, int] = (1, 6)
    proposals: int = 300


FULL, QUICK = Size(), Size(80, 20, 96, (1, 2), 60)
QUICK_EPOCHS = {"fast_rcnn_small": 12, "rcnn_small": 6}
Example = tuple[Tensor, dict[str, Tensor], Tensor]


def examples(count: int, seed: int, size: Size) -> list[Example]:
    """Images, targets and proposals of generated scenes."""
    search, found = SelectiveSearch(max_boxes=size.proposals), []
    for scene in SceneDataset(count, (size.side, size.side), shapes=size.shapes, seed=seed):
        image = scene.image.float() / 255
        found.append((image, {"boxes": scene.boxes, "labels": scene.labels + 1}, search(image)))
    return found


def flipped(example: Example, axes: list[int]) -> Example:
    """Mirrored along rows (1), columns (2) or both."""
    image, target, proposals = example
    boxes = [target["boxes"], proposals]
    for axis in axes:
        start, end, extent = (1, 3, image.shape[1]) if axis == 1 else (0, 2, image.shape[2])
        boxes = [each.clone() for each in boxes]
        for each in boxes:
            each[:, [start, end]] = extent - each[:, [end, start]]
    return image.flip(axes), {**target, "boxes": boxes[0]}, boxes[1]


def learn(model: nn.Module, data: list[Example], setting: Setting, epochs: int) -> list[float]:
    """Train; returns the mean loss of each epoch."""
    optimizer = torch.optim.AdamW(model.parameters(), setting.learning_rate, weight_decay=1e-2)
    steps = epochs * (len(data) // setting.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, setting.learning_rate, steps, pct_start=0.15)
    model.train()
    history = []
    for epoch in range(epochs):
        order, losses = torch.randperm(len(data)).tolist(), []
        for first in range(0, len(data) - setting.batch_size + 1, setting.batch_size):
            batch = []
            for index in order[first : first + setting.batch_size]:
                axes = [axis for axis in (1, 2) if torch.rand(()) < 0.5]
                batch.append(flipped(data[index], axes))
            images, targets, proposals = zip(*batch, strict=True)
            loss = sum(model(images, targets, proposals).values())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        history.append(round(statistics.fmean(losses), 4))
        if epoch % 2 == 1:
            print(f"epoch {epoch + 1}: loss {history[-1]}", flush=True)
    return history


@torch.inference_mode()
def precision(model: nn.Module, data: list[Example]) -> dict[str, float]:
    """COCO's average precision, and at an IoU of 0.5."""
    model.eval()
    metric = MeanAveragePrecision(backend="faster_coco_eval")
    for image, target, proposals in data:
        metric.update(model([image], None, [proposals]), [target])
    values = metric.compute()
    return {"ap": round(float(values["map"]), 5), "ap50": round(float(values["map_50"]), 5)}


def recall(data: list[Example], least: float = 0.5) -> float:
    """The share of objects that some proposal overlaps by an IoU of ``least``."""
    from saccade.ops import box_iou

    best = torch.cat([box_iou(target["boxes"], proposals).amax(1) for _, target, proposals in data])
    return round(float((best >= least).float().mean()), 5)


def train(name: str, seed: int, size: Size, test: list[Example], epochs: int) -> tuple[dict[str, Any], nn.Module]:
    """One network with one seed."""
    start, used = time.perf_counter(), time.process_time()
    data = examples(size.images, seed, size)
    torch.manual_seed(seed)
    model = models.build(name, num_classes=len(CLASSES) + 1, min_size=size.side)
    history = learn(model, data, SETTINGS[name], epochs)
    run: dict[str, Any] = {"seed": seed, "epochs": epochs, "train_loss": history}
    if name == "rcnn_small":
        softmax = precision(model, test)
        images, targets, proposals = zip(*data[:SVM_IMAGES], strict=True)
        fit_svms(model, images, targets, proposals)
        run |= {f"softmax_{measure}": value for measure, value in softmax.items()}
    run["seconds"] = round(time.perf_counter() - start, 1)
    run["processor_seconds"] = round(time.process_time() - used, 1)
    run |= precision(model, test)
    print(f"{name} seed {seed}: { ({key: value for key, value in run.items() if key != 'train_loss'}) }", flush=True)
    return run, model


@torch.inference_mode()
def times(networks: dict[str, nn.Module], test: list[Example], size: Size) -> dict[str, float]:
    """Milliseconds of an image on one thread, medians of interleaved runs."""
    torch.manual_seed(0)
    networks = {**networks, "fasterrcnn_small": models.build("fasterrcnn_small", num_classes=len(CLASSES) + 1)}
    search = SelectiveSearch(max_boxes=size.proposals)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    taken: dict[str, list[float]] = {name: [] for name in networks}
    try:
        for image, _, _ in test[:25]:
            for name, network in networks.items():
                start = time.perf_counter()
                network.eval()([image], None, *([] if name == "fasterrcnn_small" else [[search(image)]]))
                taken[name].append(1e3 * (time.perf_counter() - start))
    finally:
        torch.set_num_threads(before)
    return {name: round(statistics.median(each[2:]), 2) for name, each in taken.items()}


@torch.inference_mode()
def draw(networks: dict[str, nn.Module], test: list[Example], path: Path, columns: int = 4) -> None:
    """Findings in the first scenes of the test, a row for each network."""
    from PIL import Image, ImageDraw

    side = test[0][0].shape[-1]
    sheet = Image.new("RGB", (columns * side, len(networks) * side))
    for row, network in enumerate(networks.values()):
        for column, (image, _, proposals) in enumerate(test[:columns]):
            picture = Image.fromarray((image * 255).byte().permute(1, 2, 0).numpy())
            pen = ImageDraw.Draw(picture)
            found = network.eval()([image], None, [proposals])[0]
            for box, label, score in zip(*(found[key].tolist() for key in ("boxes", "labels", "scores")), strict=True):
                if score >= 0.5:
                    pen.rectangle(box, outline=(255, 230, 0), width=2)
                    pen.text((box[0] + 3, box[1] + 2), f"{CLASSES[label - 1]} {score:.2f}", fill=(255, 255, 255))
            sheet.paste(picture, (column * side, row * side))
    sheet.save(path, quality=88)


def summary(runs: dict[str, list[dict[str, Any]]], options: argparse.Namespace, size: Size) -> dict[str, Any]:
    report: dict[str, Any] = {"quick": options.quick, "threads": options.threads}
    report |= {**size._asdict(), "shapes": list(size.shapes)}
    for name, seeds in runs.items():
        if seeds:
            report[name] = {
                "mean_ap50": round(statistics.fmean(run["ap50"] for run in seeds), 5),
                "least_ap50": min(run["ap50"] for run in seeds),
                **({"bar": BAR} if name == "fast_rcnn_small" else {}),
                "most_seconds": max(run["seconds"] for run in seeds),
                "seeds": seeds,
            }
    return report


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("region-cnn-quality"), help="folder for JSON and picture")
    parser.add_argument("--models", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one seed on small scenes, under a minute")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    size = QUICK if options.quick else FULL
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in options.models}
    networks: dict[str, nn.Module] = {}
    try:
        test = examples(size.test, TEST_SEED, size)
        extra: dict[str, Any] = {"proposal_recall50": recall(test), "proposal_recall70": recall(test, 0.7)}
        for name in options.models:
            for seed in range(1 if options.quick else options.seeds):
                epochs = QUICK_EPOCHS[name] if options.quick else SETTINGS[name].epochs
                run, model = train(name, seed, size, test, epochs)
                runs[name].append(run)
                if seed == 0:
                    networks[name] = model
                    draw(networks, test, options.out / "region-cnn-predictions.jpg")
                    extra["milliseconds"] = times(networks, test, size)
                report = {**summary(runs, options, size), **extra}
                (options.out / "region_cnn.json").write_text(json.dumps(report, indent=1) + "\n")
    finally:
        torch.set_num_threads(before)
    print(json.dumps({name: value for name, value in report.items() if name not in options.models}, indent=1))
    return report


if __name__ == "__main__":
    main()
