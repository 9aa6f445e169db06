"""Equal-error rate of the Implicit Shape Model on drawn side views of cars in real pictures.

    python -m benchmarks.quality.ism --out ism-quality            # about 3 minutes on one core
    python -m benchmarks.quality.ism --quick                      # under a minute

Writes ``ism.json``, ``precision_recall.png`` and ``detections.png`` into the folder, and the numbers to the terminal.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from benchmarks.quality._precision_recall import average_precision, curve, equal_error_rate, iou, match
from benchmarks.quality._side_views import PICTURES, TEXTURES, Scene, background, make_scene
from saccade.classic import Codebook, ImplicitShapeModel

METHODS = ("hough", "histogram")
LEAST = {"hough": 0.05, "histogram": 0.2}  # thresholds so low that the curve reaches its end
MIN_SCALE = 0.85  # of the smallest car, 100 pixels wide, to the reference of about 100


def make_scenes(seed: int, quick: bool) -> tuple[list[Scene], list[np.ndarray], list[Scene]]:
    """Training scenes, backgrounds, and test scenes: with one to three cars, or none. Test pictures differ from the
    training's.
    """
    rng = np.random.default_rng(seed)
    train_pictures = (*TEXTURES, "astronaut.png", "coffee.png", "page.png")
    test_pictures = [name for name in PICTURES if name not in train_pictures]
    train = [make_scene(rng, train_pictures[i % 6], 320, 200, 1) for i in range(16 if quick else 48)]
    backgrounds = [background(rng, train_pictures[i % 6], 320, 240) for i in range(6 if quick else 18)]
    counts = [1, 2, 0, 3] if quick else [1, 2, 0, 3, 1]
    tests = [
        make_scene(rng, test_pictures[i % len(test_pictures)], 480, 360, counts[i % len(counts)])
        for i in range(28 if quick else 120)
    ]
    return train, backgrounds, tests


def train_model(train: list[Scene], backgrounds: list[np.ndarray], seed: int, quick: bool) -> ImplicitShapeModel:
    codebook = Codebook(150 if quick else 300, metric="correlation", random_state=seed)
    model = ImplicitShapeModel(codebook, random_state=seed)
    images, boxes, masks = zip(*train, strict=True)
    return model.fit(images, boxes, masks, backgrounds=backgrounds)


def evaluate(model: ImplicitShapeModel, method: str, tests: list[Scene]) -> dict:
    scores, correct, overlaps, seconds = [], [], [], []
    processor = time.process_time()
    for scene in tests:
        start = time.perf_counter()
        boxes, values = model.detect(
            scene.image, method=method, threshold=LEAST[method], min_scale=MIN_SCALE, return_scores=True
        )
        seconds.append(time.perf_counter() - start)
        found = match(boxes, scene.boxes)
        scores.append(values)
        correct.append(found >= 0)
        overlaps += [iou(boxes[i : i + 1], scene.boxes)[0, j] for i, j in enumerate(found) if j >= 0]
    objects = sum(len(scene.boxes) for scene in tests)
    recall, precision = curve(np.concatenate(scores), np.concatenate(correct), objects)
    return {
        "equal_error_rate": round(equal_error_rate(recall, precision), 4),
        "average_precision": round(average_precision(recall, precision), 4),
        "mean_iou_of_hits": round(float(np.mean(overlaps)), 4) if overlaps else 0.0,
        "seconds_per_image": round(float(np.median(seconds)), 3),
        "processor_seconds_per_image": round((time.process_time() - processor) / len(tests), 3),
        "curve": {"recall": np.round(recall, 4).tolist(), "precision": np.round(precision, 4).tolist()},
    }


def segmentation_iou(model: ImplicitShapeModel, tests: list[Scene], count: int) -> float:
    """Mean overlap of the masks of correct detections with the true ones."""
    overlaps = []
    for scene in [scene for scene in tests if len(scene.boxes)][:count]:
        boxes, masks = model.detect(scene.image, min_scale=MIN_SCALE, return_masks=True)
        for mask, j in zip(masks > 0.5, match(boxes, scene.boxes), strict=True):
            if j >= 0:
                overlaps.append((mask & scene.masks[j]).sum() / (mask | scene.masks[j]).sum())
    return round(float(np.mean(overlaps)), 4) if overlaps else 0.0


def plot(report: dict, model: ImplicitShapeModel, tests: list[Scene], folder: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for method in METHODS:
        values = report[method]
        label = f"{method}: equal-error rate {values['equal_error_rate']:.1%}"
        axes.plot(values["curve"]["recall"], values["curve"]["precision"], label=label)
    axes.plot([0, 1], [0, 1], ":", color="grey", linewidth=1)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02), title="Side views of cars")
    axes.legend(loc="lower left")
    figure.savefig(folder / "precision_recall.png", dpi=120)

    figure = Figure(figsize=(11, 6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, scene in zip(figure.subplots(2, 3).flat, tests, strict=False):
        boxes, scores, masks = model.detect(scene.image, min_scale=MIN_SCALE, return_scores=True, return_masks=True)
        shown = scene.image.astype(float)
        for mask in masks:
            shown += (mask > 0.5)[..., None] * (np.array([0, 255, 0]) - shown) * 0.35
        axes.imshow(shown.astype(np.uint8))
        axes.axis("off")
        for (x, y, w, h), score in zip(boxes, scores, strict=True):
            axes.add_patch(_rectangle(x, y, w, h, "yellow"))
            axes.text(x, y - 3, f"{score:.2f}", color="yellow", fontsize=8)
        for x, y, w, h in scene.boxes:
            axes.add_patch(_rectangle(x, y, w, h, "white", ":"))
    figure.savefig(folder / "detections.png", dpi=110)


def _rectangle(x, y, w, h, colour, style="-"):
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), w, h, fill=False, edgecolor=colour, linestyle=style)


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("ism-quality"), help="folder for JSON and pictures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="fewer scenes and words, under a minute")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    train, backgrounds, tests = make_scenes(options.seed, options.quick)
    model = train_model(train, backgrounds, options.seed, options.quick)
    report: dict = {
        "seed": options.seed,
        "quick": options.quick,
        "training_images": len(train),
        "test_images": len(tests),
        "test_objects": sum(len(scene.boxes) for scene in tests),
        "words": len(model.codebook_.words_),
        "seconds_training": round(time.perf_counter() - start, 2),
    }
    for method in METHODS:
        report[method] = evaluate(model, method, tests)
    report["segmentation_iou"] = segmentation_iou(model, tests, 6 if options.quick else 40)
    options.out.mkdir(parents=True, exist_ok=True)
    plot(report, model, tests, options.out)
    report["seconds"] = round(time.perf_counter() - start, 2)
    (options.out / "ism.json").write_text(json.dumps(report, indent=1) + "\n")
    for method in METHODS:
        print(f"{method}: " + ", ".join(f"{k} {v}" for k, v in report[method].items() if k != "curve"))
    print(f"segmentation IoU {report['segmentation_iou']}; {report['seconds']} s; {options.out}/ism.json")
    return report


if __name__ == "__main__":
    main()
