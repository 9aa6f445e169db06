"""``saccade detect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from saccade.cli._output import fail, print_json, stdout

__all__ = ["detect"]


def detect(
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    cascade: Annotated[Path | None, typer.Option(help="Cascade XML; default: the faces that saccade carries.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the images with boxes drawn on them, as PNG.")] = None,
    scale_factor: Annotated[float, typer.Option(help="Between the sizes that are searched; above 1.")] = 1.1,
    min_neighbors: Annotated[int, typer.Option(help="Detections that a box needs beside its first.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")] = False,
) -> None:
    """Find faces, or what a cascade was trained for, in images."""
    from saccade.classic import CascadeClassifier
    from saccade.demo.photo import draw_boxes, load_photo
    from saccade.demo.support import DemoError

    try:
        detector = CascadeClassifier.load(cascade) if cascade else CascadeClassifier.default()
    except (OSError, ValueError) as error:
        fail(f"detect: cannot read the cascade {cascade}: {error}")
    found = []
    try:
        if out:
            out.mkdir(parents=True, exist_ok=True)
        for path in images:
            photo = load_photo(path, "detect")
            boxes, scores = detector.detect(
                photo.rgb, scale_factor=scale_factor, min_neighbors=min_neighbors, return_scores=True
            )
            record = {
                "image": str(path),
                "boxes": [
                    {"box": box, "score": score} for box, score in zip(boxes.tolist(), scores.tolist(), strict=True)
                ],
            }
            if out:
                target = out / f"{path.stem}.png"
                draw_boxes(photo, boxes, [f"{score:.1f}" for score in scores]).save(target)
                record["picture"] = str(target)
            found.append(record)
            if not as_json:
                _print(path, boxes.tolist(), scores.tolist())
    except ImportError:
        fail("detect: needs Pillow (python -m pip install pillow)")
    except DemoError as error:
        fail(str(error))
    except (OSError, ValueError) as error:
        fail(f"detect: {error}")
    if as_json:
        print_json(found)


def _print(path: Path, boxes: list[list[int]], scores: list[float]) -> None:
    stdout.print(f"{path}: {len(boxes)} found", markup=False)
    for (x, y, width, height), score in zip(boxes, scores, strict=True):
        stdout.print(f"  x {x}, y {y}, width {width}, height {height}, score {score:.2f}", markup=False)
