"""Haar features, plainly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.reference.integral_image import tilted_integral_image


def haar_features(window: NDArray[Any], features: Iterable[Any]) -> NDArray[Any]:
    """Add up the weighted rectangles of each feature in one window."""
    wide = window.astype(np.float64 if window.dtype.kind == "f" else np.int64)
    t = tilted_integral_image(wide)
    values = []
    for feature in features:
        value = wide.dtype.type(0)
        for x, y, w, h, weight in feature.rects:
            if feature.tilted:
                value += weight * (t[y, x] - t[y + h, x - h] - t[y + w, x + w] + t[y + w + h, x + w - h])
            else:
                value += weight * wide[y : y + h, x : x + w].sum()
        values.append(value)
    return np.array(values, wide.dtype)
