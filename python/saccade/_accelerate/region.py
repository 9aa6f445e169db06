"""A module's forward as a rewritten graph."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from saccade._accelerate.fuse import fuse
from saccade._accelerate.lifetimes import MEMORY, plan_memory
from saccade._accelerate.memory import Memory
from saccade._accelerate.report import summarize
from saccade._accelerate.trace import leaves, required_arguments, trace

__all__ = ["Region", "as_eager"]


class Region:
    """Stands in for the ``forward`` of one module object; the module keeps its class, parameters and submodules.

    Calls that the graph was not made for, with optional arguments or with other things than tensors, go to the code
    of the class.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype | None = None, any_layout: bool = False) -> None:
        """Raises NotTraceable.

        Args:
            module: not called yet with another forward than its class's.
            dtype: what to compute in.
            any_layout: whether who uses the outputs copes with channels_last.
        """
        # A module that stays one node has no graph of its own: seen from outside it is one.
        home = type(module).__module__
        alone = home.startswith(("torch.nn.modules", "saccade.nn")) or isinstance(module, leaves())
        root = nn.Sequential(module) if alone and not isinstance(module, nn.Sequential) else module
        graph = trace(root)
        modules = dict(root.named_modules())
        self.module = module
        self.required = required_arguments(type(module).forward)
        self.dtype = dtype
        self.any_layout = any_layout
        fuse(graph, modules)
        self.summary = summarize(graph, modules)
        plan_memory(graph)
        self._memory = Memory()
        self._calls, self._run = _compiled(graph, modules, self._memory)
        self.__signature__ = inspect.signature(module.forward)
        if dtype is not None:
            _convert(module, dtype)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the graph, or the code of the class."""
        run: Callable[..., Any] = self._code
        plain = not kwargs and len(args) == len(self.required)
        inputs = args if plain else self._required_only(args, kwargs)
        if inputs is not None and all(map(_holds_tensors, inputs)):
            run, args, kwargs = self._graph, inputs, {}
        if self.dtype is None:
            return run(*args, **kwargs)
        given = _first_dtype((args, kwargs))
        args, kwargs = _to_dtype((args, kwargs), self.dtype)
        result = run(*args, **kwargs)
        return result if given is None else _to_dtype(result, given, only=self.dtype)

    def _code(self, *args: Any, **kwargs: Any) -> Any:
        return type(self.module).forward(self.module, *args, **kwargs)

    def _graph(self, *inputs: Any) -> Any:
        result = self._run(self._calls, *inputs)
        self._memory.end_call()
        return result if self.any_layout else as_eager(result, inputs)

    def _required_only(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...] | None:
        """The required arguments, if the others have their defaults."""
        try:
            bound = self.__signature__.bind(*args, **kwargs)
        except TypeError:
            return None
        defaults = self.__signature__.parameters
        for name, value in bound.arguments.items():
            if name not in self.required and value is not defaults[name].default:
                return None
        return tuple(bound.arguments[name] for name in self.required)


def as_eager(result: Any, inputs: Sequence[Any]) -> Any:
    """Tensors in the layout that torch's own operators give: contiguous, unless an input is channels_last."""
    if any(isinstance(value, Tensor) and _only_channels_last(value) for value in inputs):
        return result
    return pytree.tree_map_only(
        Tensor, lambda value: value.contiguous() if _only_channels_last(value) else value, result
    )


def _compiled(
    graph: fx.Graph, modules: dict[str, nn.Module], memory: Memory
) -> tuple[SimpleNamespace, Callable[..., Any]]:
    """What the graph uses, modules under short names, and its code, a function of that and the inputs.

    Each part of a path such as ``layer1.0.conv1`` would cost a search through a module's attributes.
    """
    names: dict[str, str] = {}
    for node in graph.nodes:
        if node.op == "call_module" or (node.op == "get_attr" and node.target in modules):
            node.target = names.setdefault(node.target, f"m{len(names)}")
        elif node.op == "get_attr" and node.target != MEMORY:
            owner, _, attribute = node.target.rpartition(".")
            node.target = f"{names.setdefault(owner, f'm{len(names)}')}.{attribute}"
    code = graph.python_code("self")
    scope = dict(code.globals)
    exec(code.src, scope)
    used = {short: modules[name] for name, short in names.items()}
    return SimpleNamespace(**used, **{MEMORY: memory}), scope["forward"]


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_holds_tensors, value))
    if isinstance(value, dict):
        return all(map(_holds_tensors, value.values()))
    return isinstance(value, Tensor)


def _only_channels_last(value: Tensor) -> bool:
    return value.dim() == 4 and not value.is_contiguous() and value.is_contiguous(memory_format=torch.channels_last)


def _convert(module: nn.Module, dtype: torch.dtype) -> None:
    """Parameters and buffers to ``dtype``, but for batch normalisation, whose folded form is kept in float32."""
    kept: tuple[type[nn.Module], ...] = (nn.modules.batchnorm._BatchNorm, *leaves())
    for inner in module.modules():
        if isinstance(inner, kept) and dtype.itemsize < 4:
            continue
        for tensor in (*inner.parameters(recurse=False), *inner.buffers(recurse=False)):
            if tensor.is_floating_point():
                tensor.data = tensor.data.to(dtype)


def _first_dtype(values: Any) -> torch.dtype | None:
    tensors = (value for value in pytree.tree_leaves(values) if isinstance(value, Tensor))
    return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), None)


def _to_dtype(values: Any, dtype: torch.dtype, only: torch.dtype | None = None) -> Any:
    def convert(tensor: Tensor) -> Tensor:
        wanted = tensor.is_floating_point() if only is None else tensor.dtype == only
        return tensor.to(dtype) if wanted else tensor

    return pytree.tree_map_only(Tensor, convert, values)
