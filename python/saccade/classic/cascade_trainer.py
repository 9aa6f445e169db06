"""Training of boosted cascades."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from saccade._native import numpy_module
from saccade.classic import _training_images as images
from saccade.classic._boosting import ALGORITHMS, Array, Source, Tree, boosting_round, reweighted
from saccade.classic._checkpoint import fingerprint, load_checkpoint, save_checkpoint
from saccade.classic._mining import mine, passing
from saccade.classic._sharded import is_first_process, sharded
from saccade.classic._training_images import Grey, Images
from saccade.classic.cascade import CascadeClassifier
from saccade.classic.haar_features import HaarFeature, HaarFeatureSet
from saccade.classic.integral_image import integral_image

__all__ = ["CascadeTrainer", "StageRecord", "TrainingProgress"]

_FEWEST = 0.1  # of the wanted negatives: with fewer a stage learns them by heart


class StageRecord(NamedTuple):
    """What training one stage gave; rates are those on its own training windows."""

    learners: int
    threshold: float
    hit_rate: float
    false_alarm_rate: float
    positives: int
    negatives: int
    accepted: int
    """Windows that the stages before took for objects while negatives were mined ..."""
    scanned: int
    """... of so many that they looked at."""
    seconds: float


class TrainingProgress(NamedTuple):
    """Where training is: what `CascadeTrainer.fit` tells its ``progress`` function."""

    stage: int
    phase: str
    """``"negatives"``, ``"features"`` or ``"boosting"``."""
    share: float
    """Of this phase that is done, 0 to 1; of boosting: of the most learners that the stage may have."""
    learners: int = 0
    hit_rate: float = 1.0
    false_alarm_rate: float = 1.0


class _Stage(NamedTuple):
    trees: list[Tree]
    threshold: float
    record: StageRecord


class CascadeTrainer:
    """Trains the cascades that `CascadeClassifier` detects with, and OpenCV 4 too.

    Args:
        window_size: width and height of an object, in pixels.
        features: ``"basic"``, ``"core"`` or ``"all"``, as for `HaarFeatureSet`.
        max_stages: stop after as many stages.
        min_hit_rate: least share of the positives that each stage must accept.
        max_false_alarm_rate: a stage is done when it accepts no more of its negatives.
        max_learners: or when it has as many weak learners.
        negatives: windows of the backgrounds that each stage learns from.
        algorithm: of boosting, as for `AdaBoostClassifier`.
        max_depth: of the trees, 1 (stumps) to 3.
        weight_trim_rate: share of the weight that a round learns from, as for `AdaBoostClassifier`.
        scale_factor: between the levels of the backgrounds' pyramids, above 1.
        seed: of the choice of negatives. The same seed gives the same cascade on any number of threads.

    After `fit`: ``history_``, a `StageRecord` for each stage, ``stop_reason_``, the positives' mean ``mean_positive_``,
    and ``first_features_``, the first ten learners'; ``saccade.classic.cascade_report.write_report`` draws them.

    Where ``torch.distributed`` has a group of processes (``torchrun``), the features are shared out among them; every
    process returns the same cascade, the one that a single process would.

    Source: Viola and Jones, Rapid object detection using a boosted cascade of simple features, 2001, section 4;
    Lienhart, Kuranov and Pisarevsky, Empirical analysis of detection cascades of boosted classifiers, 2003.
    """

    def __init__(
        self,
        *,
        window_size: tuple[int, int] = (24, 24),
        features: str = "basic",
        max_stages: int = 20,
        min_hit_rate: float = 0.995,
        max_false_alarm_rate: float = 0.5,
        max_learners: int = 100,
        negatives: int = 3000,
        algorithm: str = "gentle",
        max_depth: int = 1,
        weight_trim_rate: float = 0.95,
        scale_factor: float = 1.25,
        seed: int = 0,
    ) -> None:
        def check(holds: bool, name: str, rule: str, value: object) -> None:
            if not holds:
                raise ValueError(f"CascadeTrainer: {name} must be {rule}, got {value!r}")

        check(len(window_size) == 2 and min(window_size) >= 4, "window_size", "two integers, at least 4", window_size)
        check(features in ("basic", "core", "all"), "features", "'basic', 'core' or 'all'", features)
        check(max_stages >= 1, "max_stages", "at least 1", max_stages)
        check(0 < min_hit_rate <= 1, "min_hit_rate", "above 0 and at most 1", min_hit_rate)
        check(0 < max_false_alarm_rate < 1, "max_false_alarm_rate", "between 0 and 1", max_false_alarm_rate)
        check(max_learners >= 1, "max_learners", "at least 1", max_learners)
        check(negatives >= 10, "negatives", "at least 10", negatives)
        check(algorithm in ALGORITHMS, "algorithm", "'discrete', 'real' or 'gentle'", algorithm)
        check(max_depth in (1, 2, 3), "max_depth", "1, 2 or 3", max_depth)
        check(0 < weight_trim_rate <= 1, "weight_trim_rate", "above 0 and at most 1", weight_trim_rate)
        check(1 < scale_factor < np.inf, "scale_factor", "above 1", scale_factor)
        self._settings: dict[str, Any] = {
            "window_size": [int(window_size[0]), int(window_size[1])],
            "features": features,
            "min_hit_rate": float(min_hit_rate),
            "max_false_alarm_rate": float(max_false_alarm_rate),
            "max_learners": int(max_learners),
            "negatives": int(negatives),
            "algorithm": algorithm,
            "max_depth": int(max_depth),
            "weight_trim_rate": float(weight_trim_rate),
            "scale_factor": float(scale_factor),
            "seed": int(seed),
        }
        self._max_stages = max_stages
        self.history_: list[StageRecord] = []
        self.stop_reason_ = ""
        self.mean_positive_: NDArray[np.float64] | None = None
        self.first_features_: list[HaarFeature] = []

    def fit(
        self,
        positives: Images,
        backgrounds: Images,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: Callable[[TrainingProgress], None] = lambda progress: None,
    ) -> CascadeClassifier:
        """Train a cascade.

        Args:
            positives: uint8 windows ``(N, h, w)`` or any images (resized to the window's size), a folder of images, or
                a ``.vec`` file of OpenCV's.
            backgrounds: uint8 images without an object, a folder of them, or a text file with a path in each line.
            checkpoint: a file that is written after each stage; where it exists, training goes on from it.
            progress: told where training is.

        Returns:
            The cascade, of as many stages as could be trained: ``stop_reason_`` says what ended it.

        Raises:
            ValueError: for images that cannot be used (the file is named), or a checkpoint of other settings or images.
                TypeError: for a wrong dtype.
        """
        width, height = size = tuple(self._settings["window_size"])
        objects = images.read_positives(positives, width, height)
        scenes = images.read_backgrounds(backgrounds, width, height)
        settings = {**self._settings, "images": fingerprint([objects, *scenes])}
        stages: list[_Stage] = []
        kept = np.zeros((0, height, width), np.uint8)
        if checkpoint is not None and Path(checkpoint).exists():
            trees, thresholds, records, kept = load_checkpoint(checkpoint, settings)
            stages = [
                _Stage(t, threshold, StageRecord(*r))
                for t, threshold, r in zip(trees, thresholds, records, strict=True)
            ]
        features = HaarFeatureSet(width, height, self._settings["features"])
        self.stop_reason_ = f"all {self._max_stages} stages are trained"
        while len(stages) < self._max_stages:
            start = time.perf_counter()
            number = len(stages)
            tell = lambda phase, share, *rest: progress(TrainingProgress(number, phase, share, *rest))  # noqa: E731, B023
            cascade = self._cascade(stages, features) if stages else None
            accepted = objects[passing(cascade, objects)]
            if len(accepted) == 0:
                self.stop_reason_ = (
                    f"stages 1 to {number} accept none of the positives: detection rejects windows whose standard "
                    "deviation is below 10 grey levels"
                )
                break
            wanted = self._settings["negatives"]
            kept = kept[passing(cascade, kept)]
            mined = mine(
                cascade,
                scenes,
                size,
                wanted - len(kept),
                np.random.default_rng([self._settings["seed"], number]),
                scale_factor=self._settings["scale_factor"],
                tell=lambda share: tell("negatives", share),  # noqa: B023
            )
            negatives = np.concatenate([kept, mined.windows])
            if len(negatives) < _FEWEST * wanted:
                self.stop_reason_ = (
                    f"the backgrounds are exhausted: {number} stages accept {len(negatives)} of their windows, and a "
                    f"stage needs at least {int(np.ceil(_FEWEST * wanted))}"
                )
                break
            stage = self._train(accepted, negatives, features, tell)
            if stage is None:
                self.stop_reason_ = f"no feature tells the negatives of stage {number} from the positives"
                break
            record = stage.record._replace(
                accepted=mined.accepted, scanned=mined.scanned, seconds=time.perf_counter() - start
            )
            stages.append(stage._replace(record=record))
            kept = negatives
            if checkpoint is not None and is_first_process():
                save_checkpoint(
                    checkpoint,
                    settings,
                    [s.trees for s in stages],
                    [s.threshold for s in stages],
                    [s.record for s in stages],
                    kept,
                )
        self.history_ = [stage.record for stage in stages]
        self.mean_positive_ = objects.mean(0)
        learners = [tree for stage in stages for tree in stage.trees]
        self.first_features_ = [features[int(tree.features[0])] for tree in learners[:10]]
        if not stages:
            raise ValueError(f"CascadeTrainer.fit: no stage could be trained: {self.stop_reason_}")
        return self._cascade(stages, features)

    def _train(
        self, positives: Grey, negatives: Grey, features: HaarFeatureSet, tell: Callable[..., None]
    ) -> _Stage | None:
        tell("features", 0.0)
        windows = np.concatenate([positives, negatives])
        source = sharded(lambda share: haar_source(windows, share), features)
        count = len(positives)
        labels = np.repeat([1.0, -1.0], [count, len(negatives)])
        weights: Array = np.repeat([0.5 / count, 0.5 / len(negatives)], [count, len(negatives)])
        sums = np.zeros(len(labels))
        trees: list[Tree] = []
        most = self._settings["max_learners"]
        threshold, hits, alarms = 0.0, 1.0, 1.0
        while len(trees) < most and alarms > self._settings["max_false_alarm_rate"]:
            learner = boosting_round(
                source,
                labels,
                weights,
                self._settings["algorithm"],
                self._settings["max_depth"],
                trim_rate=self._settings["weight_trim_rate"],
            )
            if len(learner.tree.features) == 0:
                break
            # The detector adds leaves of 32 bits.
            outputs = learner.outputs.astype(np.float32).astype(np.float64)
            trees.append(learner.tree._replace(leaves=learner.tree.leaves.astype(np.float32)))
            sums += outputs
            weights = reweighted(weights, labels, outputs)
            ranked = np.sort(sums[:count])
            threshold = float(np.float32(ranked[int((1 - self._settings["min_hit_rate"]) * count)]))
            hits = float(np.mean(sums[:count] >= threshold - 1e-5))
            alarms = float(np.mean(sums[count:] >= threshold - 1e-5))
            tell("boosting", len(trees) / most, len(trees), hits, alarms)
        if not trees:
            return None
        record = StageRecord(len(trees), threshold, hits, alarms, count, len(negatives), 0, 0, 0.0)
        return _Stage(trees, threshold, record)

    def _cascade(self, stages: list[_Stage], features: HaarFeatureSet) -> CascadeClassifier:
        trees = [tree for stage in stages for tree in stage.trees]
        used, index = np.unique(np.concatenate([tree.features for tree in trees]), return_inverse=True)
        chosen = features[used]
        children = np.concatenate([tree.children for tree in trees])
        arrays: dict[str, NDArray[Any]] = {
            "stage_thresholds": np.array([stage.threshold for stage in stages], np.float32),
            "stage_trees": np.array([len(stage.trees) for stage in stages], np.int32),
            "tree_nodes": np.array([len(tree.features) for tree in trees], np.int32),
            "nodes": np.concatenate([children, index[:, None]], 1).astype(np.int32),
            "thresholds": np.concatenate([tree.thresholds for tree in trees]).astype(np.float32),
            "subsets": np.zeros((0, 8), np.int32),
            "leaves": np.concatenate([tree.leaves for tree in trees]).astype(np.float32),
            "rects": chosen.rects,
            "weights": chosen.weights.astype(np.float32),
            "tilted": chosen.tilted.astype(np.uint8),
        }
        return CascadeClassifier._from_arrays(True, features.width, features.height, arrays)


def haar_source(windows: Grey, features: HaarFeatureSet) -> Source:
    """The features' values on windows ``(N, h, w)``, divided by the windows' deviation as the detector does."""
    inner = windows[:, 1:-1, 1:-1].reshape(len(windows), -1).astype(np.float64)
    deviation = inner.shape[1] * (inner * inner).sum(1) - inner.sum(1) ** 2
    scale = (1 / np.sqrt(np.where(deviation > 0, deviation, 1))).astype(np.float32)
    slanted = bool(features.tilted.any())
    sums = integral_image(windows, tilted=slanted)
    upright, tilted = (sums[0], sums[1]) if slanted else (sums, None)
    bins = numpy_module.HaarBins(upright, tilted, *features._table, features.width, features.height, scale)
    return Source(bins, bins.values)
