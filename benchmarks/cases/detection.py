"""Detectors of `saccade.models`, accelerated, beside torchvision's with the same weights, and the parts of both.

What follows the networks is also timed alone: the images' preparation, the backbone and the heads are replaced by
their results.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from saccade.benchmarking import Case, Difference, Work, close, exact, reference

from . import _data

if TYPE_CHECKING:
    import torch

BARS = {"fasterrcnn_resnet50_fpn": 2.5, "maskrcnn_resnet50_fpn": 3.0, "retinanet_resnet50_fpn": 2.5}


def cases(quick: bool) -> Iterator[Case]:
    if importlib.util.find_spec("torchvision") is None:
        return  # the weights and the references are its
    side = 128 if quick else 800
    for name, bar in list(BARS.items())[: 1 if quick else None]:
        for part, goal in (("whole", bar), ("rest", 10.0)):
            yield Case(
                name=f"detectors/{name}-{side}{'' if part == 'whole' else '-' + part}",
                operation="detectors" if part == "whole" else "detectors without networks",
                size=f"{name}, {side}×{side}",
                threads=(1, 2),
                bar=goal,
                prepare=partial(_whole if part == "whole" else _rest, name, side),
            )
    anchors, boxes = (2_000, 10) if quick else (200_000, 100)
    yield Case(
        name=f"matcher/{anchors}x{boxes}",
        operation="Matcher",
        size=f"{anchors:,} anchors × {boxes} boxes",
        threads=(1, 2),
        bar=5.0,
        prepare=partial(_matcher, anchors, boxes),
    )
    masks = 3 if quick else 100
    yield Case(
        name=f"paste_masks/{masks}x{side}",
        operation="paste_masks",
        size=f"{masks} masks of 28×28 in {side}×{side}",
        threads=(1, 2),
        bar=5.0,
        prepare=partial(_paste, masks, side),
    )


def _models(name: str, side: int) -> tuple[Any, Any]:
    """Ours and torchvision's with the same random weights, on images of one size."""
    import torch
    from torchvision.models import detection

    import saccade

    torch.manual_seed(0)
    # Random weights find nothing certain: a few boxes, so that the mask head has a photo's work and no more.
    size = {"min_size": side, "max_size": side} | ({} if name.startswith("retina") else {"box_detections_per_img": 20})
    theirs = _data.with_statistics(getattr(detection, name)(weights=None, weights_backbone=None, **size).eval())
    ours = saccade.models.build(name, **size).eval()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def _inference(model: Any, images: Any) -> Callable[[], Any]:
    import torch

    def call() -> Any:
        with torch.inference_mode():
            return model(images)

    return call


def _whole(name: str, side: int) -> Work:
    import torch

    import saccade

    ours, theirs = _models(name, side)
    images = [torch.rand(3, side, side)]
    fast = saccade.accelerate(ours, (images,))
    references = {"torchvision": _inference(theirs, images)}
    return Work(ours=_inference(fast, images), references=references, verify=_same_scores)


def _same_scores(ours: Any, theirs: Any) -> Difference:
    """Accept a count that is one or a tenth off, and a best score within 0.05: random weights give boxes of nearly one
    score, and a rounding decides which of them are suppressed. That trained ones are the same is tested."""
    counts = [(len(ours["scores"]), len(theirs["scores"])) for ours, theirs in zip(ours, theirs, strict=True)]
    if any(abs(a - b) > max(1, b // 10) for a, b in counts):
        return Difference(float("inf"), False)
    return close(atol=0.05)([found["scores"][:1] for found in ours], [found["scores"][:1] for found in theirs])


def _rest(name: str, side: int) -> Work:
    import torch

    ours, theirs = _models(name, side)
    images = [torch.rand(3, side, side)]
    with torch.inference_mode():
        maps = theirs.backbone(theirs.transform(images)[0].tensors)
    for model, form in ((ours, torch.channels_last), (theirs, torch.contiguous_format)):
        model.transform.forward = _Result(model.transform(images))
        _replace(model, "backbone", _Result({k: v.contiguous(memory_format=form) for k, v in maps.items()}))
        _replace_heads(model, maps, dictionary=model is theirs)
    references = {"torchvision": _inference(theirs, images)}
    return Work(ours=_inference(ours, images), references=references, verify=close(atol=2e-3))


def _replace_heads(model: Any, maps: dict[str, torch.Tensor], *, dictionary: bool) -> None:
    """Results as a trained head has them: few certain ones among many of low scores."""
    import torch

    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * scale + shift

    if not hasattr(model, "rpn"):
        count = sum(9 * level[0, 0].numel() for level in maps.values())
        logits, codes = draw(1, count, 91, scale=1.5, shift=-8), draw(1, count, 4, scale=0.2)
        parts = [part.clone() for part in logits.split([9 * level[0, 0].numel() for level in maps.values()], 1)]
        result = {"cls_logits": logits, "bbox_regression": codes} if dictionary else (parts, codes)
        return _replace(model, "head", _Result(result))
    levels = list(maps.values())
    logits = [draw(1, 3, *level.shape[-2:], scale=2.0, shift=-2) for level in levels]
    codes = [draw(1, 12, *level.shape[-2:], scale=0.2) for level in levels]
    _replace(model.rpn, "head", _Result((logits, codes)))
    _replace(model.roi_heads, "box_head", torch.nn.Identity())
    classes = draw(1000, 91, scale=2.0)
    classes[:, 0] += 6
    _replace(model.roi_heads, "box_predictor", _Rows(classes, draw(1000, 364, scale=0.5)))
    if model.roi_heads.mask_predictor is not None:
        _replace(model.roi_heads, "mask_head", torch.nn.Identity())
        _replace(model.roi_heads, "mask_predictor", _Rows(draw(100, 91, 28, 28)))
    return None


def _replace(module: Any, name: str, call: Any) -> None:
    delattr(module, name)
    object.__setattr__(module, name, call)


class _Result:
    """A network that has been run."""

    def __init__(self, result: Any) -> None:
        self.result = result

    def __call__(self, *_: Any) -> Any:
        return self.result


class _Rows:
    """As many rows of each table as there are regions."""

    def __init__(self, *tables: torch.Tensor) -> None:
        self.tables = tables

    def __call__(self, regions: torch.Tensor) -> Any:
        rows = tuple(table[: regions.shape[0]] for table in self.tables)
        return rows if len(rows) > 1 else rows[0]


def _boxes(count: int, side: float) -> torch.Tensor:
    import torch

    corners = torch.rand(count, 2) * side
    return torch.cat([corners, corners + 8 + torch.rand(count, 2) * side / 4], 1)


def _matcher(anchors: int, boxes: int) -> Work:
    import torch

    from saccade.models.detection import Matcher

    torch.manual_seed(0)
    found, placed = _boxes(boxes, 800), _boxes(anchors, 800)

    def torchvision(_: Any) -> Callable[[], Any]:
        from torchvision.models.detection._utils import Matcher as Theirs
        from torchvision.ops import box_iou

        matcher = Theirs(0.7, 0.3, allow_low_quality_matches=True)
        return lambda: matcher(box_iou(found, placed))

    ours = Matcher(0.7, 0.3, allow_low_quality_matches=True)
    references = {"torchvision": reference("torchvision", torchvision)}
    return Work(ours=lambda: ours(found, placed), references=references, verify=exact)


def _paste(count: int, side: int) -> Work:
    import torch

    from saccade import ops

    torch.manual_seed(0)
    masks, boxes = torch.rand(count, 1, 28, 28), _boxes(count, 0.7 * side)

    def torchvision(_: Any) -> Callable[[], Any]:
        from torchvision.models.detection.roi_heads import paste_masks_in_image

        return lambda: paste_masks_in_image(masks, boxes, (side, side))

    references = {"torchvision": reference("torchvision", torchvision)}
    return Work(
        ours=lambda: ops.paste_masks(masks, boxes, (side, side)),
        references=references,
        verify=close(atol=1e-5, rtol=1e-5),
    )
