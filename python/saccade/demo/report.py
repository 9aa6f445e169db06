"""The report: one HTML file that holds its pictures, plots and style."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterable
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from saccade.benchmarking import Report
from saccade.benchmarking.table import HEADINGS, Row, machine_line, rows, seconds
from saccade.demo.detector import DetectorResult
from saccade.demo.faces import FacesResult
from saccade.demo.photo import draw_boxes
from saccade.demo.plots import ratio_chart, stage_chart
from saccade.demo.result import Demonstration
from saccade.demo.support import Check

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["write_report"]

_LARGEST_PICTURE = 1200
_NUMBERS = ("threads", "ours", "ratio", "bar")


def write_report(folder: Path, result: Demonstration) -> list[Path]:
    """Write ``faces.png`` and ``report.html`` into a folder that exists; return their paths."""
    faces = result.faces
    marked = draw_boxes(result.photo, faces.boxes, [f"{score:.1f}" for score in faces.scores.tolist()])
    failed = [check for check in result.checks if check.ok is False]
    verdict = f"{len(failed)} of {len(result.checks)} checks disagree" if failed else "Everything compared agrees"
    values = {
        "photo": html.escape(result.photo.name),
        "threads": "1 thread" if result.threads == 1 else f"{result.threads} threads",
        "verdict": verdict,
        "verdict_class": "bad" if failed else "good",
        "faces_text": html.escape(_faces_text(faces)),
        "faces_image": _embed(marked),
        "windows_image": _embed(draw_boxes(result.photo, faces.windows, faint=True)),
        "detector_text": html.escape(_detector_text(result.detector)),
        "stage_chart": stage_chart(result.detector),
        "ratio_chart": ratio_chart(result.report.cases),
        "table": _table(result.report),
        "checks": "".join(map(_check, result.checks)),
        "machine": html.escape(machine_line(result.report.machine)),
    }
    template = Template((Path(__file__).parent / "report.html").read_text(encoding="utf-8"))
    picture, page = folder / "faces.png", folder / "report.html"
    marked.save(picture)
    page.write_text(template.substitute(values), encoding="utf-8")
    return [picture, page]


def _faces_text(faces: FacesResult) -> str:
    count = len(faces.boxes)
    text = f"{count} face{'' if count == 1 else 's'} from {len(faces.windows)} windows, found by {faces.cascade} in "
    text += f"{seconds(faces.ours.median)}."
    if faces.opencv:
        ratio = faces.opencv.median / faces.ours.median
        text += f" OpenCV takes {seconds(faces.opencv.median)} with the same cascade: {ratio:.3g} times as long."
    return text


def _detector_text(detector: DetectorResult) -> str:
    before, after = detector.before["total"], detector.after["total"]
    width, height = detector.image_size
    return (
        f"{detector.model} ({detector.weights} weights) on the {width} × {height} photograph: {seconds(before)} with "
        f"torchvision's operators, {seconds(after)} with ours after saccade.patch_torchvision(); {detector.detections} "
        "detections. The convolutions are torch's in both."
    )


def _embed(image: Image) -> str:
    small = image.copy()
    small.thumbnail((_LARGEST_PICTURE, _LARGEST_PICTURE))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _table(report: Report) -> str:
    found = list(rows(report.cases))
    used = [index for index in range(len(HEADINGS)) if any(row.cells()[index] for row in found)]
    head = "".join(f"<th{_number(index)}>{HEADINGS[index]}</th>" for index in used)
    body = "".join(_table_row(row, used) for row in found)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _table_row(row: Row, used: Iterable[int]) -> str:
    cells = row.cells()
    inner = "".join(f"<td{_number(index)}>{_keep_units(html.escape(cells[index]))}</td>" for index in used)
    return f'<tr class="{row.state}">{inner}</tr>'


def _keep_units(text: str) -> str:
    """No line break between a number and its unit or spread."""
    return re.sub(r"(?<=\d) (?=[mµn]?s\b|G\w+/s)| (?=±)", "&nbsp;", text)


def _number(index: int) -> str:
    return ' class="number"' if HEADINGS[index] in _NUMBERS else ""


def _check(check: Check) -> str:
    state = {True: "ok", False: "failed", None: "missing"}[check.ok]
    return f'<li class="{state}">{html.escape(check.name)}: {html.escape(check.detail)}</li>'
