"""Random cascades as OpenCV's XML: not trained, but with stages that let about half of the windows through."""

import numpy as np


def random_cascade(
    seed,
    kind="HAAR",
    width=24,
    height=24,
    stages=3,
    trees=6,
    nodes=1,
    leaf_scale=1.0,
    integer_leaves=False,
    weights=None,
):
    """``weights``: of a Haar feature's rectangles (default: -1, and what balances it)."""
    rng = np.random.default_rng(seed)
    features, lines = [], []
    for _ in range(stages):
        lines.append("<_><weakClassifiers>")
        for _ in range(trees):
            fields, leaves = _tree(rng, kind, nodes, len(features), leaf_scale, integer_leaves)
            features += [_feature(rng, kind, width, height, weights) for _ in range(nodes)]
            lines.append(f"<_><internalNodes>{fields}</internalNodes><leafValues>{leaves}</leafValues></_>")
        threshold = 0 if integer_leaves else -0.2 * leaf_scale * trees**0.5
        lines.append(f"</weakClassifiers><stageThreshold>{threshold}</stageThreshold></_>")
    return (
        f"<?xml version='1.0'?><opencv_storage><cascade><stageType>BOOST</stageType><featureType>{kind}</featureType>"
        f"<height>{height}</height><width>{width}</width><stageParams></stageParams>"
        f"<featureParams><maxCatCount>{0 if kind == 'HAAR' else 256}</maxCatCount></featureParams>"
        f"<stageNum>{stages}</stageNum><stages>{''.join(lines)}</stages>"
        f"<features>{''.join(features)}</features></cascade></opencv_storage>"
    ).encode()


def _tree(rng, kind, nodes, feature, leaf_scale, integer_leaves):
    """A random tree: each node but the root hangs from a free side of an earlier one."""
    children = [[None, None] for _ in range(nodes)]
    free = [(0, 0), (0, 1)]
    for n in range(1, nodes):
        parent, side = free.pop(rng.integers(len(free)))
        children[parent][side] = n
        free += [(n, 0), (n, 1)]
    for leaf, (parent, side) in enumerate(sorted(free)):
        children[parent][side] = -leaf
    fields = []
    for n in range(nodes):
        fields += [*children[n], feature + n]
        if kind == "HAAR":
            fields.append(f"{rng.normal(0, 0.02):.8e}")
        else:
            fields += rng.integers(-(2**31), 2**31, 8).tolist()
    leaves = rng.integers(-2, 3, nodes + 1) if integer_leaves else rng.normal(0, 1, nodes + 1)
    return " ".join(map(str, fields)), " ".join(f"{leaf_scale * v:.8e}" for v in leaves)


def _feature(rng, kind, width, height, weights):
    if kind == "LBP":
        w, h = rng.integers(1, width // 3 + 1), rng.integers(1, height // 3 + 1)
        x, y = rng.integers(0, width - 3 * w + 1), rng.integers(0, height - 3 * h + 1)
        return f"<_><rect>{x} {y} {w} {h}</rect></_>"
    if rng.integers(3) == 0:
        side = min(width, height)
        w = rng.integers(1, side // 4 + 1)
        h = rng.integers(1, side - 2 * w + 1)
        x, y = rng.integers(h, width - 2 * w + 1), rng.integers(0, height - 2 * w - h + 1)
        rects, tilted = [(x, y, 2 * w, h, -1), (x, y, w, h, 2)], 1
    else:
        w, h = rng.integers(1, width // 3 + 1), rng.integers(1, height // 2 + 1)
        x, y = rng.integers(0, width - 3 * w + 1), rng.integers(0, height - 2 * h + 1)
        rects = [
            [(x, y, 2 * w, h, -1), (x + w, y, w, h, 2)],
            [(x, y, 3 * w, h, -1), (x + w, y, w, h, 3)],
            [(x, y, 2 * w, 2 * h, -1), (x, y, w, h, 2), (x + w, y + h, w, h, 2)],
        ][rng.integers(3)]
        tilted = 0
    if weights is not None:
        rects = [(*rect[:4], weight) for rect, weight in zip(rects, weights, strict=False)]
    items = "".join(f"<_>{x} {y} {w} {h} {weight}</_>" for x, y, w, h, weight in rects)
    return f"<_><rects>{items}</rects><tilted>{tilted}</tilted></_>"
