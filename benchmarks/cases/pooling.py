"""Pooling over sliding windows, beside torch's, and in inference beside ONNX Runtime and OpenVINO."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from saccade.benchmarking import Case, Work, close, reference

from ._runtimes import runtimes

if TYPE_CHECKING:
    import torch

# Shape of the input; kernel_size, stride, padding.
SHAPES: list[tuple[tuple[int, int, int, int], tuple[int, int, int]]] = [
    ((1, 64, 112, 112), (3, 2, 1)),
    ((8, 64, 112, 112), (3, 2, 1)),
    ((1, 128, 160, 160), (2, 2, 0)),
    ((1, 512, 60, 60), (3, 1, 1)),
]


# Shape of the input; kernel_size, stride, padding, or the output size.
MEANS: list[tuple[str, tuple[int, int, int, int], tuple[int, ...]]] = [
    ("avg_pool2d", (8, 64, 112, 112), (2, 2, 0)),
    ("avg_pool2d", (1, 64, 112, 112), (3, 2, 1)),
    ("avg_pool2d", (8, 192, 35, 35), (3, 1, 1)),
    ("adaptive_avg_pool2d", (8, 2048, 7, 7), (1,)),
    ("adaptive_avg_pool2d", (1, 2048, 60, 60), (1,)),
    ("adaptive_avg_pool2d", (1, 2048, 60, 60), (6,)),
    ("adaptive_avg_pool2d", (8, 512, 13, 13), (6,)),
]


def cases(quick: bool) -> Iterator[Case]:
    for shape, window in SHAPES[:1] if quick else SHAPES:
        for layout in ("NCHW", "channels_last"):
            for name in ("max_pool2d", "min_pool2d"):
                directions = ("inference", "training", "backward") if name == "max_pool2d" else ("inference",)
                for direction in directions:
                    yield _case(name, shape, window, layout, direction)
    for name, shape, arguments in MEANS[:1] if quick else MEANS:
        for layout in ("NCHW", "channels_last"):
            for direction in ("inference", "backward"):
                yield _case(name, shape, arguments, layout, direction)


def _case(name: str, shape: tuple[int, ...], window: tuple[int, ...], layout: str, direction: str) -> Case:
    stride = f", stride {window[1]}" if len(window) > 1 else ""
    size = f"{'×'.join(map(str, shape))}, {window[0]}×{window[0]}{stride}"
    to = "" if stride else f"-to-{window[0]}"
    return Case(
        name=f"{name}/{direction}-{layout}-{'x'.join(map(str, shape))}{to}",
        operation=name if direction != "backward" else f"{name} backward",
        group=f"{name}, {direction}, {layout}",
        size=f"{size}, {layout}",
        threads=(1, 2),
        prepare=partial(_work, name, shape, window, layout, direction),
    )


def _work(name: str, shape: tuple[int, ...], window: tuple[int, ...], layout: str, direction: str) -> Work:
    import torch
    import torch.nn.functional as functional

    from saccade import ops

    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    if layout == "channels_last":
        image = image.contiguous(memory_format=torch.channels_last)
    if direction != "inference":
        image.requires_grad_()

    def run(operation: Callable[..., Any]) -> Callable[[], torch.Tensor]:
        if direction != "backward":
            return lambda: operation(image, *window).detach()
        out = operation(image, *window)
        grad = torch.rand(out.shape, generator=torch.Generator().manual_seed(1))
        grad = grad.contiguous(memory_format=torch.channels_last) if layout == "channels_last" else grad
        return lambda: torch.autograd.grad(out, image, grad, retain_graph=True)[0]

    def minima(x: torch.Tensor, *sizes: int) -> torch.Tensor:
        return -functional.max_pool2d(-x, *sizes)

    theirs = minima if name == "min_pool2d" else getattr(functional, name)
    references = {"torch": reference("torch", lambda _: run(theirs))}
    if direction == "inference":
        references |= runtimes(lambda x: theirs(x, *window), image)
    outputs = getattr(ops, name)(image.detach(), *window).numel()
    # The gradient of a maximum needs indices; a mean's reads nothing but gradients.
    indices = 0 if direction == "inference" or "avg" in name else 8 * outputs
    return Work(
        ours=run(getattr(ops, name)),
        references=references,
        verify=close(atol=1e-6, rtol=1e-6),
        bytes=4 * (image.numel() + outputs) + indices,
    )
