"""All Haar features of a window, beside scikit-image's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from saccade.benchmarking import Case, Difference, Work, exact, reference

from . import _data


def cases(quick: bool) -> Iterator[Case]:
    for name, bar, size in (
        ("window", 100.0, "all 162,336 of a 24×24 window, features made once"),
        ("integral", 100.0, "the same from its integral image (haar_like_feature)"),
        ("made-each-time", None, "the same, features made each time"),
    ):
        yield Case(
            name=f"haar_features/{name}",
            operation="haar_features",
            size=size,
            threads=(1, 2),
            bar=bar,
            prepare=partial(_features, name),
        )


def _features(name: str) -> Work:
    from saccade.classic import HaarFeatureSet, haar_features, haar_like_feature, integral_image

    window = _data.astronaut()[100:124, 200:224]
    sums = integral_image(window, padded=False)
    features = HaarFeatureSet(24, 24)
    # Weighed as OpenCV's, three stripes have other values than scikit-image's, and the chequerboard the other sign.
    sign = np.select([np.isin(features.kind, ("x3", "y3")), features.kind == "x2y2"], [0, -1], 1)
    ours = {
        "window": lambda: haar_features(window, features),
        "integral": lambda: haar_like_feature(sums, 0, 0, 24, 24),
        "made-each-time": lambda: haar_features(window, HaarFeatureSet(24, 24)),
    }[name]

    def verify(mine: NDArray[np.int64], theirs: NDArray[np.int64]) -> Difference:
        if name == "integral":
            return exact(mine, theirs)
        return exact(mine[sign != 0], (sign * theirs)[sign != 0])

    return Work(
        ours=ours,
        references={
            "scikit-image": reference(
                "skimage.feature", lambda feature: lambda: feature.haar_like_feature(sums, 0, 0, 24, 24)
            )
        },
        verify=verify,
    )
