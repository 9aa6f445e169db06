"""Training of the Implicit Shape Model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade.classic._occurrences import Sightings, merge_sightings
from saccade.classic._patches import Level, Patches, cut_patches, grey_image, level_scales, make_level, resize
from saccade.classic.codebook import Codebook

if TYPE_CHECKING:
    from saccade.classic.implicit_shape_model import ImplicitShapeModel

__all__ = ["fit"]

Array = NDArray[Any]
MAX_CLUSTERED = 20_000  # patches to k-means: more change the words little, and take longer
MAX_BACKGROUND = 50_000
MAX_CALIBRATION = 24
LEAST_FIGURE = 0.25  # of a patch must show the object


class Example(NamedTuple):
    """One object, brought to the reference size."""

    level: Level
    box: Array  # x, y, width, height in pixels of the level's image
    mask: Array | None


def fit(
    model: ImplicitShapeModel,
    images: Sequence[ArrayLike],
    boxes: Sequence[ArrayLike],
    masks: Sequence[ArrayLike] | None,
    backgrounds: Sequence[ArrayLike],
) -> None:
    """Everything that `ImplicitShapeModel.fit` learns."""
    greys = [grey_image("fit", image) for image in images]
    tables = _check_boxes(greys, boxes)
    figures = _check_masks(greys, tables, masks)
    model.object_size_ = _object_size(model, np.concatenate(tables))
    examples = [
        _example(model, grey, table[i], None if figure is None else figure[i if len(figure) > 1 else 0])
        for grey, table, figure in zip(greys, tables, figures, strict=True)
        for i in range(len(table))
    ]
    step = max(model._detection_step() // 2, 1)
    parts = [_sightings(model, example, step) for example in examples]
    sightings = Sightings(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.offset for part in parts]),
        np.concatenate([part.size for part in parts]),
        None if masks is None else np.concatenate([part.figure for part in parts if part.figure is not None]),
    )
    if len(sightings.pixels) == 0:
        raise ValueError(
            f"fit: images must show objects with patches of a contrast of {model.min_contrast}, got none of them"
        )
    model.codebook_ = _codebook(model, sightings.pixels)
    words = model._match(sightings.pixels)
    n_words = len(model.codebook_.words_)
    model.occurrences_ = merge_sightings(words, sightings, n_words, model._radius() / 3)
    outside = _background_words(model, greys, tables, backgrounds)
    model.object_given_word_ = _object_given_word(words, len(words), outside, n_words)
    model.word_histogram_ = _mean_histogram(model, examples)
    model.score_unit_ = _typical_score(model, examples)


def _check_boxes(greys: list[Array], boxes: Sequence[ArrayLike]) -> list[Array]:
    if len(boxes) != len(greys) or len(greys) == 0:
        raise ValueError(
            f"fit: boxes must hold an array for each of at least one image, got {len(boxes)} for {len(greys)}"
        )
    tables = []
    for number, given in enumerate(boxes):
        table = np.asarray(given, np.float64)
        table = table.reshape(0, 4) if table.size == 0 else table
        if table.ndim != 2 or table.shape[1] != 4:
            raise ValueError(f"fit: boxes[{number}] must have shape (M, 4), got {table.shape}")
        if not (np.isfinite(table).all() and (table[:, 2:] > 0).all()):
            raise ValueError(f"fit: boxes[{number}] must be finite, of positive width and height, got {table.tolist()}")
        tables.append(table)
    if sum(map(len, tables)) == 0:
        raise ValueError("fit: boxes must hold at least one box, got none")
    return tables


def _check_masks(greys: list[Array], tables: list[Array], masks: Sequence[ArrayLike] | None) -> list[Array | None]:
    if masks is None:
        return [None] * len(greys)
    if len(masks) != len(greys):
        raise ValueError(f"fit: masks must hold an array for each of {len(greys)} images, got {len(masks)}")
    figures: list[Array | None] = []
    for number, (grey, table, given) in enumerate(zip(greys, tables, masks, strict=True)):
        mask = np.asarray(given) != 0
        mask = mask[None] if mask.ndim == 2 else mask
        if mask.shape[1:] != grey.shape or len(mask) not in (1, len(table)):
            raise ValueError(
                f"fit: masks[{number}] must have shape {grey.shape} or {(len(table), *grey.shape)}, "
                f"got {np.shape(given)}"
            )
        figures.append(mask.astype(np.float32))
    return figures


def _object_size(model: ImplicitShapeModel, boxes: Array) -> tuple[float, float]:
    if model.object_size is not None:
        return float(model.object_size[0]), float(model.object_size[1])
    aspect = float(np.exp(np.median(np.log(boxes[:, 2] / boxes[:, 3]))))
    side = 4 * model.patch_size
    return side * aspect**0.5, side / aspect**0.5


def _example(model: ImplicitShapeModel, grey: Array, box: Array, mask: Array | None) -> Example:
    """The object with a margin of half its size, as a level of its own."""
    x, y, width, height = box
    scale = float(np.sqrt(width * height / (model.object_size_[0] * model.object_size_[1])))
    margin = max(width, height) / 2
    left, top = max(int(x - margin), 0), max(int(y - margin), 0)
    right, bottom = int(np.ceil(x + width + margin)), int(np.ceil(y + height + margin))
    crop = grey[top:bottom, left:right]
    if 0 in crop.shape:
        raise ValueError(f"fit: boxes must meet their images, got {box.tolist()} for shape {grey.shape}")
    size = max(round(crop.shape[1] / scale), 1), max(round(crop.shape[0] / scale), 1)
    figure = None if mask is None else resize(mask[top:bottom, left:right], *size)
    placed = np.array([x - left, y - top, width, height]) / scale
    return Example(Level(1.0, resize(crop, *size)), placed, figure)


def _inside(centres: Array, box: Array) -> Array:
    return np.asarray(((centres >= box[:2]) & (centres < box[:2] + box[2:])).all(1))


def _sightings(model: ImplicitShapeModel, example: Example, step: int) -> Sightings:
    patches = model._patches(example.level, step)
    centres = patches.corners + model.patch_size / 2
    kept = _inside(centres, example.box)
    figure = None
    if example.mask is not None:
        figure = np.zeros((len(centres), model.patch_size**2), np.float32)
        if len(centres):
            figure = cut_patches(example.mask, model.patch_size, *patches.corners.T)
        kept &= figure.mean(1) >= LEAST_FIGURE
        figure = figure[kept]
    middle = example.box[:2] + example.box[2:] / 2
    size = np.broadcast_to(example.box[2:], (int(kept.sum()), 2))
    return Sightings(patches.pixels[kept], middle - centres[kept], size, figure)


def _codebook(model: ImplicitShapeModel, pixels: Array) -> Codebook:
    given = model.codebook
    params = Codebook(metric="correlation", random_state=model.random_state).get_params()
    codebook = Codebook(**(params if given is None else given.get_params()))
    rng = np.random.default_rng(model.random_state)
    if len(pixels) > MAX_CLUSTERED:
        pixels = pixels[np.sort(rng.choice(len(pixels), MAX_CLUSTERED, replace=False))]
    if given is None:
        codebook.n_words = min(200, len(pixels))
    return codebook.fit(pixels)


def _background_words(
    model: ImplicitShapeModel, greys: list[Array], tables: list[Array], backgrounds: Sequence[ArrayLike]
) -> NDArray[np.int64] | None:
    """The words of patches whose centre lies outside all objects; ``None`` where there is no such patch."""
    found: list[Array] = []
    scenes = [(grey_image("fit", image), np.zeros((0, 4))) for image in backgrounds]
    for grey, boxes in [*zip(greys, tables, strict=True), *scenes]:
        window = (float(model.patch_size),) * 2
        for scale in level_scales(grey.shape, window, 1.5, 1.0, 4.0):
            patches: Patches = model._patches(make_level(grey, scale), model._detection_step())
            centres = (patches.corners + model.patch_size / 2) * scale
            outside = np.ones(len(centres), bool)
            for box in boxes:
                outside &= ~_inside(centres, box)
            found.append(patches.pixels[outside])
    pixels = np.concatenate(found) if found else np.zeros((0, model.patch_size**2), np.float32)
    if len(pixels) == 0:
        return None
    rng = np.random.default_rng(model.random_state)
    if len(pixels) > MAX_BACKGROUND:
        pixels = pixels[np.sort(rng.choice(len(pixels), MAX_BACKGROUND, replace=False))]
    return model._match(pixels)


def _object_given_word(words: Array, total: int, outside: Array | None, n_words: int) -> NDArray[np.float32]:
    """p(object | word), object and background being as likely; one sighting is added to each so that none is 0 or 1."""
    if outside is None:
        return np.ones(n_words, np.float32)
    seen = (np.bincount(words[words >= 0], minlength=n_words) + 1) / (total + n_words)
    seen_outside = (np.bincount(outside[outside >= 0], minlength=n_words) + 1) / (len(outside) + n_words)
    return (seen / (seen + seen_outside)).astype(np.float32)


def _mean_histogram(model: ImplicitShapeModel, examples: list[Example]) -> NDArray[np.float64]:
    """Shares of the words in an object, each patch counting for all that it matches; the mean over the objects."""
    total = np.zeros(len(model.codebook_.words_))
    for example in examples:
        patches = model._patches(example.level, model._histogram_step())
        kept = _inside(patches.corners + model.patch_size / 2, example.box)
        total += model.codebook_.histogram(model._match(patches.pixels[kept]), normalize=True)
    return total / len(examples)


def _typical_score(model: ImplicitShapeModel, examples: list[Example]) -> float:
    """The median, over training objects, of the highest maximum near the object's centre."""
    scales = [1 / model.scale_factor, 1.0, model.scale_factor]
    chosen = np.linspace(0, len(examples) - 1, min(len(examples), MAX_CALIBRATION)).round().astype(int)
    scores = []
    for example in (examples[i] for i in chosen):
        x, y = example.box[:2] + example.box[2:] / 2
        near = 2 * model._radius()
        peaks = model._vote(example.level.image, scales).peaks(0.0)
        scores.append(max((p.score for p in peaks if np.hypot(p.x - x, p.y - y) < near), default=0.0))
    return max(float(np.median(scores)), 1e-12)
