"""``saccade detect``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import numpy as np
import typer

from saccade.cli._networks import find_in_batch, names_of, open_network, record_of
from saccade.cli._output import fail, print_json, progress_bar, stdout
from saccade.cli._pictures import Picture, count_pictures, find_files, read_pictures

if TYPE_CHECKING:
    from saccade.train.detection_weights import TrainedDetector

__all__ = ["detect"]

# Of a batch of pictures: what programs read of each, and the picture with it drawn.
Look: TypeAlias = Callable[[list[Picture]], list[tuple[list[dict[str, Any]], Callable[[], Any]]]]


def detect(
    images: Annotated[list[Path], typer.Argument(help="Image files, videos, or folders of both.")],
    model: Annotated[
        str | None, typer.Option(help="A checkpoint of 'saccade train detect', a network's name, or darknet's .cfg.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Of a network by name; .pth, .ckpt, .weights.")] = None,
    classes: Annotated[Path | None, typer.Option(help="Text file, a name of the network's classes a line.")] = None,
    num_classes: Annotated[int | None, typer.Option(help="That a network by name has; default: its own.")] = None,
    min_score: Annotated[float, typer.Option(help="Findings of a network below it are left out.")] = 0.5,
    batch: Annotated[int, typer.Option(min=1, help="Pictures that a network is given at once.")] = 4,
    every: Annotated[int, typer.Option(min=1, help="Of a video, one frame of so many.")] = 1,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; default: cuda if it is there.")] = None,
    accelerate: Annotated[bool, typer.Option(help="Run the network on saccade's fused kernels.")] = True,
    cascade: Annotated[Path | None, typer.Option(help="Cascade XML; default: the faces that saccade carries.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the images with boxes drawn on them, as PNG.")] = None,
    scale_factor: Annotated[float, typer.Option(help="Of a cascade: between the sizes searched; above 1.")] = 1.1,
    min_neighbors: Annotated[int, typer.Option(help="Of a cascade: detections that a box needs beside its first.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")] = False,
) -> None:
    """Find objects with a network, or faces (or what a cascade was trained for), in images and videos."""
    from saccade.demo.support import DemoError

    if model is None and (weights or classes or num_classes):
        fail("detect: --weights, --classes and --num-classes need --model")
    if model is not None and cascade is not None:
        fail("detect: --model and --cascade cannot be used together")
    try:
        if model is None:
            look, size = _cascade_look(cascade, scale_factor, min_neighbors), 1
        else:
            network = open_network(model, weights, num_classes, classes, device, accelerate)
            look, size = _network_look(network, min_score), batch
        if out:
            out.mkdir(parents=True, exist_ok=True)
        found = _run(images, every, size, look, out)
    except KeyboardInterrupt:
        fail("detect: interrupted", 1)
    except ImportError as error:
        fail(f"detect: {error}" if "detect" not in str(error) else str(error))
    except DemoError as error:
        fail(str(error))
    except (OSError, TypeError, ValueError, RuntimeError) as error:
        fail(str(error) if str(error).startswith("detect: ") else f"detect: {error}")
    if as_json:
        print_json(found)
        return
    for record in found:  # not earlier: the progress bar would take them to stderr
        _print(record)


def _run(images: list[Path], every: int, size: int, look: Look, out: Path | None) -> list[dict[str, Any]]:
    files = find_files(images)
    total = count_pictures(files, every)
    found: list[dict[str, Any]] = []
    used: set[str] = set()
    with progress_bar() as bar:
        task = bar.add_task("detect", total=total, visible=total > 1)
        for group in _batches(read_pictures(files, every), size):
            for picture, (boxes, draw) in zip(group, look(group), strict=True):
                record: dict[str, Any] = {"image": str(picture.path)}
                if picture.frame is not None:
                    record |= {"frame": picture.frame, "seconds": picture.seconds}
                record["boxes"] = boxes
                if out:
                    target = out / f"{_unused(picture.name, used)}.png"
                    draw().save(target)
                    record["picture"] = str(target)
                found.append(record)
            bar.update(task, advance=len(group), refresh=True)
    return found


def _cascade_look(cascade: Path | None, scale_factor: float, min_neighbors: int) -> Look:
    from saccade.classic import CascadeClassifier
    from saccade.demo.photo import Photo, draw_boxes

    try:
        detector = CascadeClassifier.load(cascade) if cascade else CascadeClassifier.default()
    except (OSError, ValueError) as error:
        fail(f"detect: cannot read the cascade {cascade}: {error}")

    def look(pictures: list[Picture]) -> list[tuple[list[dict[str, Any]], Callable[[], Any]]]:
        results: list[tuple[list[dict[str, Any]], Callable[[], Any]]] = []
        for picture in pictures:
            boxes, scores = detector.detect(
                picture.rgb, scale_factor=scale_factor, min_neighbors=min_neighbors, return_scores=True
            )
            pairs = zip(boxes.tolist(), scores.tolist(), strict=True)
            photo = Photo(picture.name, picture.rgb, np.empty((0, 0), np.uint8))
            labels = [f"{score:.1f}" for score in scores]

            def draw(photo: Photo = photo, boxes: Any = boxes, labels: list[str] = labels) -> Any:
                return draw_boxes(photo, boxes, labels)

            results.append(([{"box": box, "score": score} for box, score in pairs], draw))
        return results

    return look


def _network_look(network: TrainedDetector, min_score: float) -> Look:
    from saccade.train.detection_pictures import draw_detections

    def look(pictures: list[Picture]) -> list[tuple[list[dict[str, Any]], Callable[[], Any]]]:
        results: list[tuple[list[dict[str, Any]], Callable[[], Any]]] = []
        every = find_in_batch(network, [picture.rgb for picture in pictures], min_score)
        for picture, found in zip(pictures, every, strict=True):

            def draw(rgb: Any = picture.rgb, found: dict[str, Any] = found) -> Any:
                highest = int(found["labels"].max()) if len(found["labels"]) else 0
                return draw_detections(rgb, found, names_of(network, range(highest + 1)))

            results.append((record_of(network, found), draw))
        return results

    return look


def _batches(pictures: Iterable[Picture], size: int) -> Iterator[list[Picture]]:
    source = iter(pictures)
    while group := list(islice(source, size)):
        yield group


def _unused(name: str, used: set[str]) -> str:
    """A name that no picture has yet: files of several folders may be called alike."""
    number, chosen = 2, name
    while chosen in used:
        chosen, number = f"{name}-{number}", number + 1
    used.add(chosen)
    return chosen


def _print(record: dict[str, Any]) -> None:
    frame = f", frame {record['frame']}" if "frame" in record else ""
    stdout.print(f"{record['image']}{frame}: {len(record['boxes'])} found", markup=False)
    for found in record["boxes"]:
        x, y, width, height = (f"{value:g}" for value in found["box"])
        name = f"{found['class']}: " if "class" in found else ""
        stdout.print(f"  {name}x {x}, y {y}, width {width}, height {height}, score {found['score']:.2f}", markup=False)
