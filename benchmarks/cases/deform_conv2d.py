"""Deformable convolution of a stage of a detection network, beside torchvision's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from saccade.benchmarking import Case, Work, close, reference

HEIGHT, WIDTH = 50, 68
# Name, channels (in and out), groups, offset groups, whether there is a mask, whether it has a bar.
SHAPES = [
    ("256, 3×3, mask", 256, 1, 1, True, True),
    ("256, 3×3", 256, 1, 1, False, True),
    ("256, 3×3, 4 offset groups, mask", 256, 1, 4, True, False),
    ("256, 3×3, 8 groups, mask", 256, 8, 1, True, False),
]


def cases(quick: bool) -> Iterator[Case]:
    for name, channels, groups, offset_groups, masked, has_bar in SHAPES[:1] if quick else SHAPES:
        for layout in ("channels_last", "NCHW"):
            for direction, bar in (("forward", 5.0), ("backward", 1.0)):
                yield Case(
                    name=f"deform_conv2d/{direction}-{layout}-{name.replace(', ', '-').replace(' ', '-')}",
                    operation="deform_conv2d" if direction == "forward" else "deform_conv2d backward",
                    group=f"deform_conv2d, {direction}, {layout}",
                    size=f"1×{channels}×{HEIGHT}×{WIDTH} → {name}, {layout}",
                    threads=(1, 2),
                    bar=bar if has_bar else None,
                    prepare=partial(_work, channels, groups, offset_groups, masked, layout, direction),
                )


def _work(channels: int, groups: int, offset_groups: int, masked: bool, layout: str, direction: str) -> Work:
    import torch

    from saccade import ops

    generator = torch.Generator().manual_seed(0)
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    x, offset = draw(1, channels, HEIGHT, WIDTH), 2 * draw(1, 18 * offset_groups, HEIGHT, WIDTH)
    mask = draw(1, 9 * offset_groups, HEIGHT, WIDTH).sigmoid()
    x, offset, mask = (t.contiguous(memory_format=memory_format) for t in (x, offset, mask))
    weight = draw(channels, channels // groups, 3, 3) / (9 * channels // groups) ** 0.5
    tensors = [x, offset, weight, draw(channels), *([mask] if masked else [])]

    def run(module: Any) -> Callable[[], Any]:
        leaves = [t.clone().requires_grad_(direction == "backward") for t in tensors]

        def forward() -> Any:
            return module.deform_conv2d(*leaves[:4], padding=1, mask=leaves[4] if masked else None)

        if direction == "forward":
            return forward
        out = forward()
        grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
        grad = grad.contiguous(memory_format=memory_format)
        return lambda: torch.autograd.grad(out, leaves, grad, retain_graph=True)

    flops = 2 * channels * channels // groups * 9 * HEIGHT * WIDTH
    return Work(
        ours=run(ops),
        references={"torchvision": reference("torchvision.ops", run)},
        verify=close(atol=1e-4, rtol=1e-4) if direction == "forward" else close(atol=2e-3, rtol=1e-3),
        flops=flops if direction == "forward" else 2 * flops,
    )
