"""Trained detectors, read back: nothing here needs Lightning."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from saccade.models import build, load_checkpoint

__all__ = ["TrainedDetector", "first_label_of", "floating", "load_detector"]

COMMAND = "saccade train detect"  # that a checkpoint says it comes from


class TrainedDetector(NamedTuple):
    """A network in evaluation, names of its classes (None: unknown), and what it calls the first of them."""

    model: nn.Module
    classes: list[str] | None
    first_label: int

    @torch.inference_mode()
    def find(self, images: Sequence[Tensor], min_score: float = 0.0) -> list[dict[str, Tensor]]:
        """``boxes``, ``labels`` from 0, ``scores`` and maybe ``masks`` ``(D, H, W)`` bool of each image."""
        return [
            {name: value[found["scores"] >= min_score] for name, value in found.items()}
            for found in findings(self.model, images, self.first_label)
        ]


def load_detector(checkpoint: str | os.PathLike[str]) -> TrainedDetector:
    """The detector of a checkpoint that ``saccade train detect`` wrote.

    Raises:
        ValueError: for another file. FileNotFoundError: where it is missing.
    """
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # a broken file may raise nearly anything
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(f"load_detector: checkpoint {checkpoint} cannot be read: {reason}") from error
    info = content.get("info") if isinstance(content, dict) else None
    if not isinstance(info, Mapping) or info.get("command") != COMMAND:
        raise ValueError(f"load_detector: checkpoint must be one that '{COMMAND}' wrote, got {checkpoint}")
    model = build(info["recipe"]["model"], **info["options"])
    load_checkpoint(model, content)
    return TrainedDetector(model.eval(), list(info["classes"]), first_label_of(model))


def first_label_of(model: nn.Module) -> int:
    """1 for two-stage detectors, which count the background in as class 0; otherwise 0."""
    return 1 if getattr(model, "roi_heads", None) is not None else 0


def floating(images: Sequence[Tensor]) -> list[Tensor]:
    """Images from 0 to 1."""
    return [image if image.is_floating_point() else image.float() / 255 for image in images]


def findings(model: nn.Module, images: Sequence[Tensor], first_label: int) -> list[dict[str, Tensor]]:
    """What a model in evaluation finds: labels from 0, masks ``(D, H, W)`` bool."""
    results = []
    for found in model(floating(images)):
        if not isinstance(found, Mapping) or not {"boxes", "labels", "scores"} <= set(found):
            got = ", ".join(map(str, found)) if isinstance(found, Mapping) else type(found).__name__
            raise ValueError(f"DetectionTask: model must find boxes, labels and scores of an image, got {got}")
        result = {name: found[name] for name in ("boxes", "labels", "scores")}
        result["labels"] = result["labels"] - first_label
        if "masks" in found:
            masks = found["masks"]
            result["masks"] = (masks[:, 0] if masks.dim() == 4 else masks) > 0.5
        results.append(result)
    return results
