"""How many times faster than the references: summaries, and a chart on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["OURS", "THEIRS", "Ratio", "case_ratios", "group_ratios", "new_figure", "ratio_figure"]

OURS, THEIRS = "#0a9b86", "#8d96a8"
_SLOWER = "#c0563f"
_ROW_INCHES, _WIDTH_INCHES = 0.34, 8.6


@dataclass(frozen=True)
class Ratio:
    """Time of a reference over ours: one case, or the geometric mean, smallest and largest of a group."""

    label: str
    threads: int
    reference: str
    mean: float
    least: float
    most: float
    cases: int
    bar: float | None = None

    @property
    def text(self) -> str:
        """The label with the number of threads, where it is not one."""
        return self.label if self.threads == 1 else f"{self.label}, {self.threads} threads"


def case_ratios(records: Sequence[dict[str, Any]]) -> list[Ratio]:
    """Each case beside each of its references."""
    return [
        Ratio(f"{record['operation']}, {record['size']}", record["threads"], name, ratio, ratio, ratio, 1, bar)
        for record in records
        for name, ratio, bar in _timed(record)
    ]


def group_ratios(records: Sequence[dict[str, Any]]) -> list[Ratio]:
    """Each group beside each reference; the bar is the one on the mean."""
    groups: dict[tuple[str, int, str], list[float]] = {}
    bars: dict[tuple[str, int, str], float | None] = {}
    for record in records:
        for name, ratio, bar in _timed(record):
            key = (record["group"], record["threads"], name)
            groups.setdefault(key, []).append(ratio)
            bars[key] = record["group_bar"] if bar is not None else None
    return [
        Ratio(*key, math.exp(sum(map(math.log, found)) / len(found)), min(found), max(found), len(found), bars[key])
        for key, found in groups.items()
    ]


def _timed(record: dict[str, Any]) -> list[tuple[str, float, float | None]]:
    """Name, ratio and bar of the references that were timed; the bar holds for the first."""
    return [
        (name, result["ratio"], record["bar"] if index == 0 else None)
        for index, (name, result) in enumerate(record["references"].items())
        if "ratio" in result
    ]


def ratio_figure(ratios: Sequence[Ratio], ink: str) -> Figure:
    """A horizontal bar for each ratio, texts in the colour ``ink``; a tick marks the bar where there is one."""
    figure, axes = new_figure(max(2, len(ratios)), ink)
    for row, ratio in enumerate(ratios):
        axes.barh(row, ratio.mean - 1, left=1, height=0.62, color=OURS if ratio.mean >= 1 else _SLOWER)
        if ratio.cases > 1:
            axes.plot([ratio.least, ratio.most], [row, row], color=ink, linewidth=1, alpha=0.7)
        end = max(ratio.most, 1)
        _text(axes, end, row, f"{ratio.mean:.3g}×  {ratio.reference}", ink)
        if ratio.bar is not None:
            axes.plot([ratio.bar, ratio.bar], [row - 0.4, row + 0.4], color=ink, linewidth=1.6)
    axes.set_xscale("log")
    axes.axvline(1, color=ink, linewidth=0.8)
    axes.set_yticks(range(len(ratios)), [ratio.text for ratio in ratios])
    axes.set_ylim(len(ratios) - 0.4, -0.6)
    # Room on the right for the texts.
    axes.set_xlim(min([1.0, *(r.least for r in ratios)]) * 0.8, max([10.0, *(r.most for r in ratios)]) * 4)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.set_xlabel("times as fast as the reference")
    return figure


def new_figure(rows: float, ink: str) -> tuple[Figure, Axes]:
    """An empty chart of horizontal bars, as high as its rows need."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH_INCHES, 0.8 + _ROW_INCHES * rows), layout="constrained")
    axes: Axes = figure.add_subplot()
    axes.grid(axis="x", color=THEIRS, alpha=0.3, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(THEIRS)
    axes.tick_params(which="both", colors=ink, length=0, labelsize=8.5)
    axes.xaxis.label.set_color(ink)
    axes.xaxis.label.set_fontsize(8.5)
    return figure, axes


def _text(axes: Axes, x: float, y: float, text: str, ink: str) -> None:
    axes.annotate(text, (x, y), (5, 0), textcoords="offset points", va="center", fontsize=8, color=ink)
