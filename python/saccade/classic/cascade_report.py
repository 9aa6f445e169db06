"""A report on a trained cascade: its stages, and the first features over the mean object."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saccade.classic.cascade_trainer import CascadeTrainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write_report"]

_PAGE = """<!doctype html>
<meta charset="utf-8"><title>Cascade training</title>
<style>body {{ font: 15px/1.5 sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em }}
img {{ max-width: 100% }} td, th {{ padding: .1em .8em; text-align: right }}</style>
<h1>Cascade training</h1>
<p>{stages} stages with {learners} weak learners. Ended: {reason}.</p>
<img alt="Learners of each stage and rates" src="data:image/png;base64,{curves}">
<h2>The first features, over the mean object</h2>
<img alt="Features" src="data:image/png;base64,{features}">
<h2>Stages</h2>
<table><tr>{headings}</tr>{rows}</table>
"""


def write_report(folder: Path, trainer: CascadeTrainer) -> Path:
    """Write ``report.html`` with its pictures, also as ``stages.png`` and ``features.png``; returns its path.

    Raises:
        RuntimeError: where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise RuntimeError("write_report: needs matplotlib (python -m pip install matplotlib)") from None
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"stages": _stages(Figure, trainer), "features": _features(Figure, trainer)}
    for name, png in pictures.items():
        (folder / f"{name}.png").write_bytes(png)
    records = trainer.history_
    headings = "".join(f"<th>{html.escape(name.replace('_', ' '))}</th>" for name in ("stage", *records[0]._fields))
    rows = "".join(
        "<tr>" + "".join(f"<td>{value:.4g}</td>" for value in (number, *record)) + "</tr>"
        for number, record in enumerate(records, 1)
    )
    page = _PAGE.format(
        stages=len(records),
        learners=sum(record.learners for record in records),
        reason=html.escape(trainer.stop_reason_),
        curves=base64.b64encode(pictures["stages"]).decode(),
        features=base64.b64encode(pictures["features"]).decode(),
        headings=headings,
        rows=rows,
    )
    path = folder / "report.html"
    path.write_text(page, "utf-8")
    return path


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _stages(figure_type: type[Figure], trainer: CascadeTrainer) -> bytes:
    records = trainer.history_
    stages = np.arange(1, len(records) + 1)
    figure = figure_type(figsize=(10, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.bar(stages, [record.learners for record in records])
    left.set(xlabel="stage", ylabel="weak learners")
    right.semilogy(stages - 1, [record.accepted / max(1, record.scanned) for record in records], "o-")
    right.set(xlabel="stages trained", ylabel="background windows accepted")
    return _png(figure)


def _features(figure_type: type[Figure], trainer: CascadeTrainer) -> bytes:
    figure = figure_type(figsize=(10, 4.2), layout="constrained")
    axes: Any = figure.subplots(2, 5)
    for axis in axes.flat:
        axis.axis("off")
    for axis, feature in zip(axes.flat, trainer.first_features_, strict=False):
        axis.imshow(trainer.mean_positive_, cmap="gray")
        for x, y, width, height, weight in feature.rects:
            corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
            if feature.tilted:
                corners = [
                    (x, y),
                    (x + width, y + width),
                    (x + width - height, y + width + height),
                    (x - height, y + height),
                ]
            outline = np.array([*corners, corners[0]]) - 0.5
            axis.fill(outline[:, 0], outline[:, 1], color="tab:red" if weight > 0 else "tab:blue", alpha=0.45)
    return _png(figure)
