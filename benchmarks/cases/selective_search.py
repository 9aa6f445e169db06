"""Graph-based segmentation beside scikit-image's, selective search beside OpenCV's (opencv-contrib-python).

The segmentations must be equal, label by label. Selective search has no equal outside: other textures, other random
numbers; what both must do is hit the objects of generated scenes, and ours at least as many of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.benchmarking import Case, Difference, Work, reference

Array = NDArray[Any]
SETTINGS = {"default": (1.0, 0.8, 20), "proposals": (100.0, 0.8, 100)}


def cases(quick: bool) -> Iterator[Case]:
    for setting, (scale, sigma, min_size) in SETTINGS.items():
        for name in ("astronaut", "coffee"):
            if quick and (setting, name) != ("proposals", "astronaut"):
                continue
            yield Case(
                name=f"felzenszwalb/{name}-{setting}",
                operation="felzenszwalb",
                size=f"{name}, scale {scale:g}, sigma {sigma:g}, at least {min_size} pixels",
                threads=(1, 2),
                bar=4.0,
                prepare=partial(_segment, name, scale, sigma, min_size),
            )
    for mode in ("fast", "quality"):
        if not (quick and mode == "quality"):
            yield Case(
                name=f"selective_search/{mode}",
                operation="selective_search",
                size=f"generated scene, 256×256, {mode}",
                threads=(1, 2),
                bar=4.0,
                prepare=partial(_search, mode),
            )


def _segment(name: str, scale: float, sigma: float, min_size: int) -> Work:
    from skimage import data

    from saccade.classic import felzenszwalb

    image = getattr(data, name)()

    def verify(ours: Array, theirs: Array) -> Difference:
        apart = float(np.mean(ours != theirs))
        return Difference(apart, apart == 0)

    return Work(
        ours=lambda: felzenszwalb(image, scale, sigma, min_size),
        references={
            "skimage": reference(
                "skimage.segmentation", lambda module: lambda: module.felzenszwalb(image, scale, sigma, min_size)
            )
        },
        verify=verify,
    )


def _search(mode: str) -> Work:
    from saccade.classic import selective_search
    from saccade.data import SceneDataset

    scene = SceneDataset(1, seed=2)[0]
    image = np.ascontiguousarray(scene.image.permute(1, 2, 0).numpy())
    objects = scene.boxes.numpy()

    def theirs(cv2: Any) -> Array:
        search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
        search.setBaseImage(np.ascontiguousarray(image[:, :, ::-1]))
        (search.switchToSelectiveSearchFast if mode == "fast" else search.switchToSelectiveSearchQuality)()
        found: Array = search.process()
        return found

    def verify(ours: Array, theirs: Array) -> Difference:
        mine, other = (float(_best_overlaps(objects, boxes).mean()) for boxes in (ours, theirs))
        return Difference(mine - other, mine >= min(other, 0.8))

    return Work(
        ours=lambda: selective_search(image, mode),
        references={"cv2": reference("cv2.ximgproc", lambda _: lambda: theirs(__import__("cv2")))},
        verify=verify,
    )


def _best_overlaps(objects: Array, boxes: Array) -> Array:
    """For each object (corners) the greatest IoU with a box (x, y, width, height)."""
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)[None]
    low = np.maximum(objects[:, None, :2], corners[..., :2])
    high = np.minimum(objects[:, None, 2:], corners[..., 2:])
    common = np.prod((high - low).clip(0), -1)
    areas = [np.prod(each[..., 2:] - each[..., :2], -1) for each in (objects[:, None], corners)]
    overlaps: Array = (common / (areas[0] + areas[1] - common)).max(1)
    return overlaps
