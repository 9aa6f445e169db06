"""Graphs of models whose forward is a fixed sequence of calls."""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

__all__ = ["NotTraceable", "shape_of", "trace", "with_shapes"]


class NotTraceable(Exception):
    """A forward that depends on more than the order of its calls."""


class _Tracer(fx.Tracer):
    """Keeps saccade's layers as single calls, and what every submodule returned."""

    def __init__(self) -> None:
        super().__init__()
        self.returned: dict[str, fx.Node] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        known = ("saccade.nn", "saccade.ops", "torchvision.ops.misc")
        whole = type(m).__module__.startswith(known) and not isinstance(m, nn.Sequential)
        return whole or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        result = super().call_module(m, forward, args, kwargs)
        if issubclass(type(result), fx.Proxy):
            self.returned[self.path_of_module(m)] = result.node
        return result


def trace(model: nn.Module) -> tuple[fx.GraphModule, dict[str, fx.Node]]:
    """A model as a graph over its own submodules, and the nodes of what each submodule returned.

    A module that is called several times counts with its last call.

    Raises:
        NotTraceable: with the first line of the reason.
    """
    tracer = _Tracer()
    try:
        graph = tracer.trace(model)
    except Exception as error:  # the model's code, run on stand-ins, raises whatever it likes
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise NotTraceable(reason) from error
    return fx.GraphModule(tracer.root, graph, type(model).__name__), tracer.returned


def with_shapes(graph: fx.GraphModule, example: Tensor) -> None:
    """Note at each node the shape that it has for an example; run the graph in evaluation mode."""
    ShapeProp(graph).propagate(example)


def shape_of(node: Any) -> tuple[int, ...] | None:
    """The shape noted at a node, None where it is no single tensor."""
    meta = node.meta.get("tensor_meta") if isinstance(node, fx.Node) else None
    shape = getattr(meta, "shape", None)
    return None if shape is None else tuple(shape)
