"""Object detection with boosted cascades."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade._native import numpy_module
from saccade.classic import _cascade_xml

__all__ = ["CascadeClassifier", "group_rectangles"]

Boxes = NDArray[np.int32]
Detections = Boxes | tuple[NDArray[Any], ...]


class CascadeClassifier:
    """A boosted cascade of Haar or LBP features, as OpenCV's traincascade and haartraining write them.

    Made by :meth:`load`. It never changes: any number of threads may detect with one at the same time. It can be
    pickled.

    Source: P. Viola, M. Jones, "Rapid object detection using a boosted cascade of simple features", CVPR 2001; the file
    format and the exact arithmetic are those of OpenCV 4, whose detections it equals.
    """

    __slots__ = ("_impl",)
    _impl: Any

    def __init__(self) -> None:
        raise TypeError("CascadeClassifier: use CascadeClassifier.load(path_or_bytes)")

    @classmethod
    def _from_arrays(cls, haar: bool, width: int, height: int, arrays: dict[str, NDArray[Any]]) -> CascadeClassifier:
        self = cls.__new__(cls)
        object.__setattr__(self, "_impl", numpy_module.CascadeClassifier(haar, width, height, arrays))
        return self

    @classmethod
    def load(cls, path_or_bytes: str | os.PathLike[str] | bytes) -> CascadeClassifier:
        """Read a cascade from an XML file, or from the bytes of one; both of OpenCV's formats.

        Raises:
            ValueError: where the file is no cascade, naming the line or the part of the cascade; OSError: where it
                cannot be read.
        """
        data = path_or_bytes if isinstance(path_or_bytes, bytes) else Path(path_or_bytes).read_bytes()
        return cls._from_arrays(*_cascade_xml.read(data))

    @classmethod
    def default(cls) -> CascadeClassifier:
        """A cascade for upright frontal faces, trained by ``benchmarks/quality/cascade.py``.

        It comes from 80 faces only and is no match for one trained on thousands: see docs/classical.md for its
        measured rates.
        """
        return cls.load((resources.files("saccade.classic") / "frontal_face.xml").read_bytes())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the cascade in OpenCV's newer format. OpenCV reads it and detects the same with it."""
        Path(path).write_text(_cascade_xml.write(self._impl.haar, *self.window_size, self._impl.arrays()), "ascii")

    @property
    def window_size(self) -> tuple[int, int]:
        """Width and height of the smallest object, in pixels."""
        return self._impl.width, self._impl.height

    @property
    def feature_type(self) -> str:
        """``"HAAR"`` or ``"LBP"``."""
        return "HAAR" if self._impl.haar else "LBP"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"CascadeClassifier: it cannot be changed, tried to set {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return CascadeClassifier._from_arrays, (self._impl.haar, *self.window_size, self._impl.arrays())

    def __repr__(self) -> str:
        arrays = self._impl.arrays()
        return (
            f"CascadeClassifier({self.feature_type}, window {self._impl.width}x{self._impl.height}, "
            f"{len(arrays['stage_trees'])} stages, {len(arrays['tree_nodes'])} trees)"
        )

    def detect(
        self,
        image: ArrayLike,
        *,
        scale_factor: float = 1.1,
        min_neighbors: int = 3,
        min_size: tuple[int, int] | None = None,
        max_size: tuple[int, int] | None = None,
        return_scores: bool = False,
        return_levels: bool = False,
    ) -> Detections:
        """Find objects of all sizes.

        Args:
            image: uint8, ``(H, W)`` grey or ``(H, W, 3)`` RGB. Pass ``image[..., ::-1]`` for OpenCV's BGR.
            scale_factor: the size of the window grows by this factor from one scale to the next; above 1.
            min_neighbors: a group of raw detections needs more than this many; 0 returns the raw detections.
            min_size: smallest object, ``(width, height)`` in pixels. Where no scale is left, the nearest is searched.
            max_size: largest object; the image's size unless given.
            return_scores: also return the sum of the last stage (of a group: the largest).
            return_levels: also return the number of stages passed, which is all of them.

        Returns:
            ``(N, 4)`` int32 boxes ``x, y, width, height``; with scores or levels a tuple of boxes, ``(N,)`` float64
            scores and ``(N,)`` int32 levels, as asked for. Raw detections are ordered by scale, y and x, groups by
            their first raw detection; the order does not depend on the number of threads.

        Raises:
            ValueError: on wrong shapes or parameters; TypeError: on a wrong dtype.

        Equals ``cv2.CascadeClassifier.detectMultiScale`` of OpenCV 4.14 bit for bit, order aside.

        >>> import numpy as np
        >>> from saccade.classic import CascadeClassifier
        >>> stump = b'''<opencv_storage><cascade>
        ...   <stageType>BOOST</stageType> <featureType>HAAR</featureType> <height>8</height> <width>8</width>
        ...   <featureParams><maxCatCount>0</maxCatCount></featureParams>
        ...   <stages><_><stageThreshold>0.5</stageThreshold><weakClassifiers><_>
        ...     <internalNodes>0 -1 0 1.7</internalNodes><leafValues>0 1</leafValues></_></weakClassifiers></_></stages>
        ...   <features><_><rects><_>0 0 8 8 -1</_><_>0 0 4 8 2</_></rects></_></features>
        ... </cascade></opencv_storage>'''
        >>> image = np.zeros((8, 20), np.uint8)
        >>> image[:, 4:8] = 200  # a window at x = 4 is bright on the left, dark on the right
        >>> CascadeClassifier.load(stump).detect(image, min_neighbors=0, max_size=(8, 8))
        array([[4, 0, 8, 8]], dtype=int32)
        """
        return self._detect([image], scale_factor, min_neighbors, min_size, max_size, return_scores, return_levels)[0]

    def detect_batch(
        self,
        images: Iterable[ArrayLike],
        *,
        scale_factor: float = 1.1,
        min_neighbors: int = 3,
        min_size: tuple[int, int] | None = None,
        max_size: tuple[int, int] | None = None,
        return_scores: bool = False,
        return_levels: bool = False,
    ) -> list[Detections]:
        """Find objects in many images, of any sizes, in one call: what :meth:`detect` returns for each.

        Threads share the work of all images, so that small ones keep all of them busy, too. Arguments and errors are
        those of :meth:`detect`; ``images`` is a sequence of images, or one array whose first axis runs over them.
        """
        return self._detect(list(images), scale_factor, min_neighbors, min_size, max_size, return_scores, return_levels)

    def _detect(
        self,
        images: list[Any],
        scale_factor: float,
        min_neighbors: int,
        min_size: tuple[int, int] | None,
        max_size: tuple[int, int] | None,
        return_scores: bool,
        return_levels: bool,
    ) -> list[Detections]:
        found = self._impl.detect(
            images,
            float(scale_factor),
            operator.index(min_neighbors),
            _size("min_size", min_size),
            _size("max_size", max_size),
        )
        if not (return_scores or return_levels):
            return [boxes for boxes, _, _ in found]
        wanted = (True, return_scores, return_levels)
        return [tuple(part for part, want in zip(result, wanted, strict=True) if want) for result in found]


def _size(name: str, size: tuple[int, int] | None) -> tuple[int, int]:
    if size is None:
        return 0, 0
    try:
        width, height = map(operator.index, size)
    except (TypeError, ValueError):
        raise ValueError(f"detect: {name} must be two integers, width and height, got {size!r}") from None
    if not (0 <= width < 2**30 and 0 <= height < 2**30):
        raise ValueError(f"detect: {name} must not be negative nor beyond 2^30, got {size!r}")
    return width, height


def group_rectangles(boxes: ArrayLike, min_neighbors: int, eps: float = 0.2) -> tuple[Boxes, NDArray[np.int32]]:
    """Merge similar rectangles into their means.

    Two are similar when their left, top, right and bottom edges each differ by at most ``eps`` times the mean of the
    smaller width and the smaller height; a group is everything connected by similarity. A group that lies inside a
    larger one's rectangle, widened by ``eps`` of its size, is dropped.

    Args:
        boxes: ``(N, 4)`` integers ``x, y, width, height``.
        min_neighbors: a group needs more than this many members; 0 or less returns the boxes as they are.
        eps: tolerance, not negative.

    Returns:
        ``(M, 4)`` int32 boxes, in the order of their first members, and the ``(M,)`` int32 numbers of members.

    Raises:
        ValueError: on a wrong shape, values beyond int32 or a wrong ``eps``; TypeError: on a wrong dtype.

    Source: OpenCV's ``groupRectangles``, whose results it equals, order aside.

    >>> group_rectangles([[10, 10, 20, 20], [11, 10, 20, 20], [60, 60, 20, 20]], 1)
    (array([[10, 10, 20, 20]], dtype=int32), array([2], dtype=int32))
    """
    array = np.asarray(boxes)
    if array.shape == (0,):
        array = np.zeros((0, 4), np.int32)
    if array.dtype.kind in "iu" and array.dtype != np.int32:
        if array.size and (array.min() < -(2**31) or array.max() >= 2**31):
            raise ValueError("group_rectangles: boxes must fit int32")
        array = array.astype(np.int32)
    groups: tuple[Boxes, NDArray[np.int32]] = numpy_module.group_rectangles(array, min_neighbors, eps)
    return groups
