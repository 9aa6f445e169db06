"""How long results live inside a graph: which may be written over."""

from __future__ import annotations

from typing import Any

from torch import fx

from saccade._accelerate import runtime
from saccade._accelerate.fuse import RESULTS
from saccade._accelerate.match import reads_shape

__all__ = ["MEMORY", "plan_memory"]

MEMORY = "memory"  # the name under which a graph finds its Memory


def plan_memory(graph: fx.Graph) -> None:
    """Give convolutions the graph's memory for their results, and mark those that may write over their residual."""
    place = {node: i for i, node in enumerate(graph.nodes)}
    convolutions = [node for node in graph.nodes if node.target is runtime.conv2d]
    if not convolutions:
        return
    with graph.inserting_before(convolutions[0]):
        memory = graph.create_node("get_attr", MEMORY)
    for node in convolutions:
        node.update_kwarg("memory", memory)
        residual = node.kwargs.get("residual")
        dense = node.kwargs.get("groups", 1) == 1
        if dense and node.args[0] is not residual and node == _last_reader(residual, place):
            node.update_kwarg("in_place", True)


def _last_reader(value: Any, place: dict[fx.Node, int]) -> fx.Node | None:
    """The last to read a result of ours, if all its readers are ours: their results are no views of it."""
    if not isinstance(value, fx.Node) or value.target not in RESULTS:
        return None
    readers = [user for user in value.users if not reads_shape(user)]
    if not readers or not all(reader.target in RESULTS for reader in readers):
        return None
    return max(readers, key=place.__getitem__)
