"""Detectors whose results have a fixed size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from saccade.models.detection._findings import best_of_each, clip_boxes
from saccade.models.detection.faster_rcnn import FasterRCNN
from saccade.models.detection.retinanet import RetinaNet
from saccade.models.detection.roi_heads import MIN_SIZE
from saccade.models.detection.transform import resize_boxes
from saccade.models.detection.yolo import YOLO
from saccade.ops import paste_masks

__all__ = ["FixedSize"]


class FixedSize(nn.Module):
    """A detector for ``torch.export``, ``torch.compile(fullgraph=True)`` and CUDA graphs: no shape depends on values.

    Args:
        model: FasterRCNN, MaskRCNN, RetinaNet or YOLO, in evaluation.
        candidates: how many pairs of a region and a class, the best of an image, come to suppression. The detector
            itself takes all whose score is above its threshold; as long as they are no more, findings are the same.

    ``fixed(images)`` takes a batch ``(N, C, H, W)`` in the range 0 to 1 and returns a dict: ``boxes`` ``(N, D, 4)`` in
    pixels, ``labels`` ``(N, D)``, ``scores`` ``(N, D)``, best first, for Mask R-CNN ``masks`` ``(N, D, 1, H, W)``, and
    ``count`` ``(N,)``, how many of D, the detector's ``detections_per_img``, are found. What follows them is 0, and -1
    in labels.

    Raises:
        TypeError: for another model. ValueError: in training, for less than one candidate, or images of a wrong shape.

    >>> detector = saccade.models.fasterrcnn_small(num_classes=3, box_detections_per_img=5).eval()
    >>> found = FixedSize(detector)(torch.rand(2, 3, 64, 64))
    >>> found["boxes"].shape, found["labels"].shape
    (torch.Size([2, 5, 4]), torch.Size([2, 5]))
    """

    def __init__(self, model: nn.Module, candidates: int = 1000) -> None:
        super().__init__()
        find = next((find for kind, find in _FINDERS.items() if isinstance(model, kind)), None)
        if find is None:
            raise TypeError(f"FixedSize: model must be a FasterRCNN, RetinaNet or YOLO, got {type(model).__name__}")
        if candidates < 1:
            raise ValueError(f"FixedSize: candidates must be at least 1, got {candidates}")
        self.model, self.candidates, self._find = model, candidates, find

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Findings of ``images``, see above."""
        if self.model.training:
            raise ValueError("FixedSize: model must be in evaluation, call eval()")
        if images.ndim != 4 or images.shape[0] == 0:
            raise ValueError(f"FixedSize: images must have shape (N, C, H, W), N at least 1, got {tuple(images.shape)}")
        found = self._find(self.model, images, self.candidates)
        there = found["scores"] > 0
        result = {"boxes": found["boxes"] * there[..., None], "labels": torch.where(there, found["labels"], -1)}
        result |= {"scores": found["scores"].clamp(min=0), "count": there.sum(1)}
        if "masks" in found:
            size = (images.shape[-2], images.shape[-1])
            masks = paste_masks(found["masks"].flatten(0, 1), result["boxes"].flatten(0, 1), size)
            result["masks"] = masks.unflatten(0, there.shape) * there[..., None, None, None]
        return result


class _Pairs(NamedTuple):
    """Regions and classes ``(N, K)``; scores are -1 where there is none."""

    region: Tensor
    label: Tensor
    scores: Tensor


def _best_pairs(scores: Tensor, threshold: float, most: int) -> _Pairs:
    """Of ``(N, R, C)`` scores the best ``most`` of each image above the threshold."""
    classes = scores.shape[2]
    flat = torch.where(scores > threshold, scores, -1).flatten(1)
    best, index = flat.topk(min(most, flat.shape[1]), 1)
    return _Pairs(index // classes, index % classes, best)


def _take(rows: Tensor, index: Tensor) -> Tensor:
    """Rows ``(N, R, ...)`` at ``(N, K)``."""
    return rows[torch.arange(len(index), device=index.device)[:, None], index]


def _finish(boxes: Tensor, pairs: _Pairs, nms_thresh: float, best: int) -> dict[str, Tensor]:
    index, there = best_of_each(boxes, pairs.scores, pairs.label, nms_thresh, best)
    scores = torch.where(there, _take(pairs.scores, index), -1)
    return {"boxes": _take(boxes, index), "labels": _take(pairs.label, index), "scores": scores}


def _images(boxes: Tensor) -> Tensor:
    return torch.arange(boxes.shape[0], device=boxes.device)[:, None].expand(boxes.shape[:2])


def _by_regions(model: FasterRCNN, images: Tensor, most: int) -> dict[str, Tensor]:
    batch, _ = model.transform(list(images))
    features = model.backbone(batch.tensors)
    rpn, heads = model.rpn, model.roi_heads
    boxes, scores, level = rpn.candidates(*rpn.predict(batch, features), batch.sizes)
    index, there = best_of_each(boxes, scores, level, rpn.nms_thresh, rpn.post_nms_top_n[1])
    proposals = _take(boxes, index)
    size = [(batch.tensors.shape[-2], batch.tensors.shape[-1])]
    pooled = heads.box_roi_pool(features, list(proposals), size)
    logits, codes = heads.box_predictor(heads.box_head(pooled))
    n, regions, classes = *proposals.shape[:2], logits.shape[1]
    probabilities = heads.probabilities(logits.to(proposals.dtype)).view(n, regions, classes)[..., 1:]
    probabilities = probabilities * there[..., None]
    pairs = _best_pairs(probabilities, heads.score_thresh, most)
    pairs = pairs._replace(label=pairs.label + 1)  # 0 is the background
    chosen = codes.to(proposals.dtype).view(n, regions * classes, 4)
    chosen = _take(chosen, pairs.region * classes + pairs.label)
    boxes = heads.box_coder.decode(chosen, _take(proposals, pairs.region))
    boxes = clip_boxes(boxes, _images(boxes), batch.sizes)
    good = (boxes[..., 2:] - boxes[..., :2] >= MIN_SIZE).all(-1)
    pairs = pairs._replace(scores=torch.where(good, pairs.scores, -1))
    found = _finish(boxes, pairs, heads.nms_thresh, heads.detections_per_img)
    if heads.mask_predictor is not None:
        masks = heads.mask_logits(features, list(found["boxes"]), size).unflatten(0, found["labels"].shape)
        rows, columns = (torch.arange(length, device=masks.device) for length in masks.shape[:2])
        found["masks"] = masks[rows[:, None], columns, found["labels"]].sigmoid()[:, :, None]
    found["boxes"] = resize_boxes(found["boxes"], batch.sizes[0], (images.shape[-2], images.shape[-1]))
    return found


def _by_anchors(model: RetinaNet, images: Tensor, most: int) -> dict[str, Tensor]:
    batch, _ = model.transform(list(images))
    logits, codes, anchors = model.predict(batch)
    levels, start = [], 0
    for part in logits:
        pairs = _best_pairs(part.sigmoid(), model.score_thresh, min(most, model.topk_candidates))
        levels.append(pairs._replace(region=pairs.region + start))
        start += part.shape[1]
    pairs = _Pairs(*(torch.cat(parts, 1) for parts in zip(*levels, strict=True)))
    boxes = model.box_coder.decode(_take(codes, pairs.region), anchors[pairs.region])
    boxes = clip_boxes(boxes, _images(boxes), batch.sizes)
    found = _finish(boxes, pairs, model.nms_thresh, model.detections_per_img)
    found["boxes"] = resize_boxes(found["boxes"], batch.sizes[0], (images.shape[-2], images.shape[-1]))
    return found


def _by_cells(model: YOLO, images: Tensor, most: int) -> dict[str, Tensor]:
    every, scores = model.findings(list(images))
    pairs = _best_pairs(scores, model.score_thresh, most)
    return _finish(_take(every, pairs.region), pairs, model.nms_thresh, model.detections_per_img)


_FINDERS: dict[type[nn.Module], Callable[[Any, Tensor, int], dict[str, Tensor]]] = {
    FasterRCNN: _by_regions,
    RetinaNet: _by_anchors,
    YOLO: _by_cells,
}
