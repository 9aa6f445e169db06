"""Windows of background images that a cascade takes for objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from saccade.classic._training_images import Grey, resized
from saccade.classic.cascade import CascadeClassifier

__all__ = ["Mined", "mine", "passing"]

_TOGETHER = 8  # backgrounds searched in one call, whose levels keep all threads busy
_STEP = 2  # of the detector's windows on an image that it does not make smaller


class Mined(NamedTuple):
    """Windows found, ``(N, h, w)``, and how many the cascade accepted of how many that it looked at."""

    windows: Grey
    accepted: int
    scanned: int


def passing(cascade: CascadeClassifier | None, windows: Grey) -> NDArray[np.bool_]:
    """Which windows the detector accepts, ``(N,)``."""
    if cascade is None:
        return np.ones(len(windows), bool)
    return np.array([len(boxes) > 0 for boxes in cascade.detect_batch(list(windows), min_neighbors=0)], bool)


def mine(
    cascade: CascadeClassifier | None,
    backgrounds: list[Grey],
    size: tuple[int, int],
    wanted: int,
    rng: np.random.Generator,
    *,
    scale_factor: float,
    tell: Callable[[float], None] = lambda share: None,
) -> Mined:
    """Collect ``wanted`` false alarms of a cascade (without one: any windows) over the backgrounds' pyramids.

    Backgrounds come in random order; each gives a few windows, chosen at random, before any gives more, so that one
    image does not fill the set. A window is cut from the very image that the detector saw it on. The result does not
    depend on the number of threads. Fewer are returned where there are no more.
    """
    order = rng.permutation(len(backgrounds))
    share = max(4, -(-3 * wanted // len(backgrounds)))
    chosen: list[Grey] = []
    spare: list[Grey] = []
    accepted = scanned = 0
    for begin in range(0, len(order), _TOGETHER):
        if len(chosen) >= wanted:
            break
        for found in _search(cascade, [backgrounds[i] for i in order[begin : begin + _TOGETHER]], size, scale_factor):
            accepted += len(found.places)
            scanned += found.scanned
            picked = rng.permutation(len(found.places))[: 4 * share]
            windows = found.cut(picked, size)
            chosen.extend(windows[:share])
            spare.extend(windows[share:][: max(0, wanted - len(spare))])
        tell(min(1.0, len(chosen) / wanted))
    if len(chosen) < wanted and spare:
        chosen += [spare[i] for i in rng.permutation(len(spare))[: wanted - len(chosen)]]
    picked = np.sort(rng.permutation(len(chosen))[:wanted])
    width, height = size
    result = np.stack([chosen[i] for i in picked]) if len(picked) else np.zeros((0, height, width), np.uint8)
    return Mined(result, accepted, scanned)


class _Found(NamedTuple):
    levels: list[Grey]
    places: NDArray[np.int64]  # level, x, y
    scanned: int

    def cut(self, picked: NDArray[Any], size: tuple[int, int]) -> list[Grey]:
        width, height = size
        return [self.levels[i][y : y + height, x : x + width].copy() for i, x, y in self.places[picked].tolist()]


def _search(
    cascade: CascadeClassifier | None, images: list[Grey], size: tuple[int, int], scale_factor: float
) -> Iterator[_Found]:
    pyramids = [list(_pyramid(image, size, scale_factor)) for image in images]
    levels = [level for pyramid in pyramids for level in pyramid]
    # The window's own size only: the detector sees each level as it is.
    boxes = [_grid(level, size) for level in levels] if cascade is None else _accepted(cascade, levels, size)
    at = 0
    for pyramid in pyramids:
        parts = [
            np.concatenate([np.full((len(xy), 1), i), xy], 1) for i, xy in enumerate(boxes[at : at + len(pyramid)])
        ]
        at += len(pyramid)
        yield _Found(pyramid, np.concatenate(parts), sum(len(_grid(level, size)) for level in pyramid))


def _accepted(cascade: CascadeClassifier, levels: list[Grey], size: tuple[int, int]) -> list[NDArray[np.int64]]:
    found = cascade.detect_batch(levels, min_neighbors=0, min_size=size, max_size=size)
    return [np.asarray(boxes)[:, :2].astype(np.int64) for boxes in found]


def _grid(level: Grey, size: tuple[int, int]) -> NDArray[np.int64]:
    xs = np.arange(0, level.shape[1] - size[0] + 1, _STEP)
    ys = np.arange(0, level.shape[0] - size[1] + 1, _STEP)
    return np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)


def _pyramid(image: Grey, size: tuple[int, int], scale_factor: float) -> Iterator[Grey]:
    height, width = image.shape
    scale = 1.0
    while width / scale >= size[0] and height / scale >= size[1]:
        yield image if scale == 1 else resized(image, int(width / scale), int(height / scale))
        scale *= scale_factor
