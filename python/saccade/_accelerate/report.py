"""What was fused, and what was left as it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from torch import fx

from saccade._accelerate.fuse import HEADS, POOLS
from saccade._accelerate.match import Modules, call_name

__all__ = ["Fused", "Report", "summarize"]

# Bookkeeping that costs nothing.
_FREE = {
    "Dropout", "Identity", "OrderedDict", "channels_last", "contiguous", "dropout", "flatten", "getattr", "getitem",
    "reshape", "size", "view",
}  # fmt: skip


@dataclass(frozen=True)
class Fused:
    """The calls of one rewritten graph, by kind and number."""

    ours: Counter[str]
    left: Counter[str]

    def __str__(self) -> str:
        left = f"\n  left to torch: {_counted(self.left)}" if self.left else ""
        return f"  ours: {_counted(self.ours)}{left}"


@dataclass
class Report:
    """What :func:`saccade.accelerate` did to a model."""

    fused: dict[str, tuple[str, Fused]] = field(default_factory=dict)  # name -> class, calls
    replaced: Counter[str] = field(default_factory=Counter)
    left: list[tuple[str, str, str]] = field(default_factory=list)  # name, class, reason

    def __str__(self) -> str:
        parts = [f"{name or 'the model'} ({kind})\n{fused}" for name, (kind, fused) in self.fused.items()]
        parts += [f"{kind}: {count} replaced" for kind, count in self.replaced.items()]
        if self.left:
            rows = [f"  {name or 'the model'} ({kind}): {reason}" for name, kind, reason in self.left]
            parts.append("\n".join(["run as they are, their parts rewritten where listed above:", *rows]))
        return "\n".join(parts) or (
            "nothing to rewrite: no convolution, fully connected layer, batch normalisation or pooling"
        )


def summarize(graph: fx.Graph, modules: Modules) -> Fused:
    """Count the calls of a rewritten graph."""
    ours: Counter[str] = Counter()
    left: Counter[str] = Counter()
    for node in graph.nodes:
        if node.target in (*HEADS, *POOLS):
            ours[_description(node)] += 1
        elif node.op.startswith("call_") and (called := call_name(node, modules)) not in _FREE:
            left[called] += 1
    return Fused(ours, left)


def _description(node: fx.Node) -> str:
    parts = [node.target.__name__.removesuffix("_of_maps")]  # type: ignore[union-attr]
    parts += ["batch_norm"] if node.kwargs.get("norm") is not None else []
    parts += ["residual"] if node.kwargs.get("residual") is not None else []
    parts += [str(node.kwargs["activation"])] if node.kwargs.get("activation") is not None else []
    return " + ".join(parts)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count}× {what}" for what, count in counts.most_common())
