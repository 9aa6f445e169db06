"""Turns the results of ``saccade bench --json`` into docs/benchmarks.md, docs/benchmarks.svg and the README's table.

``python benchmarks/render.py benchmarks/results/zen5-2core/*.json``; several files may hold parts of the cases
(``--filter``), all of one machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib

from saccade.benchmarking import Report, load_report
from saccade.benchmarking.chart import Ratio, group_ratios, ratio_figure
from saccade.benchmarking.results import group_bars
from saccade.benchmarking.table import group_line, machine_line, markdown, peak_line

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- benchmarks: written by benchmarks/render.py -->", "<!-- end of benchmarks -->"
INK = "#6e7781"  # legible on white and on black: an image cannot know the page it stands on

PAGE = """\
# Benchmarks

How many times faster than its reference each operation is: the geometric mean, the line reaching from the slowest
to the fastest case.

![Times as fast as the reference, by operation](benchmarks.svg)

Measured with `saccade bench` on {machine}. Best rates of this machine: {peaks}.

Every case is compared with its references before it is timed; then ours and the references run in turns, so that a
change of clock or a busy neighbour hits all alike. Times are medians, ± half the interquartile range. The share of the
peak is the time that the machine would need for the case's memory traffic at its copy rate, or for its arithmetic at
its FMA rate, whichever is longer, over the time taken; data that stay in a cache may exceed 100 %. How to run and to
write cases: [benchmarks/README.md](../benchmarks/README.md).

{table}{means}"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--root", type=Path, default=ROOT, help="the source tree to write to")
    options = parser.parse_args(arguments)
    report = merged([load_report(path) for path in options.results])
    docs = options.root / "docs"
    docs.mkdir(exist_ok=True)
    (docs / "benchmarks.md").write_text(page(report), encoding="utf-8")
    ratios = summary(report)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "benchmarks"}):
        ratio_figure(ratios, INK).savefig(docs / "benchmarks.svg", transparent=True, metadata={"Date": None})
    readme = options.root / "README.md"
    readme.write_text(with_summary(readme.read_text(encoding="utf-8"), ratios, report), encoding="utf-8")
    return 0


def merged(reports: Sequence[Report]) -> Report:
    """One report of all cases; the machine as the last one describes it, with all peaks."""
    machine = reports[-1].machine
    others = {report.machine[key] for report in reports for key in ("cpu", "isa")} - {machine["cpu"], machine["isa"]}
    if others:
        raise SystemExit(f"the results come from different machines: {machine['cpu']}, {machine['isa']} and {others}")
    peaks = {(peak["device"], peak["threads"]): peak for report in reports for peak in report.machine["peaks"]}
    cases = {(record["name"], record["threads"]): record for report in reports for record in report.cases}
    return Report({**machine, "peaks": [peaks[key] for key in sorted(peaks)]}, list(cases.values()))


def page(report: Report) -> str:
    """docs/benchmarks.md."""
    means = "".join(f"- {group_line(bar)}\n" for bar in group_bars(report.cases))
    return PAGE.format(
        machine=machine_line(report.machine),
        peaks="; ".join(map(peak_line, report.machine["peaks"])),
        table=markdown(report.cases),
        means=f"\nGeometric means:\n\n{means}" if means else "",
    )


def summary(report: Report) -> list[Ratio]:
    """One line for each operation: all its cases, beside their first reference, with the fewest threads."""
    first: dict[str, Ratio] = {}
    for ratio in group_ratios([{**record, "group": record["operation"]} for record in report.cases]):
        if ratio.label not in first or ratio.threads < first[ratio.label].threads:
            first[ratio.label] = ratio
    return list(first.values())


def with_summary(readme: str, ratios: Sequence[Ratio], report: Report) -> str:
    """The README with the table between its two marks replaced."""
    if BEGIN not in readme or END not in readme:
        raise SystemExit(f"README.md lacks the marks {BEGIN!r} and {END!r}")
    lines = [
        "| operation | reference | times as fast (geometric mean) | slowest to fastest case |",
        "|---|---|---|---|",
    ]
    for ratio in ratios:
        span = f"{ratio.least:.3g}× to {ratio.most:.3g}×" if ratio.cases > 1 else ""
        lines.append(f"| {ratio.text} | {ratio.reference} | {ratio.mean:.3g}× | {span} |")
    machine = report.machine
    lines += ["", f"{machine['cpu']}, {machine['cores']} cores, {machine['isa']}; one thread unless said."]
    head, tail = readme.split(BEGIN)[0], readme.split(END)[1]
    return head + BEGIN + "\n\n" + "\n".join(lines) + "\n\n" + END + tail


if __name__ == "__main__":
    sys.exit(main())
