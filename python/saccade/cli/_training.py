"""What the commands that train and measure share: how they fail, and the table of epochs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.table import Table

from saccade._extras import require
from saccade.cli._output import fail, stdout

__all__ = ["print_history", "reported"]


@contextmanager
def reported(command: str, out: Path | None = None) -> Iterator[None]:
    """End the command with what went wrong: exit code 1 for an interrupt or a NaN, otherwise 2.

    ``out`` is the folder of a training that ``--resume`` can go on with.
    """
    try:
        require("lightning", command, "train")
        yield
    except KeyboardInterrupt:
        kept = f"; --resume goes on from {out / 'last.ckpt'}" if out and (out / "last.ckpt").exists() else ""
        fail(f"{command}: interrupted{kept}", 1)
    except FloatingPointError as error:  # saccade.train.NonFiniteError, which cannot be named without Lightning
        fail(f"{command}: {error}", 1)
    except (OSError, TypeError, ValueError, RuntimeError, ImportError) as error:
        text = str(error)
        fail(text if text.startswith(command) else f"{command}: {text}")


def print_history(history: list[dict[str, float]]) -> None:
    """A row for each epoch."""
    table = Table(box=None)
    names = [name for name in history[-1] if name.startswith(("train_", "val_"))]
    for heading in ("epoch", *(name.replace("_", " ") for name in names)):
        table.add_column(heading, justify="right")
    for row in history:
        table.add_row(str(int(row["epoch"]) + 1), *(f"{row[name]:.4f}" if name in row else "" for name in names))
    stdout.print(table)
