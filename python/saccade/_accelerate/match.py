"""What a node of a graph computes, however it is written: as a module, a function, a method or an ATen operator."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import fx, nn
from torch.nn import functional

from saccade.ops._activation import Activation

__all__ = ["Modules", "activation_of", "bind", "call_name", "flattened", "mutates", "reads_shape", "sum_of"]

Modules: TypeAlias = Mapping[str, nn.Module]
_aten = torch.ops.aten

_ACTIVATIONS: dict[Any, Activation] = {
    functional.relu: "relu", torch.relu: "relu", torch.relu_: "relu", functional.relu_: "relu",
    _aten.relu.default: "relu", _aten.relu_.default: "relu",
    functional.leaky_relu: "leaky_relu", functional.leaky_relu_: "leaky_relu",
    _aten.leaky_relu.default: "leaky_relu", _aten.leaky_relu_.default: "leaky_relu",
    functional.elu: "elu", functional.elu_: "elu", _aten.elu.default: "elu", _aten.elu_.default: "elu",
    torch.sigmoid: "sigmoid", torch.sigmoid_: "sigmoid", functional.sigmoid: "sigmoid",
    _aten.sigmoid.default: "sigmoid", _aten.sigmoid_.default: "sigmoid",
}  # fmt: skip
_ACTIVATION_METHODS: dict[str, Activation] = {
    "relu": "relu", "relu_": "relu", "sigmoid": "sigmoid", "sigmoid_": "sigmoid",
}  # fmt: skip
_DEFAULT = {"leaky_relu": ("negative_slope", 0.01), "elu": ("alpha", 1.0)}

_SUMS = (operator.add, torch.add, _aten.add.Tensor)
_SUMS_IN_PLACE = (operator.iadd, _aten.add_.Tensor)
_IN_PLACE_OPERATORS = {
    operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ifloordiv, operator.imod, operator.ipow,
    operator.iand, operator.ior, operator.ixor, operator.ilshift, operator.irshift, operator.imatmul,
    operator.iconcat, operator.setitem, operator.delitem, setattr,
}  # fmt: skip


def bind(node: fx.Node, names: tuple[str, ...]) -> dict[str, Any]:
    """The arguments of a call by name."""
    return dict(zip(names, node.args, strict=False)) | node.kwargs


def activation_of(node: fx.Node, modules: Modules) -> Activation:
    """The activation that a node applies to its first argument, or None."""
    if node.op == "call_module":
        return _activation_of_module(modules[str(node.target)])
    if node.op == "call_method":
        return _ACTIVATION_METHODS.get(str(node.target))
    name = _ACTIVATIONS.get(node.target) if node.op == "call_function" else None
    if name in _DEFAULT:
        option, default = _DEFAULT[name]
        arguments = bind(node, ("input", option, "scale", "input_scale"))
        plain = arguments.get(option, default) == default
        if name == "elu" and isinstance(node.target, torch._ops.OpOverload):
            plain = plain and arguments.get("scale", 1) == 1 and arguments.get("input_scale", 1) == 1
        return name if plain else None
    return name


def _activation_of_module(module: nn.Module) -> Activation:
    if type(module) is nn.ReLU:
        return "relu"
    if type(module) is nn.LeakyReLU:
        return "leaky_relu" if module.negative_slope == 0.01 else None
    if type(module) is nn.ELU:
        return "elu" if module.alpha == 1 else None
    return "sigmoid" if type(module) is nn.Sigmoid else None


def sum_of(node: fx.Node) -> tuple[Any, Any, bool] | None:
    """The two terms of a plain sum, and whether it is written into the first; or None."""
    if node.op == "call_method" and node.target in ("add", "add_"):
        in_place = node.target == "add_"
    elif node.op == "call_function" and node.target in (*_SUMS, *_SUMS_IN_PLACE):
        in_place = node.target in _SUMS_IN_PLACE
    else:
        return None
    arguments = bind(node, ("input", "other"))
    if set(arguments) - {"alpha"} != {"input", "other"} or arguments.get("alpha", 1) != 1:
        return None
    return arguments["input"], arguments["other"], in_place


def flattened(node: fx.Node, modules: Modules) -> Any:
    """What a node flattens from dimension 1 on, or None."""
    if node.op == "call_module":
        module = modules[str(node.target)]
        plain = type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1)
        return node.args[0] if plain and len(node.args) == 1 else None
    if node.target not in ("flatten", torch.flatten, _aten.flatten.using_ints):
        return None
    arguments = bind(node, ("input", "start_dim", "end_dim"))
    plain = (arguments.get("start_dim", 0), arguments.get("end_dim", -1)) == (1, -1)
    return arguments.get("input") if plain else None


def reads_shape(node: fx.Node) -> bool:
    """Whether a node reads a tensor's shape and nothing else of it."""
    if node.op == "call_method":
        return str(node.target) in ("size", "dim")
    return bool(node.target is getattr and node.args[1] == "shape")


def mutates(node: fx.Node, modules: Modules) -> bool:
    """Whether a node may write into a tensor that exists already. In doubt it does."""
    if node.op == "call_module":
        return bool(getattr(modules[str(node.target)], "inplace", False))
    if node.op == "call_method":
        return str(node.target) == "__setitem__" or _named_in_place(str(node.target))
    if node.op != "call_function":
        return False
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        return target._schema.is_mutable
    if target in _IN_PLACE_OPERATORS:
        return True
    if node.kwargs.get("out") is not None or node.kwargs.get("inplace") or _named_in_place(call_name(node, modules)):
        return True
    home = getattr(target, "__module__", None) or "torch"  # torch's built-in functions name no module
    if home.startswith("torch.nn.functional"):
        return any(argument is True for argument in node.args)  # the position of ``inplace`` differs
    return home.split(".")[0] not in ("torch", "_operator", "math", "builtins", "collections", "saccade")


def _named_in_place(name: str) -> bool:
    return name.endswith("_") and not name.endswith("__")


def call_name(node: fx.Node, modules: Modules) -> str:
    """A short name of what a node calls."""
    if node.op == "call_module":
        return type(modules[str(node.target)]).__name__
    if node.op == "call_method":
        return str(node.target)
    if isinstance(node.target, torch._ops.OpOverload):
        return str(node.target).split(".")[1]
    return str(getattr(node.target, "__name__", node.target))
