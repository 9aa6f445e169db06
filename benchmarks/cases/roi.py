"""Pooling of regions of interest, beside torchvision's: 1,000 regions of one 256 x 200 x 272 map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from saccade.benchmarking import Case, Work, close, reference

from . import _data

if TYPE_CHECKING:
    import torch

COUNT, SCALE = 1000, 0.25
BARS: dict[str, dict[int, float]] = {
    "channels_last": {1: 25.0, 2: 45.0},
    "NCHW": {1: 12.0, 2: 20.0},
}


def cases(quick: bool) -> Iterator[Case]:
    layouts = ["channels_last"] if quick else ["channels_last", "NCHW"]
    for layout in layouts:
        for size, ratio in [(7, 2)] if quick else [(7, 2), (7, -1), (14, 2), (14, -1)]:
            yield _case("roi_align", layout, size, (ratio,), "forward", BARS[layout])
        for size, ratio in [(7, 2)] if quick else [(7, 2), (14, -1)]:
            yield _case("roi_align", layout, size, (ratio,), "backward", 30.0)
        yield _case("roi_pool", layout, 7, (), "forward", 15.0)
        yield _case("roi_pool", layout, 7, (), "backward", 15.0)
        for ratio in (2,) if quick else (2, -1):
            yield _case("ps_roi_align", layout, 7, (ratio,), "forward", 15.0)
        for direction in ("forward", "backward"):
            yield _case("ps_roi_pool", layout, 7, (), direction, None)
        yield Case(
            name=f"multiscale_roi_align/forward-{layout}-7x7-2",
            operation="multiscale_roi_align",
            size=f"4 levels, 7×7, 2 samples, {layout}",
            threads=(1, 2),
            prepare=partial(_multiscale, layout),
        )


def _case(
    name: str, layout: str, size: int, more: tuple[int, ...], direction: str, bar: float | dict[int, float] | None
) -> Case:
    samples = {(): "", (2,): ", 2 samples", (-1,): ", adaptive"}[more]
    suffix = {(): "", (2,): "-2", (-1,): "-adaptive"}[more]
    return Case(
        name=f"{name}/{direction}-{layout}-{size}x{size}{suffix}",
        operation=name if direction == "forward" else f"{name} backward",
        group=f"{name}, {direction}, {layout}",
        size=f"{size}×{size}{samples}, {layout}",
        threads=(1, 2),
        bar=bar,
        prepare=partial(_work, name, layout, size, more, direction),
    )


def _work(name: str, layout: str, size: int, more: tuple[int, ...], direction: str) -> Work:
    import torch

    from saccade import ops

    # Position-sensitive pooling takes a channel for each bin: the most that 256 hold.
    channels = 256 // size**2 * size**2 if name.startswith("ps_") else 256
    generator = torch.Generator().manual_seed(0)
    feature = torch.rand(1, channels, 200, 272, generator=generator)
    if layout == "channels_last":
        feature = feature.contiguous(memory_format=torch.channels_last)
    rois = torch.from_numpy(_data.rois(COUNT))
    if name == "ps_roi_pool" and direction == "backward":
        # torchvision's gradient also reaches the last row and column, which its forward leaves out.
        rois[:, 1:] = rois[:, 1:].minimum(torch.tensor([270.0, 198.0] * 2) / SCALE)

    def call(module: Any) -> Callable[[], torch.Tensor]:
        operation = getattr(module, name)
        if direction == "forward":
            return lambda: operation(feature, rois, size, SCALE, *more)
        leaf = feature.detach().requires_grad_()
        out = operation(leaf, rois, size, SCALE, *more)
        grad = torch.rand(out.shape, generator=torch.Generator().manual_seed(1))
        if layout == "channels_last":
            grad = grad.contiguous(memory_format=torch.channels_last)
        return lambda: torch.autograd.grad(out, leaf, grad, retain_graph=True)[0]

    outputs = COUNT * channels * size**2 // (size**2 if name.startswith("ps_") else 1)
    return Work(
        ours=call(ops),
        references={"torchvision": reference("torchvision.ops", call)},
        verify=close(atol=1e-5, rtol=1e-5),
        bytes=4 * (feature.numel() + outputs),
    )


def _multiscale(layout: str) -> Work:
    import torch

    from saccade import ops

    features = [torch.from_numpy(level) for level in _data.pyramid()]
    if layout == "channels_last":
        features = [level.contiguous(memory_format=torch.channels_last) for level in features]
    boxes = torch.from_numpy(_data.rois(COUNT))[:, 1:].contiguous()
    scales, image = [1 / s for s in _data.PYRAMID], (800, 1088)

    def pooled(tv: Any) -> Callable[[], torch.Tensor]:
        names = [str(i) for i in range(len(features))]
        module, maps = tv.MultiScaleRoIAlign(names, 7, 2), dict(zip(names, features, strict=True))
        return lambda: module(maps, [boxes], [image])

    return Work(
        ours=lambda: ops.multiscale_roi_align(features, [boxes], 7, scales, 2),
        references={"torchvision": reference("torchvision.ops", pooled)},
        verify=close(atol=1e-5, rtol=1e-5),
        bytes=4 * (sum(level.numel() for level in features) + COUNT * 256 * 7**2),
    )
