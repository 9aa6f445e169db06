"""Face detection with OpenCV's cascades, beside OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from saccade.benchmarking import Case, Difference, Work, exact, reference

from . import _data


def cases(quick: bool) -> Iterator[Case]:
    for cascade in ("frontalface_default", "frontalface_alt2"):
        for width, height in [(512, 512)] if quick else [(512, 512), (1920, 1080)]:
            yield Case(
                name=f"cascade/{cascade}-{width}x{height}",
                operation="CascadeClassifier.detect",
                group="cascade",
                size=f"{cascade}, {width}×{height}",
                threads=(1, 2),
                bar=4.0,
                prepare=partial(_detect, cascade, width, height),
            )


def _detect(cascade: str, width: int, height: int) -> Work:
    import cv2

    from saccade.classic import CascadeClassifier

    path = str(Path(cv2.data.haarcascades) / f"haarcascade_{cascade}.xml")
    image = _data.astronaut(width, height)
    ours, theirs = CascadeClassifier.load(path), cv2.CascadeClassifier(path)

    def verify(_ours: Any, _theirs: Any) -> Difference:
        """The raw windows, of which there are more than of groups; neither has OpenCV's order."""
        raw, cv2_raw = ours.detect(image, min_neighbors=0), theirs.detectMultiScale(image, minNeighbors=0)
        return exact(_sorted(raw), _sorted(cv2_raw))

    return Work(
        ours=lambda: ours.detect(image),
        references={"cv2": reference("cv2", lambda _: lambda: theirs.detectMultiScale(image))},
        verify=verify,
    )


def _sorted(boxes: Any) -> Any:
    array = np.array(boxes, np.int64).reshape(-1, 4)
    return array[np.lexsort(array.T)]
