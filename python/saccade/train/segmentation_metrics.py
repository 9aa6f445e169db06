"""How good a segmentation is: mean IoU, of all pixels and of those near boundaries, and a table by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

__all__ = ["BoundaryMeanIoU", "MeanIoU", "boundary_pixels", "per_class"]


class MeanIoU(MulticlassConfusionMatrix):
    """The mean over classes of intersection over union, both counted over the pixels of all images.

    Args:
        num_classes: at least 2.
        ignore_index: the label of pixels that count for nothing; None: all count.

    A torchmetrics metric: ``update(predictions, labels)`` with classes ``(N, H, W)`` or scores ``(N, C, H, W)`` and
    labels ``(N, H, W)``. A class that is neither among the labels nor found is left out of the mean; NaN if all are.

    Source: Long et al., Fully Convolutional Networks, CVPR 2015, section 5.

    >>> metric = MeanIoU(3)
    >>> metric.update(torch.tensor([[[0, 0, 1, 1]]]), torch.tensor([[[0, 1, 1, 255]]]))
    >>> metric.compute()  # 1 of 2 for each of two classes; there is no third
    tensor(0.5000, dtype=torch.float64)
    """

    full_state_update = False

    def __init__(self, num_classes: int, ignore_index: int | None = 255) -> None:
        super().__init__(num_classes, ignore_index=ignore_index, validate_args=False)

    def compute(self) -> Tensor:
        """The mean so far."""
        intersection, union = _overlap(self.confmat)
        return (intersection / union)[union > 0].mean()


class BoundaryMeanIoU(MeanIoU):
    """:class:`MeanIoU` over the pixels near a boundary between labels, where segmentations differ most.

    Args:
        num_classes, ignore_index: as for :class:`MeanIoU`.
        radius: a pixel counts that has another label within so many rows and columns; :func:`boundary_pixels`.

    Source: the trimap of Kohli et al., Robust Higher Order Potentials for Enforcing Label Consistency, 2009.

    >>> metric, labels = BoundaryMeanIoU(2, radius=1), torch.tensor([[[0, 0, 0, 1, 1, 1]]])
    >>> metric.update(torch.tensor([[[1, 1, 0, 0, 1, 1]]]), labels)  # the third and fourth pixel count
    >>> metric.compute()
    tensor(0.2500, dtype=torch.float64)
    """

    def __init__(self, num_classes: int, ignore_index: int | None = 255, radius: int = 3) -> None:
        if radius < 1:
            raise ValueError(f"BoundaryMeanIoU: radius must be at least 1, got {radius}")
        # Pixels that are left out need a label of their own.
        self.left_out = -1 if ignore_index is None else ignore_index
        super().__init__(num_classes, self.left_out)
        self.radius = radius

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add images."""
        super().update(preds, target.long().masked_fill(~boundary_pixels(target, self.radius), self.left_out))


def boundary_pixels(labels: Tensor, radius: int) -> Tensor:
    """Where labels ``(N, H, W)`` have another label within ``radius`` rows and columns: bool, of the same shape.

    Pixels to be ignored are a label like others: VOC marks boundaries by them.

    >>> boundary_pixels(torch.tensor([[[0, 0, 0, 2, 2, 2]]]), 1).int()
    tensor([[[0, 0, 1, 1, 0, 0]]], dtype=torch.int32)
    """
    values = labels[:, None].float()  # exact up to 2 ** 24
    side = 2 * radius + 1
    greatest = F.max_pool2d(F.max_pool2d(values, (side, 1), 1, (radius, 0)), (1, side), 1, (0, radius))
    least = -F.max_pool2d(F.max_pool2d(-values, (side, 1), 1, (radius, 0)), (1, side), 1, (0, radius))
    return (greatest != least)[:, 0]


def per_class(matrix: Any, classes: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """A row for each class of a confusion matrix ``(C, C)`` whose rows are the true classes.

    ``class`` is its name, ``pixels`` how many have it, ``iou`` intersection over union, ``recall`` the share of its
    pixels that were found, ``precision`` the share of what was taken for it that was right; None where it is 0 / 0.

    >>> per_class([[8, 2], [0, 0]], ["ground", "sky"])[1]
    {'class': 'sky', 'pixels': 0, 'iou': 0.0, 'recall': None, 'precision': 0.0}
    """
    counts = torch.as_tensor(matrix)
    true, found = counts.sum(1).tolist(), counts.sum(0).tolist()
    names = [str(name) for name in classes] if classes is not None else [str(i) for i in range(len(counts))]

    def share(part: int, whole: int) -> float | None:
        return part / whole if whole else None

    return [
        {
            "class": name,
            "pixels": int(t),
            "iou": share(right, t + f - right),
            "recall": share(right, t),
            "precision": share(right, f),
        }
        for name, right, t, f in zip(names, counts.diagonal().tolist(), true, found, strict=True)
    ]


def _overlap(matrix: Tensor) -> tuple[Tensor, Tensor]:
    counts = matrix.double()
    intersection = counts.diagonal()
    return intersection, counts.sum(0) + counts.sum(1) - intersection
