"""How much noise minimum cuts and a small network take off photographs that neither has seen.

    python -m benchmarks.quality.denoise --out denoise-quality    # a few minutes
    python -m benchmarks.quality.denoise --quick                  # half a minute: a shorter training

Writes ``denoise.json`` and ``denoise.png`` (a part of a photograph, noisy and after each) into the folder.

The photographs are scikit-image's. ``denoising_autoencoder(skip=True)`` learns on nine of them to give back what
Gaussian noise of standard deviation 25 was added to; two others are the test. Noise is rounded and cut off at 0 and
255, as in a file. Means are of the peak signal-to-noise ratio, in dB. The strength of the cuts and the weight of
scikit-image's total variation, which is the reference, were chosen on the training photographs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
from numpy.typing import NDArray
from skimage.restoration import denoise_tv_chambolle

from saccade import classic, models

TRAIN = ("astronaut", "brick", "chelsea", "coffee", "grass", "gravel", "moon", "rocket", "immunohistochemistry")
TEST = ("camera", "coins")
SIGMA = 25
Photo = NDArray[np.uint8]


def photo(name: str, side: int | None = None) -> Photo:
    """As grey; with ``side``, a square from its middle."""
    pixels = getattr(skimage.data, name)()
    if side is not None:
        y, x = ((length - side) // 2 for length in pixels.shape[:2])
        pixels = pixels[y : y + side, x : x + side]
    grey = pixels if pixels.ndim == 2 else pixels[..., :3] @ np.array([0.299, 0.587, 0.114])
    return np.asarray(grey, np.uint8)


def with_gaussian(image: Photo, seed: int) -> Photo:
    """Noise of standard deviation SIGMA added."""
    noise = np.random.default_rng(seed).normal(0, SIGMA, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def with_outliers(image: Photo, seed: int) -> Photo:
    """A tenth of the pixels black, another white."""
    dice = np.random.default_rng(seed).random(image.shape)
    return np.where(dice < 0.1, 0, np.where(dice > 0.9, 255, image)).astype(np.uint8)


def ratio(image: NDArray[Any], truth: Photo) -> float:
    """Peak signal-to-noise ratio in dB."""
    error = np.mean((image.astype(np.float64) - truth) ** 2)
    return float(10 * np.log10(255**2 / error))


def train(seed: int, steps: int, batch: int = 16, side: int = 64) -> torch.nn.Module:
    """The network, from parts of the training photographs that are mirrored and turned at random."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    photos = [photo(name) for name in TRAIN]
    model = models.denoising_autoencoder(skip=True).train()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps, pct_start=0.1)
    for _ in range(steps):
        crops = []
        for _ in range(batch):
            source = photos[rng.integers(len(photos))]
            y, x = (int(rng.integers(length - side + 1)) for length in source.shape)
            crop = np.rot90(source[y : y + side, x : x + side], rng.integers(4))
            crops.append(crop[:, :: rng.choice([-1, 1])].copy())
        clean = torch.from_numpy(np.stack(crops))[:, None].float() / 255
        noisy = models.add_noise(clean, "gaussian", SIGMA / 255).mul(255).round().clamp(0, 255) / 255
        loss = torch.nn.functional.mse_loss(model(noisy), clean)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def by_network(model: torch.nn.Module, noisy: Photo) -> Photo:
    """Padded to sides that are multiples of four."""
    images = torch.from_numpy(noisy)[None, None].float() / 255
    height, width = noisy.shape
    padded = torch.nn.functional.pad(images, (0, -width % 4, 0, -height % 4), mode="replicate")
    with torch.no_grad():
        clean = model(padded)[0, 0, :height, :width]
    return (clean * 255).round().clamp(0, 255).byte().numpy()


def by_cuts(noisy: Photo) -> Photo:
    """Of strengths from 0.7 to 1.4 times the noise's standard deviation 1.2 was best on the training photographs."""
    return classic.denoise(noisy, 1.2 * SIGMA).astype(np.uint8)


def by_reference(noisy: Photo) -> NDArray[Any]:
    """scikit-image's total variation."""
    return 255 * denoise_tv_chambolle(noisy / 255, weight=0.08)


def measure(
    method: Callable[[Photo], NDArray[Any]], corrupt: Callable[[Photo, int], Photo], side: int | None
) -> dict[str, Any]:
    """The mean ratio over the test photographs, and how long a megapixel takes."""
    ratios, seconds, pixels = [], 0.0, 0
    for number, name in enumerate(TEST):
        truth = photo(name, side)
        noisy = corrupt(truth, number)
        start = time.perf_counter()
        clean = method(noisy)
        seconds += time.perf_counter() - start
        pixels += truth.size
        ratios.append(ratio(clean, truth))
    return {
        "psnr": round(float(np.mean(ratios)), 2),
        "each": {name: round(value, 2) for name, value in zip(TEST, ratios, strict=True)},
        "seconds_per_megapixel": round(seconds / pixels * 1e6, 2),
    }


def plot(
    methods: dict[str, Callable[[Photo], NDArray[Any]]], report: dict[str, Any], side: int | None, path: Path
) -> None:
    """A part of the first test photograph after each method."""
    from matplotlib.figure import Figure

    truth = photo(TEST[0], side)
    noisy = with_gaussian(truth, 0)

    def part(image: NDArray[Any]) -> NDArray[Any]:
        return image if side is not None else image[60:240, 170:350]

    figure = Figure(figsize=(3.1 * len(methods) + 3.1, 3.4), layout="constrained")
    axes = figure.subplots(1, len(methods) + 1)
    for axis, (name, method) in zip(axes, methods.items(), strict=False):
        axis.imshow(part(method(noisy)), cmap="gray", vmin=0, vmax=255)
        axis.set_title(f"{name}: {report[name]['each'][TEST[0]]:.1f} dB", fontsize=10)
    axes[-1].imshow(part(truth), cmap="gray", vmin=0, vmax=255)
    axes[-1].set_title("the photograph", fontsize=10)
    for axis in axes:
        axis.axis("off")
    figure.savefig(path, dpi=100)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("denoise-quality"))
    parser.add_argument("--quick", action="store_true", help="a shorter training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        return run(options)
    finally:
        torch.set_num_threads(before)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """What ``main`` was told."""
    steps = options.steps or (200 if options.quick else 3000)
    side = 160 if options.quick else None
    start, used = time.perf_counter(), time.process_time()
    model = train(options.seed, steps, *((8, 48) if options.quick else ()))
    trained = {
        "steps": steps,
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(time.process_time() - used, 1),
    }
    methods: dict[str, Callable[[Photo], NDArray[Any]]] = {
        "noisy": lambda noisy: noisy,
        "scikit-image": by_reference,
        "cuts": by_cuts,
        "network": lambda noisy: by_network(model, noisy),
    }
    report: dict[str, Any] = {name: measure(method, with_gaussian, side) for name, method in methods.items()}
    report["outliers"] = {
        "noisy": measure(lambda noisy: noisy, with_outliers, side),
        "cuts": measure(lambda noisy: classic.denoise(noisy, 0.5, data="absolute"), with_outliers, side),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    plot(methods, report, side, options.out / "denoise.png")
    report = {"quick": options.quick, "seed": options.seed, "sigma": SIGMA, "training": trained, **report}
    (options.out / "denoise.json").write_text(json.dumps(report, indent=1) + "\n")
    for name in methods:
        print(f"{name}: {report[name]['psnr']:.2f} dB", flush=True)
    return report


if __name__ == "__main__":
    main()
