"""Graph-based segmentation and selective search, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["color_planes", "felzenszwalb", "group_regions", "random_numbers", "selective_search", "texture_bins"]

Array = NDArray[Any]
_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))


def smooth(plane: Array, sigma: float, order: tuple[int, int] = (0, 0)) -> Array:
    """A Gaussian filter, or its derivative."""
    from scipy.ndimage import gaussian_filter

    return plane if sigma == 0 else gaussian_filter(plane, sigma, order)


def felzenszwalb(image: Array, scale: float, sigma: float, min_size: int) -> Array:
    """Labels of ``image`` ``(H, W, C)`` float64."""
    planes = np.stack([smooth(image[..., c], sigma) for c in range(image.shape[-1])])
    height, width = planes.shape[1:]
    edges = []
    for direction, (down, right) in enumerate(_STEPS):
        for y in range(height - down):
            for x in range(max(0, -right), width - max(0, right)):
                squares = (planes[:, y, x] - planes[:, y + down, x + right]) ** 2
                edges.append((np.sqrt(sum(squares)), direction, y * width + x, (y + down) * width + x + right))
    edges.sort()  # by weight, direction and pixel
    parent, size, heaviest = list(range(height * width)), [1] * (height * width), [0.0] * (height * width)

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for small_only in (False, True):
        for weight, _, p, q in edges:
            a, b = root(p), root(q)
            if a == b:
                continue
            if small_only:
                join = min(size[a], size[b]) < min_size
            else:
                join = weight < min(heaviest[a] + scale / 255 / size[a], heaviest[b] + scale / 255 / size[b])
            if join:
                parent[b], size[a], heaviest[a] = a, size[a] + size[b], weight
    roots = [root(i) for i in range(height * width)]
    numbers = {r: n for n, r in enumerate(dict.fromkeys(roots))}
    return np.array([numbers[r] for r in roots]).reshape(height, width)


def color_planes(image: Array, space: str) -> Array:
    """Levels ``(C, H, W)`` from 0 to 255 of an RGB image, uint8."""
    from skimage import color

    red, green, blue = image.astype(np.float64).transpose(2, 0, 1)
    grey = (299 * red + 587 * green + 114 * blue) / 255000
    if space == "rgb":
        return image.transpose(2, 0, 1)
    if space == "grey":
        planes = grey[None]
    elif space in ("hsv", "hue"):
        high, low = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
        over = np.where(high > low, high - low, 1)
        sixths = [(green - blue) / over, 2 + (blue - red) / over, 4 + (red - green) / over]
        hue = np.select([high == red, high == green], sixths[:2], sixths[2]) / 6
        planes = np.stack([np.where(hue < 0, hue + 1, hue), (high - low) / np.where(high > 0, high, 1), high / 255])
        planes = planes[: 3 if space == "hsv" else 1]
    elif space == "lab":
        lightness, a, b = color.rgb2lab(image).transpose(2, 0, 1)
        planes = np.stack([lightness / 100, (a + 128) / 255, (b + 128) / 255])
    else:
        total = red + green + blue
        shares = [np.divide(c, total, out=np.full_like(total, 1 / 3), where=total > 0) for c in (red, green)]
        planes = np.stack([*shares, grey])
    return np.floor(np.clip(planes * 255 + 0.5, 0, 255)).astype(np.uint8)


def texture_bins(plane: Array) -> Array:
    """Bins ``(8, H, W)`` of the responses of a channel's gradient in eight directions."""
    gx, gy = smooth(plane / 255, 1, (0, 1)), smooth(plane / 255, 1, (1, 0))
    axes = np.stack([gx, (gx + gy) * np.sqrt(0.5), gy, (gy - gx) * np.sqrt(0.5)])
    strongest = np.abs(axes).max()
    responses = np.stack([response for axis in axes for response in (axis, -axis)]).clip(0)
    return np.minimum((responses * (10 / strongest if strongest > 0 else 0)).astype(int), 9)


def group_regions(planes: Array, labels: Array, similarity: str) -> list[tuple[int, int, int, int]]:
    """Boxes x1, y1, x2, y2 of the first regions of ``labels`` and of all that they are joined to."""
    pixels = labels.size
    textures = np.concatenate([texture_bins(plane) for plane in planes])
    members = [labels == region for region in range(labels.max() + 1)]
    neighbours = {
        (min(a, b), max(a, b))
        for one, other in ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:]))
        for a, b in zip(one.ravel().tolist(), other.ravel().tolist(), strict=True)
        if a != b
    }

    def fractions(bins: Array, mask: Array, count: int) -> Array:
        histogram = np.concatenate([np.bincount(plane[mask], minlength=count) for plane in bins])
        return np.floor(histogram * (32767 / mask.sum()) + 0.5)

    def box(mask: Array) -> tuple[int, int, int, int]:
        (rows,), (columns,) = np.nonzero(mask.any(1)), np.nonzero(mask.any(0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

    def intersection(bins: Array, count: int, a: Array, b: Array) -> float:
        least = np.minimum(fractions(bins, a, count), fractions(bins, b, count))
        return float(least.sum() / (len(bins) * 32767))

    def likeness(a: Array, b: Array) -> float:
        total = 0.0
        if "C" in similarity:
            total += intersection(planes.astype(int) * 25 // 256, 25, a, b)
        if "T" in similarity:
            total += intersection(textures, 10, a, b)
        both = a | b
        x1, y1, x2, y2 = box(both)
        if "S" in similarity:
            total += 1 - both.sum() / pixels
        if "F" in similarity:
            total += 1 - ((x2 - x1) * (y2 - y1) - both.sum()) / pixels
        return total

    pairs = {pair: likeness(members[pair[0]], members[pair[1]]) for pair in neighbours}
    while pairs:
        a, b = min(pairs, key=lambda pair: (-pairs[pair], pair))
        joined = len(members)
        members.append(members[a] | members[b])
        around = {other for pair in pairs if a in pair or b in pair for other in pair} - {a, b}
        pairs = {pair: value for pair, value in pairs.items() if a not in pair and b not in pair}
        pairs.update({(other, joined): likeness(members[other], members[joined]) for other in around})
    return [box(mask) for mask in members]


def random_numbers(seed: int, strategy: int, count: int) -> list[float]:
    """Numbers in (0, 1] by splitmix64, for the regions of a strategy."""

    def mixed(x: int) -> int:
        x = (x + 0x9E3779B97F4A7C15) % 2**64
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        return x ^ (x >> 31)

    first = mixed((mixed(seed) + strategy) % 2**64)
    return [((mixed((first + region) % 2**64) >> 11) + 1) * 2.0**-53 for region in range(count)]


def selective_search(
    image: Array, spaces: list[str], similarities: list[str], scales: list[float], sigma: float, seed: int
) -> Array:
    """Boxes ``(N, 4)`` x, y, width, height of an RGB image, uint8, in order."""
    found, strategy = [], 0
    for space in spaces:
        planes = color_planes(image, space)
        for scale in scales:
            labels = felzenszwalb(planes.transpose(1, 2, 0) / 255, scale, sigma, int(scale))
            for similarity in similarities:
                boxes = group_regions(planes, labels, similarity)
                draws = random_numbers(seed, strategy, len(boxes))
                ranks = range(len(boxes), 0, -1)
                found += [(draw * rank, box) for draw, rank, box in zip(draws, ranks, boxes, strict=True)]
                strategy += 1
    found.sort(key=lambda item: item[0])
    corners = np.array(list(dict.fromkeys(box for _, box in found)))
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
