"""HOG beside scikit-image, descriptors and people detection beside OpenCV."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from saccade.benchmarking import Case, Difference, Work, close, exact, reference

from . import _data

SIZES = ((640, 480), (1920, 1080))


def cases(quick: bool) -> Iterator[Case]:
    for width, height in SIZES[:1] if quick else SIZES:
        size = f"{width}x{height}"
        for kind in ("uint8", "float64"):
            yield Case(
                name=f"hog/{kind}-{size}",
                operation="hog",
                size=f"{width}×{height} {kind}, 8×8 pixels, 3×3 cells, 9 orientations",
                threads=(1, 2),
                bar={1: 15.0},  # scikit-image has one thread
                prepare=partial(_hog, kind, width, height),
            )
        yield Case(
            name=f"hog/float32-tensor-{size}",
            operation="hog",
            size=f"{width}×{height} float32 tensor, 8×8 pixels, 3×3 cells, 9 orientations",
            threads=(1, 2),
            bar={1: 15.0},
            prepare=partial(_hog_of_tensor, width, height),
        )
        yield Case(
            name=f"hog_descriptor/compute-{size}",
            operation="HOGDescriptor.compute",
            size=f"{width}×{height}, windows of 64×128 at stride 8",
            threads=(1, 2),
            bar=4.0,
            prepare=partial(_compute, width, height),
        )
        yield Case(
            name=f"hog_descriptor/people-{size}",
            operation="HOGDescriptor.detect_multi_scale",
            size=f"{width}×{height}, OpenCV's people detector",
            threads=(1, 2),
            bar=3.0,
            prepare=partial(_people, width, height),
        )
    yield Case(
        name="hog_descriptors/tensor-640x480",
        operation="hog_descriptors",
        size="640×480 tensor, windows of 64×128 at stride 8",
        threads=(1, 2),
        prepare=partial(_compute, 640, 480, tensor=True),
    )
    yield Case(
        name="hog_detect/people-640x480",
        operation="hog_detect",
        size="640×480 tensor, OpenCV's people detector",
        threads=(1, 2),
        prepare=partial(_people, 640, 480, tensor=True),
    )


def _hog(kind: str, width: int, height: int) -> Work:
    from saccade.classic import hog

    image = _data.astronaut(width, height)
    if kind == "float64":
        image = image / 255  # type: ignore[assignment]
    return Work(
        ours=lambda: hog(image),
        references={"scikit-image": reference("skimage.feature", lambda feature: lambda: feature.hog(image))},
        verify=close(rtol=1e-10),
    )


def _hog_of_tensor(width: int, height: int) -> Work:
    import torch

    from saccade import ops

    image = _data.astronaut(width, height).astype(np.float32)
    tensor = torch.from_numpy(image)
    return Work(
        ours=lambda: ops.hog(tensor),
        references={"scikit-image": reference("skimage.feature", lambda feature: lambda: feature.hog(image))},
        verify=close(atol=1e-6),
    )


def _compute(width: int, height: int, tensor: bool = False) -> Work:
    from saccade.classic import HOGDescriptor

    image = _data.astronaut(width, height)
    hog = HOGDescriptor()
    compute = _on_tensors("hog_descriptors", image, hog) if tensor else partial(hog.compute, image)
    windows = ((width - 64) // 8 + 1) * ((height - 128) // 8 + 1)
    return Work(
        ours=lambda: compute().reshape(-1),
        references={"cv2": reference("cv2", lambda cv2: partial(cv2.HOGDescriptor().compute, image))},
        verify=close(atol=5e-6),
        bytes=4.0 * windows * hog.descriptor_size,
    )


def _people(width: int, height: int, tensor: bool = False) -> Work:
    import cv2

    from saccade.classic import HOGDescriptor

    image = _data.astronaut(width, height)
    people = cv2.HOGDescriptor_getDefaultPeopleDetector()
    ours, theirs = HOGDescriptor().set_svm(people), cv2.HOGDescriptor()
    theirs.setSVMDetector(people)
    detect = _on_tensors("hog_detect", image, ours) if tensor else partial(ours.detect_multi_scale, image)

    def verify(_ours: Any, _theirs: Any) -> Difference:
        """The raw windows, of which there are more than of groups; neither has OpenCV's order."""
        raw, _ = detect(group_threshold=0)
        cv2_raw, _ = theirs.detectMultiScale(image, groupThreshold=0)
        return exact(_sorted(raw), _sorted(cv2_raw))

    return Work(
        ours=detect,
        references={"cv2": reference("cv2", lambda _: lambda: theirs.detectMultiScale(image))},
        verify=verify,
    )


def _on_tensors(operation: str, image: Any, hog: Any) -> Callable[..., Any]:
    import torch

    from saccade import ops

    return partial(getattr(ops, operation), torch.from_numpy(image.copy()), hog)


def _sorted(boxes: Any) -> Any:
    array = np.array(boxes.tolist() if len(boxes) else [], np.int64).reshape(-1, 4)  # of NumPy or torch
    return array[np.lexsort(array.T)]
