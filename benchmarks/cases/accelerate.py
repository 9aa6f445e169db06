"""Whole torchvision models, accelerated, beside the same models run by torch, ONNX Runtime and OpenVINO."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

from saccade.benchmarking import Case, Difference, Work, close, reference

from . import _data
from ._runtimes import runtimes


@dataclass(frozen=True)
class Model:
    family: str  # the module of torchvision.models
    name: str
    side: int
    batch: int = 1
    bar: float | None = None

    def __str__(self) -> str:
        return f"{self.batch}×3×{self.side}×{self.side}"


MODELS = [
    Model("resnet", "resnet50", 224, 1, 2.2),
    Model("resnet", "resnet50", 224, 8),
    Model("vision_transformer", "vit_b_16", 224),
    Model("segmentation", "fcn_resnet50", 520, 1, 2.2),
    Model("detection", "fasterrcnn_resnet50_fpn", 800, 1, 2.5),
    Model("detection", "maskrcnn_resnet50_fpn", 800, 1, 3.0),
]
QUICK = [Model("resnet", "resnet18", 64), Model("detection", "fasterrcnn_resnet50_fpn", 160)]


def cases(quick: bool) -> Iterator[Case]:
    if importlib.util.find_spec("torchvision") is None:
        return  # the models are its
    for model in QUICK if quick else MODELS:
        yield Case(
            name=f"accelerate/{model.name}-{model.batch}x{model.side}",
            operation="accelerate",
            group=f"accelerate, {model.family}",
            size=f"{model.name}, {model}",
            threads=(1, 2),
            bar=model.bar,
            prepare=partial(_work, model),
        )


def _work(described: Model) -> Work:
    import torch
    from torchvision import models

    import saccade

    torch.manual_seed(0)
    family = getattr(models, described.family)
    size: dict[str, Any] = {}
    if detection := described.family == "detection":
        # Random weights find nothing certain: a few boxes, so that the mask head has a photo's work and no more.
        size = {"min_size": described.side, "max_size": described.side, "box_detections_per_img": 20}
    backbone = {"weights_backbone": None} if described.family in ("segmentation", "detection") else {}
    model = _data.with_statistics(getattr(family, described.name)(weights=None, **backbone, **size).eval())
    image = torch.rand(described.batch, 3, described.side, described.side)
    inputs = [image[0]] if detection else image
    fast = saccade.accelerate(model, (inputs,))

    def ours() -> Any:
        with torch.inference_mode(), saccade.patch_torchvision():
            return fast(inputs)

    def eager(_: ModuleType) -> Callable[[], Any]:
        def theirs() -> Any:
            with torch.inference_mode():
                return model(inputs)

        return theirs

    references = {"torch": reference("torch", eager)}
    if described.family in ("resnet", "segmentation"):  # torch's ONNX exporter has no detectors, and no fused attention
        references |= runtimes(model, image)
    return Work(ours=ours, references=references, verify=_same_detections if detection else close(rtol=1e-3))


def _same_detections(ours: Any, theirs: Any) -> Difference:
    """Accept as many detections, with scores within 0.05.

    Random weights give boxes of nearly one score, and a rounding decides which of them are suppressed. That each part
    computes what it should was checked on the same input when the model was accelerated.
    """
    close_scores = close(atol=0.05)
    return close_scores([found["scores"] for found in ours], [found["scores"] for found in theirs])
