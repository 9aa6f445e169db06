"""``saccade segment``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from saccade.cli._output import fail, print_json, progress_bar, stderr, stdout
from saccade.cli._segmenters import Inference, Segmenter, grab_cut_segmenter, network_segmenter

__all__ = ["segment"]

Bytes = NDArray[np.uint8]
_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_EDITS = ("recolour", "blur", "remove")
_BACKGROUNDS = ("background", "ground", "unlabeled", "void")


def segment(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    grabcut: Annotated[str | None, typer.Option(help="x,y,w,h: a rectangle around the object, in pixels.")] = None,
    model: Annotated[
        str | None, typer.Option(help="A name of saccade.models.segmentation, or a file of 'saccade train segment'.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Checkpoint for a model given by name.")] = None,
    names: Annotated[Path | None, typer.Option(help="Text file of the classes' names, a line for each.")] = None,
    options: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE: an option of the model, e.g. arch=drn_d_54.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for overlays, classes and edited images, as PNG.")] = Path(
        "segmented"
    ),
    edit: Annotated[
        str | None, typer.Option(help="recolour the object, blur the background, or remove (replace) it.")
    ] = None,
    colour: Annotated[
        str | None, typer.Option(help="For the object (recolour) or behind it (remove): a name or #rrggbb.")
    ] = None,
    background: Annotated[Path | None, typer.Option(help="Image to put behind the object (remove).")] = None,
    select: Annotated[
        str | None, typer.Option(help="Classes that are the object, names or numbers; default: all but the first.")
    ] = None,
    blur: Annotated[float, typer.Option(help="Standard deviation of the blur, in pixels; 0: by the size.")] = 0.0,
    alpha: Annotated[float, typer.Option(help="How much of the overlay is colour: 0 to 1.")] = 0.5,
    scales: Annotated[str, typer.Option(help="Sizes that results are averaged over, e.g. 0.5,0.75,1,1.25.")] = "1",
    flip: Annotated[bool, typer.Option("--flip", help="Average over mirror images too.")] = False,
    window: Annotated[int, typer.Option(help="Side of sliding windows; 0: whole images.")] = 0,
    crf: Annotated[bool, typer.Option("--crf", help="Refine the result of a model by a dense CRF.")] = False,
    max_side: Annotated[int, typer.Option(help="Larger images are segmented at this size; 0: at their own.")] = 1024,
    accelerate: Annotated[bool, typer.Option(help="Run the model by saccade.accelerate.")] = True,
    device: Annotated[str, typer.Option(help="Of the model: cpu or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")] = False,
) -> None:
    """Tell the classes of an image's pixels, by GrabCut or a network, and change the image where they say so.

    For each image the folder gets an overlay of the classes, the classes themselves (a PNG with a palette whose values
    are the classes) and, with --edit, the edited image. Exit code 1 when an image in a folder cannot be read; the
    others are done.
    """
    try:
        segmenter = _segmenter(
            grabcut, model, weights, names, options or [], Inference(_scales(scales), flip, window, accelerate, device)
        )
        editing = _editing(edit, colour, background, select, blur, segmenter.names)
        files = _files(images)
        out.mkdir(parents=True, exist_ok=True)
        work = _Work(segmenter, editing, out, alpha, crf and model is not None, max_side, _stems(files))
        records, failed = _run(work, files, alone=len(files) == 1 and files == images, shown=not as_json)
    except KeyboardInterrupt:
        fail("segment: interrupted", 1)
    except (OSError, TypeError, ValueError, RuntimeError, ImportError) as error:
        text = str(error)
        fail(text if text.startswith("segment:") else f"segment: {text}")
    if as_json:
        print_json(records)
    if failed:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Work:
    segmenter: Segmenter
    editing: _Editing | None
    out: Path
    alpha: float
    crf: bool
    max_side: int
    stems: dict[Path, str]


@dataclass(frozen=True)
class _Editing:
    name: str
    classes: Sequence[int]  # the object
    apply: Callable[[Bytes, NDArray[np.float32]], Bytes]


def _run(work: _Work, files: Sequence[Path], *, alone: bool, shown: bool) -> tuple[list[dict[str, Any]], bool]:
    from saccade.demo.photo import load_photo
    from saccade.demo.support import DemoError

    records, failed = [], False
    with progress_bar() as bar:
        task = bar.add_task("segmenting", total=len(files), visible=not alone)
        for path in files:
            try:
                rgb = load_photo(path, "segment").rgb
            except DemoError as error:
                if alone:
                    raise ValueError(str(error)) from error
                stderr.print(str(error), style="red", markup=False, soft_wrap=True)
                failed = True
                continue
            finally:
                bar.advance(task)
            record = {"image": str(path), **_segmented(work, work.stems[path], rgb)}
            bar.refresh()
            records.append(record)
            if shown:
                _print(record)
    return records, failed


def _segmented(work: _Work, stem: str, rgb: Bytes) -> dict[str, Any]:
    """Write what there is to write for one image, and say what was found."""
    from PIL import Image

    from saccade._overlay import class_palette, overlay_classes

    names = work.segmenter.names
    classes, is_object = _classes(work, rgb)
    palette = class_palette(256)
    unpainted = [0] if names[0].lower() in _BACKGROUNDS or names[0] == "0" else []
    overlay = overlay_classes(
        rgb, classes, alpha=work.alpha, unpainted=unpainted, names=names, legend=len(names) > 2, ignore_index=-1
    )
    labels = Image.fromarray(classes.astype(np.uint8))
    labels.putpalette(palette.tobytes())
    written = {"overlay": work.out / f"{stem}.png", "classes": work.out / f"{stem}-classes.png"}
    Image.fromarray(overlay).save(written["overlay"])
    labels.save(written["classes"])
    if work.editing is not None:
        written["edited"] = work.out / f"{stem}-{work.editing.name}.png"
        Image.fromarray(work.editing.apply(rgb, is_object)).save(written["edited"])
    values, counts = np.unique(classes, return_counts=True)
    found = [
        {"class": int(value), "name": names[value], "pixels": int(count), "share": round(count / classes.size, 6)}
        for value, count in sorted(zip(values, counts, strict=True), key=lambda pair: -pair[1])
    ]
    files = {f"{what}_file": str(path) for what, path in written.items()}
    return {"width": rgb.shape[1], "height": rgb.shape[0], "classes": found, **files}


def _classes(work: _Work, rgb: Bytes) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The class of each pixel, and how much of it is the object (1 where that is certain)."""
    from PIL import Image

    height, width = rgb.shape[:2]
    scale = min(1.0, work.max_side / max(height, width)) if work.max_side else 1.0
    small = rgb
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR))
    found = work.segmenter.probabilities(small, scale)
    if work.crf:
        found = _refined(found, small)
    chosen = found.argmax(0)
    is_object = np.isin(chosen, work.editing.classes if work.editing else []).astype(np.float32)
    if scale == 1:
        return chosen, is_object
    # Class by class, so that a large image needs no more memory than a few of its planes.
    best, classes = np.full((height, width), -1, np.float32), np.zeros((height, width), np.int64)
    for number in np.unique(chosen):
        plane = _enlarged(found[number], width, height)
        classes[plane > best] = number
        np.maximum(best, plane, out=best)
    return classes, np.clip(_enlarged(is_object, width, height), 0, 1)


def _enlarged(plane: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    from PIL import Image

    return np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))


def _refined(probabilities: NDArray[np.float32], rgb: Bytes) -> NDArray[np.float32]:
    from saccade.classic import dense_crf

    refined: NDArray[np.float32] = dense_crf(-np.log(np.maximum(probabilities, 1e-6)), rgb)
    return refined


# ---- What was typed --------------------------------------------------------------------------------------------------


def _segmenter(
    grabcut: str | None,
    model: str | None,
    weights: Path | None,
    names: Path | None,
    options: Sequence[str],
    inference: Inference,
) -> Segmenter:
    if (grabcut is None) == (model is None):
        given = "both" if model is not None else "neither"
        raise ValueError(f"segment: --grabcut or --model must be given, one of them, got {given}")
    if grabcut is not None:
        try:
            x, y, width, height = (int(number) for number in grabcut.split(","))
        except ValueError:
            raise ValueError(f"segment: grabcut must be x,y,w,h in whole pixels, got {grabcut!r}") from None
        return grab_cut_segmenter((x, y, width, height))
    assert model is not None
    listed = None
    if names is not None:
        listed = [line.strip() for line in names.read_text().splitlines() if line.strip()]
    return network_segmenter(
        model, weights, names=listed, options=dict(_option(text) for text in options), inference=inference
    )


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"segment: set must be NAME=VALUE, got {text!r}")
    if value.lower() in ("true", "false"):
        return name, value.lower() == "true"
    return name, int(value) if value.lstrip("-").isdigit() else value


def _scales(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise ValueError(f"segment: scales must be numbers with commas between them, got {text!r}") from None


def _editing(
    edit: str | None,
    colour: str | None,
    background: Path | None,
    select: str | None,
    blur: float,
    names: Sequence[str],
) -> _Editing | None:
    if edit is None:
        for option, given in (("colour", colour), ("background", background), ("select", select)):
            if given is not None:
                raise ValueError(f"segment: {option} must come with --edit, got {given}")
        return None
    if edit not in _EDITS:
        raise ValueError(f"segment: edit must be one of {', '.join(_EDITS)}, got {edit!r}")
    if background is not None and (edit != "remove" or colour is not None):
        raise ValueError(f"segment: background must come with --edit remove and without --colour, got {background}")
    if colour is not None and edit == "blur":
        raise ValueError(f"segment: colour must come with --edit recolour or remove, got {colour!r}")
    return _Editing(edit, _selected(select, names), _edit(edit, colour, background, blur))


def _edit(
    edit: str, colour: str | None, background: Path | None, blur: float
) -> Callable[[Bytes, NDArray[np.float32]], Bytes]:
    from saccade.classic import blur_background, recolour, replace_background

    if edit == "recolour":
        wanted = _rgb(colour or "crimson")
        return lambda rgb, mask: recolour(rgb, mask, wanted)
    if edit == "blur":
        return lambda rgb, mask: blur_background(rgb, mask, blur or max(rgb.shape[:2]) / 64)
    behind: Any = None if colour is None else _rgb(colour)
    if background is None:
        return lambda rgb, mask: replace_background(rgb, mask, behind)
    from PIL import Image, ImageOps

    from saccade.demo.photo import load_photo
    from saccade.demo.support import DemoError

    try:
        picture = Image.fromarray(load_photo(background, "segment").rgb)
    except DemoError as error:
        raise ValueError(str(error)) from error

    def replace(rgb: Bytes, mask: NDArray[np.float32]) -> Bytes:
        fitted = ImageOps.fit(picture, (rgb.shape[1], rgb.shape[0]))  # fills the image, and is cut where it is longer
        return replace_background(rgb, mask, np.asarray(fitted))

    return replace


def _rgb(colour: str) -> tuple[int, int, int]:
    from PIL import ImageColor

    try:
        red, green, blue = ImageColor.getrgb(colour)[:3]
    except ValueError:
        raise ValueError(f"segment: colour must be a name or #rrggbb, got {colour!r}") from None
    return red, green, blue


def _selected(select: str | None, names: Sequence[str]) -> list[int]:
    if select is None:
        return list(range(1, len(names)))
    chosen = []
    for text in (part.strip() for part in select.split(",")):
        if text in names:
            chosen.append(list(names).index(text))
        elif text.isdigit() and int(text) < len(names):
            chosen.append(int(text))
        else:
            raise ValueError(f"segment: select must be of the classes {', '.join(names)}, got {text!r}")
    return chosen


def _files(images: Sequence[Path]) -> list[Path]:
    """The images that are named, and those in folders, sorted."""
    files: list[Path] = []
    for path in images:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES)
            if not inside:
                raise ValueError(f"segment: {path} must hold images ({', '.join(sorted(_SUFFIXES))}), got none")
            files += inside
        elif not path.exists():
            raise ValueError(f"segment: there is no file {path}")
        else:
            files.append(path)
    return list(dict.fromkeys(files))


def _stems(files: Sequence[Path]) -> dict[Path, str]:
    """What the outputs of each file are called: by its stem, and a number where another has that too."""
    stems: dict[Path, str] = {}
    taken: dict[str, int] = {}
    for file in files:
        count = taken[file.stem] = taken.get(file.stem, 0) + 1
        stems[file] = file.stem if count == 1 else f"{file.stem}-{count}"
    return stems


def _print(record: dict[str, Any]) -> None:
    stdout.print(f"{record['image']}: {record['width']}×{record['height']}", markup=False)
    table = Table(box=None)
    for heading, justify in (("class", "right"), ("name", "left"), ("pixels", "right"), ("share", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for row in record["classes"]:
        table.add_row(str(row["class"]), row["name"], str(row["pixels"]), f"{100 * row['share']:.1f} %")
    stdout.print(table)
    for what, path in record.items():
        if what.endswith("_file"):
            stdout.print(f"  {what.removesuffix('_file')}: {path}", markup=False, soft_wrap=True)
