"""How training went: a table and a picture."""

from __future__ import annotations

import csv
import io
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from saccade._extras import require

__all__ = ["Curves", "plot_confusion_matrix", "plot_curves"]

_STAGES = {"train": ("training", "tab:blue"), "val": ("validation", "tab:orange"), "test": ("test", "tab:green")}
_COLUMNS = 5


class Curves(Callback):
    """Writes ``metrics.csv`` and ``curves.png`` (loss, accuracy and what else is logged) at the end of every epoch.

    Args:
        folder: where to.
        every_s: of a fast training not each epoch is drawn: at least so many seconds lie between two pictures, and
            twenty times as long as drawing takes. The table is complete at any time, the picture when training ends.

    ``history`` holds a dict for each epoch: ``epoch``, ``step``, ``learning_rate`` and all logged means. It is part of
    the checkpoint: after a resume the curves are those of the whole training.
    """

    def __init__(self, folder: str | os.PathLike[str], every_s: float = 2.0) -> None:
        require("matplotlib.figure", "Curves", "train")
        self.folder = Path(folder)
        self.every_s = every_s
        self.history: list[dict[str, float]] = []
        self._next = -math.inf

    def state_dict(self) -> dict[str, Any]:
        """The history."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from it."""
        self.history = list(state_dict["history"])

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the epoch."""
        if self.history and self.history[-1]["epoch"] >= trainer.current_epoch:
            return  # Lightning ends an epoch again after it was resumed at its end
        optimizer = trainer.optimizers[0] if trainer.optimizers else None
        row: dict[str, float] = {"epoch": trainer.current_epoch, "step": trainer.global_step}
        if optimizer is not None:
            row["learning_rate"] = float(optimizer.param_groups[0]["lr"])
        row |= {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        self.history.append(row)
        if trainer.is_global_zero:
            self._write(drawn=time.monotonic() >= self._next)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw what is not drawn yet."""
        if trainer.is_global_zero and self.history:
            self._write(drawn=True)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Draw what is not drawn yet."""
        self.on_train_end(trainer, pl_module)

    def _write(self, *, drawn: bool) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        names = list(dict.fromkeys(name for row in self.history for name in row))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names, restval="")
        writer.writeheader()
        writer.writerows(self.history)
        aside = self.folder / "metrics.csv.part"
        aside.write_bytes(text.getvalue().encode())
        aside.replace(self.folder / "metrics.csv")
        if drawn:
            start = time.monotonic()
            plot_curves(self.history, self.folder / "curves.png")
            end = time.monotonic()
            self._next = end + max(self.every_s, 20 * (end - start))


def plot_curves(history: Sequence[Mapping[str, float]], path: str | os.PathLike[str]) -> None:
    """Draw the rows of :class:`Curves`: a panel for each quantity, a line for each stage, over epochs from 1."""
    figure_type = require("matplotlib.figure", "plot_curves", "train").Figure
    quantities: dict[str, dict[str, list[float]]] = {}
    for row in history:
        for name in row:
            stage, _, quantity = name.partition("_")
            if stage in _STAGES and quantity:
                quantities.setdefault(quantity, {})[stage] = []
    order = sorted(quantities, key=lambda q: (q != "loss", q != "accuracy", q))
    epochs = [row["epoch"] + 1 for row in history]
    columns = min(_COLUMNS, max(1, len(order)))
    rows = max(1, -(-len(order) // columns))
    figure = figure_type(figsize=(4.6 * columns, 3.6 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel in panels[len(order) :]:
        panel.axis("off")
    for panel, quantity in zip(panels, order, strict=False):
        for stage, (label, color) in _STAGES.items():
            if stage in quantities[quantity]:
                values = [row.get(f"{stage}_{quantity}", math.nan) for row in history]
                panel.plot(epochs, values, color=color, label=label, marker="o" if len(history) < 2 else "")
        panel.set_title(quantity.replace("_", " "))
        panel.set_xlabel("epoch")
        panel.grid(alpha=0.3)
        panel.legend()
    _save(figure, Path(path))


def plot_confusion_matrix(matrix: Any, path: str | os.PathLike[str], classes: Sequence[str] | None = None) -> None:
    """Draw a confusion matrix, counts ``(C, C)`` with a row for each true class: shares of the row, errors in red."""
    figure_type = require("matplotlib.figure", "plot_confusion_matrix", "train").Figure
    rows = [[int(value) for value in row] for row in matrix]
    count = len(rows)
    names = [str(name) for name in classes] if classes is not None else [str(i) for i in range(count)]
    side = max(3.6, 0.42 * min(count, 60) + 1.4)
    figure = figure_type(figsize=(side, side), layout="constrained")
    panel = figure.subplots()
    shares = [[value / max(1, sum(row)) for value in row] for row in rows]
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if count <= 30:
        for i, row in enumerate(rows):
            for j, value in enumerate(row):
                if value:
                    color = "tab:red" if i != j else "white" if shares[i][j] > 0.5 else "black"
                    panel.text(j, i, str(value), ha="center", va="center", color=color, fontsize=8)
    if count <= 60:
        panel.set_xticks(range(count), names, rotation=90 if max(map(len, names)) > 2 else 0, fontsize=8)
        panel.set_yticks(range(count), names, fontsize=8)
    panel.set_xlabel("found")
    panel.set_ylabel("true")
    _save(figure, Path(path))


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    figure.savefig(aside, dpi=110, format=path.suffix[1:] or "png")
    aside.replace(path)
