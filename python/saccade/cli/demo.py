"""``saccade demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from saccade.benchmarking import Report, load_cases
from saccade.benchmarking.table import seconds
from saccade.cli._output import fail, print_json, progress_bar, stderr, stdout
from saccade.cli.bench import QUICK_SECONDS, case_table, run_with_progress

if TYPE_CHECKING:
    from saccade.demo import Demonstration, DetectorResult, FacesResult, Photo

__all__ = ["demo"]


def demo(
    image: Annotated[Path | None, typer.Argument(help="A photograph; default: scikit-image's astronaut.")] = None,
    cascade: Annotated[Path | None, typer.Option(help="Cascade XML; default: a frontal face from OpenCV.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights of the detector; default: random, seeded.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures and the report.")] = Path("saccade-demo"),
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Default: as many as are in use.")] = None,
) -> None:
    """Find faces, speed up a torchvision detector, measure: all checked. Exit code 1 when anything disagrees."""
    from saccade.demo import DemoError, require_extras, write_report

    try:
        out.mkdir(parents=True, exist_ok=True)
        require_extras(photo=image is None, cascade=cascade is None)
        result = _run(image, cascade, weights, threads, quiet=as_json)
        files = write_report(out, result)
    except DemoError as error:
        fail(str(error))
    except OSError as error:
        fail(f"demo: cannot write to {out}: {error}")
    if as_json:
        print_json(result.to_json(files))
    else:
        _print_end(result, files)
    if not result.ok:
        raise typer.Exit(1)


def _run(
    image: Path | None, cascade: Path | None, weights: Path | None, threads: int | None, *, quiet: bool
) -> Demonstration:
    """The three steps, each printed as soon as it is done."""
    from saccade import get_num_threads
    from saccade.demo import Demonstration, find_faces, load_photo

    count = threads or get_num_threads()
    photo = load_photo(image)
    faces = find_faces(photo, cascade, count)
    if not quiet:
        _print_faces(faces)
    detector = _compare_detector(photo, weights, count)
    if not quiet:
        _print_detector(detector)
    report = _run_benchmarks(count)
    if not quiet:
        stdout.print(case_table(report))
    return Demonstration(photo, count, faces, detector, report)


def _compare_detector(photo: Photo, weights: Path | None, threads: int) -> DetectorResult:
    from saccade.demo import compare_detector

    with progress_bar() as progress:
        task = progress.add_task("torchvision detector, before and after", total=None)

        def tell(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, refresh=True)

        return compare_detector(photo, weights, threads, tell)


def _run_benchmarks(threads: int) -> Report:
    """The quick cases, each once: with as many of the threads as it is made for."""
    counts: dict[str, int] = {}
    cases = load_cases(quick=True)
    for case, count in cases:
        if count <= threads:
            counts[case.name] = max(count, counts.get(case.name, 1))
    return Report.of(run_with_progress([pair for pair in cases if counts.get(pair[0].name) == pair[1]], QUICK_SECONDS))


def _print_faces(faces: FacesResult) -> None:
    stdout.print(f"faces, {faces.cascade}", style="bold", markup=False)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("x", "y", "width", "height", "score"):
        table.add_column(heading, justify="right")
    for box, score in zip(faces.boxes.tolist(), faces.scores.tolist(), strict=True):
        table.add_row(*map(str, box), f"{score:.2f}")
    stdout.print(table)
    opencv = f", OpenCV {seconds(faces.opencv.median)}" if faces.opencv else ""
    stdout.print(f"{len(faces.windows)} windows before grouping; {seconds(faces.ours.median)}{opencv}\n")


def _print_detector(detector: DetectorResult) -> None:
    stdout.print(f"{detector.model}, {detector.weights} weights", style="bold", markup=False)
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("stage")
    for heading in ("torchvision", "saccade", "ratio"):
        table.add_column(heading, justify="right")
    for stage, before in detector.before.items():
        after = detector.after[stage]
        style = "bold" if stage == "total" else ""
        table.add_row(stage, seconds(before), seconds(after), f"{before / after:.2f}×", style=style)
    stdout.print(table)
    stdout.print()


def _print_end(result: Demonstration, files: list[Path]) -> None:
    stdout.print()
    for check in result.checks:
        mark, style = {True: ("ok", "green"), False: ("DISAGREES", "red"), None: ("not checked", "dim")}[check.ok]
        stdout.print(f"{mark}: {check.name} ({check.detail})", style=style, markup=False)
    stderr.print("wrote " + ", ".join(map(str, files)), markup=False, soft_wrap=True)
