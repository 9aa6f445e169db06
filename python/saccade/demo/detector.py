"""Step 2: a torchvision detector with its operators replaced by ours: the same detections, each stage timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saccade.benchmarking import use_threads
from saccade.demo.photo import Photo
from saccade.demo.support import Check, DemoError

__all__ = ["STAGES", "DetectorResult", "compare_detector"]

_MODEL = "fasterrcnn_resnet50_fpn"
_SIDE, _MAX_SIDE = 512, 800  # of the resized photo: moderate, so that ten runs take seconds
_ROUNDS = 4
# Random weights give hundreds of boxes of every score; with this threshold some tens of them remain.
_RANDOM_SCORE_THRESHOLD = 0.5
# Our sums are rounded in another order than torchvision's: largest difference, relative to the image's side and to 1.
_BOX_TOLERANCE, _SCORE_TOLERANCE = 1e-4, 1e-4

# Stage -> (modules whose time counts, modules inside them whose time does not).
_PARTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "resize": (("transform",), ()),
    "backbone": (("backbone.body",), ()),
    "feature pyramid": (("backbone.fpn",), ()),
    "RPN head": (("rpn.head",), ()),
    "RPN proposals (NMS)": (("rpn",), ("rpn.head",)),
    "ROI align": (("roi_heads.box_roi_pool",), ()),
    "box head": (("roi_heads.box_head", "roi_heads.box_predictor"), ()),
    "detections (NMS)": (
        ("roi_heads",),
        ("roi_heads.box_roi_pool", "roi_heads.box_head", "roi_heads.box_predictor"),
    ),
}
STAGES = (*_PARTS, "total")


@dataclass(frozen=True)
class DetectorResult:
    """Median seconds of each stage with torchvision's operators (``before``) and with ours (``after``)."""

    model: str
    weights: str
    image_size: tuple[int, int]
    detections: int
    before: dict[str, float]
    after: dict[str, float]
    box_difference: float | None
    score_difference: float | None
    checks: list[Check]

    def to_json(self) -> dict[str, Any]:
        """For `json.dump`."""
        return {
            "model": self.model,
            "weights": self.weights,
            "image_size": self.image_size,
            "detections": self.detections,
            "stages": [{"stage": name, "before": self.before[name], "after": self.after[name]} for name in STAGES],
            "box_difference": self.box_difference,
            "score_difference": self.score_difference,
        }


def compare_detector(
    photo: Photo, weights_file: Path | None, threads: int, progress: Callable[[int, int], None] | None = None
) -> DetectorResult:
    """Run the detector with torchvision's operators and with ours, in turns.

    Args:
        photo: what to detect in.
        weights_file: a state dictionary of the model; None for seeded random weights.
        threads: for both.
        progress: told the runs done and their number.

    Raises:
        DemoError: where the weights do not fit.
    """
    import torch

    import saccade

    model = _build(weights_file)
    image = torch.from_numpy(photo.rgb.copy()).permute(2, 0, 1).float() / 255
    samples: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    found: dict[bool, Any] = {}
    total = 2 * (_ROUNDS + 1)
    with use_threads(threads), torch.inference_mode():
        for run in range(total):
            patched = run % 2 == 1
            patch: AbstractContextManager[Any] = saccade.patch_torchvision() if patched else nullcontext()
            with patch, _stage_clock(model) as stages:
                start = time.perf_counter()
                found[patched] = model([image])[0]
                stages["total"] = time.perf_counter() - start
            if run >= 2:  # the first run of each warms up
                samples[patched].append(dict(stages))
            if progress is not None:
                progress(run + 1, total)
    medians = {
        patched: {stage: statistics.median(sample[stage] for sample in runs) for stage in STAGES}
        for patched, runs in samples.items()
    }
    boxes, scores, checks = _compare(found[False], found[True], max(image.shape))
    return DetectorResult(
        model=_MODEL,
        weights=weights_file.name if weights_file else "random, seeded",
        image_size=(image.shape[2], image.shape[1]),
        detections=len(found[True]["scores"]),
        before=medians[False],
        after=medians[True],
        box_difference=boxes,
        score_difference=scores,
        checks=checks,
    )


def _build(weights_file: Path | None) -> Any:
    import torch
    from torchvision.models import detection

    torch.manual_seed(0)
    options: dict[str, Any] = {"min_size": _SIDE, "max_size": _MAX_SIDE}
    if weights_file is None:
        options["box_score_thresh"] = _RANDOM_SCORE_THRESHOLD
    model = getattr(detection, _MODEL)(weights=None, weights_backbone=None, **options)
    if weights_file is not None:
        try:
            state = torch.load(weights_file, map_location="cpu", weights_only=True)
            model.load_state_dict(state)
        except Exception as error:  # torch.load raises whatever the bytes make it meet
            raise DemoError(f"demo: cannot load {weights_file} into {_MODEL}: {error}") from error
    return model.eval()


@contextmanager
def _stage_clock(model: Any) -> Iterator[dict[str, float]]:
    """Time the model's stages by hooks on its modules; the dictionary is filled when the block ends."""
    names = sorted({name for part in _PARTS.values() for group in part for name in group})
    spent = dict.fromkeys(names, 0.0)
    started: dict[str, float] = {}
    stages: dict[str, float] = {}
    handles = []
    for name in names:
        module = model.get_submodule(name)

        def before(*_: Any, name: str = name) -> None:
            started[name] = time.perf_counter()

        def after(*_: Any, name: str = name) -> None:
            spent[name] += time.perf_counter() - started[name]

        handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        yield stages
    finally:
        for handle in handles:
            handle.remove()
        for stage, (counted, inside) in _PARTS.items():
            stages[stage] = sum(spent[name] for name in counted) - sum(spent[name] for name in inside)


def _compare(theirs: Any, ours: Any, side: int) -> tuple[float | None, float | None, list[Check]]:
    """Largest differences of boxes and scores (None where the numbers differ), and the verdicts."""
    count = len(theirs["labels"]), len(ours["labels"])
    if count[0] != count[1]:
        checks = [Check("detections equal torchvision's", False, f"{count[1]} detections, torchvision's {count[0]}")]
        return None, None, checks
    boxes = float((theirs["boxes"] - ours["boxes"]).abs().max()) if count[0] else 0.0
    scores = float((theirs["scores"] - ours["scores"]).abs().max()) if count[0] else 0.0
    same_labels = bool((theirs["labels"] == ours["labels"]).all())
    return (
        boxes,
        scores,
        [
            Check("number, labels and order of detections", same_labels, f"{count[0]} detections"),
            Check("their boxes", boxes <= _BOX_TOLERANCE * side, f"largest difference {boxes:.2g} pixels"),
            Check("their scores", scores <= _SCORE_TOLERANCE, f"largest difference {scores:.2g}"),
        ],
    )
