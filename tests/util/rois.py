"""Regions of interest for tests: ordinary ones, and every kind that has ever crashed an implementation."""

import torch

# x1, y1, x2, y2 in units of a 16-cell map at scale 0.5: inside, across each edge, off the map, on its border, empty,
# inverted, tiny, far too large.
AWKWARD = [
    [2, 3, 17, 21],
    [-7, -5, 9, 12],
    [20, 18, 60, 45],
    [-90, -90, -40, -40],
    [100, 100, 140, 130],
    [-2, -2, 32, 32],
    [0, 0, 0, 0],
    [5, 5, 5, 25],
    [20, 20, 4, 8],
    [3.3, 4.7, 3.4, 4.75],
    [-500, -400, 600, 700],
    [32, 32, 32, 32],
]


def random_rois(count, images=2, size=32, seed=0, dtype=torch.float32):
    """``(count, 5)`` boxes around the square [0, size)², the awkward ones first."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator, dtype=torch.float64) * size * 1.2 - size * 0.2
    boxes = torch.cat([corner, corner + torch.rand(count, 2, generator=generator, dtype=torch.float64) * size], 1)
    awkward = torch.tensor(AWKWARD[:count], dtype=torch.float64).reshape(-1, 4)
    boxes[: len(awkward)] = awkward
    image = torch.randint(0, images, (count, 1), generator=generator)
    return torch.cat([image, boxes], 1).to(dtype)
