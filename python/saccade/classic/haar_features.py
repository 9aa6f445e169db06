"""Haar features: weighted sums over rectangles of a window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade._numpy import haar_features as _haar_features
from saccade.classic.integral_image import integral_image

__all__ = ["HaarFeature", "HaarFeatureSet", "haar_features"]

Array: TypeAlias = NDArray[Any]


class HaarFeature(NamedTuple):
    """One feature: rectangles ``(x, y, width, height, weight)``, as in OpenCV's cascade files."""

    kind: str
    tilted: bool
    rects: tuple[tuple[int, int, int, int, int], ...]


class Kind(NamedTuple):
    """A pattern of ``across`` by ``down`` equal cells; rectangles ``(i, j, across, down, weight)`` in cells."""

    name: str
    across: int
    down: int
    rects: tuple[tuple[int, int, int, int, int], ...]
    tilted: bool = False

    def points(self) -> list[tuple[int, int, int]]:
        """Corners ``(i, j, weight)`` whose weighted integral-image entries add up to the feature."""
        weights: dict[tuple[int, int], int] = {}
        for i, j, across, down, weight in self.rects:
            for di, dj, sign in ((0, 0, 1), (across, 0, -1), (0, down, -1), (across, down, 1)):
                weights[i + di, j + dj] = weights.get((i + di, j + dj), 0) + sign * weight
        return [(i, j, weight) for (i, j), weight in sorted(weights.items()) if weight]


# Weighed as OpenCV's traincascade does: a uniform window gives 0. In scikit-image's order where it has them.
BASIC = (
    Kind("x2", 2, 1, ((0, 0, 2, 1, -1), (1, 0, 1, 1, 2))),
    Kind("y2", 1, 2, ((0, 0, 1, 2, -1), (0, 1, 1, 1, 2))),
    Kind("x3", 3, 1, ((0, 0, 3, 1, -1), (1, 0, 1, 1, 3))),
    Kind("y3", 1, 3, ((0, 0, 1, 3, -1), (0, 1, 1, 1, 3))),
    Kind("x2y2", 2, 2, ((0, 0, 2, 2, -1), (0, 0, 1, 1, 2), (1, 1, 1, 1, 2))),
)
CORE = (
    *BASIC,
    Kind("x4", 4, 1, ((0, 0, 4, 1, -1), (1, 0, 2, 1, 2))),
    Kind("y4", 1, 4, ((0, 0, 1, 4, -1), (0, 1, 1, 2, 2))),
    Kind("x3y3", 3, 3, ((0, 0, 3, 3, -1), (1, 1, 1, 1, 9))),
)
ALL = (
    *CORE,
    Kind("tilted_x2", 2, 1, ((0, 0, 2, 1, -1), (0, 0, 1, 1, 2)), True),
    Kind("tilted_y2", 1, 2, ((0, 0, 1, 2, -1), (0, 0, 1, 1, 2)), True),
    Kind("tilted_x3", 3, 1, ((0, 0, 3, 1, -1), (1, 0, 1, 1, 3)), True),
    Kind("tilted_y3", 1, 3, ((0, 0, 1, 3, -1), (0, 1, 1, 1, 3)), True),
    Kind("tilted_x4", 4, 1, ((0, 0, 4, 1, -1), (1, 0, 2, 1, 2)), True),
    Kind("tilted_y4", 1, 4, ((0, 0, 1, 4, -1), (0, 1, 1, 2, 2)), True),
)
MODES = {"basic": BASIC, "core": CORE, "all": ALL}

MAX_POINTS = 9


class Table(NamedTuple):
    """What csrc/ops/haar_features.h reads."""

    kinds: NDArray[np.int32]
    offsets: NDArray[np.int16]
    columns: NDArray[np.int64]


class HaarFeatureSet(Sequence[HaarFeature]):
    """All Haar features of a window, or a choice of them; immutable.

    Args:
        width: of the window, at least 1.
        height: of the window, at least 1.
        mode: ``"basic"``: two and three stripes and the chequerboard, ``"core"``: also four stripes and
            centre-surround, ``"all"``: also six tilted kinds. 162,336, 210,400 and 261,600 features at 24 x 24.

    An index gives a `HaarFeature`; a slice, a mask or an array of indices a smaller set. The properties hold all
    features as arrays.
    Kinds stand one after the other, features of a kind in the order of y, x, dy, dx; "basic" is in the order of
    scikit-image's ``haar_like_feature``.

    Raises:
        ValueError: for an unknown mode, a size below 1 or windows of more than 2**14 points.

    Source: Viola and Jones, 2001; Lienhart and Maydt, An extended set of Haar-like features, 2002.

    >>> features = HaarFeatureSet(24, 24)
    >>> len(features)
    162336
    >>> features[0]
    HaarFeature(kind='x2', tilted=False, rects=((0, 0, 2, 1, -1), (1, 0, 1, 1, 2)))
    """

    __slots__ = ("_kinds", "_places", "_table", "height", "width")
    width: int
    height: int
    _kinds: tuple[Kind, ...]
    _places: NDArray[np.int16]
    _table: Table

    def __init__(self, width: int, height: int, mode: str = "basic") -> None:
        if mode not in MODES:
            raise ValueError(f"HaarFeatureSet: mode must be 'basic', 'core' or 'all', got {mode!r}")
        self._fill(width, height, MODES[mode], None)

    def _fill(self, width: int, height: int, kinds: tuple[Kind, ...], places: NDArray[np.int16] | None) -> None:
        if width < 1 or height < 1 or (width + 1) * (height + 1) > 2**14:
            raise ValueError(
                f"HaarFeatureSet: width and height must be at least 1 and (width + 1) * (height + 1) at most 16384, "
                f"got {width} and {height}"
            )
        if places is None:
            parts = [_enumerate(width, height, kind) for kind in kinds]
            numbers = np.repeat(np.arange(len(kinds), dtype=np.int16), [len(part) for part in parts])
            places = np.concatenate([numbers[:, None], *[np.concatenate(parts)[:, None, i] for i in range(4)]], 1)
        places.flags.writeable = False
        for name, value in (("width", width), ("height", height), ("_kinds", kinds), ("_places", places)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_table", _compile(width, height, kinds, places))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"HaarFeatureSet is immutable: cannot set {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return make_set, (self.width, self.height, self._kinds, np.asarray(self._places))

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return f"<HaarFeatureSet: {len(self)} features of a {self.width} x {self.height} window>"

    def __iter__(self) -> Iterator[HaarFeature]:
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> HaarFeature: ...
    @overload
    def __getitem__(self, index: slice | ArrayLike) -> HaarFeatureSet: ...
    def __getitem__(self, index: Any) -> HaarFeature | HaarFeatureSet:
        if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
            number, x, y, dx, dy = (int(v) for v in self._places[index])
            kind = self._kinds[number]
            rects = tuple(
                (*_position(kind, x, y, dx, dy, i, j), across * dx, down * dy, weight)
                for i, j, across, down, weight in kind.rects
            )
            return HaarFeature(kind.name, kind.tilted, rects)
        if not isinstance(index, slice):
            index = np.asarray(index)
            if index.ndim != 1 or index.dtype.kind not in "iub":
                raise IndexError(
                    f"HaarFeatureSet: index must be an integer, a slice, or a mask or indices, got {index!r}"
                )
        return make_set(self.width, self.height, self._kinds, self._places[index].copy())

    @property
    def kind(self) -> NDArray[np.str_]:
        """The kind of each feature, ``(F,)``."""
        return np.array([kind.name for kind in self._kinds])[self._places[:, 0]]

    @property
    def tilted(self) -> NDArray[np.bool_]:
        """Whether each feature is tilted, ``(F,)``."""
        return np.array([kind.tilted for kind in self._kinds])[self._places[:, 0]]

    @property
    def x(self) -> NDArray[np.int16]:
        """Left edge (tilted: top corner) of each feature, ``(F,)``."""
        return self._places[:, 1]

    @property
    def y(self) -> NDArray[np.int16]:
        """Top of each feature, ``(F,)``."""
        return self._places[:, 2]

    @property
    def dx(self) -> NDArray[np.int16]:
        """Width of one cell of each feature, ``(F,)``."""
        return self._places[:, 3]

    @property
    def dy(self) -> NDArray[np.int16]:
        """Height of one cell of each feature, ``(F,)``."""
        return self._places[:, 4]

    @property
    def rects(self) -> NDArray[np.int32]:
        """``(F, 3, 4)``: ``x, y, width, height`` of each rectangle; zeros where there is no third."""
        rects = np.zeros((len(self), 3, 4), np.int32)
        for number, kind in enumerate(self._kinds):
            chosen = self._places[:, 0] == number
            x, y, dx, dy = self._places[chosen, 1:].T.astype(np.int32)
            for r, (i, j, across, down, _) in enumerate(kind.rects):
                rects[chosen, r] = np.stack([*_position(kind, x, y, dx, dy, i, j), across * dx, down * dy], 1)
        return rects

    @property
    def weights(self) -> NDArray[np.int32]:
        """``(F, 3)``: the weight of each rectangle; zero where there is no third."""
        table = np.zeros((len(self._kinds), 3), np.int32)
        for number, kind in enumerate(self._kinds):
            table[number, : len(kind.rects)] = [rect[4] for rect in kind.rects]
        return table[self._places[:, 0]]


def make_set(width: int, height: int, kinds: tuple[Kind, ...], places: NDArray[np.int16] | None) -> HaarFeatureSet:
    """Make a set from any kinds and chosen places; ``None``: every place that fits."""
    result = HaarFeatureSet.__new__(HaarFeatureSet)
    result._fill(width, height, kinds, places)
    return result


def _position(kind: Kind, x: Any, y: Any, dx: Any, dy: Any, i: int, j: int) -> tuple[Any, Any]:
    """The corner ``(i, j)`` of a pattern; tilted ones run down to the right, and down to the left."""
    return (x + i * dx - j * dy, y + i * dx + j * dy) if kind.tilted else (x + i * dx, y + j * dy)


def _enumerate(width: int, height: int, kind: Kind) -> NDArray[np.int16]:
    """``(F, 4)``: x, y, dx, dy of every feature of one kind that fits into the window."""
    most_across, most_down = (max(width, height),) * 2 if kind.tilted else (width // kind.across, height // kind.down)
    y, x, dy, dx = np.ogrid[:height, :width, 1 : most_down + 1, 1 : most_across + 1]
    across, down = kind.across * dx, kind.down * dy
    if kind.tilted:
        fits = (x + across <= width) & (y + across + down <= height) & (x >= down)
    else:
        fits = (x + across <= width) & (y + down <= height)
    y, x, dy, dx = np.nonzero(fits)
    return np.stack([x, y, dx + 1, dy + 1], 1).astype(np.int16)


def _compile(width: int, height: int, kinds: tuple[Kind, ...], places: NDArray[np.int16]) -> Table:
    """Corners as offsets into a window's integral image, one block for each kind."""
    rows: list[list[int]] = []
    offsets: list[Array] = []
    columns: list[Array] = []
    for number, kind in enumerate(kinds):
        chosen = np.flatnonzero(places[:, 0] == number)
        if len(chosen) == 0:
            continue
        points = kind.points()
        x, y, dx, dy = places[chosen, 1:].T.astype(np.int32)
        base = (width + 1) * (height + 1) if kind.tilted else 0
        for i, j, _ in points:
            column, row = _position(kind, x, y, dx, dy, i, j)
            offsets.append((base + row * (width + 1) + column).astype(np.uint16))
        weights = [weight for _, _, weight in points]
        rows.append([len(chosen), len(points), *weights, *[0] * (MAX_POINTS - len(points))])
        columns.append(chosen)
    return Table(
        np.array(rows, np.int32).reshape(-1, 2 + MAX_POINTS),
        np.concatenate([np.empty(0, np.uint16), *offsets]).view(np.int16),
        np.concatenate([np.empty(0, np.int64), *columns]),
    )


def haar_features(image: ArrayLike, features: HaarFeatureSet, windows: ArrayLike | None = None) -> Array:
    """Evaluate Haar features on one or many windows.

    Args:
        image: ``(H, W)`` or a batch ``(N, H, W)``; bool, uint8, int32, float32 or float64.
        features: what to evaluate, made once.
        windows: integer corners ``(M, 2)`` as x, y in one image, or ``(M, 3)`` as image, x, y in a batch. ``None``:
            every image is one window, of exactly the features' size.

    Returns:
        ``(M, F)`` values, without normalisation: int32 for bool and uint8, int64 for int32, float64 for floats.
        For one image and no ``windows``: ``(F,)``.

    Raises:
        ValueError: for wrong shapes, or windows that reach beyond their image. TypeError: for other dtypes.

    Source: Viola and Jones, Rapid object detection using a boosted cascade of simple features, 2001.

    >>> image = np.array([[1, 2], [5, 7]], np.uint8)
    >>> haar_features(image, HaarFeatureSet(2, 2))
    array([1, 3, 2, 4, 9, 5, 1], dtype=int32)
    """
    array = np.asarray(image)
    if array.ndim not in (2, 3):
        raise ValueError(f"haar_features: image must have shape (H, W) or (N, H, W), got {array.shape}")
    single = array.ndim == 2 and windows is None
    corners = _window_corners(array.shape, features, windows)
    slanted = any(kind.tilted for kind in features._kinds)
    sums = integral_image(array if array.ndim == 3 else array[None], tilted=slanted)
    values = evaluate("haar_features", features, sums[0] if slanted else sums, sums[1] if slanted else None, corners)
    return values[0] if single else values


def _window_corners(shape: tuple[int, ...], features: HaarFeatureSet, windows: ArrayLike | None) -> NDArray[np.int64]:
    if windows is None:
        if shape[-2:] != (features.height, features.width):
            raise ValueError(
                f"haar_features: image must have the features' size ({features.height}, {features.width}) where no "
                f"windows are given, got {shape}"
            )
        count = shape[0] if len(shape) == 3 else 1
        return np.stack([np.arange(count), *[np.zeros(count, np.int64)] * 2], 1)
    corners = np.asarray(windows)
    if corners.ndim != 2 or corners.shape[1] != len(shape):
        raise ValueError(f"haar_features: windows must have shape (M, {len(shape)}), got {corners.shape}")
    if corners.dtype.kind not in "iu" and corners.size:
        raise TypeError(f"haar_features: windows must be integers, got {corners.dtype}")
    corners = corners.astype(np.int64)
    return corners if len(shape) == 3 else np.pad(corners, ((0, 0), (1, 0)))


def evaluate(op: str, features: HaarFeatureSet, sums: Array, tilted: Array | None, corners: Array) -> Array:
    """Values ``(M, F)`` from integral images ``(N, H + 1, W + 1)`` and corners ``(M, 3)``."""
    values: Array = _haar_features(op, sums, tilted, *features._table, features.width, features.height, corners)
    return values
