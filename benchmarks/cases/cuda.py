"""The operators on a GPU, beside torchvision's and torch's own: ``saccade bench --device cuda``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from saccade.benchmarking import Case, Work, close, reference

from . import _data, _greedy
from .nms import same_lowered_scores

_DEVICE = "cuda"


def _case(name: str, size: str, prepare: Callable[[], Work]) -> Case:
    return Case(name=f"{name}-cuda", operation=name.split("/")[0], size=size, prepare=prepare, device="cuda")


def cases(quick: bool) -> Iterator[Case]:
    for count in (5000,) if quick else (1000, 5000, 20000, 100000):
        yield _case(f"nms/clustered-{count}", f"{count:,} clustered, IoU 0.5", partial(_nms, count))
    for count in (1000,) if quick else (1000, 20000):
        yield _case(f"soft_nms/clustered-{count}", f"{count:,} clustered, gaussian", partial(_soft_nms, count))
    for count in (1000,) if quick else (1000, 5000):
        yield _case(f"nms_rotated/{count}", f"{count:,} clustered, IoU 0.5", partial(_nms_rotated, count))
    yield _case("box_iou_rotated/1000", "1,000², float32", partial(_box_iou_rotated, 1000))
    side = 1024 if quick else 8192
    yield _case(f"box_iou/{side}", f"{side:,}², float32", partial(_box_iou, side, "box_iou"))
    yield _case(f"complete_box_iou/{side}", f"{side:,}², float32", partial(_box_iou, side, "complete_box_iou"))
    yield _case(f"box_iou_backward/{side}", f"{side:,}², float32", partial(_box_iou_backward, side))
    masks = 16 if quick else 256
    yield _case(f"masks_to_boxes/{masks}", f"{masks}×800×1333, bool", partial(_masks_to_boxes, masks))
    for batch, height, width in [(1, 1080, 1920)] if quick else [(1, 1080, 1920), (1, 2160, 3840), (64, 1080, 1920)]:
        for dtype in ("uint8", "float32"):
            size = f"{batch}×{height}×{width}, {dtype}"
            yield _case(
                f"integral_image/{batch}x{height}x{width}-{dtype}",
                size,
                partial(_integral, batch, height, width, dtype),
            )
    for batch, height, width in [(1, 1080, 1920)] if quick else [(1, 1080, 1920), (1024, 128, 64)]:
        for dtype in ("uint8", "float32"):
            yield _case(
                f"hog/{batch}x{height}x{width}-{dtype}",
                f"{batch}×{height}×{width}, {dtype}, 8×8 pixels, 3×3 cells, 9 orientations",
                partial(_hog, batch, height, width, dtype),
            )
    for layout in ("channels_last", "contiguous"):
        size = f"1×256×200×272, 1,000 ROIs, 7×7, {layout}"
        yield _case(f"roi_align/7x7-{layout}", size, partial(_roi_align, layout))


def _nms(count: int) -> Work:
    import torch

    from saccade import ops

    boxes, scores = (torch.from_numpy(array).to(_DEVICE) for array in _data.clustered_boxes(count))
    return Work(
        ours=lambda: ops.nms(boxes, scores, 0.5),
        references={"torchvision": reference("torchvision.ops", lambda tv: lambda: tv.nms(boxes, scores, 0.5))},
    )


def _soft_nms(count: int) -> Work:
    import torch

    from saccade import ops

    arrays = _data.clustered_boxes(count)
    boxes, scores = (torch.from_numpy(array).to(_DEVICE) for array in arrays)
    return Work(
        ours=lambda: ops.soft_nms(boxes, scores, sigma=0.5, score_threshold=0.05),
        references={"numpy": lambda: _greedy.soft_nms(*arrays, 0.5, 0.05)},
        verify=same_lowered_scores,
    )


def _nms_rotated(count: int) -> Work:
    import torch

    from saccade import ops

    boxes, scores = (torch.from_numpy(array).to(_DEVICE) for array in _data.rotated_boxes(count))

    def suppress(tv: Any) -> torch.Tensor:
        overlaps = tv.box_iou(boxes, boxes, fmt="cxcywhr")
        return torch.from_numpy(_greedy.nms_of_overlaps(overlaps.cpu().numpy(), scores.cpu().numpy(), 0.5))

    return Work(
        ours=lambda: ops.nms_rotated(boxes, scores, 0.5),
        references={"torchvision": reference("torchvision.ops", lambda tv: lambda: suppress(tv))},
    )


def _box_iou_rotated(count: int) -> Work:
    import torch

    from saccade import ops

    boxes = torch.from_numpy(_data.rotated_boxes(count)[0]).to(_DEVICE)
    return Work(
        ours=lambda: ops.box_iou_rotated(boxes, boxes),
        references={
            "torchvision": reference("torchvision.ops", lambda tv: lambda: tv.box_iou(boxes, boxes, fmt="cxcywhr"))
        },
        verify=close(atol=1e-4),
        bytes=4 * count * count,
    )


def _boxes(side: int) -> Any:
    import torch

    return [torch.from_numpy(_data.uniform_boxes(side + i)[0])[:side].to(_DEVICE) for i in range(2)]


def _box_iou(side: int, name: str) -> Work:
    from saccade import ops

    first, second = _boxes(side)
    ours = getattr(ops, name)
    return Work(
        ours=lambda: ours(first, second),
        references={"torchvision": reference("torchvision.ops", lambda tv: lambda: getattr(tv, name)(first, second))},
        verify=close(atol=1e-5),
        bytes=4 * side * side,
    )


def _box_iou_backward(side: int) -> Work:
    import torch

    from saccade import ops

    first, second = (boxes.requires_grad_() for boxes in _boxes(side))
    grad = torch.rand(side, side, device=_DEVICE)

    def run(box_iou: Callable[..., Any]) -> Callable[[], Any]:
        result = box_iou(first, second)
        return lambda: torch.autograd.grad(result, (first, second), grad, retain_graph=True)

    return Work(
        ours=run(ops.box_iou),
        references={"torchvision": reference("torchvision.ops", lambda tv: run(tv.box_iou))},
        verify=close(rtol=1e-4),
        bytes=8 * side * side,
    )


def _masks_to_boxes(count: int) -> Work:
    import torch

    from saccade import ops

    masks = torch.zeros(count, 800, 1333, dtype=torch.bool, device=_DEVICE)
    for i in range(count):
        masks[i, 100 + i % 300 : 500 + i % 200, 200 + i % 500 : 900 + i % 400] = True
    return Work(
        ours=lambda: ops.masks_to_boxes(masks),
        references={"torchvision": reference("torchvision.ops", lambda tv: lambda: tv.masks_to_boxes(masks))},
        bytes=masks.numel(),
    )


def _integral(batch: int, height: int, width: int, dtype: str) -> Work:
    import torch

    from saccade import ops

    kind = getattr(torch, dtype)
    image = (torch.rand(batch, height, width, device=_DEVICE) * 255).to(kind)
    wide = torch.int32 if kind == torch.uint8 else torch.float64
    return Work(
        ours=lambda: ops.integral_image(image)[..., 1:, 1:],
        references={"torch": lambda: image.cumsum(-1, dtype=wide).cumsum(-2, dtype=wide)},
        verify=close(rtol=1e-12),
        bytes=image.nbytes + image.numel() * wide.itemsize,
    )


def _hog(batch: int, height: int, width: int, dtype: str) -> Work:
    import numpy as np
    import torch

    from saccade import ops

    pixels = torch.randint(0, 256, (batch, 1, height, width), generator=torch.Generator().manual_seed(0))
    image = pixels.to(getattr(torch, dtype))
    on_device, arrays = image.to(_DEVICE), image[:, 0].numpy()
    values = ops.hog(image).numel()
    return Work(
        ours=lambda: ops.hog(on_device),
        references={
            "scikit-image": reference(
                "skimage.feature", lambda feature: lambda: torch.from_numpy(np.stack([feature.hog(a) for a in arrays]))
            )
        },
        verify=close(atol=1e-6),
        bytes=image.nbytes + values * (4 if dtype == "float32" else 8),
    )


def _roi_align(layout: str) -> Work:
    import torch

    from saccade import ops

    generator = torch.Generator().manual_seed(0)
    features = torch.rand(1, 256, 200, 272, generator=generator).to(_DEVICE)
    if layout == "channels_last":
        features = features.contiguous(memory_format=torch.channels_last)
    rois = torch.from_numpy(_data.rois(1000)).to(_DEVICE)
    arguments = dict(output_size=(7, 7), spatial_scale=0.25, sampling_ratio=2)
    return Work(
        ours=lambda: ops.roi_align(features, rois, **arguments),
        references={
            "torchvision": reference("torchvision.ops", lambda tv: lambda: tv.roi_align(features, rois, **arguments))
        },
        verify=close(atol=1e-5),
        bytes=features.nbytes + 1000 * 256 * 49 * 4,
    )
