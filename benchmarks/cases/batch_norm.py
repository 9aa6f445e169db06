"""Batch normalisation of 8 x 64 x 112 x 112: alone, and with the addition and ReLU that follow it.

Beside torch, and in evaluation ONNX Runtime and OpenVINO; with what follows beside torch.compile, which fuses them too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from saccade.benchmarking import Case, Work, close, reference

from ._runtimes import compiled, runtimes

SHAPE = (8, 64, 112, 112)
# Set by memory: torch's NCHW statistics are slow, its other passes are not.
BARS: dict[tuple[str, str], float | None] = {
    ("NCHW", "training"): 4.0,
    ("channels_last", "training"): 1.5,
    ("NCHW", "evaluation"): None,
    ("channels_last", "evaluation"): None,
}


def cases(quick: bool) -> Iterator[Case]:
    for layout in ["NCHW"] if quick else ["NCHW", "channels_last"]:
        for mode in ("training", "evaluation"):
            for fused in (False, True):
                forward = 3.0 if fused else BARS[layout, mode]
                for direction, bar in (("forward", forward), ("backward", 1.0)):
                    if quick and direction == "backward":
                        continue
                    what = "batch_norm + add + relu" if fused else "batch_norm"
                    suffix = " backward" if direction == "backward" else ""
                    yield Case(
                        name=f"batch_norm/{direction}-{mode}-{layout}{'-fused' if fused else ''}",
                        operation=f"{what}{suffix}",
                        group=f"batch_norm, {direction}, {layout}",
                        size=f"8×64×112×112, {mode}, {layout}",
                        threads=(1, 2),
                        bar=bar,
                        prepare=partial(_work, layout, mode == "training", fused, direction),
                    )


def _work(layout: str, training: bool, fused: bool, direction: str) -> Work:
    import torch

    from saccade import ops

    generator = torch.Generator().manual_seed(0)
    form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    x, residual, grad = (torch.randn(SHAPE, generator=generator).contiguous(memory_format=form) for _ in range(3))
    parameters = [torch.rand(SHAPE[1], generator=generator) + 0.5 for _ in range(4)]
    if direction == "backward" and fused:
        # Positive throughout, so that no rounding decides where ReLU passes the gradient.
        residual += 100

    def ours(*leaves: torch.Tensor, statistics: list[torch.Tensor]) -> torch.Tensor:
        more: dict[str, Any] = {"residual": leaves[3], "activation": "relu"} if fused else {}
        return ops.batch_norm(leaves[0], *statistics, *leaves[1:3], training, **more)

    def theirs(*leaves: torch.Tensor, statistics: list[torch.Tensor]) -> torch.Tensor:
        out = torch.nn.functional.batch_norm(leaves[0], *statistics, *leaves[1:3], training)
        return torch.relu(out + leaves[3]) if fused else out

    def call(function: Callable[..., torch.Tensor]) -> Callable[[], Any]:
        statistics = [p.clone() for p in parameters[:2]]
        tensors = [x, *parameters[2:], residual]
        if direction == "forward":
            return lambda: function(*tensors, statistics=statistics)
        leaves = [t.detach().requires_grad_() for t in tensors][: 4 if fused else 3]
        out = function(*leaves, statistics=statistics)
        return lambda: torch.autograd.grad(out, leaves, grad, retain_graph=True)

    references = {"torch": reference("torch", lambda _: call(theirs))}
    statistics = [p.clone() for p in parameters[:2]]

    def normalize(x: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        return theirs(x, *parameters[2:], *more, statistics=statistics)

    tensors = [x, residual] if fused else [x]
    if direction == "forward" and fused:
        references |= compiled(normalize, *tensors)
    if direction == "forward" and not training:
        references |= runtimes(normalize, *tensors)
    passes = (3 if fused else 2) if direction == "forward" else (5 if fused else 3)
    return Work(
        ours=call(ours),
        references=references,
        verify=close(atol=1e-4, rtol=2e-5),
        bytes=4 * x.numel() * passes,
    )
