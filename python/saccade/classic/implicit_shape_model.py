"""The Implicit Shape Model: objects found by their parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade._native import numpy_module
from saccade.classic import _ism_training
from saccade.classic._estimator import Estimator, check_fitted, named
from saccade.classic._hough import Peak, VoteSpace
from saccade.classic._occurrences import Occurrences, spread
from saccade.classic._patches import DETECTORS, Level, Patches, grey_image, level_scales, make_level, sample_patches
from saccade.classic._segmentation import figure_probability
from saccade.classic._word_windows import correlate_windows
from saccade.classic.codebook import Codebook

__all__ = ["ImplicitShapeModel"]

Array = NDArray[Any]


class ImplicitShapeModel(Estimator):
    """Finds objects by their parts: visual words that remember where on the object they were seen.

    Training cuts patches out of objects brought to one size, groups them to a codebook, and stores for each word where
    the object's centre lay, how large it was and, given masks, which pixels were the object's. Detection compares the
    patches of an image pyramid with the words; every match votes for the centre and scale of an object, and the maxima
    of the votes, found by mean shift, are detections. The patches behind a maximum tell figure from ground.

    Args:
        codebook: `Codebook` of 200 words by k-means with ``metric="correlation"``, unless given.
        patch_size: side of a patch in pixels.
        detector: where patches are taken: ``"dense"`` (everywhere, every ``step`` pixels) or around the interest points
            ``"harris"``, ``"hessian"`` or ``"dog"`` (difference of Gaussians) of each level (needs scikit-image).
        step: between patches in detection; half a patch unless given. Training takes them twice as close.
        object_size: width and height to which objects are brought; ``None``: the boxes' median shape with an area of
            ``(4 * patch_size) ** 2``. Detection finds objects from this size on (see ``min_scale``).
        scale_factor: from one level of the pyramid to the next.
        min_similarity: correlation from which on a patch matches a word.
        max_matches: a patch matches at most this many words.
        bandwidth: radius of the mean-shift kernel, in square roots of the object's area.
        scale_bandwidth: its radius in the logarithm of the scale.
        min_contrast: patches of a smaller standard deviation, white being 1, are left out.
        random_state: seed of the codebook and of the choice of patches for it.

    Attributes:
        codebook_, object_size_; occurrences_: what is stored of each word; object_given_word_: ``(K,)`` probability
        that a patch that matches the word is of an object and not of the background.

    Source: B. Leibe, A. Leonardis, B. Schiele, "Robust object detection with interleaved categorization and
    segmentation", IJCV 77, 2008. Objects that overlap are told apart by suppression of boxes, not by that paper's
    description length.

    >>> rng = np.random.default_rng(0)
    >>> cross = np.zeros((48, 48), np.uint8)
    >>> cross[20:28], cross[:, 20:28] = 200, 200
    >>> scene = rng.integers(80, 120, (100, 160), np.uint8)
    >>> scene[30:78, 90:138] = cross
    >>> model = ImplicitShapeModel(Codebook(20, metric="correlation"), patch_size=12).fit([cross], [[[0, 0, 48, 48]]])
    >>> boxes, scores = model.detect(scene, return_scores=True)
    >>> bool(np.abs(boxes[0] - [90, 30, 48, 48]).max() < 6)
    True
    """

    codebook_: Codebook
    object_size_: tuple[float, float]
    occurrences_: Occurrences
    object_given_word_: Array
    word_histogram_: Array
    score_unit_: float

    def __init__(
        self,
        codebook: Codebook | None = None,
        *,
        patch_size: int = 16,
        detector: str = "dense",
        step: int | None = None,
        object_size: tuple[int, int] | None = None,
        scale_factor: float = 1.2,
        min_similarity: float = 0.7,
        max_matches: int = 3,
        bandwidth: float = 0.1,
        scale_bandwidth: float = 0.3,
        min_contrast: float = 0.02,
        random_state: int = 0,
    ) -> None:
        self.codebook = codebook
        self.patch_size = patch_size
        self.detector = detector
        self.step = step
        self.object_size = object_size
        self.scale_factor = scale_factor
        self.min_similarity = min_similarity
        self.max_matches = max_matches
        self.bandwidth = bandwidth
        self.scale_bandwidth = scale_bandwidth
        self.min_contrast = min_contrast
        self.random_state = random_state

    def fit(
        self,
        images: Sequence[ArrayLike],
        boxes: Sequence[ArrayLike],
        masks: Sequence[ArrayLike] | None = None,
        *,
        backgrounds: Sequence[ArrayLike] = (),
    ) -> ImplicitShapeModel:
        """Learn from images with objects.

        Args:
            images: each ``(H, W)`` or ``(H, W, 3)``, uint8 or floats in [0, 1].
            boxes: for each image ``(M, 4)`` as x, y, width, height: all of its objects.
            masks: for each image ``(H, W)`` or ``(M, H, W)``, nonzero where an object is: then only patches that
                show it are learnt, and `detect` can segment.
            backgrounds: images without any object. They, and what lies outside the boxes, tell which words are typical
                of the object.

        Raises:
            ValueError: for wrong shapes, or if no patch has enough contrast; TypeError: for a wrong dtype.
            ImportError: without scikit-learn (extra ``classic``).
        """
        self._check_parameters()
        _ism_training.fit(self, images, boxes, masks, backgrounds)
        return self

    def detect(
        self,
        image: ArrayLike,
        *,
        method: str = "hough",
        threshold: float | None = None,
        min_scale: float = 1.0,
        max_scale: float | None = None,
        iou_threshold: float = 0.3,
        return_scores: bool = False,
        return_masks: bool = False,
    ) -> Any:
        """Find objects.

        Args:
            image: as in `fit`.
            method: ``"hough"``: votes and mean shift. ``"histogram"``: every window of the pyramid whose histogram of
                words correlates with that of the training objects (their mean); what the words' places say is not used.
            threshold: of the scores: in units of a typical training object's votes (default 0.3), or the correlation
                from -1 to 1 (default 0.5).
            min_scale: smallest object, in units of ``object_size_``; below 1 the image is enlarged. The smallest
                come out some 8 % too large, as no level below votes for them: go one ``scale_factor`` below
                what matters.
            max_scale: largest object; the image's size unless given.
            iou_threshold: of two detections whose intersection over union is larger, the better one stays.
            return_scores: also return ``(N,)`` float64 scores.
            return_masks: also return ``(N, H, W)`` float32: the probability that a pixel is the object's, 0 where no
                patch says anything. Only with "hough", and masks in `fit`.

        Returns:
            ``(N, 4)`` int32 boxes x, y, width, height, the best first, clipped to the image; a tuple with scores and
            masks if asked for.

        Raises:
            ValueError: on wrong arguments; TypeError: on a wrong dtype; RuntimeError: before `fit`.
        """
        check_fitted(self, "occurrences_")
        named("detect", "method", method, ("hough", "histogram"))
        self._check_detect(method, min_scale, max_scale, iou_threshold, return_masks)
        threshold = {"hough": 0.3, "histogram": 0.5}[method] if threshold is None else threshold
        grey = grey_image("detect", image)
        scales = level_scales(grey.shape, self.object_size_, self.scale_factor, min_scale, max_scale)
        if method == "histogram":
            levels = (make_level(grey, scale) for scale in scales)
            boxes, scores = correlate_windows(self, levels, threshold)
            space, peaks = VoteSpace(self._radius(), self.scale_bandwidth), []
        else:
            space = self._vote(grey, scales)
            least = max(threshold, 1e-3) * self.score_unit_
            peaks = space.exclusive(space.peaks(least), least)
            boxes = np.array([self._box(space, peak) for peak in peaks]).reshape(-1, 4)
            scores = np.array([peak.score for peak in peaks]) / self.score_unit_
        boxes, kept = _suppress(boxes, scores, grey.shape, iou_threshold)
        result: list[Array] = [boxes[kept]]
        if return_scores:
            result.append(scores[kept])
        if return_masks:
            masks = [figure_probability(self, space, peaks[i], grey.shape) for i in kept]
            result.append(np.array(masks, np.float32).reshape(-1, *grey.shape))
        return tuple(result) if len(result) > 1 else result[0]

    # What training and detection share.

    def _patches(self, level: Level, step: int) -> Patches:
        return sample_patches(level.image, self.patch_size, self.detector, step, self.min_contrast)

    def _match(self, pixels: Array) -> NDArray[np.int64]:
        """The words of each patch ``(N, max_matches)``, -1 where fewer are similar enough."""
        count = min(self.max_matches, len(self.codebook_.words_))
        words: NDArray[np.int64] = self.codebook_.assign(pixels, count, threshold=1 - self.min_similarity)
        return words.reshape(len(pixels), count)

    def _detection_step(self) -> int:
        return max(self.patch_size // 2, 1) if self.step is None else self.step

    def _histogram_step(self) -> int:
        """Histograms need more patches than votes do: with half the step the equal-error rate was 0.09, not 0.03."""
        return max(self._detection_step() // 2, 1)

    def _radius(self) -> float:
        return float(self.bandwidth * np.sqrt(self.object_size_[0] * self.object_size_[1]))

    def _vote(self, grey: Array, scales: Sequence[float]) -> VoteSpace:
        """p(o, x | e) = sum over the words C of p(o, x | C) p(C | e): each of a patch's words is as likely."""
        space = VoteSpace(self._radius(), self.scale_bandwidth)
        occurrences = self.occurrences_
        weight_of = occurrences.weight * np.repeat(self.object_given_word_, np.diff(occurrences.starts))
        first = 0
        for number, scale in enumerate(scales):
            patches = self._patches(make_level(grey, scale), self._detection_step())
            words = self._match(patches.pixels)
            feature, occurrence = spread(words, occurrences)
            matches = np.maximum((words >= 0).sum(1), 1)
            weight = weight_of[occurrence] / matches[feature]
            # Pixel centres: the one at 0 of a level lies at (scale - 1) / 2 of the image. The vote space only scales.
            at = patches.corners[feature] + (self.patch_size / 2) + occurrences.offset[occurrence]
            x1, y1 = patches.corners[feature].T
            level = np.full(len(feature), number)
            owners = np.stack([first + feature, level, x1, y1, occurrence], 1).astype(np.int32)
            first += len(words)
            space.add(scale, at[:, 0], at[:, 1], weight, owners)
        return space

    def _box(self, space: VoteSpace, peak: Peak) -> tuple[float, float, float, float]:
        """The mean size of the objects behind the votes, around the maximum."""
        owners, weight = space.voters(peak)
        width, height = peak.scale * (weight @ self.occurrences_.size[owners[:, 4]]) / weight.sum()
        return peak.x - width / 2, peak.y - height / 2, width, height

    def _check_parameters(self) -> None:
        named("ImplicitShapeModel", "detector", self.detector, DETECTORS)
        rules: list[tuple[str, bool, str]] = [
            ("patch_size", self.patch_size >= 2, "be at least 2"),
            ("step", self.step is None or self.step >= 1, "be at least 1 or None"),
            ("scale_factor", 1 < self.scale_factor < np.inf, "be above 1"),
            ("min_similarity", -1 <= self.min_similarity < 1, "be from -1 to below 1"),
            ("max_matches", self.max_matches >= 1, "be at least 1"),
            ("bandwidth", 0 < self.bandwidth < np.inf, "be positive"),
            ("scale_bandwidth", 0 < self.scale_bandwidth < np.inf, "be positive"),
            ("object_size", self.object_size is None or min(self.object_size) >= self.patch_size, "hold a patch"),
            ("codebook", self.codebook is None or self.codebook.metric == "correlation", "have metric 'correlation'"),
        ]
        for name, holds, rule in rules:
            if not holds:
                raise ValueError(f"ImplicitShapeModel: {name} must {rule}, got {getattr(self, name)!r}")

    def _check_detect(
        self, method: str, min_scale: float, max_scale: float | None, iou_threshold: float, masks: bool
    ) -> None:
        if not 0 < min_scale < np.inf:
            raise ValueError(f"detect: min_scale must be positive, got {min_scale!r}")
        if max_scale is not None and not max_scale >= min_scale:
            raise ValueError(f"detect: max_scale must be at least min_scale, {min_scale!r}, got {max_scale!r}")
        if not 0 <= iou_threshold <= 1:
            raise ValueError(f"detect: iou_threshold must be from 0 to 1, got {iou_threshold!r}")
        if masks and (method != "hough" or self.occurrences_.figure is None):
            raise ValueError(
                "detect: return_masks must be False where method is 'histogram' or fit had no masks, got True"
            )


def _suppress(boxes: Array, scores: Array, shape: tuple[int, ...], iou_threshold: float) -> tuple[Array, Array]:
    """Boxes as int32, clipped to the image, and the indices of those to keep, the best first."""
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    corners = np.rint(np.clip(corners, 0, [shape[1], shape[0]] * 2))
    kept = numpy_module.nms(corners, np.asarray(scores, np.float64), iou_threshold)
    corners = corners.astype(np.int32)
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
    kept = kept[(boxes[kept, 2] > 0) & (boxes[kept, 3] > 0)]
    return boxes, kept
