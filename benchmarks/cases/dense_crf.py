"""Mean field of a dense CRF, beside pydensecrf's (where it is installed: pydensecrf or pydensecrf2 on PyPI)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.benchmarking import Case, Work, close, reference

SIZES = [(512, 512, 21), (512, 512, 2), (320, 480, 21)]


def cases(quick: bool) -> Iterator[Case]:
    for height, width, labels in SIZES[:1] if quick else SIZES:
        yield Case(
            name=f"dense_crf/{height}x{width}x{labels}",
            operation="dense_crf",
            size=f"{width}×{height}, {labels} labels, 5 iterations",
            threads=(1, 2),
            bar={1: 3.0, 2: 5.0} if labels == 21 and height == 512 else None,
            prepare=partial(_inference, height, width, labels),
        )
    yield Case(
        name="dense_crf/numpy-512x512x21",
        operation="dense_crf",
        size="512×512, 21 labels, 5 iterations, NumPy arrays",
        threads=(1, 2),
        bar={1: 3.0, 2: 5.0},
        prepare=partial(_inference, 512, 512, 21, arrays=True),
    )
    yield Case(
        name="permutohedral_filter/512x512x21",
        operation="permutohedral_filter",
        size="512×512 pixels, 5 features, 21 channels, lattice and all",
        threads=(1, 2),
        prepare=_filter,
    )


def _photo(width: int, height: int) -> NDArray[np.uint8]:
    """scikit-image's astronaut in colour."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[:height, :width])


def _inference(height: int, width: int, labels: int, arrays: bool = False) -> Work:
    import torch

    from saccade import classic, ops

    image = _photo(width, height)
    rng = np.random.default_rng(0)
    # Costs that are smooth at a scale of 16 pixels, as a network's are.
    coarse = torch.from_numpy(rng.normal(0, 3, (1, labels, height // 16, width // 16)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    unary = smooth + torch.from_numpy(rng.normal(0, 1, (1, labels, height, width)).astype(np.float32))
    planes = torch.from_numpy(image).permute(2, 0, 1)[None]
    flat = np.ascontiguousarray(unary.numpy().reshape(labels, -1))

    def theirs(module: Any) -> Callable[[], Any]:
        def run() -> Any:
            crf = module.DenseCRF2D(width, height, labels)
            crf.setUnaryEnergy(flat)
            crf.addPairwiseGaussian(sxy=3, compat=3)
            crf.addPairwiseBilateral(sxy=80, srgb=13, rgbim=image, compat=10)
            return np.array(crf.inference(5)).reshape(1, labels, height, width)

        return run

    costs = unary[0].numpy()
    return Work(
        ours=(lambda: classic.dense_crf(costs, image)[None]) if arrays else (lambda: ops.dense_crf(unary, planes)),
        references={"pydensecrf": reference("pydensecrf.densecrf", theirs)},
        verify=close(atol=1e-3),
    )


def _filter() -> Work:
    import torch

    from saccade import ops

    image = _photo(512, 512).astype(np.float32)
    y, x = np.mgrid[:512, :512].astype(np.float32)
    features = torch.from_numpy(np.concatenate([np.stack([x, y], 2) / 80, image / 13], 2).reshape(-1, 5))
    values = torch.rand(512 * 512, 21, generator=torch.Generator().manual_seed(0))
    return Work(ours=lambda: ops.permutohedral_filter(features, values), references={})
