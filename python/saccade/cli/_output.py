"""What the commands share: where they write, and how they fail."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn

__all__ = ["fail", "print_json", "progress_bar", "stderr", "stdout"]

# Results go to stdout, everything else to stderr, so that a pipe gets the results alone.
# Where nobody looks at a terminal, a table keeps its lines whole.
stdout = Console(highlight=False, width=None if sys.stdout.isatty() else 220)
stderr = Console(stderr=True, highlight=False)


def fail(message: str, code: int = 2) -> NoReturn:
    """End the command with a message."""
    stderr.print(message, style="red", markup=False, soft_wrap=True)
    raise typer.Exit(code)


def print_json(value: Any) -> None:
    """Write a value for programs."""
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))


@contextmanager
def progress_bar(*more: ProgressColumn) -> Iterator[Progress]:
    """A progress bar on stderr; it disappears when the work is done.

    It is drawn only when it is told to (``refresh=True``): a thread that redraws it would disturb what is timed.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, *more, console=stderr, transient=True, auto_refresh=False) as progress:
        yield progress
