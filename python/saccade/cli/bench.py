"""``saccade bench``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from saccade.benchmarking import (
    Case,
    CaseError,
    Outcome,
    Report,
    compare,
    load_cases,
    load_report,
    run_cases,
    save_report,
)
from saccade.benchmarking.results import group_bars
from saccade.benchmarking.table import HEADINGS, Row, change_cells, group_line, machine_line, rows
from saccade.cli._output import fail, progress_bar, stderr, stdout

__all__ = ["QUICK_SECONDS", "bench", "case_table", "run_with_progress"]

# Seconds for each case and thread count, in which ours and the references run in turns.
_SECONDS, QUICK_SECONDS = 3.0, 0.3


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer, smaller cases and less time for each.")] = False,
    name_filter: Annotated[str, typer.Option("--filter", help="Only cases whose name contains this.")] = "",
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the results here.")] = None,
    compare_file: Annotated[Path | None, typer.Option("--compare", help="Results of an earlier run.")] = None,
    case_files: Annotated[list[Path] | None, typer.Option("--cases", help="Your own case file; repeatable.")] = None,
    threads: Annotated[str, typer.Option(help="Thread counts, as in 1,2; default: all that the cases name.")] = "",
    seconds: Annotated[float | None, typer.Option(min=0.0, help="Time for each case.")] = None,
    device: Annotated[str, typer.Option(help="The cases of this device: cpu or cuda.")] = "cpu",
    names: Annotated[bool, typer.Option("--list", help="List the cases and stop.")] = False,
) -> None:
    """Verify every case against its references, then time them in turns. Exit code 1 when one disagrees."""
    try:
        earlier = load_report(compare_file) if compare_file else None
        cases = load_cases(
            case_files or (), quick=quick, name_filter=name_filter, threads=_counts(threads), device=_device(device)
        )
    except (CaseError, ValueError, OSError) as error:
        fail(f"bench: {error}")
    if not cases:
        fail(
            f"bench: no case's name contains {name_filter!r} with threads {threads or 'any'} on {device} "
            "(--list shows them)"
        )
    if names:
        for case, count in cases:
            typer.echo(f"{case.name}  threads {count}")
        return
    if json_file and not json_file.resolve().parent.is_dir():
        fail(f"bench: {json_file}: the folder does not exist")
    report = Report.of(
        run_with_progress(cases, seconds if seconds is not None else QUICK_SECONDS if quick else _SECONDS)
    )
    _print(report)
    if json_file:
        save_report(report, json_file)
    if earlier:
        _print_changes(earlier, report)
    if not all(record["ok"] for record in report.cases):
        fail("bench: not all cases agree with their references", 1)


def _device(name: str) -> str:
    if name not in ("cpu", "cuda"):
        raise ValueError(f"--device must be cpu or cuda, got {name}")
    if name == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ValueError("--device cuda: torch sees no GPU")
    return name


def _counts(text: str) -> list[int] | None:
    if not text:
        return None
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise ValueError(f"--threads must be counts such as 1,2, got {text}")
    return counts


def run_with_progress(cases: Sequence[tuple[Case, int]], budget: float) -> list[Outcome]:
    """Run cases with a progress bar."""
    with progress_bar() as progress:
        task = progress.add_task("benchmarks", total=len(cases))
        outcomes: list[Outcome] = []

        def tell(case: Case, threads: int) -> None:
            progress.update(task, description=case.name, completed=len(outcomes), refresh=True)

        for outcome in run_cases(cases, budget=budget, progress=tell):
            outcomes.append(outcome)
    return outcomes


def case_table(report: Report) -> Table:
    """The results for the terminal."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    found = list(rows(report.cases))
    used = [index for index in range(len(HEADINGS)) if any(row.cells()[index] for row in found)]
    for index in used:
        right = HEADINGS[index] in ("threads", "ours", "ratio", "bar")
        table.add_column(HEADINGS[index], justify="right" if right else "left", overflow="fold")
    for row in found:
        table.add_row(*(escape(row.cells()[index]) for index in used), style=_style(row))
    return table


def _style(row: Row) -> str:
    if row.state == "failed":
        return "red"
    return "dim" if row.state == "missing" else "yellow" if row.met is False else ""


def _print(report: Report) -> None:
    stdout.print(case_table(report))
    for bar in group_bars(report.cases):
        stdout.print(group_line(bar), style="" if bar.met else "yellow")
    stderr.print(machine_line(report.machine), style="dim", soft_wrap=True)


def _print_changes(earlier: Report, report: Report) -> None:
    table = Table(title="changes", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in ("case", "threads", "old", "new", "speed-up", "old ratio", "new ratio"):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    for change in compare(earlier, report):
        # Two runs on the same machine differ by up to a fifth without any change.
        style = "green" if change.speedup > 1.2 else "red" if change.speedup < 1 / 1.2 else ""
        table.add_row(*change_cells(change), style=style)
    stdout.print(table)
