"""YOLO: a grid of cells, each with a few anchors, that predicts boxes, confidence and classes in one pass."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from saccade import ops
from saccade.models.detection._findings import rows_of, suppress
from saccade.models.detection.anchor_clusters import shape_iou
from saccade.models.detection.darknet import Darknet, Section, parse_cfg
from saccade.models.detection.targets import check_images, check_targets
from saccade.models.detection.transform import Target

__all__ = ["YOLO", "Predictions", "darknet_yolo"]

Size = tuple[int, int]


@dataclass(frozen=True)
class Predictions:
    """What the cells of all grids say, for P anchors of N images, grid after grid, row by row, anchor by anchor.

    ``boxes`` ``(N, P, 4)`` corners in pixels of the batch; logits of the ``confidence`` ``(N, P)`` and of the
    ``classes`` ``(N, P, C)``; ``places`` ``(N, P, 4)``: the centre within the cell, 0 to 1, and the logarithms of the
    sides in anchors.
    """

    boxes: Tensor
    places: Tensor
    confidence: Tensor
    classes: Tensor


class YOLO(nn.Module):
    """A darknet network with its grids decoded, trained and brought back to images.

    ``model(images, targets)`` in training returns the three parts of the loss: ``loss_box``, ``loss_confidence`` and
    ``loss_class``. ``model(images)`` in evaluation returns what FasterRCNN returns: ``boxes``, ``labels`` and
    ``scores``, the confidence times the probability of the class.

    Each object is learned by one anchor: of the cell that its centre lies in, the one whose shape has the highest IoU
    with it, of all grids. Its error is squared for the centre and the logarithms of the sides (small boxes weigh up to
    twice as much), binary cross-entropy for the confidence, cross-entropy for the classes (over all of them, or for
    each where ``exclusive`` is not set). Other anchors learn confidence 0, unless their box overlaps an object by more
    than ``ignore_thresh``. Sums over the anchors, means over the images.

    Args:
        sections: of the network, see :func:`parse_cfg`; ``region`` and ``yolo`` sections have the anchors.
        image_size: height and width that images are fitted into, without distortion, on grey; multiples of the stride.
        score_thresh: from which on a class of an anchor is a detection.
        nms_thresh: IoU above which the lower-scored detection of a class is dropped.
        detections_per_img: the most detections of an image.
        ignore_thresh: see above.
        exclusive: whether an object has one class only; None for what the sections are (``region`` yes, ``yolo`` no).
        box_weight, object_weight, background_weight, class_weight: of the parts of the loss.

    Source: Redmon et al., You Only Look Once, 2016; Redmon and Farhadi, YOLO9000, 2017, and YOLOv3, 2018.
    """

    def __init__(
        self,
        sections: Sequence[Section],
        *,
        image_size: int | Size | None = None,
        score_thresh: float = 0.25,
        nms_thresh: float = 0.45,
        detections_per_img: int = 100,
        ignore_thresh: float = 0.6,
        exclusive: bool | None = None,
        box_weight: float = 1.0,
        object_weight: float = 5.0,
        background_weight: float = 1.0,
        class_weight: float = 1.0,
    ) -> None:
        super().__init__()
        net = next((section for section in sections if section["type"] in ("net", "network")), {})
        self.network = Darknet(sections, net.get("channels", 3))
        heads = [section for section in sections if section["type"] in ("region", "yolo")]
        if not heads:
            raise ValueError("YOLO: sections must have a region or yolo, got none")
        size = image_size or (net.get("height", 416), net.get("width", 416))
        self.image_size: Size = (size, size) if isinstance(size, int) else (size[0], size[1])
        stride = 1
        for section in sections[: sections.index(heads[0])]:
            stride *= section.get("stride", 1) if section["type"] in ("convolutional", "maxpool") else 1
        if min(self.image_size) < 1 or self.image_size[0] % stride or self.image_size[1] % stride:
            raise ValueError(f"YOLO: image_size must be multiples of {stride}, got {self.image_size}")
        self.num_classes = int(heads[0].get("classes", 20))
        self.exclusive = heads[0]["type"] == "region" if exclusive is None else exclusive
        self.in_cells = heads[0]["type"] == "region"  # of what unit anchors are: cells, or pixels
        self.anchors = [_anchors_of(head) for head in heads]
        self.score_thresh, self.nms_thresh = score_thresh, nms_thresh
        self.detections_per_img, self.ignore_thresh = detections_per_img, ignore_thresh
        self.weights = box_weight, object_weight, background_weight, class_weight

    def forward(self, images: Sequence[Tensor], targets: Sequence[Target] | None = None) -> Any:
        """Losses by name in training, a dict of findings for each image in evaluation.

        Args:
            images: ``(C, H, W)`` each, in the range 0 to 1.
            targets: as FasterRCNN's, but labels are 0 to ``num_classes - 1``.
        """
        channels = next(m.in_channels for m in self.modules() if isinstance(m, nn.Conv2d))
        images = check_images("YOLO", images, channels)
        if self.training:
            targets = check_targets("YOLO", images, targets, range(self.num_classes))
        if not self.training:
            return self._detections(*self.findings(images))
        assert targets is not None
        batch, scales, offsets = self._fit(images)
        predictions, grid, cells = self.predict(batch)
        boxes = [
            target["boxes"].to(batch.dtype) * scale + offset
            for target, scale, offset in zip(targets, scales, offsets, strict=True)
        ]
        responsible = self._responsible(grid, cells, boxes)
        return self._losses(predictions, responsible, boxes, [target["labels"] for target in targets])

    def _fit(self, images: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Images on grey of one size, and what turns their boxes into those of the batch: times scale, plus offset."""
        height, width = self.image_size
        batch = images[0].new_full((len(images), images[0].shape[0], height, width), 0.5)
        scales, offsets = [], []
        for room, image in zip(batch, images, strict=True):
            h, w = image.shape[1:]
            if width * h < height * w:
                new_h, new_w = max(h * width // w, 1), width
            else:
                new_h, new_w = height, max(w * height // h, 1)
            top, left = (height - new_h) // 2, (width - new_w) // 2
            resized = functional.interpolate(image[None], (new_h, new_w), mode="bilinear", align_corners=True)[0]
            room[:, top : top + new_h, left : left + new_w] = resized
            scales.append([new_w / w, new_h / h] * 2)
            offsets.append([float(left), float(top)] * 2)
        return batch, batch.new_tensor(scales), batch.new_tensor(offsets)

    def predict(self, batch: Tensor) -> tuple[Predictions, Tensor, list[Size]]:
        """Predictions for a batch ``(N, C, H, W)``, where they stand, and the rows and columns of each grid.

        Where: ``(P, 6)``, column and row of the cell, its width and height, width and height of the anchor.
        """
        columns = 5 + self.num_classes
        maps = self.network(batch)
        grids = []
        for level, anchors in zip(maps, self.anchors, strict=True):
            if level.shape[1] != len(anchors) * columns:
                raise ValueError(
                    f"YOLO: a head of {len(anchors)} anchors and {self.num_classes} classes must have "
                    f"{len(anchors) * columns} filters, got {level.shape[1]}"
                )
            grids.append(self._grid(batch, level, anchors))
        rows = torch.cat([rows_of(level, columns) for level in maps], 1)
        grid = torch.cat(grids)
        rows = rows.to(grid.dtype)
        places = torch.cat([rows[..., :2].sigmoid(), rows[..., 2:4]], -1)
        centre = (places[..., :2] + grid[:, :2]) * grid[:, 2:4]
        half = places[..., 2:].exp() * grid[:, 4:] / 2
        boxes = torch.cat([centre - half, centre + half], -1)
        cells = [(level.shape[-2], level.shape[-1]) for level in maps]
        return Predictions(boxes, places, rows[..., 4], rows[..., 5:]), grid, cells

    def _grid(self, batch: Tensor, level: Tensor, anchors: Sequence[Size]) -> Tensor:
        """Where the predictions of a map stand."""
        height, width = level.shape[-2:]
        dtype = torch.float64 if batch.dtype is torch.float64 else torch.float32
        stride = torch.tensor([batch.shape[-1] / width, batch.shape[-2] / height], dtype=dtype, device=batch.device)
        shapes = torch.tensor(anchors, dtype=dtype, device=batch.device) * (stride if self.in_cells else 1)
        y = torch.arange(height, dtype=dtype, device=batch.device)
        x = torch.arange(width, dtype=dtype, device=batch.device)
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        cells = torch.stack([columns, rows, stride[0].expand_as(rows), stride[1].expand_as(rows)], -1)
        cells = cells.reshape(-1, 1, 4).expand(-1, len(anchors), -1)
        return torch.cat([cells, shapes.expand(len(cells), -1, -1)], -1).reshape(-1, 6)

    def _losses(
        self, predictions: Predictions, responsible: tuple[Tensor, ...], boxes: list[Tensor], labels: list[Tensor]
    ) -> dict[str, Tensor]:
        n = len(boxes)
        image, at, wanted, share = responsible
        label = torch.cat(labels)
        box_weight, object_weight, background_weight, class_weight = self.weights
        apart = ((predictions.places[image, at] - wanted) ** 2).sum(1)
        background = torch.ones_like(predictions.confidence, dtype=torch.bool)
        with torch.no_grad():
            for number, found in enumerate(boxes):
                if len(found):
                    overlap = ops.box_iou(found, predictions.boxes[number].detach()).amax(0)
                    background[number] = ~(overlap > self.ignore_thresh)
        background[image, at] = False
        no = functional.binary_cross_entropy_with_logits(
            predictions.confidence, torch.zeros_like(predictions.confidence), reduction="none"
        )
        own = predictions.confidence[image, at]
        yes = functional.binary_cross_entropy_with_logits(own, torch.ones_like(own), reduction="sum")
        logits = predictions.classes[image, at]
        if self.exclusive:
            classes = functional.cross_entropy(logits, label, reduction="sum")
        else:
            one = functional.one_hot(label, self.num_classes).to(logits.dtype)
            classes = functional.binary_cross_entropy_with_logits(logits, one, reduction="sum")
        return {
            "loss_box": box_weight * (share * apart).sum() / n,
            "loss_confidence": (object_weight * yes + background_weight * (no * background).sum()) / n,
            "loss_class": class_weight * classes / n,
        }

    def _responsible(
        self, grid: Tensor, cells: list[Size], boxes: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """For each object its image, the row of its anchor, what that is to say, and the weight."""
        every = torch.cat(boxes).to(grid.dtype)
        image = torch.repeat_interleave(torch.tensor([len(found) for found in boxes], device=grid.device))
        centre, sides = (every[:, :2] + every[:, 2:]) / 2, every[:, 2:] - every[:, :2]
        # Of every anchor of every grid: its row in the first cell, and how many rows a cell and a line of cells take.
        begin = 0
        first, per_cell, per_line, last = (list[Any]() for _ in range(4))
        for (height, width), anchors in zip(cells, self.anchors, strict=True):
            count = len(anchors)
            first += range(begin, begin + count)
            per_cell += [count] * count
            per_line += [count * width] * count
            last += [[width - 1, height - 1]] * count
            begin += height * width * count
        rows = torch.tensor(first, device=grid.device)
        best = shape_iou(sides, grid[rows, 4:]).argmax(1)
        stride = grid[rows[best], 2:4]
        cell = (centre / stride).floor().long().clamp(min=0).minimum(torch.tensor(last, device=grid.device)[best])
        steps = torch.tensor([per_cell, per_line], device=grid.device).T[best]
        at = rows[best] + (cell * steps).sum(1)
        wanted = torch.cat([centre / stride - cell, torch.log(sides / grid[at, 4:])], 1)
        area = sides.prod(1) / (self.image_size[0] * self.image_size[1])
        return image, at, wanted, (2 - area).clamp(min=1)

    def findings(self, images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Of every prediction, in evaluation, the box in its image ``(N, P, 4)`` and the scores ``(N, P, classes)``."""
        batch, scales, offsets = self._fit(images)
        predictions, _, _ = self.predict(batch)
        classes = predictions.classes.softmax(-1) if self.exclusive else predictions.classes.sigmoid()
        boxes = (predictions.boxes - offsets[:, None]) / scales[:, None]
        limits = boxes.new_tensor([[i.shape[2], i.shape[1]] * 2 for i in images])
        boxes = torch.minimum(boxes.clamp(min=0), limits[:, None])
        return boxes, predictions.confidence.sigmoid()[..., None] * classes

    def _detections(self, every: Tensor, probabilities: Tensor) -> list[Target]:
        image, at, label = torch.where(probabilities > self.score_thresh)
        boxes, scores = every[image, at], probabilities[image, at, label]
        kept = suppress(boxes, scores, image, label, len(every), self.nms_thresh, self.detections_per_img)
        return [{"boxes": boxes[keep], "labels": label[keep], "scores": scores[keep]} for keep in kept]


def _anchors_of(head: Section) -> list[Size]:
    flat = head["anchors"]
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    mask = head.get("mask", list(range(len(pairs))))
    return [pairs[number] for number in (mask if isinstance(mask, list) else [mask])]


def darknet_yolo(cfg: str | os.PathLike[str], **options: Any) -> YOLO:
    """A YOLO from a ``.cfg`` of darknet; weights come by ``load_checkpoint(model, "name.weights")``.

    Args:
        cfg: path of the file.
        options: YOLO's.
    """
    return YOLO(parse_cfg(Path(cfg).read_text()), **options)
