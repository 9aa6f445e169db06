"""Test accuracy of LeNet-5, a multi-layer perceptron and the logistic model on scikit-learn's handwritten digits.

    python -m benchmarks.quality.digits --out digits-quality    # a few minutes: 5 seeds of each network
    python -m benchmarks.quality.digits --quick                 # under a minute: one seed, fewer epochs

Writes ``digits.json`` and ``digits.png`` (the curves) into the folder.

The 1,797 images are split once, by class: 20 % are the test set, which no choice was made on. Each seed holds out
another 15 % of the rest for validation, and decides initial weights, order and augmentation. Learning rates, epochs and
augmentation were chosen by validation accuracy. The weights of the last epoch are tested. The logistic model learns
from all of the rest, as scikit-learn's LogisticRegression beside it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from saccade import data as datasets
from saccade import models
from saccade.train import ClassificationData, Classifier, evaluate, fit


class Setting(NamedTuple):
    """How a network is trained."""

    make: Callable[[], nn.Module]
    size: int
    epochs: int
    learning_rate: float
    augmented: bool
    normalize: Callable[[], nn.Module]
    weight_decay: float = 1e-2


# fmt: off
SETTINGS = {
    "lenet5": Setting(
        lambda: models.lenet5(output="linear"), 32, 30, 6e-3, True,
        lambda: datasets.transforms.MinMax((-0.1, 1.175), per_channel=False),
    ),
    "mlp": Setting(
        lambda: models.mlp(in_features=64, num_classes=10, hidden=(256,), dropout=0.2), 8, 40, 6e-3, True,
        lambda: datasets.transforms.MeanStd(per_channel=False),
    ),
}
# fmt: on


def augmentation(size: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Turned by up to 10 degrees, moved by up to 6 %, scaled by up to 10 %."""
    from torchvision.transforms import v2

    return v2.RandomAffine(10, (0.06, 0.06), (0.9, 1.1), interpolation=v2.InterpolationMode.BILINEAR)


def parts(size: int, seed: int | None) -> dict[str, Any]:
    """The test set, always the same; of the rest 15 % for validation by ``seed``, or none."""
    digits = datasets.digits(size)
    rest, test = datasets.split(digits, [0.8, 0.2], stratify=True, seed=0)
    if seed is None:
        return {"train": rest, "val": None, "test": test}
    labels = digits.labels[torch.tensor(rest.indices)]
    train, val = datasets.split(rest, [0.85, 0.15], stratify=labels, seed=seed)
    return {"train": train, "val": val, "test": test}


def train(name: str, seed: int, epochs: int | None = None) -> dict[str, Any]:
    """One network with one seed."""
    setting = SETTINGS[name]
    sets = ClassificationData(
        **parts(setting.size, seed),
        normalize=setting.normalize(),
        augment=augmentation(setting.size) if setting.augmented else None,
        seed=seed,
    )
    torch.manual_seed(seed)
    task = Classifier(
        setting.make(),
        10,
        optimizer=lambda p: torch.optim.AdamW(p, setting.learning_rate, weight_decay=setting.weight_decay),
        schedule=lambda o, n: torch.optim.lr_scheduler.OneCycleLR(o, setting.learning_rate, n, pct_start=0.2),
    )
    start, used = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        run = fit(task, sets, epochs=epochs or setting.epochs, out=folder, seed=seed, accelerator="cpu")
    seconds, used = time.perf_counter() - start, time.process_time() - used
    measured = evaluate(task, sets, accelerator="cpu")
    print(f"{name} seed {seed}: test {measured['test_accuracy']:.4f}, {seconds:.1f} s", flush=True)
    return {
        "seed": seed,
        "test_accuracy": round(measured["test_accuracy"], 5),
        "val_accuracy": round(run.history[-1]["val_accuracy"], 5),
        "seconds": round(seconds, 1),
        "processor_seconds": round(used, 1),
        "history": run.history,
    }


def logistic() -> dict[str, Any]:
    """The logistic model and scikit-learn's, with the same penalty, on the same images."""
    sets = parts(8, None)
    pairs = {}
    for part in ("train", "test"):
        images, labels = zip(*sets[part], strict=True)
        pairs[part] = torch.stack(images).flatten(1), torch.stack(labels)
    (x, y), (test_x, test_y) = pairs["train"], pairs["test"]
    model = models.logistic(in_features=64, num_classes=10)
    start = time.perf_counter()
    model.fit(x, y)
    seconds = time.perf_counter() - start
    with torch.no_grad():
        ours = float((model(test_x).argmax(1) == test_y).float().mean())
    reference = LogisticRegression(max_iter=2000).fit(x.numpy(), y.numpy())
    theirs = float(np.mean(reference.predict(test_x.numpy()) == test_y.numpy()))
    print(f"logistic: test {ours:.4f}, scikit-learn {theirs:.4f}", flush=True)
    return {"test_accuracy": round(ours, 5), "scikit_learn": round(theirs, 5), "seconds": round(seconds, 2)}


def plot(runs: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Loss and accuracy of every seed, training and validation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4 * len(runs)), layout="constrained")
    rows = figure.subplots(len(runs), 2, squeeze=False)
    for row, (name, seeds) in zip(rows, runs.items(), strict=True):
        for panel, quantity in zip(row, ("loss", "accuracy"), strict=True):
            for stage, label, color in (("train", "training", "tab:blue"), ("val", "validation", "tab:orange")):
                for i, run in enumerate(seeds):
                    values = [epoch[f"{stage}_{quantity}"] for epoch in run["history"]]
                    panel.plot(range(1, len(values) + 1), values, color=color, alpha=0.6, label=None if i else label)
            panel.set_title(f"{name}: {quantity}")
            panel.set_xlabel("epoch")
            panel.grid(alpha=0.3)
            panel.legend()
        row[0].set_yscale("log")
        row[1].set_ylim(0.9, 1.002)
    figure.savefig(path, dpi=90)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("digits-quality"), help="folder for JSON and picture")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one seed and fewer epochs, under a minute")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        count = 1 if options.quick else options.seeds
        epochs = 12 if options.quick else None
        runs = {name: [train(name, seed, epochs) for seed in range(count)] for name in SETTINGS}
        report: dict[str, Any] = {"quick": options.quick, "threads": options.threads, "test_images": 360}
        for name, seeds in runs.items():
            report[name] = {
                "mean_test_accuracy": round(statistics.fmean(run["test_accuracy"] for run in seeds), 5),
                "most_seconds": max(run["seconds"] for run in seeds),
                "epochs": epochs or SETTINGS[name].epochs,
                "seeds": [{k: v for k, v in run.items() if k != "history"} for run in seeds],
            }
        report["logistic"] = logistic()
    finally:
        torch.set_num_threads(before)
    (options.out / "digits.json").write_text(json.dumps(report, indent=1) + "\n")
    plot(runs, options.out / "digits.png")
    print(json.dumps(report, indent=1))
    return report


if __name__ == "__main__":
    main()
