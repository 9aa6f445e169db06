"""Results as JSON, and the comparison of two of them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from saccade.benchmarking.machine import describe_machine
from saccade.benchmarking.peaks import peak_of
from saccade.benchmarking.runner import Outcome
from saccade.benchmarking.timing import Timing

__all__ = ["Change", "GroupBar", "Report", "compare", "group_bars", "load_report", "save_report"]

_SCHEMA = 1


@dataclass(frozen=True)
class Report:
    """A run: the machine, and one record per case and thread count, as they stand in the JSON."""

    machine: dict[str, Any]
    cases: list[dict[str, Any]]

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Report:
        """The report of a finished run on this machine."""
        used = sorted({(outcome.case.device, outcome.threads) for outcome in outcomes})
        peaks = [{"device": device, "threads": count, **asdict(peak_of(device, count))} for device, count in used]
        return cls({**describe_machine(), "peaks": peaks}, [_record(outcome) for outcome in outcomes])

    def to_json(self) -> dict[str, Any]:
        """A dictionary for `json.dump`."""
        bars = [asdict(bar) for bar in group_bars(self.cases)]
        return {"schema": _SCHEMA, "machine": self.machine, "cases": self.cases, "groups": bars}


def _record(outcome: Outcome) -> dict[str, Any]:
    case = outcome.case
    return {
        "name": case.name,
        "operation": case.operation,
        "group": case.group or case.operation,
        "size": case.size,
        "device": case.device,
        "threads": outcome.threads,
        "ok": not outcome.failed,
        "error": outcome.error,
        "time": _time(outcome.ours) if outcome.ours else None,
        "gb_s": outcome.gb_s,
        "gflop_s": outcome.gflop_s,
        "peak_share": outcome.peak_share,
        "references": {name: _reference(outcome, name) for name in outcome.names},
        "bar": outcome.bar,
        "met": outcome.met,
        "group_bar": case.group_bar,
    }


def _reference(outcome: Outcome, name: str) -> dict[str, Any]:
    if name in outcome.missing:
        return {"missing": outcome.missing[name]}
    difference = outcome.differences[name]
    # JSON has no infinity: a result of another shape is null.
    record: dict[str, Any] = {"difference": difference.largest if math.isfinite(difference.largest) else None}
    record["ok"] = difference.ok
    if name in outcome.references:
        record |= {"time": _time(outcome.references[name]), "ratio": outcome.ratios[name]}
    return record


def _time(timing: Timing) -> dict[str, float]:
    return {"median": timing.median, "q1": timing.q1, "q3": timing.q3, "samples": timing.samples}


@dataclass(frozen=True)
class GroupBar:
    """The geometric mean of a group's ratios to its first reference, beside the bar for it."""

    group: str
    threads: int
    mean: float
    bar: float
    met: bool


def group_bars(records: Sequence[dict[str, Any]]) -> list[GroupBar]:
    """The groups for which a bar on the mean is set, where every case of the group was timed beside its reference."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for record in records:
        if record["group_bar"] is not None:
            groups.setdefault((record["group"], record["threads"]), []).append(record)
    bars = []
    for (group, threads), members in groups.items():
        ratios = [ratio for member in members if (ratio := _ratio(member))]
        if len(ratios) == len(members):
            mean = math.exp(sum(math.log(ratio) for ratio in ratios) / len(ratios))
            bar = members[0]["group_bar"]
            bars.append(GroupBar(group, threads, mean, bar, mean >= bar))
    return bars


def save_report(report: Report, path: Path) -> None:
    """Write a report as JSON."""
    path.write_text(json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load_report(path: Path) -> Report:
    """Read a report.

    Raises:
        ValueError: where the file is not one.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != _SCHEMA:
            raise ValueError(f"schema {data['schema']} is not {_SCHEMA}")
        return Report(data["machine"], data["cases"])
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a result of saccade bench ({error})") from None


@dataclass(frozen=True)
class Change:
    """One case in two runs."""

    name: str
    threads: int
    old: float
    new: float
    old_ratio: float | None
    new_ratio: float | None

    @property
    def speedup(self) -> float:
        """Old time over new time; the ratios to the reference are the steadier measure between two runs."""
        return self.old / self.new


def compare(old: Report, new: Report) -> list[Change]:
    """The cases that both runs timed, in the order of the new one."""
    before = {(record["name"], record["threads"]): record for record in old.cases if record["time"]}
    changes = []
    for record in new.cases:
        earlier = before.get((record["name"], record["threads"]))
        if earlier and record["time"]:
            times = earlier["time"]["median"], record["time"]["median"]
            changes.append(Change(record["name"], record["threads"], *times, _ratio(earlier), _ratio(record)))
    return changes


def _ratio(record: dict[str, Any]) -> float | None:
    first: dict[str, Any] = next(iter(record["references"].values()), {})
    ratio: float | None = first.get("ratio")
    return ratio
