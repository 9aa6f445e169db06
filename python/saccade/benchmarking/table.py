"""Results as rows of text: for the terminal, for Markdown, for HTML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from saccade.benchmarking.results import Change, GroupBar

__all__ = ["HEADINGS", "Row", "change_cells", "group_line", "machine_line", "markdown", "peak_line", "rows", "seconds"]

HEADINGS = ("operation", "size", "threads", "ours", "reference", "ratio", "bar", "largest difference", "rate")


@dataclass(frozen=True)
class Row:
    """One case beside one reference; ``state`` is ok, failed, or missing (no reference to compare with)."""

    operation: str
    size: str
    threads: str
    ours: str
    reference: str
    ratio: str
    bar: str
    difference: str
    rate: str
    state: str
    met: bool | None

    def cells(self) -> tuple[str, ...]:
        """The texts, in the order of `HEADINGS`."""
        head = (self.operation, self.size, self.threads, self.ours, self.reference)
        return (*head, self.ratio, self.bar, self.difference, self.rate)


def rows(records: Iterable[dict[str, Any]]) -> Iterator[Row]:
    """One row for each reference of each record (`Report.cases`), or a single one where a record has none."""
    for record in records:
        common = {
            "operation": record["operation"],
            "size": record["size"],
            "threads": str(record["threads"]),
            "ours": _spread(record["time"]),
            "rate": _rate(record),
        }
        if record["error"]:
            blank = dict.fromkeys(("reference", "ratio", "bar"), "")
            yield Row(**common, **blank, difference=record["error"], state="failed", met=None)
            continue
        for index, (name, result) in enumerate(record["references"].items()):
            yield _row(common, name, result, record if index == 0 else {"bar": None, "met": None})
        if not record["references"]:
            yield _row(common, "", {"missing": "no reference"}, record)


def _row(common: dict[str, str], name: str, result: dict[str, Any], judged: dict[str, Any]) -> Row:
    bar = "" if judged["bar"] is None else f"{judged['bar']:g}×"
    if "missing" in result:
        reference = f"{name}: {result['missing']}" if name else result["missing"]
        return Row(**common, reference=reference, ratio="", bar=bar, difference="", state="missing", met=None)
    ratio = f"{result['ratio']:.3g}×" if "ratio" in result else ""
    largest = result["difference"]
    difference = "other shape" if largest is None else "equal" if largest == 0 else f"{largest:.2g}"
    return Row(
        **common,
        reference=f"{name} {_spread(result.get('time'))}".strip(),
        ratio=ratio,
        bar=bar,
        difference=difference if result["ok"] else f"{difference}: disagrees",
        state="ok" if result["ok"] else "failed",
        met=judged["met"],
    )


def _spread(time: dict[str, float] | None) -> str:
    """Median and interquartile range."""
    if time is None:
        return ""
    return f"{seconds(time['median'])} ±{50 * (time['q3'] - time['q1']) / time['median']:.0f}%"


def seconds(value: float) -> str:
    """A time with three digits in its natural unit.

    >>> seconds(0.00123), seconds(12.3456)
    ('1.23 ms', '12.3 s')
    """
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}" if value < 1000 * scale else f"{value / scale:.0f} {unit}"
    return f"{value / 1e-9:.3g} ns"


def _rate(record: dict[str, Any]) -> str:
    parts = []
    if record["gb_s"] is not None:
        parts.append(f"{record['gb_s']:.3g} GB/s")
    if record["gflop_s"] is not None:
        parts.append(f"{record['gflop_s']:.3g} GFLOP/s")
    if record["peak_share"] is not None:
        parts.append(f"{100 * record['peak_share']:.0f}% of peak")
    return ", ".join(parts)


def machine_line(machine: dict[str, Any]) -> str:
    """Where a result was measured, in one line."""
    versions = ", ".join(f"{name} {version or 'not installed'}" for name, version in machine["versions"].items())
    commit = f", commit {machine['commit']}" if machine["commit"] else ""
    gpu = f", {machine['gpu']}" if machine["gpu"] else ""
    processor = f"{machine['cpu']}, {machine['cores']} cores, {machine['isa']}{gpu}"
    return f"{processor}, {machine['compiler']}; {versions}{commit}"


def peak_line(peak: dict[str, Any]) -> str:
    """A measured peak (``machine["peaks"]``), in one line."""
    where = peak["device"] if peak["device"] != "cpu" else f"{peak['threads']} thread{'s' * (peak['threads'] > 1)}"
    return f"{where}: copy {peak['copy_gb_s']:.3g} GB/s, float32 {peak['fma_gflop_s']:.4g} GFLOP/s"


def group_line(bar: GroupBar) -> str:
    """A group's geometric mean beside its bar."""
    threads = "1 thread" if bar.threads == 1 else f"{bar.threads} threads"
    verdict = "met" if bar.met else "missed"
    return f"{bar.group}, {threads}: geometric mean {bar.mean:.3g}× (bar {bar.bar:g}×, {verdict})"


def change_cells(change: Change) -> tuple[str, ...]:
    """Name, threads, old and new time, speed-up, old and new ratio to the first reference."""
    ratios = (f"{ratio:.3g}×" if ratio is not None else "" for ratio in (change.old_ratio, change.new_ratio))
    times = seconds(change.old), seconds(change.new)
    return (change.name, str(change.threads), *times, f"{change.speedup:.2f}×", *ratios)


def markdown(records: Iterable[dict[str, Any]]) -> str:
    """The table of a document."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row.cells()) + " |" for row in rows(records)]
    return "\n".join(lines) + "\n"
