"""Everything that the demonstration found out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from saccade.benchmarking import Report
from saccade.demo.detector import DetectorResult
from saccade.demo.faces import FacesResult
from saccade.demo.photo import Photo
from saccade.demo.support import Check

__all__ = ["Demonstration"]


@dataclass(frozen=True)
class Demonstration:
    """The results of the three steps."""

    photo: Photo
    threads: int
    faces: FacesResult
    detector: DetectorResult
    report: Report

    @property
    def checks(self) -> list[Check]:
        """Every comparison that was made."""
        bad = [record["name"] for record in self.report.cases if not record["ok"]]
        detail = ", ".join(bad) or f"{len(self.report.cases)} cases"
        return [*self.faces.checks, *self.detector.checks, Check("benchmarks equal their references", not bad, detail)]

    @property
    def ok(self) -> bool:
        """Whether nothing disagrees; a reference that is absent cannot."""
        return all(check.ok is not False for check in self.checks)

    def to_json(self, files: list[Path]) -> dict[str, Any]:
        """For `json.dump`, with the files that were written."""
        return {
            "ok": self.ok,
            "photo": self.photo.name,
            "threads": self.threads,
            "checks": [asdict(check) for check in self.checks],
            "faces": self.faces.to_json(),
            "detector": self.detector.to_json(),
            "benchmarks": self.report.to_json(),
            "files": [str(path) for path in files],
        }
