"""Face detection with OpenCV's cascades, beside OpenCV."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    yield Case(
        name="cascade_detect/frontalface_alt2-512x512",
        operation="cascade_detect",
        size="frontalface_alt2, 512×512 tensor",
        threads=(1, 2),
        prepare=partial(_detect, "frontalface_alt2", 512, 512, tensor=True),
    )


def _detect(cascade: str, width: int, height: int, tensor: bool = False) -> Work:
    import cv2

    from saccade.classic import CascadeClassifier

    path = str(Path(cv2.data.haarcascades) / f"haarcascade_{cascade}.xml")
    image = _data.astronaut(width, height)
    classifier, theirs = CascadeClassifier.load(path), cv2.CascadeClassifier(path)
    ours = _on_tensors(classifier, image) if tensor else partial(classifier.detect, image)

    def verify(_ours: Any, _theirs: Any) -> Difference:
        """The raw windows, of which there are more than of groups; neither has OpenCV's order."""
        raw, cv2_raw = ours(min_neighbors=0), theirs.detectMultiScale(image, minNeighbors=0)
        return exact(_sorted(raw), _sorted(cv2_raw))

    return Work(
        ours=ours,
        references={"cv2": reference("cv2", lambda _: lambda: theirs.detectMultiScale(image))},
        verify=verify,
    )


def _on_tensors(classifier: Any, image: Any) -> Callable[..., Any]:
    import torch

    from saccade import ops

    tensor = torch.from_numpy(image.copy())
    return lambda **options: ops.cascade_detect(tensor, classifier, **options).numpy()


def _sorted(boxes: Any) -> Any:
    array = np.array(boxes, np.int64).reshape(-1, 4)
    return array[np.lexsort(array.T)]
