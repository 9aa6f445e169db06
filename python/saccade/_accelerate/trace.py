"""The graph of a module's forward, or the reason why there is none."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch import fx, nn

__all__ = ["NotTraceable", "leaves", "required_arguments", "trace"]

# What reads how a tensor lies in memory; inside a graph it lies otherwise.
_LAYOUT_METHODS = {
    "as_strided", "data_ptr", "is_contiguous", "numpy", "storage", "stride", "tolist", "untyped_storage",
}  # fmt: skip


class NotTraceable(Exception):
    """A module whose forward cannot be turned into a graph."""


def trace(module: nn.Module) -> fx.Graph:
    """The graph of ``module.forward`` for required arguments only, the others at their defaults.

    Raises:
        NotTraceable: where the graph could differ from the code.
    """
    if isinstance(module, torch.jit.ScriptModule):
        raise NotTraceable("it is scripted")
    if "forward" in module.__dict__:
        raise NotTraceable("its forward was replaced on the object")
    hooked = next((name for name, inner in module.named_modules() if name and _has_hooks(inner)), None)
    if hooked is not None:
        raise NotTraceable(f"{hooked} has hooks")
    before = {inner: _attributes(inner) for inner in module.modules()}
    tracer = _Tracer()
    try:
        graph = tracer.trace(module)
    except NotTraceable:
        raise
    except Exception as error:  # the user's code, run on stand-ins, raises whatever it likes
        raise NotTraceable(_first_sentence(error)) from error
    finally:
        changed = [inner for inner, attributes in before.items() if not _same(attributes, _attributes(inner))]
        for inner in changed:
            _restore(inner, before[inner])
    if changed:
        raise NotTraceable("its forward sets attributes, or makes a tensor that depends on no input")
    for node in graph.nodes:
        if node.op == "call_method" and node.target in _LAYOUT_METHODS:
            raise NotTraceable(f"it calls Tensor.{node.target}")
    return graph


def leaves() -> tuple[type[nn.Module], ...]:
    """Modules that stay one node, beside torch's own."""
    from saccade.ops import FrozenBatchNorm2d

    found: list[type[nn.Module]] = [FrozenBatchNorm2d]
    if torchvision := sys.modules.get("torchvision.ops"):
        found += [torchvision.FrozenBatchNorm2d, torchvision.DeformConv2d]
    return tuple(found)


def required_arguments(forward: Callable[..., Any]) -> list[str]:
    """The names of the positional arguments without a default; ``forward`` is a function of a class."""
    names = []
    for parameter in list(inspect.signature(forward).parameters.values())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.default is parameter.empty:
            if parameter.kind is parameter.KEYWORD_ONLY:
                raise NotTraceable(f"its argument {parameter.name} is keyword-only")
            names.append(parameter.name)
    return names


class _Value(fx.Proxy):
    """A stand-in for a value. Code that asks for its type would get an answer that need not hold for the value."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_globals.get("__name__") == "abc":
            frame = frame.f_back
        asking = "" if frame is None else frame.f_globals.get("__name__", "")
        if asking.split(".")[0] in ("torch", "typing", "inspect", "copy") or asking.startswith("saccade._accelerate"):
            return _Value
        raise NotTraceable(f"{asking} asks for the type of a traced value")


class _Tracer(fx.Tracer):
    def __init__(self) -> None:
        super().__init__()
        self._leaves = leaves()

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        names = required_arguments(root_fn)
        return root_fn, [self.root, *(self.create_proxy("placeholder", name, (), {}) for name in names)]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, self._leaves) or type(m).__module__.startswith("saccade.nn"):
            return True
        return super().is_leaf_module(m, module_qualified_name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Value(node, self)

    def create_arg(self, a: Any) -> Any:
        # Its exact type may matter to the caller; fx would make it a plain dict.
        if not issubclass(type(a), fx.Proxy) and isinstance(a, dict) and type(a) is not dict:
            items = [(key, self.create_arg(value)) for key, value in a.items()]
            return self.create_node("call_function", type(a), (items,), {})
        return super().create_arg(a)


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _attributes(module: nn.Module) -> dict[str, Any]:
    """What a forward could set: the attributes, containers copied one level deep."""
    return {key: value.copy() if type(value) in (dict, list, set) else value for key, value in module.__dict__.items()}


def _same(before: Any, after: Any) -> bool:
    if type(before) is not type(after):
        return False
    if isinstance(before, dict):
        return list(before) == list(after) and all(_same(before[key], after[key]) for key in before)
    if isinstance(before, list):
        return len(before) == len(after) and all(x is y for x, y in zip(before, after, strict=True))
    return before is after or (isinstance(before, (set, int, float, str)) and before == after)


def _restore(module: nn.Module, attributes: dict[str, Any]) -> None:
    module.__dict__.clear()
    module.__dict__.update(attributes)


def _first_sentence(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0].split(". ")[0] if text else type(error).__name__
