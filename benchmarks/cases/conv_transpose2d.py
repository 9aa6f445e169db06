"""Transposed convolutions of segmentation networks, beside torch (oneDNN)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from saccade.benchmarking import Case, Work, close, reference

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Shape:
    channels: int
    outs: int
    size: int
    kernel: int
    stride: int
    padding: int = 0
    groups: int = 1
    output_padding: int = 0

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        return self.stride, self.padding, self.output_padding, self.groups

    @property
    def flops(self) -> int:
        return 2 * self.channels * self.outs // self.groups * self.size**2 * self.kernel**2

    def __str__(self) -> str:
        text = f"1×{self.channels}×{self.size}×{self.size} → {self.outs}, {self.kernel}×{self.kernel}"
        for name, value in (("stride", self.stride), ("groups", self.groups)):
            text += f", {name} {value}" if value > 1 else ""
        return text


# group, shape, bar in channels_last, bar in NCHW
ROWS = [
    ("FCN's ×8", Shape(21, 21, 65, 16, 8, 4), 1.5, 5.0),
    ("FCN's ×8, groups", Shape(21, 21, 65, 16, 8, 4, groups=21), 4.0, 20.0),
    ("FCN's ×2, groups", Shape(21, 21, 33, 4, 2, 1, groups=21), None, None),
    ("4×4, stride 2", Shape(256, 128, 32, 4, 2, 1), 2.0, 2.0),
    ("4×4, stride 2", Shape(512, 256, 16, 4, 2, 1), 2.0, 2.0),
    ("2×2, stride 2", Shape(1024, 512, 28, 2, 2), 1.15, 1.15),
    ("2×2, stride 2", Shape(128, 64, 112, 2, 2), 1.15, 1.15),
    ("3×3, stride 2", Shape(128, 64, 56, 3, 2, 1, output_padding=1), None, None),
]
BACKWARD = [Shape(256, 128, 32, 4, 2, 1), Shape(256, 128, 28, 2, 2), Shape(21, 21, 65, 16, 8, 4, groups=21)]


def cases(quick: bool) -> Iterator[Case]:
    seen = set()
    for group, shape, *bars in ROWS:
        if quick and group in seen:
            continue
        seen.add(group)
        for layout, bar in zip(("channels_last", "NCHW"), bars, strict=True):
            yield Case(
                name=f"conv_transpose2d/{layout}-{str(shape).replace(' ', '').replace('→', '-')}",
                operation="conv_transpose2d",
                group=f"conv_transpose2d, {group}, {layout}",
                size=f"{shape}, {layout}",
                threads=(1, 2),
                bar=bar,
                prepare=partial(_forward, shape, layout),
            )
    for shape in [] if quick else BACKWARD:
        for layout in ("channels_last", "NCHW"):
            yield Case(
                name=f"conv_transpose2d/backward-{layout}-{str(shape).replace(' ', '').replace('→', '-')}",
                operation="conv_transpose2d backward",
                group=f"conv_transpose2d backward, {layout}",
                size=f"{shape}, {layout}",
                threads=(1, 2),
                prepare=partial(_backward, shape, layout),
            )


def _format(layout: str) -> torch.memory_format:
    import torch

    return torch.channels_last if layout == "channels_last" else torch.contiguous_format


def _operands(shape: Shape, layout: str) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, shape.channels, shape.size, shape.size, generator=generator)
    weight = torch.randn(shape.channels, shape.outs // shape.groups, shape.kernel, shape.kernel, generator=generator)
    fan_in = shape.channels // shape.groups * (shape.kernel / shape.stride) ** 2
    return x.contiguous(memory_format=_format(layout)), weight / fan_in**0.5


def _forward(shape: Shape, layout: str) -> Work:
    import torch

    from saccade import ops

    x, weight = _operands(shape, layout)
    theirs = weight.contiguous(memory_format=_format(layout))
    return Work(
        ours=lambda: ops.conv_transpose2d(x, weight, None, *shape.sizes),
        references={
            "torch": reference(
                "torch", lambda _: lambda: torch.nn.functional.conv_transpose2d(x, theirs, None, *shape.sizes)
            )
        },
        verify=close(atol=1e-4, rtol=1e-4),
        flops=shape.flops,
    )


def _backward(shape: Shape, layout: str) -> Work:
    import torch

    from saccade import ops

    leaves = [t.requires_grad_() for t in _operands(shape, layout)]

    def run(function: Callable[..., torch.Tensor]) -> Callable[[], Any]:
        out = function(*leaves, None, *shape.sizes)
        grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
        grad = grad.contiguous(memory_format=_format(layout))
        return lambda: torch.autograd.grad(out, leaves, grad, retain_graph=True)

    return Work(
        ours=run(ops.conv_transpose2d),
        references={"torch": reference("torch", lambda _: run(torch.nn.functional.conv_transpose2d))},
        verify=close(atol=1e-3, rtol=1e-4),
        flops=2 * shape.flops,
    )
