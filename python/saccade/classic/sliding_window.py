"""Detection by classification: every window of an image pyramid is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade._native import numpy_module
from saccade.classic._estimator import named
from saccade.classic._patches import level_scales, resize
from saccade.classic.cascade import group_rectangles

__all__ = ["SlidingWindowDetector"]

Array = NDArray[Any]


class SlidingWindowDetector:
    """Turns any classifier of windows into a detector of objects of all sizes.

    Args:
        classifier: a function of a batch of windows (or of their features) that returns a score for each, or a fitted
            scikit-learn estimator of two classes with ``decision_function`` or ``predict_proba``.
        window_size: width and height that the classifier takes, in pixels.
        step: between windows, in pixels of each level of the pyramid; one number, or x and y.
        scale_factor: from one level of the pyramid to the next.
        features: a function of a batch of windows ``(N, h, w)`` or ``(N, h, w, C)``, of the image's dtype, that returns
            what the classifier takes. ``None``: a function gets the windows, an estimator their pixels ``(N, D)``.
        batch_size: windows judged at once, at most.
        threshold: windows of this score or more are detections. Default: 0, and 0.5 for ``predict_proba``.
        grouping: ``"nms"``: of overlapping detections the best stays; ``"group"``: similar ones become their mean
            (`group_rectangles`); ``None``: all of them.
        iou_threshold: for "nms": how much detections may overlap.
        min_neighbors: for "group": a group needs more than this many detections.
        eps: for "group": tolerance.
        min_scale: size of the smallest object in units of ``window_size``; below 1 the image is enlarged.
        max_scale: of the largest; the image's size unless given.

    Levels are made of the whole image, uint8 as ``cv2.resize(..., cv2.INTER_LINEAR_EXACT)`` makes them, bit for bit.

    Raises:
        ValueError: for wrong arguments; TypeError: for a classifier of another kind.

    Source: Rowley, Baluja, Kanade, Neural network-based face detection, PAMI 1998; the lecture notes' detection by
    classification.

    >>> image = np.zeros((40, 60), np.uint8)
    >>> image[12:20, 32:40] = 255
    >>> bright = SlidingWindowDetector(lambda windows: windows.mean((1, 2)) - 200, (8, 8), step=2, max_scale=1)
    >>> bright.detect(image)
    array([[32, 12,  8,  8]], dtype=int32)
    """

    def __init__(
        self,
        classifier: Any,
        window_size: tuple[int, int],
        *,
        step: int | tuple[int, int] = 8,
        scale_factor: float = 1.2,
        features: Callable[[Array], ArrayLike] | None = None,
        batch_size: int = 1024,
        threshold: float | None = None,
        grouping: str | None = "nms",
        iou_threshold: float = 0.3,
        min_neighbors: int = 3,
        eps: float = 0.2,
        min_scale: float = 1.0,
        max_scale: float | None = None,
    ) -> None:
        self._score, default, self._flat = _scorer(classifier)
        self.classifier = classifier
        self.window_size = _pair("window_size", window_size)
        self.step = _pair("step", (step, step) if isinstance(step, (int, np.integer)) else step)
        if grouping is not None:
            named("SlidingWindowDetector", "grouping", grouping, ("nms", "group"))
        rules: list[tuple[str, Any, bool, str]] = [
            ("scale_factor", scale_factor, 1 < scale_factor < np.inf, "be above 1"),
            ("batch_size", batch_size, batch_size >= 1, "be at least 1"),
            ("iou_threshold", iou_threshold, 0 <= iou_threshold <= 1, "be from 0 to 1"),
            ("eps", eps, 0 <= eps < np.inf, "not be negative"),
            ("min_scale", min_scale, 0 < min_scale < np.inf, "be positive"),
            ("max_scale", max_scale, max_scale is None or max_scale >= min_scale, "be at least min_scale"),
            ("features", features, features is None or callable(features), "be a function or None"),
        ]
        for name, value, holds, rule in rules:
            if not holds:
                raise ValueError(f"SlidingWindowDetector: {name} must {rule}, got {value!r}")
        self.scale_factor, self.features, self.batch_size = scale_factor, features, batch_size
        self.threshold = default if threshold is None else threshold
        self.grouping, self.iou_threshold = grouping, iou_threshold
        self.min_neighbors, self.eps = min_neighbors, eps
        self.min_scale, self.max_scale = min_scale, max_scale

    def detect(
        self, image: ArrayLike, *, return_scores: bool = False, progress: Callable[[int, int], None] | None = None
    ) -> Any:
        """Find objects.

        Args:
            image: ``(H, W)`` or ``(H, W, C)``, uint8 or floating point; levels have its dtype (halves become float32).
            return_scores: also return ``(N,)`` float64 scores; of a group, the best of the detections it overlaps most.
            progress: called after each batch with the number of windows judged, and of all.

        Returns:
            ``(N, 4)`` int32 boxes x, y, width, height, the best first; without grouping ordered by scale, y and x.
        """
        array = np.asarray(image)
        if array.ndim not in (2, 3) or 0 in array.shape:
            raise ValueError(f"detect: image must have shape (H, W) or (H, W, C), got {array.shape}")
        if array.dtype != np.uint8 and array.dtype.kind != "f":
            raise TypeError(f"detect: image must be uint8 or floating point, got {array.dtype}")
        scales = level_scales(array.shape, self.window_size, self.scale_factor, self.min_scale, self.max_scale)
        sizes = [(max(round(array.shape[1] / s), 1), max(round(array.shape[0] / s), 1)) for s in scales]
        total = sum(len(self._places(size)) for size in sizes)
        done = 0
        boxes, scores = [np.zeros((0, 4))], [np.zeros(0)]
        for size in sizes:
            level = _resized(array, *size)
            grow = np.array([array.shape[1] / size[0], array.shape[0] / size[1]] * 2)
            for places, values in self._judge(level, self._places(size)):
                found = values >= self.threshold
                window = np.broadcast_to(self.window_size, (int(found.sum()), 2))
                boxes.append(np.concatenate([places[found], window], 1) * grow)
                scores.append(values[found])
                done += len(places)
                if progress is not None:
                    progress(done, total)
        result = self._grouped(np.rint(np.concatenate(boxes)).astype(np.int32), np.concatenate(scores))
        return result if return_scores else result[0]

    def _places(self, size: tuple[int, int]) -> NDArray[np.int64]:
        """x, y of the windows of a level of the given width and height."""
        x, y = (np.arange(0, size[i] - self.window_size[i] + 1, self.step[i]) for i in (0, 1))
        return np.stack([np.tile(x, len(y)), np.repeat(y, len(x))], 1)

    def _judge(self, level: Array, places: NDArray[np.int64]) -> Iterator[tuple[Array, Array]]:
        if len(places) == 0:
            return
        width, height = self.window_size
        windows = np.lib.stride_tricks.sliding_window_view(level, (height, width), axis=(0, 1))
        windows = np.moveaxis(windows, 2, -1) if level.ndim == 3 else windows
        for start in range(0, len(places), self.batch_size):
            chosen = places[start : start + self.batch_size]
            batch: Any = np.ascontiguousarray(windows[chosen[:, 1], chosen[:, 0]])
            if self.features is not None:
                batch = self.features(batch)
            elif self._flat:
                batch = batch.reshape(len(batch), -1)
            values = np.asarray(self._score(batch), np.float64)
            values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
            if values.shape != (len(chosen),):
                raise ValueError(
                    f"detect: classifier must return one score for each of {len(chosen)} windows, got shape "
                    f"{values.shape}"
                )
            yield chosen, values

    def _grouped(self, boxes: NDArray[np.int32], scores: Array) -> tuple[NDArray[np.int32], Array]:
        if self.grouping is None or len(boxes) == 0:
            return boxes, scores
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1).astype(np.float64)
        if self.grouping == "nms":
            kept = numpy_module.nms(corners, scores, self.iou_threshold)
            return boxes[kept], scores[kept]
        groups, _ = group_rectangles(boxes, self.min_neighbors, self.eps)
        if len(groups) == 0:
            return groups, scores[:0]
        means = np.concatenate([groups[:, :2], groups[:, :2] + groups[:, 2:]], 1).astype(np.float64)
        owner = numpy_module.box_iou(corners, means).argmax(1)
        best = np.full(len(groups), -np.inf)
        np.maximum.at(best, owner, scores)
        order = np.argsort(-best, kind="stable")
        return groups[order], best[order]


def _scorer(classifier: Any) -> tuple[Callable[[Any], Any], float, bool]:
    """A function of a batch that returns scores, the default threshold, and whether it takes flat rows."""
    if hasattr(classifier, "decision_function"):
        return classifier.decision_function, 0.0, True
    if hasattr(classifier, "predict_proba"):
        return lambda batch: _of_second_class(classifier.predict_proba(batch)), 0.5, True
    if callable(classifier):
        return classifier, 0.0, False
    raise TypeError(
        "SlidingWindowDetector: classifier must be a function or have decision_function or predict_proba, got "
        f"{type(classifier).__name__}"
    )


def _of_second_class(probabilities: ArrayLike) -> Array:
    table = np.asarray(probabilities)
    if table.ndim != 2 or table.shape[1] != 2:
        raise ValueError(f"detect: classifier must know two classes, got probabilities of shape {table.shape}")
    return table[:, 1]


def _pair(name: str, value: Any) -> tuple[int, int]:
    try:
        first, second = (int(size) for size in value)
    except (TypeError, ValueError):
        raise ValueError(f"SlidingWindowDetector: {name} must be two integers, got {value!r}") from None
    if first < 1 or second < 1:
        raise ValueError(f"SlidingWindowDetector: {name} must be positive, got {value!r}")
    return first, second


def _resized(image: Array, width: int, height: int) -> Array:
    if image.shape[:2] == (height, width):
        return image
    exact = image.dtype == np.uint8
    floats = np.float64 if image.dtype == np.float64 else np.float32

    def one(plane: Array) -> Array:
        if exact:
            return np.asarray(numpy_module.resize_linear_exact(plane, width, height))
        return resize(plane.astype(floats), width, height, smooth=False)

    return one(image) if image.ndim == 2 else np.stack([one(image[..., c]) for c in range(image.shape[2])], -1)
