"""Which box an anchor is to find, and which anchors are learned from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade import ops

__all__ = ["BalancedSampler", "Matcher"]

# Pairs of a box and an anchor whose IoU is held at a time. 2**18 floats stay in the second-level cache; a GPU wants
# longer kernels.
_PAIRS = {"cpu": 2**18, "cuda": 2**22}


class Matcher:
    """Give each anchor the box it overlaps most, by intersection over union (IoU).

    An anchor is positive with an IoU of at least ``high_threshold``, negative below ``low_threshold`` and ignored in
    between. With ``allow_low_quality_matches`` it is positive too where no anchor has a higher IoU with some box (ties
    included), so that every box is found by an anchor.

    The matrix of boxes and anchors is never held: anchors are taken in chunks, those of a best overlap twice.

    Source: Ren et al., Faster R-CNN, 2015, section 3.1.2 (0.7 and 0.3); results as torchvision's Matcher on the whole
    matrix. One of its habits included: with a box that no anchor touches every anchor is a best one, at IoU 0.

    >>> boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 24, 24]])
    >>> anchors = torch.tensor([[0.0, 0, 10, 9], [0, 0, 10, 5], [50, 50, 60, 60], [18, 18, 26, 26]])
    >>> Matcher(0.7, 0.3)(boxes, anchors)
    tensor([ 0, -2, -1, -1])
    >>> Matcher(0.7, 0.3, allow_low_quality_matches=True)(boxes, anchors)
    tensor([ 0, -2, -1,  1])
    """

    BELOW, BETWEEN = -1, -2

    def __init__(self, high_threshold: float, low_threshold: float, allow_low_quality_matches: bool = False) -> None:
        if not 0 <= low_threshold <= high_threshold:
            raise ValueError(
                f"Matcher: low_threshold must be at least 0 and at most high_threshold, "
                f"got {low_threshold} and {high_threshold}"
            )
        self.high_threshold, self.low_threshold = high_threshold, low_threshold
        self.allow_low_quality_matches = allow_low_quality_matches

    @torch.no_grad()
    def __call__(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Match.

        Args:
            boxes: ``(M, 4)`` corners, M may be 0.
            anchors: ``(N, 4)`` corners.

        Returns:
            int64 ``(N,)``: the index of a box, the lowest of equal ones, -1 for negatives, -2 for what is ignored.
        """
        if boxes.shape[0] == 0 or anchors.shape[0] == 0:
            return torch.full(anchors.shape[:1], self.BELOW, dtype=torch.int64, device=anchors.device)
        chunks = anchors.split(max(_PAIRS.get(anchors.device.type, 2**18) // boxes.shape[0], 1))
        overlaps, nearest, peaks = [], [], []
        for chunk in chunks:
            quality = ops.box_iou(boxes, chunk)
            overlap, index = quality.max(0)
            overlaps.append(overlap)
            nearest.append(index)
            peaks.append(quality.amax(1))
        overlap, index = torch.cat(overlaps), torch.cat(nearest)
        matches = index.masked_fill(overlap < self.low_threshold, self.BELOW)
        matches.masked_fill_((overlap >= self.low_threshold) & (overlap < self.high_threshold), self.BETWEEN)
        if self.allow_low_quality_matches:
            best = self._best(boxes, chunks, torch.stack(peaks))
            matches = torch.where(best, index, matches)
        return matches

    @staticmethod
    def _best(boxes: Tensor, chunks: Sequence[Tensor], peaks: Tensor) -> Tensor:
        """Whether an anchor has the highest IoU of all with some box; ``peaks`` are the highest of each chunk."""
        highest = peaks.amax(0)
        worth = (peaks == highest).any(1).tolist()
        return torch.cat(
            [
                (ops.box_iou(boxes, chunk) == highest[:, None]).any(0)
                if again
                else torch.zeros(chunk.shape[0], dtype=torch.bool, device=chunk.device)
                for chunk, again in zip(chunks, worth, strict=True)
            ]
        )


class BalancedSampler:
    """Draw positives and negatives of each image, at most a given share of them positive.

    Args:
        batch_size_per_image: how many of an image; negatives fill up what positives leave.
        positive_fraction: the share that positives have at most.
        generator: of the random numbers; None for torch's own, on which the same seed draws what torchvision draws.

    >>> sampler = BalancedSampler(4, 0.25, torch.Generator().manual_seed(0))
    >>> positive, negative = sampler([torch.tensor([1, 1, 0, -1, 0, 0, 0])])
    >>> positive[0].numel(), negative[0].numel()
    (1, 3)
    """

    def __init__(
        self, batch_size_per_image: int, positive_fraction: float, generator: torch.Generator | None = None
    ) -> None:
        if batch_size_per_image < 1:
            raise ValueError(f"BalancedSampler: batch_size_per_image must be at least 1, got {batch_size_per_image}")
        if not 0 <= positive_fraction <= 1:
            raise ValueError(f"BalancedSampler: positive_fraction must lie in [0, 1], got {positive_fraction}")
        self.batch_size_per_image, self.positive_fraction = batch_size_per_image, positive_fraction
        self.generator = generator

    def __call__(self, labels: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Indices of the drawn positives and negatives of each image, ascending.

        Args:
            labels: for each image ``(N,)``: at least 1 positive, 0 negative, -1 neither.
        """
        positives, negatives = [], []
        for label in labels:
            positive, negative = torch.where(label >= 1)[0], torch.where(label == 0)[0]
            most = min(positive.numel(), int(self.batch_size_per_image * self.positive_fraction))
            positives.append(self._draw(positive, most))
            negatives.append(self._draw(negative, self.batch_size_per_image - most))
        return positives, negatives

    def _draw(self, indices: Tensor, most: int) -> Tensor:
        device = indices.device if self.generator is None else self.generator.device
        order = torch.randperm(indices.numel(), generator=self.generator, device=device)
        return indices[order[:most].to(indices.device)].sort().values
