"""The network that proposes regions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from saccade.models.detection._findings import clip_boxes, conv_block, rows_of, suppress
from saccade.models.detection.anchors import AnchorGenerator
from saccade.models.detection.box_coder import BoxCoder
from saccade.models.detection.matching import BalancedSampler, Matcher
from saccade.models.detection.transform import ImageBatch, Target
from saccade.nn import Conv2d

__all__ = ["RPNHead", "RegionProposalNetwork"]

_MIN_SIZE = 1e-3  # sides of a proposal, in pixels


class RPNHead(nn.Module):
    """Convolutions on every map, then for each anchor whether it holds an object and the offsets of the box.

    Args:
        in_channels: of the maps.
        num_anchors: of each position.
        conv_depth: how many 3x3 convolutions come first.
    """

    def __init__(self, in_channels: int, num_anchors: int, conv_depth: int = 1) -> None:
        super().__init__()
        self.conv = nn.Sequential(*(conv_block(in_channels, in_channels) for _ in range(conv_depth)))
        self.cls_logits = Conv2d(in_channels, num_anchors, 1)
        self.bbox_pred = Conv2d(in_channels, num_anchors * 4, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Logits ``(N, A, H, W)`` and offsets ``(N, 4 A, H, W)`` of each map."""
        hidden = [self.conv(level) for level in maps]
        return [self.cls_logits(level) for level in hidden], [self.bbox_pred(level) for level in hidden]


class RegionProposalNetwork(nn.Module):
    """Anchors scored and moved; the best of each map that do not overlap are proposed.

    Args:
        anchor_generator, head: of the maps.
        fg_iou_thresh, bg_iou_thresh: IoU from which an anchor is positive, and below which it is negative.
        batch_size_per_image, positive_fraction: anchors whose loss is taken, and the share of positives among them.
        pre_nms_top_n, post_nms_top_n: how many anchors of each map, and how many proposals of an image, remain; in
            training and in evaluation.
        nms_thresh: IoU above which the lower-scored proposal of a map is dropped.
        score_thresh: probability that a proposal must have.

    Source: Ren et al., Faster R-CNN, 2015; Lin et al., Feature Pyramid Networks, 2017, section 4.1; torchvision's
    RegionProposalNetwork. Only the anchors that remain are decoded, and all images are suppressed in one call.
    """

    def __init__(
        self,
        anchor_generator: AnchorGenerator,
        head: nn.Module,
        fg_iou_thresh: float,
        bg_iou_thresh: float,
        batch_size_per_image: int,
        positive_fraction: float,
        pre_nms_top_n: tuple[int, int],
        post_nms_top_n: tuple[int, int],
        nms_thresh: float,
        score_thresh: float = 0.0,
    ) -> None:
        super().__init__()
        self.anchor_generator, self.head = anchor_generator, head
        self.box_coder = BoxCoder((1, 1, 1, 1))
        self.proposal_matcher = Matcher(fg_iou_thresh, bg_iou_thresh, allow_low_quality_matches=True)
        self.fg_bg_sampler = BalancedSampler(batch_size_per_image, positive_fraction)
        self.pre_nms_top_n, self.post_nms_top_n = pre_nms_top_n, post_nms_top_n
        self.nms_thresh, self.score_thresh = nms_thresh, score_thresh

    def forward(
        self, batch: ImageBatch, features: dict[str, Tensor], targets: Sequence[Target] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals ``(P, 4)`` of each image; in training also ``loss_objectness`` and ``loss_rpn_box_reg``."""
        logits, codes, anchors, counts = self.predict(batch, features)
        with torch.no_grad():
            boxes, scores, level = self.candidates(logits, codes, anchors, counts, batch.sizes)
            image = torch.arange(len(scores), device=scores.device)[:, None].expand_as(level)
            good = scores >= 0
            best = self.post_nms_top_n[0 if self.training else 1]
            boxes, scores = boxes[good], scores[good]
            kept = suppress(boxes, scores, image[good], level[good], len(batch.sizes), self.nms_thresh, best)
            proposals = [boxes[keep] for keep in kept]
        if not self.training:
            return proposals, {}
        assert targets is not None
        return proposals, self._losses(logits, codes, anchors, targets)

    def predict(self, batch: ImageBatch, features: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, list[int]]:
        """Logits ``(N, A)``, offsets ``(N, A, 4)``, the anchors ``(A, 4)`` of all maps, and how many each map has."""
        maps = list(features.values())
        level_logits, level_codes = self.head(maps)
        anchors = self.anchor_generator(batch.tensors.shape[-2:], maps)
        logits = torch.cat([rows_of(level, 1)[..., 0] for level in level_logits], 1).to(anchors.dtype)
        codes = torch.cat([rows_of(level, 4) for level in level_codes], 1).to(anchors.dtype)
        return logits, codes, anchors, [level[0].numel() for level in level_logits]

    def candidates(
        self, logits: Tensor, codes: Tensor, anchors: Tensor, counts: list[int], sizes: list[tuple[int, int]]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The best of each map, not yet suppressed: boxes ``(N, K, 4)``, scores, -1 for no proposal, and maps."""
        most = self.pre_nms_top_n[0 if self.training else 1]
        chosen, levels, offset = [], [], 0
        for level, part in enumerate(logits.split(counts, 1)):  # levels differ in length: no one topk for all
            index = part.topk(min(most, part.shape[1]), 1).indices
            chosen.append(index + offset)
            levels.append(torch.full_like(index, level))
            offset += part.shape[1]
        index = torch.cat(chosen, 1)
        image = torch.arange(len(sizes), device=logits.device)[:, None].expand_as(index)
        boxes = clip_boxes(self.box_coder.decode(codes[image, index], anchors[index]), image, sizes)
        scores = logits.gather(1, index).sigmoid()
        good = (boxes[..., 2:] - boxes[..., :2] >= _MIN_SIZE).all(-1) & (scores >= self.score_thresh)
        return boxes, torch.where(good, scores, -1), torch.cat(levels, 1)

    def _losses(self, logits: Tensor, codes: Tensor, anchors: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        boxes = [target["boxes"].to(anchors.dtype) for target in targets]
        matches = [self.proposal_matcher(found, anchors) for found in boxes]
        # 1 where matched, 0 below the threshold, -1 between the two.
        positive, negative = self.fg_bg_sampler([(match + 1).clamp(max=1) for match in matches])
        wanted = torch.cat([found[match[at]] for found, match, at in zip(boxes, matches, positive, strict=True)])
        starts = [number * len(anchors) for number in range(len(boxes))]
        positives = torch.cat([at + start for at, start in zip(positive, starts, strict=True)])
        negatives = torch.cat([at + start for at, start in zip(negative, starts, strict=True)])
        sampled = torch.cat([positives, negatives])
        labels = torch.zeros_like(sampled, dtype=logits.dtype)
        labels[: len(positives)] = 1
        offsets = self.box_coder.encode(wanted, anchors[torch.cat(positive)])
        box_loss = functional.smooth_l1_loss(codes.flatten(0, 1)[positives], offsets, beta=1 / 9, reduction="sum")
        return {
            "loss_objectness": functional.binary_cross_entropy_with_logits(logits.flatten()[sampled], labels),
            "loss_rpn_box_reg": box_loss / max(len(sampled), 1),
        }
