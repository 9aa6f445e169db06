"""Checks of what a detector is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from saccade.models.detection.transform import Target

__all__ = ["check_images", "check_targets"]


def check_images(op: str, images: Any, channels: int) -> list[Tensor]:
    """Raise unless ``images`` are floating tensors of shape ``(channels, H, W)``, at least one, of one device."""
    images = list(images)
    if not images:
        raise ValueError(f"{op}: images must hold at least one image, got 0")
    for number, image in enumerate(images):
        if not isinstance(image, Tensor):
            raise TypeError(f"{op}: images[{number}] must be a tensor, got {type(image).__name__}")
        if image.dim() != 3 or image.shape[0] != channels or image.numel() == 0:
            raise ValueError(f"{op}: images[{number}] must have shape ({channels}, H, W), got {tuple(image.shape)}")
        if not image.is_floating_point():
            raise TypeError(f"{op}: images[{number}] must be floating, in the range 0 to 1, got {image.dtype}")
    return images


def check_targets(op: str, images: Sequence[Tensor], targets: Any, labels: range, masks: bool = False) -> list[Target]:
    """Raise unless there is, for each image, a dict of boxes with area and labels in range (and masks)."""
    if targets is None:
        raise ValueError(f"{op}: targets must be given in training, got None")
    targets = list(targets)
    if len(targets) != len(images):
        raise ValueError(f"{op}: targets must be as many as images, got {len(targets)} for {len(images)}")
    for number, (image, target) in enumerate(zip(images, targets, strict=True)):
        _check_form(op, f"targets[{number}]", target, image, masks)
    _check_values(op, targets, labels)
    return targets


def _check_form(op: str, name: str, target: Any, image: Tensor, masks: bool) -> None:
    for key in ("boxes", "labels", "masks")[: 3 if masks else 2]:
        if key not in target:
            raise ValueError(f"{op}: {name} must have {key!r}, got {sorted(target)}")
        if not isinstance(target[key], Tensor):
            raise TypeError(f"{op}: {name}[{key!r}] must be a tensor, got {type(target[key]).__name__}")
    boxes, labels = target["boxes"], target["labels"]
    if boxes.dim() != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{op}: {name}['boxes'] must have shape (N, 4), got {tuple(boxes.shape)}")
    if not boxes.is_floating_point():
        raise TypeError(f"{op}: {name}['boxes'] must be floating, got {boxes.dtype}")
    if labels.shape != boxes.shape[:1]:
        raise ValueError(f"{op}: {name}['labels'] must have shape ({len(boxes)},), got {tuple(labels.shape)}")
    if labels.dtype != torch.int64:
        raise TypeError(f"{op}: {name}['labels'] must be int64, got {labels.dtype}")
    if masks and target["masks"].shape != (len(boxes), *image.shape[1:]):
        raise ValueError(
            f"{op}: {name}['masks'] must have shape {(len(boxes), *image.shape[1:])}, "
            f"got {tuple(target['masks'].shape)}"
        )


def _check_values(op: str, targets: Sequence[Target], allowed: range) -> None:
    """One pass over the boxes and labels of all images; which one is wrong is found out only where one is."""
    boxes = torch.cat([target["boxes"] for target in targets])
    labels = torch.cat([target["labels"] for target in targets])
    flat = ~((boxes[:, 2:] > boxes[:, :2]).all(1) & boxes.isfinite().all(1))
    outside = (labels < allowed.start) | (labels >= allowed.stop)
    if not bool((flat | outside).any()):
        return
    number = int(torch.where(flat | outside)[0][0])
    image, box = 0, number
    while box >= len(targets[image]["boxes"]):
        box -= len(targets[image]["boxes"])
        image += 1
    if flat[number]:
        raise ValueError(
            f"{op}: targets[{image}]['boxes'][{box}] must be finite and have positive width and height, "
            f"got {boxes[number].tolist()}"
        )
    raise ValueError(
        f"{op}: targets[{image}]['labels'][{box}] must lie in {allowed.start} to {allowed.stop - 1}, "
        f"got {int(labels[number])}"
    )
