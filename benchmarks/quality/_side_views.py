"""Side views of cars, drawn, on pictures that scikit-image carries: scenes whose ground truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

TEXTURES = ("brick.png", "grass.png", "gravel.png")
PICTURES = (
    "astronaut.png", "camera.png", "chelsea.png", "clock_motion.png", "coffee.png", "coins.png", "motorcycle_left.png",
    "page.png", "rocket.jpg", "text.png", "hubble_deep_field.jpg", "moon.png",
)  # fmt: skip
OVERSAMPLING = 4


class Scene(NamedTuple):
    image: np.ndarray  # (H, W, 3) uint8
    boxes: np.ndarray  # (M, 4) x, y, width, height
    masks: np.ndarray  # (M, H, W) bool


def picture(name: str) -> np.ndarray:
    """One of scikit-image's pictures, RGB. No download: only what its wheel holds."""
    import skimage

    return np.asarray(Image.open(Path(skimage.__file__).parent / "data" / name).convert("RGB"))


def draw_car(rng: np.random.Generator, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A car (h, w, 3) and its mask (h, w): sedan, hatchback or estate, of any shade, facing left or right."""
    aspect = rng.uniform(2.35, 2.75)
    size = width * OVERSAMPLING, round(width / aspect) * OVERSAMPLING
    w, h = size
    picture, mask = Image.new("RGB", size), Image.new("L", size)
    draw, shape = ImageDraw.Draw(picture), ImageDraw.Draw(mask)
    shade = int(rng.integers(30, 235))
    colour = np.clip(shade + rng.integers(-40, 40, 3), 0, 255)
    darker = tuple(int(v) for v in colour * 0.6)
    colour = tuple(int(v) for v in colour)
    belt, roof = rng.uniform(0.40, 0.46), rng.uniform(0.0, 0.03)
    front = rng.uniform(0.22, 0.30), rng.uniform(0.36, 0.44)  # foot and head of the windscreen
    back = {0: (0.70, 0.84), 1: (0.84, 0.95), 2: (0.90, 0.98)}[int(rng.integers(0, 3))]
    body = [
        (0.0, 0.84), (0.01, 0.56), (0.06, 0.49), (front[0], belt), (front[1], roof + 0.02),
        ((front[1] + back[0]) / 2, roof), (back[0], roof + 0.02), (back[1], belt), (0.985, belt + 0.04),
        (1.0, 0.60), (0.995, 0.84),
    ]  # fmt: skip
    scaled = [(x * (w - 1), y * (h - 1)) for x, y in body]
    draw.polygon(scaled, fill=colour)
    shape.polygon(scaled, fill=255)
    draw.rectangle((0, 0.74 * h, w, 0.84 * h), fill=darker)
    _windows(draw, size, front, back, belt, roof, int(rng.integers(20, 90)), rng.uniform(0.50, 0.58))
    draw.line((0.5 * w, belt * h, 0.5 * w, 0.76 * h), fill=darker, width=max(w // 200, 1))
    draw.line((0.05 * w, 0.58 * h, 0.97 * w, 0.58 * h), fill=darker, width=max(w // 300, 1))
    radius = rng.uniform(0.17, 0.20) * h
    for x in (rng.uniform(0.18, 0.22), rng.uniform(0.78, 0.82)):
        _wheel(draw, shape, x * w, h - 1 - radius, radius, int(rng.integers(130, 230)))
    if rng.random() < 0.5:
        picture, mask = (part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for part in (picture, mask))
    small = size[0] // OVERSAMPLING, size[1] // OVERSAMPLING
    picture, mask = (part.resize(small, Image.Resampling.BOX) for part in (picture, mask))
    lit = np.asarray(picture, np.float32) * np.linspace(1.12, 0.9, small[1])[:, None, None]
    return lit, np.asarray(mask, np.float32) / 255


def _windows(draw, size, front, back, belt, roof, shade, pillar):
    w, h = size
    for left, right in (
        ((front[0] + 0.035, front[1] + 0.02), pillar - 0.01),
        (pillar + 0.01, (back[1] - 0.05, back[0] - 0.02)),
    ):
        foot1, head1 = left if isinstance(left, tuple) else (left, left)
        foot2, head2 = right if isinstance(right, tuple) else (right, right)
        points = [(foot1, belt - 0.02), (head1, roof + 0.07), (head2, roof + 0.07), (foot2, belt - 0.02)]
        draw.polygon([(x * w, y * h) for x, y in points], fill=(shade, shade, min(shade + 15, 255)))


def _wheel(draw, shape, x, y, radius, hub):
    for part, fill in ((1.18, (15, 15, 15)), (1.0, (38, 38, 38)), (0.6, (hub,) * 3), (0.2, (60, 60, 60))):
        r = part * radius
        box = (x - r, y - r, x + r, y + r)
        if part > 1:  # the wheel's housing: only its part on the body shows
            draw.chord(box, 180, 360, fill=fill)
        else:
            draw.ellipse(box, fill=fill)
    shape.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)


def background(rng: np.random.Generator, name: str, width: int, height: int) -> np.ndarray:
    """A random part of a picture, at a random size, mirrored or not."""
    whole = Image.fromarray(picture(name))
    least = max(width / whole.width, height / whole.height)
    scale = max(least, rng.uniform(0.6, 1.2))
    whole = whole.resize((max(round(whole.width * scale), width), max(round(whole.height * scale), height)))
    left = int(rng.integers(0, whole.width - width + 1))
    top = int(rng.integers(0, whole.height - height + 1))
    part = np.asarray(whole)[top : top + height, left : left + width]
    return part[:, ::-1] if rng.random() < 0.5 else part


def make_scene(
    rng: np.random.Generator, name: str, width: int, height: int, cars: int, widths: tuple[int, int] = (100, 200)
) -> Scene:
    """A scene with cars of the given range of widths, their boxes apart, blurred a little, with noise."""
    image = background(rng, name, width, height).astype(np.float32)
    boxes: list[tuple[int, int, int, int]] = []
    masks = []
    for _ in range(cars * 20):
        if len(boxes) == cars:
            break
        car, mask = draw_car(rng, int(np.exp(rng.uniform(*np.log(widths)))))
        h, w = mask.shape
        if w >= width or h >= height:
            continue
        x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
        if any(x < b[0] + b[2] and b[0] < x + w and y < b[1] + b[3] and b[1] < y + h for b in boxes):
            continue
        part = image[y : y + h, x : x + w]
        part += (car - part) * mask[..., None]
        whole = np.zeros((height, width), bool)
        whole[y : y + h, x : x + w] = mask > 0.5
        boxes.append((x, y, w, h))
        masks.append(whole)
    blurred = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9))
    )
    noisy = np.asarray(blurred, np.float32) + rng.normal(0, rng.uniform(1, 6), (height, width, 1))
    return Scene(
        np.clip(noisy, 0, 255).astype(np.uint8),
        np.array(boxes, np.int64).reshape(-1, 4),
        np.array(masks, bool).reshape(-1, height, width),
    )
