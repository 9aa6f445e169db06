"""scikit-image's Haar features, on its integral images."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade.classic.haar_features import HaarFeatureSet, Kind, evaluate, make_set

__all__ = ["haar_like_feature"]

Array = NDArray[Any]

# scikit-image's: rectangles with an odd index minus those with an even one.
SKIMAGE = {
    "type-2-x": Kind("type-2-x", 2, 1, ((0, 0, 1, 1, -1), (1, 0, 1, 1, 1))),
    "type-2-y": Kind("type-2-y", 1, 2, ((0, 0, 1, 1, -1), (0, 1, 1, 1, 1))),
    "type-3-x": Kind("type-3-x", 3, 1, ((0, 0, 1, 1, -1), (1, 0, 1, 1, 1), (2, 0, 1, 1, -1))),
    "type-3-y": Kind("type-3-y", 1, 3, ((0, 0, 1, 1, -1), (0, 1, 1, 1, 1), (0, 2, 1, 1, -1))),
    "type-4": Kind("type-4", 2, 2, ((0, 0, 1, 1, -1), (1, 0, 1, 1, 1), (1, 1, 1, 1, -1), (0, 1, 1, 1, 1))),
}


@functools.lru_cache(maxsize=8)
def _skimage_features(width: int, height: int, types: tuple[str, ...]) -> HaarFeatureSet:
    return make_set(width, height, tuple(SKIMAGE[name] for name in types), None)


def haar_like_feature(
    int_image: ArrayLike,
    r: int,
    c: int,
    width: int,
    height: int,
    feature_type: Any = None,
    feature_coord: Any = None,
) -> Array:
    """Haar features of a region of an integral image: scikit-image's function.

    Unlike scikit-image 0.26, features that touch the top or left border of a region away from the image's own are
    right too: there, it leaves out the row and column of sums before the region.

    Args:
        int_image: ``(M, N)`` integral image in scikit-image's layout (`integral_image` with ``padded=False``).
        r: first row of the region.
        c: first column of the region.
        width: of the region.
        height: of the region.
        feature_type: ``"type-2-x"``, ``"type-2-y"``, ``"type-3-x"``, ``"type-3-y"``, ``"type-4"``, a list of them,
            or ``None`` for all; with ``feature_coord`` an array of one type for each feature.
        feature_coord: rectangles of the wanted features as scikit-image's ``haar_like_feature_coord`` gives them;
            ``None``: every feature that fits.

    Returns:
        ``(F,)``: int64 for integer sums, float64 for others. Sums of the rectangles with an odd index minus those with
        an even index.

    Raises:
        ValueError: for an unknown type, coordinates that do not match it, or a region or feature outside the image.

    Source: Viola and Jones, 2001; scikit-image's ``skimage.feature.haar_like_feature``.

    >>> from saccade.classic import integral_image
    >>> sums = integral_image(np.ones((5, 5), np.uint8), padded=False)
    >>> haar_like_feature(sums, 0, 0, 2, 2, "type-3-y").shape
    (0,)
    >>> haar_like_feature(sums, 0, 0, 3, 1, "type-3-x")
    array([-1])
    """
    sums = np.asarray(int_image)
    if sums.ndim != 2:
        raise ValueError(f"haar_like_feature: int_image must have shape (M, N), got {sums.shape}")
    if r < 0 or c < 0 or width < 0 or height < 0 or r + height > sums.shape[0] or c + width > sums.shape[1]:
        raise ValueError(
            f"haar_like_feature: the region must lie inside the image {sums.shape}, got rows {r} to {r + height} and "
            f"columns {c} to {c + width}"
        )
    dtype = np.int64 if sums.dtype.kind in "iub" else np.float64
    patch = np.zeros((1, height + 1, width + 1), dtype)
    top, left = 1 if r == 0 else 0, 1 if c == 0 else 0
    patch[0, top:, left:] = sums[r - 1 + top : r + height, c - 1 + left : c + width]
    if feature_coord is not None:
        return _at_coordinates(patch[0], feature_type, feature_coord)
    types = (
        tuple(SKIMAGE) if feature_type is None else (feature_type,) if isinstance(feature_type, str) else feature_type
    )
    for name in types:
        if name not in SKIMAGE:
            raise ValueError(f"haar_like_feature: feature_type must be one of {', '.join(SKIMAGE)}, got {name!r}")
    if width == 0 or height == 0:
        return np.empty(0, dtype)
    features = _skimage_features(width, height, tuple(types))
    return evaluate("haar_like_feature", features, patch, None, np.zeros((1, 3), np.int64))[0]


def _at_coordinates(patch: Array, feature_type: Any, feature_coord: Any) -> Array:
    types = np.asarray(feature_type)
    if types.ndim == 0 or len(types) != len(feature_coord):
        raise ValueError(
            f"haar_like_feature: feature_type must have one entry for each of the {len(feature_coord)} feature_coord, "
            f"got shape {types.shape}"
        )
    values = np.zeros(len(types), patch.dtype)
    rows, columns = patch.shape[0] - 1, patch.shape[1] - 1
    for name in dict.fromkeys(types.tolist()):
        if name not in SKIMAGE:
            raise ValueError(f"haar_like_feature: feature_type must be one of {', '.join(SKIMAGE)}, got {name!r}")
        chosen = np.flatnonzero(types == name)
        corners = np.array([feature_coord[i] for i in chosen])
        if corners.shape[1:] != (len(SKIMAGE[name].rects), 2, 2):
            raise ValueError(
                f"haar_like_feature: feature_coord of {name} must hold {len(SKIMAGE[name].rects)} rectangles of two "
                f"corners, got shape {corners.shape[1:]}"
            )
        y1, x1, y2, x2 = (corners[:, :, k, i] + k for k in (0, 1) for i in (0, 1))
        if (y1 < 0).any() or (x1 < 0).any() or (y2 > rows).any() or (x2 > columns).any():
            raise ValueError(f"haar_like_feature: feature_coord must lie inside the region of {columns} x {rows}")
        area = patch[y2, x2] - patch[y1, x2] - patch[y2, x1] + patch[y1, x1]
        values[chosen] = area[:, 1::2].sum(1) - area[:, ::2].sum(1)
    return values
