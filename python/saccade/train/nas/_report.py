"""A page about a search: its history, what mattered, the best architecture."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saccade._extras import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from saccade.train.nas.search import SearchResult, TrialRecord

__all__ = ["write_report"]

_PAGE = """<!doctype html>
<meta charset="utf-8"><title>Architecture search</title>
<style>body {{ font: 15px/1.5 sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em }}
img {{ max-width: 100% }} td, th {{ padding: .1em .8em; text-align: left; vertical-align: top }}
pre {{ font-size: 13px }} table {{ border-collapse: collapse }} tr:nth-child(even) {{ background: #8881 }}</style>
<h1>Architecture search</h1>
<p>{summary}</p>
{pictures}
<h2>The best architecture</h2>
<pre>{best}</pre>
<h2>Trials</h2>
<table><tr><th>slot</th><th>state</th><th>value</th><th>seconds</th><th>architecture, or why it failed</th></tr>
{rows}</table>
"""
_TITLES = {
    "history": "History",
    "curves": "Values reported by step",
    "importances": "Importance of the parameters that all trials have",
    "parallel": "Parallel coordinates",
    "best": "",
}
_COLOURS = {"complete": "tab:blue", "pruned": "tab:orange", "failed": "tab:red", "running": "tab:gray"}


def write_report(folder: Path, result: SearchResult, build: Callable[[dict[str, Any]], Any] | None) -> Path:
    """Write the page and its pictures; returns its path."""
    require("matplotlib", "search", "train")
    folder.mkdir(parents=True, exist_ok=True)
    done = [trial for trial in result.trials if trial.state == "complete"]
    figures = {"history": _history(result)}
    if any(len(trial.steps) > 1 for trial in result.trials):
        figures["curves"] = _curves(result)
    if importances := result.importances():
        figures["importances"] = _importances(importances)
    if done:
        figures["parallel"] = _parallel(result, done)
        figures["best"] = _drawing(result.best)
    pictures = []
    for name, figure in figures.items():
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=110)
        (folder / f"{name}.png").write_bytes(file.getvalue())
        title = f"<h2>{_TITLES[name]}</h2>" if _TITLES[name] else ""
        data = base64.b64encode(file.getvalue()).decode()
        pictures.append(f'{title}<img alt="{_TITLES[name] or name}" src="data:image/png;base64,{data}">')
    page = _PAGE.format(
        summary=_summary(result),
        pictures="\n".join(pictures),
        best=html.escape(_describe(result, build) if done else "No trial is complete."),
        rows="\n".join(map(_row, result.trials)),
    )
    path = folder / "report.html"
    path.write_text(page, "utf-8")
    return path


def _summary(result: SearchResult) -> str:
    states = [trial.state for trial in result.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in _COLOURS if state in states)
    begun = result.study.user_attrs.get("saccade", {})
    hours = sum(trial.seconds for trial in result.trials) / 3600
    text = f"{len(states)} trials ({counts}), {hours:.2f} hours of work; {result.direction}"
    text += f", sampler {begun.get('sampler')}, seed {begun.get('seed')}. Space: {begun.get('space')}"
    return html.escape(text)


def _row(trial: TrialRecord) -> str:
    value = "" if trial.value is None else f"{trial.value:.6g}"
    what = trial.error or ", ".join(f"{name} {_text(value)}" for name, value in trial.parameters.items())
    cells = [str(trial.slot), trial.state, value, f"{trial.seconds:.1f}", what]
    return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


def _describe(result: SearchResult, build: Callable[[dict[str, Any]], Any] | None) -> str:
    best = result.best
    lines = [f"value {best.value:.6g}, slot {best.slot}", "", *_lines(best.architecture, 0)]
    if build is not None:
        model = build(best.architecture)
        count = sum(parameter.numel() for parameter in model.parameters())
        lines += ["", f"{count:,} parameters", str(model)]
    return "\n".join(lines)


def _lines(value: Any, depth: int) -> list[str]:
    """A nested architecture, indented."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    lines = []
    for name, inner in pairs:
        nested = isinstance(inner, (dict, list))
        lines.append("  " * depth + f"{name}:" + ("" if nested else f" {_text(inner)}"))
        if nested:
            lines += _lines(inner, depth + 1)
    return lines


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _figure(width: float, height: float) -> Figure:
    figure: Figure = require("matplotlib.figure", "search", "train").Figure(
        figsize=(width, height), layout="constrained"
    )
    return figure


def _history(result: SearchResult) -> Figure:
    figure = _figure(9, 3.6)
    axes = figure.subplots()
    for state, colour in _COLOURS.items():
        points = [
            (trial.slot, trial.value) for trial in result.trials if trial.state == state and trial.value is not None
        ]
        if points:
            axes.plot(*zip(*points, strict=True), "o", color=colour, markersize=4, label=state)
    failed = [trial.slot for trial in result.trials if trial.state == "failed"]
    if failed:
        low = axes.get_ylim()[0]
        axes.plot(failed, [low] * len(failed), "x", color=_COLOURS["failed"], label="failed")
    done = [(trial.slot, trial.value) for trial in result.trials if trial.state == "complete"]
    if done:
        best = np.maximum if result.direction == "maximize" else np.minimum
        slots, values = zip(*done, strict=True)
        axes.step(slots, best.accumulate(np.array(values, float)), where="post", color="black", label="best so far")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)
    axes.set(xlabel="trial", ylabel="value")
    return figure


def _curves(result: SearchResult) -> Figure:
    figure = _figure(9, 3.6)
    axes = figure.subplots()
    for trial in result.trials:
        if trial.steps:
            axes.plot(
                list(trial.steps), list(trial.steps.values()), color=_COLOURS[trial.state], alpha=0.5, linewidth=1
            )
    axes.set(xlabel="step", ylabel="value", title="blue: complete, orange: pruned")
    return figure


def _importances(importances: dict[str, float]) -> Figure:
    figure = _figure(9, 0.8 + 0.3 * len(importances))
    axes = figure.subplots()
    axes.barh(list(importances), list(importances.values()))
    axes.invert_yaxis()
    axes.set(xlabel="share of the variance of the values (fANOVA)")
    return figure


def _parallel(result: SearchResult, done: list[TrialRecord]) -> Figure:
    """One line for each complete trial; where it does not have a parameter, the line is interrupted."""
    names = list(dict.fromkeys(name for trial in done for name in trial.parameters))[:14]
    figure = _figure(max(6.0, 1.1 * (len(names) + 1)), 4.5)
    axes = figure.subplots()
    positions = {}
    for column, name in enumerate(names):
        values = [trial.parameters[name] for trial in done if name in trial.parameters]
        positions[name] = _axis(axes, column, values)
    objective = np.array([trial.value for trial in done], float)
    low, high = objective.min(), objective.max()
    shares = (objective - low) / (high - low) if high > low else np.full(len(done), 0.5)
    colours = require("matplotlib", "search", "train").colormaps["viridis"]
    better = shares if result.direction == "maximize" else 1 - shares
    for share, good, trial in sorted(zip(shares, better, done, strict=True), key=lambda item: float(item[1])):
        heights = [positions[n](trial.parameters[n]) if n in trial.parameters else np.nan for n in names]
        axes.plot(range(len(names) + 1), [*heights, share], "o-", color=colours(good), alpha=0.6, markersize=3)
    for at, value in ((0, low), (1, high)):
        axes.text(len(names) + 0.04, at, f"{value:.4g}", fontsize=7)
    axes.set_xticks(range(len(names) + 1), [*names, "value"], rotation=30, ha="right", fontsize=8)
    axes.set_yticks([])
    for column in range(len(names) + 1):
        axes.axvline(column, color="black", linewidth=0.5)
    return figure


def _axis(axes: Any, column: int, values: list[Any]) -> Callable[[Any], float]:
    """Where a parameter's values lie on its axis between 0 and 1; the ends, or all words, are written beside it."""
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    if numbers:
        low, high = min(values), max(values)
        logarithmic = low > 0 and high / low > 50
        scale = np.log if logarithmic else (lambda value: value)
        span = scale(high) - scale(low)
        for at, value in ((0.0, low), (1.0, high)) if span else ((0.5, low),):
            axes.text(column + 0.04, at, f"{value:.4g}", fontsize=7)
        return lambda value: float((scale(value) - scale(low)) / span) if span else 0.5
    words = sorted(set(map(str, values)))
    places = {word: (number + 0.5) / len(words) for number, word in enumerate(words)}
    for word, at in places.items():
        axes.text(column + 0.04, at, word, fontsize=7)
    return lambda value: places[str(value)]


def _drawing(best: TrialRecord) -> Figure:
    """The best architecture as a row of boxes: one for each repeated part, one for all that stands alone."""
    boxes: list[tuple[str, list[str]]] = []
    alone = {name: value for name, value in best.architecture.items() if not isinstance(value, (list, dict))}
    for name, value in best.architecture.items():
        if isinstance(value, list):
            boxes += [(f"{name} {number}", _lines(part, 0)) for number, part in enumerate(value)]
        elif isinstance(value, dict):
            boxes.append((name, _lines(value, 0)))
    if alone:
        boxes.append(("everywhere", _lines(alone, 0)))
    tallest = max((len(lines) for _, lines in boxes), default=1)
    figure = _figure(max(3.0, 2.0 * len(boxes)), 0.9 + 0.22 * tallest)
    axes = figure.subplots()
    for number, (title, lines) in enumerate(boxes):
        text = "\n".join([title, *lines])
        style = {"boxstyle": "round", "facecolor": "#eef3fb", "edgecolor": "tab:blue"}
        axes.text(
            number + 0.5, 0.5, text, ha="center", va="center", ma="left", fontsize=8, family="monospace", bbox=style
        )
    axes.set(xlim=(0, max(1, len(boxes))), ylim=(0, 1))
    axes.axis("off")
    return figure
