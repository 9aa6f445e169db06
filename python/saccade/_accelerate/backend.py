"""``torch.compile(model, backend="saccade")``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx

from saccade._accelerate.fuse import fuse
from saccade._accelerate.region import as_eager

__all__ = ["compile_graph"]


def compile_graph(module: fx.GraphModule, example_inputs: list[Any]) -> Callable[..., Any]:
    """Rewrite a graph that torch.compile has captured as :func:`saccade.accelerate` does; what remains runs eagerly.

    torch finds it under the name ``"saccade"`` (entry point ``torch_dynamo_backends``); nobody has to call it.

    >>> conv = torch.nn.Conv2d(3, 8, 3).requires_grad_(False)
    >>> image = torch.rand(1, 3, 9, 9)
    >>> torch.allclose(torch.compile(conv, backend=compile_graph)(image), conv(image), atol=1e-5)
    True
    """
    fuse(module.graph, dict(module.named_modules()))
    module.recompile()

    def run(*inputs: Any) -> Any:
        return as_eager(module(*inputs), inputs)

    return run
