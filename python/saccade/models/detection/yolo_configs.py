"""The YOLO networks by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from saccade.models._checks import positive
from saccade.models._registry import register
from saccade.models.detection.darknet import Section
from saccade.models.detection.yolo import YOLO

__all__ = ["yolo_small", "yolov2", "yolov2_tiny", "yolov3", "yolov3_tiny"]

Anchors = Sequence[Sequence[float]]
# Of COCO: the first in cells of 32 pixels, the others in pixels of 416 x 416.
_V2 = ((0.57273, 0.677385), (1.87446, 2.06253), (3.33843, 5.47434), (7.88282, 3.52778), (9.77052, 9.16828))
_V3 = ((10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326))
_V3_TINY = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))


def _conv(filters: int, size: int = 3, stride: int = 1) -> Section:
    return {
        "type": "convolutional", "batch_normalize": 1, "filters": filters, "size": size, "stride": stride, "pad": 1,
        "activation": "leaky",
    }  # fmt: skip


def _pool(stride: int = 2) -> Section:
    return {"type": "maxpool", "size": 2, "stride": stride}


def _route(*layers: int) -> Section:
    return {"type": "route", "layers": list(layers)}


def _alternating(wide: int, count: int) -> list[Section]:
    """3x3 convolutions of ``wide`` channels and 1x1 ones of half as many, in turn."""
    return [_conv(wide) if number % 2 == 0 else _conv(wide // 2, 1) for number in range(count)]


def _head(kind: str, anchors: Anchors, classes: int, mask: Sequence[int] | None = None) -> list[Section]:
    """The convolution that speaks, and the section that says how it is to be understood."""
    used = len(anchors) if mask is None else len(mask)
    last = {"type": "convolutional", "filters": used * (5 + classes), "size": 1, "activation": "linear"}
    head: Section = {"type": kind, "anchors": [side for anchor in anchors for side in anchor], "classes": classes}
    return [last, head if mask is None else {**head, "mask": list(mask)}]


def _checked(name: str, num_classes: int, anchors: Anchors | None, default: Anchors, fixed: bool = True) -> Anchors:
    positive(name, num_classes=num_classes)
    if anchors is None:
        return default
    if any(len(anchor) != 2 or min(anchor) <= 0 for anchor in anchors) or not len(anchors):
        raise ValueError(f"{name}: anchors must be pairs of positive numbers, got {anchors!r}")
    if fixed and len(anchors) != len(default):
        raise ValueError(f"{name}: anchors must be {len(default)}, got {len(anchors)}")
    return [[float(side) for side in anchor] for anchor in anchors]


@register
def yolov2(num_classes: int = 80, *, anchors: Anchors | None = None, **options: Any) -> YOLO:
    """YOLOv2: Darknet-19, a passthrough of finer maps, one grid of 32 pixels.

    Args:
        num_classes: labels are 0 to ``num_classes - 1``.
        anchors: widths and heights in cells, any number of them; None for COCO's five.
        options: YOLO's.
    """
    anchors = _checked("yolov2", num_classes, anchors, _V2, fixed=False)
    sections = [_conv(32), _pool(), _conv(64), _pool(), *_alternating(128, 3), _pool(), *_alternating(256, 3), _pool()]
    sections += [*_alternating(512, 5), _pool(), *_alternating(1024, 5), _conv(1024), _conv(1024)]
    sections += [_route(-9), _conv(64, 1), {"type": "reorg", "stride": 2}, _route(-1, -4), _conv(1024)]
    return YOLO([*sections, *_head("region", anchors, num_classes)], **options)


def _tiny() -> list[Section]:
    sections = []
    for width in (16, 32, 64, 128, 256):
        sections += [_conv(width), _pool()]
    return [*sections, _conv(512), _pool(1), _conv(1024)]


@register
def yolov2_tiny(num_classes: int = 80, *, anchors: Anchors | None = None, **options: Any) -> YOLO:
    """YOLOv2 with nine convolutions; arguments as for :func:`yolov2`."""
    anchors = _checked("yolov2_tiny", num_classes, anchors, _V2, fixed=False)
    return YOLO([*_tiny(), _conv(512), *_head("region", anchors, num_classes)], **options)


@register
def yolov3(num_classes: int = 80, *, anchors: Anchors | None = None, **options: Any) -> YOLO:
    """YOLOv3: Darknet-53 and three grids, of 32, 16 and 8 pixels.

    Args:
        num_classes: labels are 0 to ``num_classes - 1``, an object may have several.
        anchors: nine widths and heights in pixels, in order of area; None for COCO's.
        options: YOLO's.
    """
    anchors = _checked("yolov3", num_classes, anchors, _V3)
    sections = [_conv(32)]
    for width, blocks in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        sections.append(_conv(width, stride=2))
        for _ in range(blocks):
            sections += [_conv(width // 2, 1), _conv(width), {"type": "shortcut", "from": -3}]
    for width, mask, finer in ((1024, (6, 7, 8), 61), (512, (3, 4, 5), 36), (256, (0, 1, 2), None)):
        for _ in range(3):
            sections += [_conv(width // 2, 1), _conv(width)]
        sections += _head("yolo", anchors, num_classes, mask)
        if finer is not None:
            sections += [_route(-4), _conv(width // 4, 1), {"type": "upsample", "stride": 2}, _route(-1, finer)]
    return YOLO(sections, **options)


@register
def yolov3_tiny(num_classes: int = 80, *, anchors: Anchors | None = None, **options: Any) -> YOLO:
    """YOLOv3 with thirteen convolutions and two grids, of 32 and 16 pixels; six anchors, else as :func:`yolov3`."""
    anchors = _checked("yolov3_tiny", num_classes, anchors, _V3_TINY)
    sections = [*_tiny(), _conv(256, 1), _conv(512), *_head("yolo", anchors, num_classes, (3, 4, 5))]
    sections += [_route(-4), _conv(128, 1), {"type": "upsample", "stride": 2}, _route(-1, 8)]
    return YOLO([*sections, _conv(256), *_head("yolo", anchors, num_classes, (0, 1, 2))], **options)


@register
def yolo_small(num_classes: int = 2, *, anchors: Anchors | None = None, **options: Any) -> YOLO:
    """A YOLO that a CPU trains in minutes: six convolutions, one grid of 8 pixels on images of 64.

    Arguments as for :func:`yolov2`; three anchors unless given.

    >>> model = saccade.models.yolo_small(num_classes=3)
    >>> target = {"boxes": torch.tensor([[8.0, 8, 40, 30]]), "labels": torch.tensor([0])}
    >>> sorted(model([torch.rand(3, 50, 64)], [target]))
    ['loss_box', 'loss_class', 'loss_confidence']
    """
    anchors = _checked("yolo_small", num_classes, anchors, ((1.5, 1.5), (3, 3), (5, 5)), fixed=False)
    sections = [_conv(16), _pool(), _conv(32), _pool(), _conv(64), _pool(), _conv(64), _conv(64)]
    return YOLO([*sections, *_head("region", anchors, num_classes)], **{"image_size": 64, **options})
