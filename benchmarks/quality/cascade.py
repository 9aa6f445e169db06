"""Hit and false-alarm rates of a face cascade trained on the few faces that scikit-image carries.

    python -m benchmarks.quality.cascade --out cascade-quality    # a few minutes
    python -m benchmarks.quality.cascade --quick                  # under a minute

Writes ``cascade.json``, ``cascade.xml``, ``detections.png`` and ``report.html`` with its pictures into the folder. The
cascade of the full run, with seed 0, is the one that ``CascadeClassifier.default()`` loads.

Of the 100 faces of ``lfw_subset`` 80 are learnt, each also mirrored and, a little, turned, moved and scaled; 20 are
held out. Backgrounds are pictures without faces; others are held out to count false alarms.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import skimage.data
from numpy.typing import NDArray
from skimage.transform import SimilarityTransform, warp
from sklearn.datasets import load_sample_images

from saccade.classic import CascadeClassifier, CascadeTrainer
from saccade.classic.cascade_report import write_report
from saccade.classic.cascade_trainer import TrainingProgress

Grey = NDArray[np.uint8]

SIZE = 24
BACKGROUNDS = (
    "brick", "grass", "gravel", "coins", "page", "clock", "moon", "text", "rocket", "hubble_deep_field",
    "immunohistochemistry", "retina", "colorwheel", "chelsea", "horse", "logo",
)  # fmt: skip
HELD_OUT = ("coffee", "china", "flower")


def picture(name: str) -> Grey:
    """A picture that scikit-image or scikit-learn carries, grey."""
    if name in ("china", "flower"):
        image = load_sample_images().images[("china", "flower").index(name)]
    else:
        image = np.asarray(getattr(skimage.data, name)())
    if image.dtype == bool:
        image = image.astype(np.uint8) * 255
    if image.ndim == 3:
        image = np.round(image[..., :3] @ [0.299, 0.587, 0.114]).astype(np.uint8)
    return np.ascontiguousarray(image)


def backgrounds(quick: bool) -> list[Grey]:
    """Pictures without faces, for the full run also turned by quarters: there are few."""
    turns = 1 if quick else 4
    others = np.round(np.asarray(skimage.data.lfw_subset()[100:], np.float64) * 255).astype(np.uint8)
    return [np.ascontiguousarray(np.rot90(picture(name), k)) for name in BACKGROUNDS for k in range(turns)] + list(
        others
    )


def faces() -> NDArray[np.float64]:
    """100 faces of 25 x 25 pixels, 0 to 1."""
    return np.asarray(skimage.data.lfw_subset()[:100], np.float64)


def varied(face: NDArray[np.float64], count: int, rng: np.random.Generator) -> list[Grey]:
    """A face as it is and mirrored, then ``count`` times turned, moved, scaled and lit otherwise."""
    centre = np.array([face.shape[1], face.shape[0]]) / 2 - 0.5
    windows = []
    for i in range(2 + count):
        image = face[:, ::-1] if i % 2 else face
        scale, angle, shift = 1.0, 0.0, np.zeros(2)
        if i >= 2:
            scale, angle, shift = rng.uniform(0.92, 1.08), rng.normal(0, 0.06), rng.uniform(-1, 1, 2)
        # From the window's pixels to the face's.
        turn = SimilarityTransform(scale=face.shape[0] / SIZE * scale, rotation=angle)
        offset = centre + shift - turn(np.full((1, 2), SIZE / 2 - 0.5))[0]
        turn = SimilarityTransform(matrix=SimilarityTransform(translation=offset).params @ turn.params)
        window = warp(image, turn, output_shape=(SIZE, SIZE), order=1, mode="edge")
        if i >= 2:
            window = (window - window.mean()) * rng.uniform(0.7, 1.2) + window.mean() + rng.normal(0, 0.05)
        windows.append(np.clip(np.round(window * 255), 0, 255).astype(np.uint8))
    return windows


def train(seed: int, quick: bool) -> tuple[CascadeClassifier, CascadeTrainer, list[Grey], float]:
    """The cascade, its trainer, the faces held out, and how long training took."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(100)
    everyone = faces()
    known = [window for i in order[:80] for window in varied(everyone[i], 0 if quick else 38, rng)]
    held_out = [window for i in order[80:] for window in varied(everyone[i], 0, rng)]
    trainer = CascadeTrainer(
        max_stages=8 if quick else 20,
        negatives=600 if quick else 4000,
        scale_factor=1.25 if quick else 1.15,
        min_hit_rate=0.997 if quick else 0.999,
        max_learners=40 if quick else 150,
        seed=seed,
    )
    start = time.perf_counter()
    cascade = trainer.fit(np.stack(known), backgrounds(quick), progress=show)
    print()
    return cascade, trainer, held_out, time.perf_counter() - start


def show(at: TrainingProgress) -> None:
    """One line that is written over."""
    numbers = f"{at.learners:3} learners, hits {at.hit_rate:.3f}, false alarms {at.false_alarm_rate:.3f}"
    print(f"\rstage {at.stage + 1:2} {at.phase:9} {numbers}", end="", flush=True)


def evaluate(cascade: CascadeClassifier, held_out: list[Grey]) -> dict:
    """Hits on faces held out; false alarms on pictures held out; and the one face of a whole photograph."""
    hits = np.array([len(boxes) > 0 for boxes in cascade.detect_batch(held_out, min_neighbors=0)])
    alarms = {name: len(cascade.detect(picture(name))) for name in HELD_OUT}
    raw = sum(len(cascade.detect(picture(name), min_neighbors=0)) for name in HELD_OUT)
    windows = sum(count_windows(*picture(name).shape) for name in HELD_OUT)
    boxes = cascade.detect(picture("astronaut"))
    x, y = 224, 122  # the middle of the face
    found = [bool(bx < x < bx + w and by < y < by + h and 60 < w < 180) for bx, by, w, h in boxes]
    return {
        "hit_rate_held_out": float(hits.mean()),
        "faces_held_out": len(held_out),
        "false_alarms": alarms,
        "false_alarm_rate_per_window": raw / windows,
        "astronaut_found": any(found),
        "astronaut_false_alarms": len(found) - sum(found),
    }


def count_windows(height: int, width: int, scale_factor: float = 1.1) -> int:
    """How many windows detection looks at."""
    count, scale = 0, 1.0
    while min(height, width) / scale >= SIZE:
        step = 1 if scale >= 2 else 2
        count += (int(width / scale - SIZE) // step + 1) * (int(height / scale - SIZE) // step + 1)
        scale *= scale_factor
    return count


def plot(cascade: CascadeClassifier, folder: Path) -> None:
    """A picture of detections."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = ("astronaut", *HELD_OUT)
    figure, row = plt.subplots(1, len(names), figsize=(14, 4), layout="constrained")
    for axis, name in zip(row, names, strict=True):
        image = picture(name)
        axis.imshow(image, cmap="gray")
        for x, y, w, h in cascade.detect(image):
            axis.add_patch(plt.Rectangle((x, y), w, h, fill=False, color="tab:red", linewidth=2))
        axis.set_title(name)
        axis.axis("off")
    figure.savefig(folder / "detections.png", dpi=110)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("cascade-quality"), help="folder for JSON, XML and pictures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="fewer faces, negatives and stages, under a minute")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    cascade, trainer, held_out, seconds = train(options.seed, options.quick)
    report = {
        "seed": options.seed,
        "quick": options.quick,
        "training_seconds": round(seconds, 1),
        "stages": len(trainer.history_),
        "weak_learners": sum(record.learners for record in trainer.history_),
        "stop_reason": trainer.stop_reason_,
        **evaluate(cascade, held_out),
    }
    cascade.save(options.out / "cascade.xml")
    (options.out / "cascade.json").write_text(json.dumps(report, indent=1) + "\n")
    plot(cascade, options.out)
    write_report(options.out, trainer)
    print(json.dumps(report, indent=1))
    return report


if __name__ == "__main__":
    main()
