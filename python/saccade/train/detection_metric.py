"""What detections are worth: COCO's and VOC's average precision."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision

from saccade._extras import require
from saccade.train._resume import rank_states
from saccade.train.detection_precision import PrecisionRecall, precision_recall

__all__ = ["DetectionAP"]

_KEPT = {"map": "ap", "map_50": "ap50", "map_75": "ap75"}
_ABSENT = object()


class DetectionAP(MeanAveragePrecision):
    """torchmetrics' COCO metric by faster-coco-eval, with VOC's average precision and the curves at an IoU of 0.5.

    Computed are ``ap`` (the mean over the IoUs 0.5, 0.55, ... 0.95), ``ap50``, ``ap75``, the same of masks as
    ``mask_ap``, ``mask_ap50``, ``mask_ap75``, and ``voc_ap`` and ``voc_ap11`` (the mean over the classes that occur).
    NaN where there is nothing to be found. Then ``curves`` holds a curve for each class.

    Args:
        num_classes: labels are from 0.
        masks: whether masks are compared too.
        curves: whether VOC's values and the curves are computed, which takes longer.

    Of several processes all images count, in the order that one process would have them.
    """

    def __init__(self, num_classes: int, masks: bool = False, curves: bool = True) -> None:
        require("faster_coco_eval", "DetectionAP", "train")
        super().__init__(iou_type=("bbox", "segm") if masks else "bbox", backend="faster_coco_eval")
        self.warn_on_many_detections = False
        self.num_classes, self.with_masks, self.with_curves = num_classes, masks, curves
        self.curves: list[PrecisionRecall] = []

    def update(self, preds: Sequence[dict[str, Tensor]], target: Sequence[dict[str, Tensor]]) -> None:
        """Add images: findings ``boxes``, ``labels``, ``scores`` (``masks``), targets ``boxes``, ``labels``, ..."""
        super().update([_on_cpu(each) for each in preds], [_on_cpu(each) for each in target])

    def compute(self) -> dict[str, Tensor]:
        """All values by name."""
        values: dict[str, Any] = super().compute()
        result = {}
        for prefix, before in (("", "bbox_"), ("mask_", "segm_")) if self.with_masks else (("", ""),):
            for name, short in _KEPT.items():
                value = torch.as_tensor(values[before + name], dtype=torch.float32)
                result[prefix + short] = torch.where(value < 0, torch.nan, value)
        if self.with_curves:
            self.curves = self._find_curves()
            for name, method in (("voc_ap", "all"), ("voc_ap11", "11")):
                each = torch.tensor([curve.average_precision(method) for curve in self.curves])
                result[name] = each.nanmean()
        return result

    def _find_curves(self) -> list[PrecisionRecall]:
        found = [
            {"boxes": _boxes(boxes), "labels": labels, "scores": scores}
            for boxes, labels, scores in zip(
                self.detection_box, self.detection_labels, self.detection_scores, strict=True
            )
        ]
        known = [
            {"boxes": _boxes(boxes), "labels": labels, "iscrowd": crowds}
            for boxes, labels, crowds in zip(
                self.groundtruth_box, self.groundtruth_labels, self.groundtruth_crowds, strict=True
            )
        ]
        return precision_recall(found, known, self.num_classes)

    def _sync_dist(self, dist_sync_fn: Any = None, process_group: Any = None) -> None:
        """Gather lists whose lengths differ: torchmetrics' own way waits for ever where one process has an image less.

        Processes take images in turn, so that one of each in turn is the order of all.
        """
        names = list(self._reductions)
        states = rank_states({name: getattr(self, name) for name in names})
        for name in names:
            rows = zip_longest(*(state[name] for state in states), fillvalue=_ABSENT)
            setattr(self, name, [each for row in rows for each in row if each is not _ABSENT])


def _boxes(boxes: Tensor) -> Tensor:
    """The metric's own form of boxes, x, y, width and height, as corners."""
    boxes = boxes.float().reshape(-1, 4)
    return torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)


def _on_cpu(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value.detach().cpu() for name, value in entry.items() if isinstance(value, Tensor)}
