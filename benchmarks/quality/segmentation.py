"""Mean IoU of the small segmentation networks on generated scenes, what dilation gives, and what a CRF on top gives.

    python -m benchmarks.quality.segmentation --out segmentation-quality           # seeds 0 to 2, about 40 minutes
    python -m benchmarks.quality.segmentation --only unet_small --seeds 0 1        # more into the same folder
    python -m benchmarks.quality.segmentation --quick                              # under a minute: see Scale

Writes ``segmentation.json`` and ``segmentation.png`` (what was found in four test scenes) into the folder; runs that
are there already stay, unless they are of the same network and seed.

A scene (:class:`saccade.data.SceneDataset`) has 128 x 128 pixels and six classes: ground and five shapes, each with a
texture of its own. A seed decides the 400 training scenes, the initial weights, order and augmentation; the 100 test
scenes are always the same. Epochs, learning rates and widths were chosen on others; that most networks see mirror
images only, not resized ones, was chosen on others too, but after two runs of U-Net with resized ones were tested here.
The weights of the last epoch are tested. "Boundary" is the mean IoU over pixels within three rows and columns of a
boundary between classes.

``drn_seg_strided`` is ``drn_seg_small`` with strides in place of two stages' dilation. ``fcn32s_coarse`` is a network
that is coarse on purpose, trained, and then trained on for as many epochs as ``fcn32s_crf``, which starts from the same
weights with :class:`saccade.nn.CRFasRNN` on top and learns end to end.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from saccade import models
from saccade.data import SceneDataset
from saccade.data.transforms import MeanStd, SegmentationAugmentation
from saccade.nn import CRFasRNN
from saccade.train import SegmentationData, SegmentationTask, evaluate, fit

TEST_SEED, TRAIN_SEED = 1, 2  # the training's seed is added to the second
BATCH = 4


class Scale(NamedTuple):
    """How much is learned from. A class for all shapes in small scenes can be learned in seconds."""

    side: int = 128
    training: int = 400
    test: int = 100
    classes: tuple[str, ...] = ("ground", *SceneDataset.classes)


QUICK = Scale(64, 72, 16, ("ground", "shape"))
QUICKLY = ("drn_seg_small", "drn_seg_strided", "fcn32s_coarse")


class Setting(NamedTuple):
    """How a network is trained."""

    make: Callable[[int], nn.Module]
    epochs: int
    learning_rate: float
    plus: int = 0  # sides are 8 k + 1
    tuned: int = 0  # further epochs of a network that is trained already
    quick: int = 8  # epochs of the quick run, whose scenes are fewer
    resampled: bool = False  # also resized, turned and blurred, as in PSPNet's recipe


def small(name: str, **options: Any) -> Callable[[int], nn.Module]:
    return lambda classes: models.build(name, num_classes=classes, **options)


SETTINGS = {
    "fcn8s_small": Setting(small("fcn8s_small", enlarge=2, dropout=0.1), 24, 3e-3),
    "unet_small": Setting(small("unet_small"), 30, 3e-3),
    "drn_seg_small": Setting(small("drn_seg_small"), 30, 3e-3),
    "pspnet_small": Setting(small("pspnet_small"), 32, 3e-3, plus=1),
    "drn_seg_strided": Setting(small("drn_seg_small", dilated=False), 30, 3e-3),
    "fcn32s_coarse": Setting(small("fcn32s_small"), 24, 3e-3, tuned=3, quick=20, resampled=True),
}


class WithCRF(nn.Module):
    """A network and a CRF on its logits, which compares the colours that the images had before normalisation."""

    def __init__(self, network: nn.Module, classes: int, std: Tensor) -> None:
        super().__init__()
        self.network = network
        self.crf = CRFasRNN(classes, iterations=5, alpha=12.0, beta=12.0, gamma=2.0)
        self.register_buffer("std", std.float().reshape(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.crf(self.network(images), images * self.std)


def scenes(count: int, scale: Scale, seed: int) -> TensorDataset:
    """Images as bytes and classes, in memory."""
    drawn = SceneDataset(count, (scale.side, scale.side), seed=seed)
    items = [drawn[i] for i in range(count)]
    classes = torch.stack([scene.classes() for scene in items]).clamp(max=len(scale.classes) - 1)
    return TensorDataset(torch.stack([scene.image for scene in items]), classes)


class Floats:
    """The augmentation of what is kept as bytes."""

    def __init__(self, augment: SegmentationAugmentation) -> None:
        self.augment = augment

    def __call__(self, image: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        return self.augment(image.float(), classes)


def data(seed: int, scale: Scale, resampled: bool = False) -> SegmentationData:
    train, test = scenes(scale.training, scale, TRAIN_SEED + seed), scenes(scale.test, scale, TEST_SEED)
    normalize = MeanStd().fit(train)
    fill = normalize.mean.tolist()
    # Textures of 5 to 8 pixels suffer from resampling.
    options: dict[str, Any] = {"resize": (0.8, 1.25), "blur": (0.1, 0.7)} if resampled else {}
    options = {"resize": None, "rotate": 10.0 if resampled else 0.0, "blur": None} | options
    augment = SegmentationAugmentation(scale.side, flip_vertical=0.5, fill=fill, **options)
    return SegmentationData(
        train,
        test=test,
        batch_size=BATCH,
        eval_batch_size=25,
        normalize=normalize,
        augment=Floats(augment),
        classes=scale.classes,
        seed=seed,
        drop_last=True,
    )


def run(network: nn.Module, sets: SegmentationData, seed: int, epochs: int, rate: float, plus: int) -> dict[str, Any]:
    """Train and test; the record, and what was found in the first test scenes."""
    task = SegmentationTask(
        network,
        sets.num_classes,
        multiple=8 if plus else 1,
        plus=plus,
        optimizer=lambda p: torch.optim.AdamW(p, rate, weight_decay=1e-2),
        schedule=lambda o, n: torch.optim.lr_scheduler.OneCycleLR(o, rate, n, pct_start=0.2),
    )
    start, used = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        trained = fit(task, sets, epochs=epochs, out=folder, seed=seed, accelerator="cpu")
    seconds, used = time.perf_counter() - start, time.process_time() - used
    measured = evaluate(task, sets, accelerator="cpu")
    images = torch.stack([sets.test[i][0] for i in range(4)])
    with torch.no_grad():
        found = task.eval().probabilities(sets.normalize(images)).argmax(1)
    return {
        "seed": seed,
        "epochs": epochs,
        "mean_iou": round(measured["test_mean_iou"], 5),
        "boundary_mean_iou": round(measured["test_boundary_mean_iou"], 5),
        "pixel_accuracy": round(measured["test_accuracy"], 5),
        "seconds": round(seconds, 1),
        "processor_seconds": round(used, 1),
        "train_loss": [round(row["train_loss"], 4) for row in trained.history],
        "found": found.to(torch.uint8).numpy(),
    }


def train(name: str, seed: int, scale: Scale) -> dict[str, dict[str, Any]]:
    """The records of a network by name: of the coarse one also that of its tuning, with a CRF and without."""
    setting = SETTINGS[name]
    sets = data(seed, scale, setting.resampled)
    torch.manual_seed(seed)
    network = setting.make(sets.num_classes)
    epochs, further = (setting.quick, 1) if scale == QUICK else (setting.epochs, setting.tuned)
    first = run(network, sets, seed, epochs, setting.learning_rate, setting.plus)
    if not setting.tuned:
        return {name: first}
    refined = WithCRF(copy.deepcopy(network), sets.num_classes, sets.normalize.std)
    records = {
        name: run(network, sets, seed, further, setting.learning_rate / 10, 0),
        "fcn32s_crf": run(refined, sets, seed, further, setting.learning_rate / 10, 0),
    }
    for record in records.values():
        for key in ("epochs", "seconds", "processor_seconds"):
            record[key] = round(record[key] + first[key], 1)
    return records


def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds, and the runs."""
    made: dict[str, Any] = {}
    for key in ("mean_iou", "boundary_mean_iou", "pixel_accuracy"):
        values = [record[key] for record in records]
        made[f"mean_{key}"], made[f"least_{key}"] = round(statistics.fmean(values), 5), min(values)
    made["most_processor_seconds"] = max(record["processor_seconds"] for record in records)
    return made | {"seeds": sorted(records, key=lambda record: record["seed"])}


def draw(folder: Path, scale: Scale) -> None:
    """A row for each of four test scenes: the picture, the truth, what each network of seed 0 found."""
    from matplotlib.figure import Figure

    truth = scenes(4, scale, TEST_SEED)
    found = {path.stem.removeprefix("found-"): np.load(path) for path in sorted(folder.glob("found-*.npy"))}
    columns = {"scene": truth.tensors[0].permute(0, 2, 3, 1).numpy(), "truth": truth.tensors[1].numpy()} | found
    figure = Figure(figsize=(1.45 * len(columns), 6.2), layout="constrained")
    panels = figure.subplots(4, len(columns))
    for (name, pictures), column in zip(columns.items(), panels.T, strict=True):
        column[0].set_title(name.replace("_", " "), fontsize=8)
        for panel, picture in zip(column, pictures, strict=True):
            panel.imshow(picture, **({} if picture.ndim == 3 else {"cmap": "tab10", "vmin": 0, "vmax": 9}))
            panel.set_axis_off()
    figure.savefig(folder / "segmentation.png", dpi=80)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("segmentation-quality"), help="folder for JSON and picture")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=None, choices=list(SETTINGS), metavar="NETWORK")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="small scenes, few epochs, one seed: under a minute")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "segmentation.json"
    report: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    scale = QUICK if options.quick else Scale()
    report |= {"quick": options.quick, "scale": {**scale._asdict(), "classes": list(scale.classes)}}
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        for seed in [0] if options.quick else options.seeds:
            for name in options.only or (QUICKLY if options.quick else SETTINGS):
                for made, record in train(name, seed, scale).items():
                    found = record.pop("found")
                    record["threads"] = options.threads
                    if seed == 0:
                        np.save(options.out / f"found-{made}.npy", found)
                    others = [r for r in report.get(made, {"seeds": []})["seeds"] if r["seed"] != seed]
                    report[made] = summary([*others, record])
                    path.write_text(json.dumps(report, indent=1) + "\n")
                    shown = {k: v for k, v in record.items() if k != "train_loss"}
                    print(f"{made}: {shown}", flush=True)
    finally:
        torch.set_num_threads(before)
    draw(options.out, scale)
    return report


if __name__ == "__main__":
    main()
