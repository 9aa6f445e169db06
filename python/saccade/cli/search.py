"""``saccade train search``."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from saccade.cli._output import fail, print_json, progress_bar, stderr, stdout

if TYPE_CHECKING:
    from saccade.train.nas import SearchResult, TrialRecord

__all__ = ["search"]


def search(
    file: Annotated[Path, typer.Argument(help="Python file that defines space, objective and perhaps build.")],
    trials: Annotated[int, typer.Option(help="Altogether, with those of earlier runs and other machines.")] = 50,
    storage: Annotated[str, typer.Option(help="SQLite file or database URL; machines share it.")] = "search.sqlite3",
    name: Annotated[str, typer.Option(help="Of the search in its storage.")] = "search",
    sampler: Annotated[str, typer.Option(help="tpe or random.")] = "tpe",
    pruner: Annotated[str, typer.Option(help="median, hyperband or none.")] = "median",
    direction: Annotated[str, typer.Option(help="maximize or minimize.")] = "maximize",
    seed: Annotated[int, typer.Option(help="Of architectures and objectives.")] = 0,
    report: Annotated[Path | None, typer.Option(help="Folder for an HTML report with pictures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the trials as JSON to stdout.")] = False,
) -> None:
    """Search for the best architecture. Interrupted or killed, the same command goes on; run anywhere, it helps along.

    The file's objective(architecture, trial) returns a number for an architecture of its space (saccade.train.nas).
    """
    if not file.is_file():
        fail(f"train search: {file}: the file does not exist")
    try:
        from saccade.train import nas

        found = runpy.run_path(str(file))
        missing = [name for name in ("space", "objective") if name not in found]
        if missing:
            fail(f"train search: {file}: it does not define {' and '.join(missing)}")
        with progress_bar() as bar:
            task = bar.add_task("search", total=trials)

            def tell(result: SearchResult) -> None:
                bar.update(task, description=_state(result), completed=_done(result), refresh=True)

            result = nas.search(
                found["objective"],
                found["space"],
                trials=trials,
                sampler=sampler,
                pruner=None if pruner == "none" else pruner,
                direction=direction,
                storage=storage,
                name=name,
                seed=seed,
                progress=tell,
            )
        page = result.report(report, build=found.get("build")) if report else None
    except KeyboardInterrupt:
        fail(f"train search: interrupted; what was tried is in {storage}", 1)
    except (ImportError, OSError, TypeError, ValueError) as error:
        fail(f"train search: {error}")
    if as_json:
        print_json([_json(trial) for trial in result.trials])
    else:
        _print(result)
        stderr.print(f"Kept in {storage}{f'; report: {page}' if page else ''}.", markup=False, soft_wrap=True)
    if not any(trial.state == "complete" for trial in result.trials):
        failed = next((trial.error for trial in result.trials if trial.error), "none has ended yet")
        fail(f"train search: no trial is complete: {failed}", 1)


def _done(result: SearchResult) -> int:
    return sum(trial.state != "running" for trial in result.trials)


def _state(result: SearchResult) -> str:
    if any(trial.state == "complete" for trial in result.trials):
        return f"search: best {result.best.value:.5g}"
    return "search"


def _json(trial: TrialRecord) -> dict[str, Any]:
    keys = ("slot", "state", "value", "architecture", "error", "seconds")
    return {key: getattr(trial, key) for key in keys}


def _print(result: SearchResult) -> None:
    table = Table(box=None)
    for heading in ("slot", "value", "seconds", "architecture"):
        table.add_column(heading, justify="left" if heading == "architecture" else "right", overflow="fold")
    sign = -1 if result.direction == "maximize" else 1
    complete = [trial for trial in result.trials if trial.state == "complete"]
    for trial in sorted(complete, key=lambda trial: sign * (trial.value or 0.0))[:10]:
        table.add_row(str(trial.slot), f"{trial.value:.5g}", f"{trial.seconds:.1f}", str(trial.architecture))
    stdout.print(table)
    states = [trial.state for trial in result.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    stderr.print(f"{len(states)} trials: {counts}.", markup=False)
