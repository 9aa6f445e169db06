"""The second stage: proposals classified, moved, and given masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from saccade.models.detection._findings import clip_boxes, suppress
from saccade.models.detection.box_coder import BoxCoder
from saccade.models.detection.masks import crop_masks
from saccade.models.detection.matching import BalancedSampler, Matcher
from saccade.models.detection.transform import ImageBatch, Target

__all__ = ["MIN_SIZE", "RoIHeads"]

MIN_SIZE = 1e-2  # sides of a detection, in pixels


class RoIHeads(nn.Module):
    """Regions pooled from all maps at once, then class, box and, with a mask branch, mask of each.

    Args:
        box_roi_pool, box_head, box_predictor: pooling, hidden layers, and what gives logits ``(R, C)`` and offsets
            ``(R, 4 C)``.
        fg_iou_thresh, bg_iou_thresh: IoU from which a proposal is of the class of its box, and below which it is
            background.
        batch_size_per_image, positive_fraction: proposals that are learned from, and the share of objects among them.
        bbox_reg_weights: of the offsets, see BoxCoder.
        score_thresh: probability above which a class of a proposal is a detection.
        nms_thresh: IoU above which the lower-scored detection of a class is dropped.
        detections_per_img: the most detections of an image.

    Set ``mask_roi_pool``, ``mask_head`` and ``mask_predictor`` for masks.

    Source: Girshick, Fast R-CNN, 2015; He et al., Mask R-CNN, 2017; torchvision's RoIHeads. Only the boxes of classes
    above the threshold are decoded, and all images are suppressed in one call.
    """

    def __init__(
        self,
        box_roi_pool: nn.Module,
        box_head: nn.Module,
        box_predictor: nn.Module,
        fg_iou_thresh: float,
        bg_iou_thresh: float,
        batch_size_per_image: int,
        positive_fraction: float,
        bbox_reg_weights: Sequence[float],
        score_thresh: float,
        nms_thresh: float,
        detections_per_img: int,
    ) -> None:
        super().__init__()
        self.proposal_matcher = Matcher(fg_iou_thresh, bg_iou_thresh)
        self.fg_bg_sampler = BalancedSampler(batch_size_per_image, positive_fraction)
        self.box_coder = BoxCoder(bbox_reg_weights)
        self.box_roi_pool, self.box_head, self.box_predictor = box_roi_pool, box_head, box_predictor
        self.score_thresh, self.nms_thresh = score_thresh, nms_thresh
        self.detections_per_img = detections_per_img
        self.mask_roi_pool: nn.Module | None = None
        self.mask_head: nn.Module | None = None
        self.mask_predictor: nn.Module | None = None

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        batch: ImageBatch,
        targets: Sequence[Target] | None = None,
    ) -> tuple[list[Target], dict[str, Tensor]]:
        """In evaluation the detections of each image; in training the losses by name."""
        # The pooling takes its scales from the size of images; that of the padded batch gives them exactly.
        size = [(batch.tensors.shape[-2], batch.tensors.shape[-1])]
        if self.training:
            assert targets is not None
            return [], self._losses(features, proposals, size, targets)
        logits, codes = self.box_predictor(self.box_head(self.box_roi_pool(features, proposals, size)))
        detections = self._detections(logits, codes, proposals, batch.sizes)
        if self.mask_predictor is not None:
            found = [detection["boxes"] for detection in detections]
            labels = torch.cat([detection["labels"] for detection in detections])
            masks = self.mask_logits(features, found, size)
            chosen = masks[torch.arange(len(labels), device=labels.device), labels].sigmoid()[:, None]
            for detection, part in zip(detections, chosen.split([len(boxes) for boxes in found]), strict=True):
                detection["masks"] = part
        return detections, {}

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of each class, the background included, from logits ``(R, C)``."""
        return logits.softmax(-1)

    def mask_logits(self, features: dict[str, Tensor], boxes: list[Tensor], size: list[tuple[int, int]]) -> Tensor:
        """Logits of a mask for each class and box, ``(R, C, S, S)``."""
        assert self.mask_roi_pool is not None
        assert self.mask_head is not None
        assert self.mask_predictor is not None
        logits: Tensor = self.mask_predictor(self.mask_head(self.mask_roi_pool(features, boxes, size)))
        return logits.to(boxes[0].dtype)

    def _detections(
        self, logits: Tensor, codes: Tensor, proposals: list[Tensor], sizes: list[tuple[int, int]]
    ) -> list[Target]:
        rois = torch.cat(proposals)
        owner = torch.cat([torch.full_like(boxes[:, 0], n, dtype=torch.int64) for n, boxes in enumerate(proposals)])
        probabilities = self.probabilities(logits.to(rois.dtype))
        region, label = torch.where(probabilities[:, 1:] > self.score_thresh)
        label = label + 1  # 0 is the background
        image, scores = owner[region], probabilities[region, label]
        codes = codes.to(rois.dtype).reshape(len(rois), logits.shape[1], 4)[region, label]
        boxes = clip_boxes(self.box_coder.decode(codes, rois[region]), image, sizes)
        good = (boxes[:, 2:] - boxes[:, :2] >= MIN_SIZE).all(1)
        boxes, scores, label, image = boxes[good], scores[good], label[good], image[good]
        kept = suppress(boxes, scores, image, label, len(sizes), self.nms_thresh, self.detections_per_img)
        return [{"boxes": boxes[keep], "labels": label[keep], "scores": scores[keep]} for keep in kept]

    def _losses(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        size: list[tuple[int, int]],
        targets: Sequence[Target],
    ) -> dict[str, Tensor]:
        found = [target["boxes"].to(proposals[0].dtype) for target in targets]
        proposals, matches, labels = self._sample(proposals, found, [target["labels"] for target in targets])
        logits, codes = self.box_predictor(self.box_head(self.box_roi_pool(features, proposals, size)))
        positive = [torch.where(label > 0)[0] for label in labels]
        boxes = [proposal[at] for proposal, at in zip(proposals, positive, strict=True)]
        sources = [match[at] for match, at in zip(matches, positive, strict=True)]
        label = torch.cat(labels)
        objects = torch.where(label > 0)[0]
        wanted = torch.cat([box[source] for box, source in zip(found, sources, strict=True)])
        offsets = self.box_coder.encode(wanted, torch.cat(boxes))
        codes = codes.to(offsets.dtype).reshape(len(label), logits.shape[1], 4)[objects, label[objects]]
        box_loss = functional.smooth_l1_loss(codes, offsets, beta=1 / 9, reduction="sum")
        losses = {
            "loss_classifier": functional.cross_entropy(logits.to(offsets.dtype), label),
            "loss_box_reg": box_loss / label.numel(),
        }
        if self.mask_predictor is not None:
            masks = [target["masks"] for target in targets]
            losses["loss_mask"] = self._mask_loss(features, boxes, sources, label[objects], masks, size)
        return losses

    def _mask_loss(
        self,
        features: dict[str, Tensor],
        boxes: list[Tensor],
        sources: list[Tensor],
        labels: Tensor,
        masks: list[Tensor],
        size: list[tuple[int, int]],
    ) -> Tensor:
        logits = self.mask_logits(features, boxes, size)
        if logits.shape[0] == 0:
            return logits.sum() * 0
        side = logits.shape[-1]
        wanted = torch.cat([crop_masks(m, b, s, side) for m, b, s in zip(masks, boxes, sources, strict=True) if len(b)])
        own = logits[torch.arange(len(labels), device=labels.device), labels]
        return functional.binary_cross_entropy_with_logits(own.to(wanted.dtype), wanted)

    def _sample(
        self, proposals: list[Tensor], boxes: list[Tensor], labels: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Proposals that are learned from, the boxes themselves among them, with their matches and labels."""
        proposals = [torch.cat(both) for both in zip(proposals, boxes, strict=True)]
        matches, classes = [], []
        for proposal, box, label in zip(proposals, boxes, labels, strict=True):
            match = self.proposal_matcher(box, proposal)
            background = torch.zeros(1, dtype=torch.int64, device=label.device)
            # -2 (ignored), -1 (background) and the indices of boxes, moved to the indices of this list.
            classes.append(torch.cat([background - 1, background, label])[match + 2])
            matches.append(match.clamp(min=0))
        positive, negative = self.fg_bg_sampler(classes)
        drawn = [torch.cat(both).sort().values for both in zip(positive, negative, strict=True)]
        chosen = [[each[at] for each, at in zip(every, drawn, strict=True)] for every in (proposals, matches, classes)]
        return chosen[0], chosen[1], chosen[2]
