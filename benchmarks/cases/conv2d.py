"""Convolutions of the networks in use, beside torch (oneDNN), ONNX Runtime and OpenVINO."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from saccade.benchmarking import Case, Work, close, reference

from ._runtimes import compiled, runtimes

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Shape:
    channels: int
    outs: int
    size: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    batch: int = 1

    @property
    def padding(self) -> int:
        return (self.kernel - 1) // 2 * self.dilation

    @property
    def out(self) -> int:
        return (self.size - 1) // self.stride + 1

    @property
    def flops(self) -> int:
        per_result = 2 * self.channels // self.groups * self.kernel**2
        return self.batch * self.outs * self.out**2 * per_result

    def __str__(self) -> str:
        text = f"{self.batch}×{self.channels}×{self.size}×{self.size} → {self.outs}, {self.kernel}×{self.kernel}"
        for name, value in (("stride", self.stride), ("dilation", self.dilation), ("groups", self.groups)):
            text += f", {name} {value}" if value > 1 else ""
        return text


DENSE = [(64, 56), (128, 28), (256, 14), (512, 7), (256, 200), (64, 224), (512, 28)]
DILATED = [(512, 60, 2), (512, 60, 4), (512, 60, 8), (512, 28, 2), (512, 28, 4), (512, 28, 8)]
# ResNet-50: channels, outs, size, stride.
POINTWISE = [
    (64, 64, 56, 1), (64, 256, 56, 1), (256, 64, 56, 1), (256, 128, 56, 1), (256, 512, 56, 2), (128, 512, 28, 1),
    (512, 128, 28, 1), (512, 256, 28, 1), (512, 1024, 28, 2), (256, 1024, 14, 1), (1024, 256, 14, 1),
    (1024, 512, 14, 1), (1024, 2048, 14, 2), (512, 2048, 7, 1), (2048, 512, 7, 1),
]  # fmt: skip
DEPTHWISE = [(32, 112, 1), (96, 112, 2), (144, 56, 1), (384, 14, 1), (960, 7, 1)]
GROUPED = [(128, 56, 1), (256, 56, 2), (256, 28, 1), (512, 14, 1), (1024, 7, 1)]

# group, shape, layouts (torch runs in ours, or in its faster one), bar, bar of the group
Row = tuple[str, Shape, tuple[str, ...], bool, float | None, float | None]


def _rows() -> Iterator[Row]:
    last, both = ("channels_last",), ("channels_last", "NCHW")
    for c, size in DENSE:
        yield "3×3", Shape(c, c, size, 3), last, False, 1.7, 2.7
        yield "3×3, NCHW", Shape(c, c, size, 3), ("NCHW",), False, None, None
    for c, size, dilation in DILATED:
        yield "3×3 dilated", Shape(c, c, size, 3, dilation=dilation), last, True, 2.0, None
    for batch in (1, 8):
        for c, outs, size, stride in POINTWISE:
            yield "1×1", Shape(c, outs, size, 1, stride, batch=batch), last, True, 1.0, 1.25
    yield "7×7 stem", Shape(3, 64, 224, 7, 2), last, False, 1.1, None
    yield "7×7 stem, NCHW", Shape(3, 64, 224, 7, 2), ("NCHW",), False, 2.5, None
    for c, size, stride in DEPTHWISE:
        yield "depthwise 3×3", Shape(c, c, size, 3, stride, groups=c), both, False, 2.0, None
    for c, size, stride in GROUPED:
        yield "3×3, 32 groups", Shape(c, c, size, 3, stride, groups=32), both, False, 2.5, None


# ResNet-50: channels, outs, size, kernel, stride.
BFLOAT16 = [
    (3, 64, 224, 7, 2), (64, 64, 56, 3, 1), (64, 256, 56, 1, 1), (256, 64, 56, 1, 1), (256, 512, 56, 1, 2),
    (128, 128, 28, 3, 1), (1024, 256, 14, 1, 1), (512, 512, 7, 3, 1), (2048, 512, 7, 1, 1),
]  # fmt: skip
BACKWARD = [
    Shape(64, 64, 56, 3, batch=4), Shape(256, 256, 14, 3, batch=4), Shape(128, 128, 56, 3, 2, batch=4),
    Shape(256, 64, 56, 1, batch=4), Shape(1024, 256, 14, 1, batch=4), Shape(3, 64, 224, 7, 2, batch=2),
    Shape(128, 128, 56, 3, groups=32, batch=4), Shape(144, 144, 56, 3, groups=144, batch=4),
]  # fmt: skip


def cases(quick: bool) -> Iterator[Case]:
    seen = set()
    for group, shape, layouts, faster, bar, group_bar in _rows():
        if quick and group in seen:
            continue
        seen.add(group)
        for layout in layouts:
            yield Case(
                name=f"conv2d/{layout}-{str(shape).replace(' ', '').replace('→', '-')}",
                operation="conv2d",
                group=f"conv2d, {group}" if len(layouts) == 1 else f"conv2d, {group}, {layout}",
                size=f"{shape}, {layout}",
                threads=(1, 2),
                # The bars are for torch's channels_last where both layouts are shown.
                bar=bar if layout == "channels_last" or len(layouts) == 1 else None,
                group_bar=group_bar,
                prepare=partial(_forward, shape, layout, faster),
            )
    for shape in [] if quick else BACKWARD:
        for layout in ("channels_last", "NCHW"):
            yield Case(
                name=f"conv2d/backward-{layout}-{str(shape).replace(' ', '').replace('→', '-')}",
                operation="conv2d backward",
                group=f"conv2d backward, {layout}",
                size=f"{shape}, {layout}",
                threads=(1, 2),
                bar=1.0,
                prepare=partial(_backward, shape, layout),
            )
    for sizes in BFLOAT16[1:3] if quick else BFLOAT16:
        shape = Shape(*sizes)
        yield Case(
            name=f"conv2d/bfloat16-{str(shape).replace(' ', '').replace('→', '-')}",
            operation="conv2d",
            group="conv2d, bfloat16",
            size=f"{shape}, channels_last",
            threads=(1, 2),
            prepare=partial(_bfloat16, shape),
        )
    yield Case(
        name="conv2d_fused/affine-residual-relu",
        operation="conv2d_fused",
        size="1×256×14×14 → 1024, 1×1, channels_last, batch norm, residual, ReLU",
        threads=(1, 2),
        prepare=partial(_fused, Shape(256, 1024, 14, 1)),
    )


def _format(layout: str) -> torch.memory_format:
    import torch

    return torch.channels_last if layout == "channels_last" else torch.contiguous_format


def _operands(shape: Shape) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape.batch, shape.channels, shape.size, shape.size, generator=generator)
    fan_in = shape.channels // shape.groups * shape.kernel**2
    weight = torch.randn(
        shape.outs, shape.channels // shape.groups, shape.kernel, shape.kernel, generator=generator
    ) / (fan_in**0.5)
    return x, weight


def _torch(shape: Shape, layout: str) -> Callable[[], Any]:
    import torch

    x, weight = (tensor.contiguous(memory_format=_format(layout)) for tensor in _operands(shape))
    sizes = shape.stride, shape.padding, shape.dilation, shape.groups
    return lambda: torch.nn.functional.conv2d(x, weight, None, *sizes)


def _faster(shape: Shape) -> Callable[[], Any]:
    """torch in the layout in which it is faster."""

    def seconds(call: Callable[[], Any]) -> float:
        times = []
        for _ in range(4):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return min(times)

    return min((_torch(shape, layout) for layout in ("NCHW", "channels_last")), key=seconds)


def _forward(shape: Shape, layout: str, faster: bool) -> Work:
    import torch

    from saccade import ops

    x, weight = _operands(shape)
    x = x.contiguous(memory_format=_format(layout))
    sizes = shape.stride, shape.padding, shape.dilation, shape.groups
    return Work(
        ours=lambda: ops.conv2d(x, weight, None, *sizes),
        references={
            "torch": reference("torch", lambda _: _faster(shape) if faster else _torch(shape, layout)),
            **runtimes(lambda x: torch.nn.functional.conv2d(x, weight, None, *sizes), x),
        },
        # F(6 x 6) is bounded in norm; its largest error is a few times as large.
        verify=close(atol=1e-4, rtol=1e-4),
        flops=shape.flops,
    )


def _bfloat16(shape: Shape) -> Work:
    import torch

    from saccade import ops

    x, weight = (t.bfloat16().contiguous(memory_format=torch.channels_last) for t in _operands(shape))
    sizes = shape.stride, shape.padding, shape.dilation, shape.groups
    return Work(
        ours=lambda: ops.conv2d(x, weight, None, *sizes),
        references={
            "torch": reference("torch", lambda _: lambda: torch.nn.functional.conv2d(x, weight, None, *sizes)),
            "float32": reference("saccade", lambda _: partial(ops.conv2d, x.float(), weight.float(), None, *sizes)),
        },
        # Results differ by a rounding to bfloat16. No rate: its share of float32's peak would say nothing.
        verify=close(atol=1e-2, rtol=1.6e-2),
    )


def _backward(shape: Shape, layout: str) -> Work:
    import torch

    from saccade import ops

    leaves = [t.contiguous(memory_format=_format(layout)).requires_grad_() for t in _operands(shape)]
    sizes = shape.stride, shape.padding, shape.dilation, shape.groups

    def run(function: Callable[..., torch.Tensor]) -> Callable[[], Any]:
        out = function(*leaves, None, *sizes)
        grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).contiguous(
            memory_format=_format(layout)
        )
        return lambda: torch.autograd.grad(out, leaves, grad, retain_graph=True)

    return Work(
        ours=run(ops.conv2d),
        references={"torch": reference("torch", lambda _: run(torch.nn.functional.conv2d))},
        verify=close(atol=1e-3, rtol=1e-4),
        flops=2 * shape.flops,
    )


def _fused(shape: Shape) -> Work:
    import torch

    from saccade import ops

    x, weight = (tensor.contiguous(memory_format=torch.channels_last) for tensor in _operands(shape))
    residual = torch.randn(shape.batch, shape.outs, shape.out, shape.out).contiguous(memory_format=torch.channels_last)
    scale, shift = torch.rand(2, shape.outs) + 0.5

    mean, var = torch.zeros(shape.outs), torch.ones(shape.outs)

    def theirs(x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        out = torch.nn.functional.conv2d(x, weight, None, shape.stride, shape.padding)
        normal = torch.nn.functional.batch_norm(out, mean, var, scale, shift, eps=0.0)
        return torch.relu_(normal.add_(residual))

    return Work(
        ours=lambda: ops.conv2d_fused(
            x, weight, padding=shape.padding, scale=scale, shift=shift, residual=residual, activation="relu"
        ),
        references={
            "torch": reference("torch", lambda _: partial(theirs, x, residual)),
            **compiled(theirs, x, residual),
            **runtimes(theirs, x, residual),
        },
        verify=close(atol=1e-4, rtol=1e-4),
        flops=shape.flops,
    )
