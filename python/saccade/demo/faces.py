"""Step 1: faces, found with a cascade read from OpenCV's XML, beside OpenCV's own detector."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.benchmarking import Timing, interleave, use_threads
from saccade.demo.photo import Photo
from saccade.demo.support import Check, DemoError, require

__all__ = ["FacesResult", "find_faces"]

_CASCADE = "haarcascade_frontalface_default.xml"
_SCALE_FACTOR, _MIN_NEIGHBORS = 1.1, 3
_SECONDS = 1.5


@dataclass(frozen=True)
class FacesResult:
    """What was found: ``boxes`` and ``windows`` (before grouping) are ``(N, 4)``, ``x, y, w, h``."""

    cascade: str
    boxes: NDArray[np.int64]
    scores: NDArray[np.float64]
    windows: NDArray[np.int64]
    ours: Timing
    opencv: Timing | None
    checks: list[Check]

    def to_json(self) -> dict[str, Any]:
        """For `json.dump`."""
        found = zip(self.boxes.tolist(), self.scores.tolist(), strict=True)
        return {
            "cascade": self.cascade,
            "faces": [{"box": box, "score": score} for box, score in found],
            "windows": len(self.windows),
            "seconds": self.ours.median,
            "opencv_seconds": self.opencv.median if self.opencv else None,
        }


def find_faces(photo: Photo, cascade_file: Path | None, threads: int) -> FacesResult:
    """Detect, and compare the windows and the grouped boxes with OpenCV's where it is installed.

    Raises:
        DemoError: where the cascade cannot be read.
    """
    from saccade.classic import CascadeClassifier

    path = cascade_file or _shipped_cascade()
    try:
        cascade: Any = CascadeClassifier.load(path)
    except (OSError, ValueError) as error:
        raise DemoError(f"demo: cannot read the cascade {path}: {error}") from error

    def detect() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return cascade.detect(photo.grey, scale_factor=_SCALE_FACTOR, min_neighbors=_MIN_NEIGHBORS, return_scores=True)

    opencv = _OpenCV.load(path)
    # cv2 is imported by now, so that the thread count holds for it too.
    with use_threads(threads):
        boxes, scores = detect()
        windows = cascade.detect(photo.grey, scale_factor=_SCALE_FACTOR, min_neighbors=0)
        calls = {"saccade": detect} | ({"OpenCV": lambda: opencv.boxes(photo.grey)} if opencv else {})
        times = interleave(calls, _SECONDS, threads)
        checks = _checks(photo, boxes, windows, opencv)
    boxes, windows = np.asarray(boxes, np.int64), np.asarray(windows, np.int64)
    scores = np.asarray(scores, np.float64)
    return FacesResult(path.name, boxes, scores, windows, times["saccade"], times.get("OpenCV"), checks)


def _shipped_cascade() -> Path:
    cv2 = require("cv2", "for the cascade that it ships (or name one with --cascade)")
    return Path(cv2.data.haarcascades) / _CASCADE


class _OpenCV:
    """OpenCV's detector with the same cascade."""

    def __init__(self, detector: Any) -> None:
        self._detector = detector

    @classmethod
    def load(cls, path: Path) -> _OpenCV | None:
        """None where OpenCV is not installed, lacks the detector (5.x), or does not read the file."""
        try:
            import cv2
        except ImportError:
            return None
        if not hasattr(cv2, "CascadeClassifier"):
            return None
        detector = cv2.CascadeClassifier()
        return cls(detector) if detector.load(str(path)) else None

    def boxes(self, grey: NDArray[np.uint8], min_neighbors: int = _MIN_NEIGHBORS) -> NDArray[np.int64]:
        found = self._detector.detectMultiScale(grey, _SCALE_FACTOR, min_neighbors)
        return np.asarray(found, np.int64).reshape(-1, 4)


def _checks(photo: Photo, boxes: Any, windows: Any, opencv: _OpenCV | None) -> list[Check]:
    if opencv is None:
        return [Check("faces equal OpenCV's", None, "OpenCV 4.x is not installed, or does not read the cascade")]
    return [
        _same("windows before grouping equal OpenCV's", windows, opencv.boxes(photo.grey, 0)),
        _same("faces equal OpenCV's", boxes, opencv.boxes(photo.grey)),
    ]


def _same(name: str, ours: Any, theirs: NDArray[np.int64]) -> Check:
    """As sets: OpenCV's order depends on its threads."""
    a, b = sorted(map(tuple, np.asarray(ours).tolist())), sorted(map(tuple, theirs.tolist()))
    count = f"{len(a)} box{'' if len(a) == 1 else 'es'}"
    return Check(name, a == b, count if a == b else f"{count}, OpenCV's {len(b)}; they differ")
