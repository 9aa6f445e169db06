"""Plots as SVG that takes its text colour from the page, so that one file suits a light and a dark screen."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from saccade.benchmarking.chart import OURS, THEIRS, case_ratios, new_figure, ratio_figure
from saccade.benchmarking.table import seconds
from saccade.demo.detector import STAGES, DetectorResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ratio_chart", "stage_chart"]

_INK = "#010203"  # stands for the page's text colour until the SVG is written


def stage_chart(result: DetectorResult) -> str:
    """Time of each stage of the detector, before and after."""
    names = STAGES[:-1]
    figure, axes = new_figure(len(names) * 1.25, _INK)
    for row, name in enumerate(names):
        for offset, times, colour in ((-0.2, result.before, THEIRS), (0.2, result.after, OURS)):
            milliseconds, y = 1e3 * times[name], row + offset
            axes.barh(y, milliseconds, height=0.36, color=colour)
            style: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 8, "color": _INK}
            axes.annotate(seconds(times[name]), (milliseconds, y), (5, 0), **style)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds")
    axes.set_xlim(0, 1e3 * max(max(result.before[name], result.after[name]) for name in names) * 1.14)
    return _svg(figure, "stages")


def ratio_chart(records: Sequence[dict[str, Any]]) -> str:
    """How many times faster each case is than each reference."""
    return _svg(ratio_figure(case_ratios(records), _INK), "ratios")


def _svg(figure: Figure, salt: str) -> str:
    """Inline SVG: no prologue, sized by the page, its text as text in the page's colour."""
    import matplotlib

    file = io.StringIO()
    # The salt keeps the identifiers of two charts on one page apart.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"(?<=<svg)[^>]*", lambda head: re.sub(r' (width|height)="[^"]*"', "", head[0]), text, count=1)
    return text.replace(_INK, "currentColor")
