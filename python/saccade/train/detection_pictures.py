"""Pictures of detections: drawn findings, mistakes, curves."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from saccade._extras import require
from saccade._files import replace_whole
from saccade.train.detection_precision import PrecisionRecall, match_detections

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from saccade.train.detection import Mistakes

__all__ = ["draw_detections", "plot_mistakes", "plot_precision_recall"]

# Distinct on bright and dark ground alike; classes beyond the tenth begin again.
_COLOURS = (
    (255, 196, 0), (0, 200, 255), (255, 90, 90), (120, 230, 80), (230, 110, 255),
    (255, 140, 40), (70, 130, 255), (0, 220, 170), (255, 120, 180), (190, 190, 190),
)  # fmt: skip
_RIGHT, _WRONG, _MISSED = (60, 220, 90), (255, 70, 70), (255, 220, 0)


def draw_detections(
    image: Any,
    found: Mapping[str, Any],
    classes: Sequence[str] | None = None,
    *,
    min_score: float = 0.0,
    colours: Sequence[tuple[int, int, int]] | None = None,
    scale: int = 1,
) -> Picture:
    """Draw boxes with class and score, and masks as a tint.

    Args:
        image: ``(3, H, W)`` or ``(1, H, W)`` tensor, uint8 or from 0 to 1, or an array ``(H, W, 3)``.
        found: ``boxes`` ``(D, 4)``, ``labels`` from 0, and maybe ``scores`` and ``masks`` ``(D, H, W)``.
        classes: names by label; default: numbers.
        min_score: findings below it are not drawn.
        colours: of each box; default: a colour for each class.
        scale: pixels of the picture for one of the image.

    Returns:
        A picture of Pillow's.

    >>> found = {"boxes": torch.tensor([[4.0, 4, 20, 20]]), "labels": torch.tensor([0]), "scores": torch.tensor([0.9])}
    >>> saccade.train.draw_detections(torch.zeros(3, 32, 48), found, ["cat"], scale=2).size
    (96, 64)
    """
    require("PIL.Image", "draw_detections", "train")
    from PIL import Image, ImageDraw, ImageFont

    pixels = _pixels(image)
    boxes, labels = found["boxes"].tolist(), found["labels"].tolist()
    scores = found["scores"].tolist() if "scores" in found else [None] * len(boxes)
    shown = [i for i, score in enumerate(scores) if score is None or score >= min_score]
    chosen = [colours[i] if colours is not None else _COLOURS[labels[i] % len(_COLOURS)] for i in range(len(boxes))]
    if "masks" in found:
        for i in reversed(shown):
            mask = np.asarray(found["masks"][i].cpu(), bool)
            pixels[mask] = (0.55 * pixels[mask] + 0.45 * np.array(chosen[i])).astype(np.uint8)
    picture = Image.fromarray(pixels)
    if scale != 1:
        picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture)
    side = max(picture.size)
    line = max(1, side // 256)
    font = ImageFont.load_default(size=max(10, side // 32))
    for i in reversed(shown):  # the best one last, on top
        x1, y1, x2, y2 = (scale * value for value in boxes[i])
        draw.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=chosen[i], width=line)
        text = classes[labels[i]] if classes is not None else str(labels[i])
        if scores[i] is not None:
            text += f" {scores[i]:.2f}"
        left, top, right, bottom = draw.textbbox((x1, y1), text, font=font, anchor="lb")
        lift = max(0, -top)  # keeps the label inside the picture
        draw.rectangle((left, top + lift, right + 1, bottom + lift), fill=chosen[i])
        draw.text((x1, y1 + lift), text, font=font, anchor="lb", fill=(0, 0, 0))
    return picture


def _pixels(image: Any) -> Any:
    if isinstance(image, Tensor):
        image = image.cpu()
        values = image if not image.is_floating_point() else (image.clamp(0, 1) * 255).round()
        image = values.numpy().astype(np.uint8).transpose(1, 2, 0)
    pixels = np.array(image, np.uint8)
    return np.repeat(pixels, 3, 2) if pixels.shape[2] == 1 else pixels


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_whole(path, lambda aside: figure.savefig(aside, dpi=110, format=path.suffix[1:] or "png"))


def plot_mistakes(
    mistakes: Sequence[Mistakes],
    path: str | os.PathLike[str],
    classes: Sequence[str] | None = None,
    *,
    columns: int = 4,
) -> None:
    """Draw images with mistakes: right findings green, wrong ones red, objects that were missed yellow."""
    figure_type = require("matplotlib.figure", "plot_mistakes", "train").Figure
    rows = max(1, -(-len(mistakes) // columns))
    figure = figure_type(figsize=(3.2 * columns, 3.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel in panels:
        panel.axis("off")
    for panel, (count, image, target, found) in zip(panels, mistakes, strict=False):
        right, taken = match_detections(found, target)
        crowd = target["iscrowd"] != 0 if "iscrowd" in target else taken & False
        missed = {name: target[name][~taken & ~crowd] for name in ("boxes", "labels")}
        boxes = {name: found[name] for name in ("boxes", "labels", "scores")}
        picture = draw_detections(image, missed, classes, colours=[_MISSED] * len(missed["labels"]), scale=2)
        scaled = {**boxes, "boxes": 2 * boxes["boxes"]}
        colours = [_RIGHT if hit > 0 else _WRONG if hit == 0 else _COLOURS[-1] for hit in right.tolist()]
        panel.imshow(draw_detections(np.asarray(picture), scaled, classes, colours=colours))
        panel.set_title(f"{count} wrong", fontsize=9)
    _save(figure, Path(path))


def plot_precision_recall(
    curves: Sequence[PrecisionRecall], path: str | os.PathLike[str], classes: Sequence[str] | None = None
) -> None:
    """Draw the curves of the classes, with their average precision; at most twenty, the worst ones."""
    figure_type = require("matplotlib.figure", "plot_precision_recall", "train").Figure
    figure = figure_type(figsize=(5.6, 4.4), layout="constrained")
    panel = figure.subplots()
    numbered = [(curve.average_precision(), number) for number, curve in enumerate(curves) if curve.objects]
    for value, number in sorted(sorted(numbered)[:20], key=lambda each: each[1]):
        curve = curves[number]
        name = classes[number] if classes is not None else str(number)
        recall, precision = (
            np.append(curve.recall[:1] * 0, curve.recall),
            np.append(curve.precision[:1], curve.precision),
        )
        panel.plot(recall, precision, label=f"{name}: {value:.3f}", linewidth=1.5)
    panel.set_xlim(0, 1.01)
    panel.set_ylim(0, 1.01)
    panel.set_xlabel("recall")
    panel.set_ylabel("precision")
    panel.grid(alpha=0.3)
    if numbered:
        panel.legend(title="average precision, IoU 0.5", fontsize=8, title_fontsize=8)
    _save(figure, Path(path))
