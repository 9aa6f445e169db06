"""Precision and recall of detections, and the average precision of PASCAL VOC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saccade import ops

__all__ = ["PrecisionRecall", "average_precision", "match_detections", "precision_recall"]

Finding = Mapping[str, Any]


class PrecisionRecall(NamedTuple):
    """Of one class: ``scores`` from the best on; ``recall`` and ``precision`` of all that have at least such a score;
    ``objects``, how many there are to be found."""

    scores: NDArray[np.float64]
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    objects: int

    def average_precision(self, method: str = "all") -> float:
        """See :func:`average_precision`; NaN where there is nothing to be found."""
        return average_precision(self.recall, self.precision, method) if self.objects else float("nan")


def average_precision(recall: Any, precision: Any, method: str = "all") -> float:
    """The area under a curve of precision over recall, each precision raised to the highest at the same recall or more.

    Args:
        recall: ``(N,)``, ascending.
        precision: ``(N,)``.
        method: ``"all"``: the area (VOC from 2010 on); ``"11"``: the mean at the recalls 0, 0.1, ... 1 (until 2009).

    Raises:
        ValueError: for unequal lengths, a recall that falls, or another method.

    Source: Everingham et al., The PASCAL Visual Object Classes Challenge, 2010, section 4.2; the VOC2012 devkit.

    >>> average_precision([0.5, 0.5, 1.0], [1.0, 0.5, 2 / 3])
    0.8333333333333333
    >>> round(average_precision([0.5, 0.5, 1.0], [1.0, 0.5, 2 / 3], "11"), 4)
    0.8485
    """
    if method not in ("all", "11"):
        raise ValueError(f"average_precision: method must be 'all' or '11', got {method!r}")
    r, p = np.asarray(recall, np.float64), np.asarray(precision, np.float64)
    if r.ndim != 1 or r.shape != p.shape:
        raise ValueError(f"average_precision: recall and precision must have shape (N,), got {r.shape} and {p.shape}")
    if (np.diff(r) < 0).any():
        raise ValueError("average_precision: recall must not fall")
    highest = np.maximum.accumulate(p[::-1])[::-1]
    if method == "all":
        return float(np.sum(np.diff(r, prepend=0.0) * highest))
    # k / 10, not k * 0.1: a recall of 3 in 10 has reached 0.3.
    places = [int(np.searchsorted(r, k / 10)) for k in range(11)]
    return float(np.mean([highest[place] if place < len(r) else 0.0 for place in places]))


def match_detections(found: Finding, target: Finding, iou_threshold: float = 0.5) -> tuple[Tensor, Tensor]:
    """Which detections of an image are right, by VOC's rule.

    Best score first, each detection takes the object of its class that it overlaps most. It is right if their IoU is
    at least the threshold and nobody has taken the object before. Objects with ``iscrowd`` (VOC: difficult) take any
    number, which are neither right nor wrong.

    Args:
        found: ``boxes`` ``(D, 4)``, ``labels``, ``scores``.
        target: ``boxes`` ``(N, 4)``, ``labels``, and maybe ``iscrowd``.
        iou_threshold: above 0.

    Returns:
        int64 ``(D,)``: 1 right, 0 wrong, -1 neither; bool ``(N,)``: whether each object was found.
    """
    scores, labels, boxes = found["scores"], found["labels"], found["boxes"]
    result = torch.zeros(len(scores), dtype=torch.int64)
    taken = torch.zeros(len(target["labels"]), dtype=torch.bool)
    if not len(scores) or not len(taken):
        return result, taken
    overlap = ops.box_iou(boxes.float(), target["boxes"].float())
    overlap = overlap.masked_fill(labels[:, None] != target["labels"], -1.0)
    best, which = (values.tolist() for values in overlap.max(1))
    crowd = target["iscrowd"].tolist() if "iscrowd" in target else [0] * len(taken)
    for index in scores.argsort(descending=True, stable=True).tolist():
        if best[index] < iou_threshold:
            continue
        at = which[index]
        if crowd[at]:
            result[index] = -1
        elif not taken[at]:
            result[index], taken[at] = 1, True
    return result, taken


def precision_recall(
    found: Sequence[Finding], targets: Sequence[Finding], num_classes: int, *, iou_threshold: float = 0.5
) -> list[PrecisionRecall]:
    """The curve of each class over all images.

    Args:
        found: for each image ``boxes``, ``labels`` (from 0) and ``scores``.
        targets: for each image ``boxes``, ``labels`` and maybe ``iscrowd``.
        num_classes: how many curves.
        iou_threshold: from which on a box is right, see :func:`match_detections`.

    Raises:
        ValueError: for unequal numbers of images, or a threshold out of range.

    >>> box = torch.tensor([[0.0, 0, 10, 10]])
    >>> found = {"boxes": box + 1, "labels": torch.tensor([0]), "scores": torch.tensor([0.9])}
    >>> (curve,) = precision_recall([found], [{"boxes": box, "labels": torch.tensor([0])}], 1)
    >>> curve.recall, curve.precision, curve.average_precision()
    (array([1.]), array([1.]), 1.0)
    """
    if len(found) != len(targets):
        raise ValueError(f"precision_recall: targets must be as many as found, got {len(targets)} for {len(found)}")
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"precision_recall: iou_threshold must lie in (0, 1], got {iou_threshold}")
    scores, labels, right = [torch.zeros(0)], [torch.zeros(0, dtype=torch.int64)], [torch.zeros(0, dtype=torch.int64)]
    objects = torch.zeros(num_classes, dtype=torch.int64)
    for one, target in zip(found, targets, strict=True):
        right.append(match_detections(one, target, iou_threshold)[0])
        scores.append(one["scores"].detach().float().cpu())
        labels.append(one["labels"].cpu())
        known = target["labels"].cpu()
        if "iscrowd" in target:
            known = known[target["iscrowd"].cpu() == 0]
        objects += torch.bincount(known, minlength=num_classes)
    score, label, hit = (torch.cat(parts) for parts in (scores, labels, right))
    order = score.argsort(descending=True, stable=True)
    score, label, hit = score[order], label[order], hit[order]
    curves = []
    for number, count in enumerate(objects.tolist()):
        mine = (label == number) & (hit >= 0)
        hits = hit[mine].numpy().cumsum().astype(np.float64)
        ranks = np.arange(1, len(hits) + 1)
        curves.append(PrecisionRecall(score[mine].double().numpy(), hits / max(1, count), hits / ranks, count))
    return curves
