"""What the commands that train and measure share: options, how they fail, and what they print."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from saccade._extras import require
from saccade.cli._output import fail, print_json, stderr, stdout

if TYPE_CHECKING:
    from saccade.train import Run

__all__ = ["print_training", "reported"]

Epochs = Annotated[int, typer.Option(help="Of the whole training.")]
BatchSize = Annotated[int, typer.Option(help="Of each process.")]
Optimizer = Annotated[str, typer.Option(help="adamw, sgd or alexnet (the notes' rule).")]
WeightDecay = Annotated[float, typer.Option(help="Of the optimiser.")]
Schedule = Annotated[str, typer.Option(help="poly, cosine, onecycle or constant.")]
Accumulate = Annotated[int, typer.Option(help="Batches that make one step.")]
Precision = Annotated[str, typer.Option(help="32-true, bf16-mixed or 16-mixed.")]
CheckpointSteps = Annotated[int | None, typer.Option(help="Also write a checkpoint after so many steps.")]
Workers = Annotated[int, typer.Option(help="Processes that read images; 0: the one that runs.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from OUT/last.ckpt, if it is there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")]
MeasuredData = Annotated[str | None, typer.Argument(help="As for training; default: what it was trained with.")]


@contextmanager
def reported(command: str, out: Path | None = None) -> Iterator[None]:
    """End the command with what went wrong: exit code 1 for an interrupt or a NaN, otherwise 2.

    ``out`` is the folder of a training that ``--resume`` can go on with.
    """
    try:
        require("lightning", command, "train")  # what trains imports it by name, which tells nobody what to install
        yield
    except KeyboardInterrupt:
        kept = f"; --resume goes on from {out / 'last.ckpt'}" if out and (out / "last.ckpt").exists() else ""
        fail(f"{command}: interrupted{kept}", 1)
    except FloatingPointError as error:  # saccade.train.NonFiniteError, which cannot be named without Lightning
        fail(f"{command}: {error}", 1)
    except (OSError, TypeError, ValueError, RuntimeError, ImportError) as error:
        text = str(error)
        fail(text if text.startswith(command) else f"{command}: {text}")


def print_training(
    summary: dict[str, Any], run: Run, out: Path, as_json: bool, print_measured: Callable[[dict[str, Any]], None]
) -> None:
    """What a training ends with; of several processes the first one prints."""
    if int(os.environ.get("RANK", "0")) != 0:
        return
    if as_json:
        print_json({**summary, "history": run.history})
        return
    _print_history(run.history)
    print_measured(summary)
    stderr.print(f"Written to {out}.", markup=False, soft_wrap=True)


def _print_history(history: list[dict[str, float]]) -> None:
    """A row for each epoch."""
    table = Table(box=None)
    names = [name for name in history[-1] if name.startswith(("train_", "val_"))]
    for heading in ("epoch", *(name.replace("_", " ") for name in names)):
        table.add_column(heading, justify="right")
    for row in history:
        table.add_row(str(int(row["epoch"]) + 1), *(f"{row[name]:.4f}" if name in row else "" for name in names))
    stdout.print(table)
