"""Rewrites a graph: convolutions, full connections, normalisations and poolings become ours, with what follows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import fx, nn
from torch.nn import functional

from saccade import nn as ours
from saccade._accelerate import runtime
from saccade._accelerate.match import Modules, activation_of, bind, flattened, mutates, reads_shape, sum_of
from saccade._accelerate.trace import leaves

__all__ = ["HEADS", "POOLS", "RESULTS", "fuse"]

_aten = torch.ops.aten
_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
_TRANSPOSED_CONVS = (torch.conv_transpose2d, functional.conv_transpose2d, _aten.conv_transpose2d.input)
_CONVS = (torch.conv2d, functional.conv2d, _aten.conv2d.default)
_LINEAR = ("input", "weight", "bias")
_LINEARS = (functional.linear, _aten.linear.default)
_STATISTICS_FIRST = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
_WEIGHT_FIRST = (
    "input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps", "cudnn_enabled",
)  # fmt: skip
_NORMS: dict[Any, tuple[str, ...]] = {
    functional.batch_norm: _STATISTICS_FIRST,
    torch.batch_norm: _WEIGHT_FIRST,
    _aten.batch_norm.default: _WEIGHT_FIRST,
}
_MAX = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_AVG = ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
_ADAPTIVE = ("input", "output_size")
_POOL_CALLS: dict[Any, tuple[Callable[..., Any], tuple[str, ...]]] = {
    functional.max_pool2d: (runtime.max_pool2d, _MAX),
    torch.max_pool2d: (runtime.max_pool2d, _MAX),
    _aten.max_pool2d.default: (runtime.max_pool2d, _MAX),
    functional.avg_pool2d: (runtime.avg_pool2d, _AVG),
    _aten.avg_pool2d.default: (runtime.avg_pool2d, _AVG),
    functional.adaptive_avg_pool2d: (runtime.adaptive_avg_pool2d, _ADAPTIVE),
    torch._C._nn.adaptive_avg_pool2d: (runtime.adaptive_avg_pool2d, _ADAPTIVE),
    _aten.adaptive_avg_pool2d.default: (runtime.adaptive_avg_pool2d, _ADAPTIVE),
}
POOLS = (runtime.max_pool2d, runtime.avg_pool2d, runtime.adaptive_avg_pool2d)
_CONVOLUTIONS = (runtime.conv2d, runtime.conv_transpose2d)
_OF_IMAGES = (*_CONVOLUTIONS, runtime.batch_norm, *POOLS)
HEADS = (*_CONVOLUTIONS, runtime.batch_norm, runtime.linear, runtime.linear_of_maps)
RESULTS = (*HEADS, *POOLS, runtime.add_enlarged)  # none is a view of something


def fuse(graph: fx.Graph, modules: Modules) -> None:
    """Rewrite ``graph`` in place; ``modules`` are those that it calls, by name."""
    for node in list(graph.nodes):
        with graph.inserting_before(node):
            call = _ours(graph, node, modules)
        if call is not None:
            _replace(graph, [node], call)
    for node in list(graph.nodes):
        if node.target is runtime.linear:
            _take_flattening(graph, node, modules)
        elif (terms := sum_of(node)) is not None:
            first, second, _ = terms
            _add_enlarged(graph, node, first, second, modules) or _add_enlarged(graph, node, second, first, modules)
    # Backwards: where a sum has two convolutions, the last one to run takes the other's result as its residual.
    for node in reversed(list(graph.nodes)):
        if node.target in HEADS:
            _absorb(graph, node, modules)
    _free_views(graph, modules)
    _share_inputs(graph, modules)
    for node in reversed(list(graph.nodes)):
        if node.op == "get_attr" and not node.users:
            graph.erase_node(node)


# ---- One node becomes ours -------------------------------------------------------------------------------------------


def _ours(graph: fx.Graph, node: fx.Node, modules: Modules) -> fx.Node | None:
    if node.op == "call_module":
        return _from_module(graph, node, modules[str(node.target)])
    return _from_function(graph, node) if node.op == "call_function" else None


def _from_module(graph: fx.Graph, node: fx.Node, module: nn.Module) -> fx.Node | None:
    also: dict[str, Any] = {}
    if isinstance(module, (ours.BatchNorm2d, ours.SyncBatchNorm)):
        also = bind(node, ("input", "residual", "activation"))
        input = also.pop("input")
    elif len(node.args) + len(node.kwargs) == 1:
        (input,) = (*node.args, *node.kwargs.values())
    else:
        return None

    def attribute(name: str) -> fx.Node | None:
        found = getattr(module, name)
        return None if found is None else graph.create_node("get_attr", f"{node.target}.{name}")

    own_convolution = getattr(type(module), "_conv_forward", None) is not nn.Conv2d._conv_forward
    if isinstance(module, nn.Conv2d) and _unchanged(module, nn.Conv2d, ours.Conv2d) and not own_convolution:
        padding: Any = module.padding
        if module.padding_mode != "zeros":
            margins = module._reversed_padding_repeated_twice
            input = graph.call_function(functional.pad, (input, margins, module.padding_mode))
            padding = 0
        sizes = {"stride": module.stride, "padding": padding, "dilation": module.dilation, "groups": module.groups}
        return graph.call_function(runtime.conv2d, (input, attribute("weight"), attribute("bias")), sizes)
    if isinstance(module, nn.ConvTranspose2d) and _unchanged(module, nn.ConvTranspose2d, ours.ConvTranspose2d):
        sizes = {name: getattr(module, name) for name in _TRANSPOSED[3:]}
        return graph.call_function(
            runtime.conv_transpose2d, (input, attribute("weight"), attribute("bias")), sizes
        )  # fmt: skip
    if isinstance(module, nn.Linear) and _unchanged(module, nn.Linear):
        return graph.call_function(runtime.linear, (input, attribute("weight"), attribute("bias")))
    fixed = isinstance(module, leaves()) and hasattr(module, "running_var")
    if fixed or (
        isinstance(module, (nn.BatchNorm2d, nn.SyncBatchNorm, ours.SyncBatchNorm))
        and _unchanged(module, nn.BatchNorm2d, nn.SyncBatchNorm, ours.BatchNorm2d, ours.SyncBatchNorm)
        and not module.training
        and module.running_mean is not None
    ):
        names = "running_mean", "running_var", "weight", "bias"
        norm = (*map(attribute, names), cast(float, module.eps))
        given = {name: value for name, value in also.items() if value is not None}
        return graph.call_function(runtime.batch_norm, (input, norm), given)
    if isinstance(module, nn.MaxPool2d) and _unchanged(module, nn.MaxPool2d, ours.MaxPool2d):
        sizes = {name: getattr(module, name) for name in _MAX[1:6]}
        return None if module.return_indices else graph.call_function(runtime.max_pool2d, (input,), sizes)
    if isinstance(module, nn.AvgPool2d) and _unchanged(module, nn.AvgPool2d, ours.AvgPool2d):
        return graph.call_function(runtime.avg_pool2d, (input,), {name: getattr(module, name) for name in _AVG[1:]})
    if isinstance(module, nn.AdaptiveAvgPool2d) and _unchanged(module, nn.AdaptiveAvgPool2d, ours.AdaptiveAvgPool2d):
        return graph.call_function(runtime.adaptive_avg_pool2d, (input, cast(Any, module.output_size)))
    return None


def _unchanged(module: nn.Module, *classes: type[nn.Module]) -> bool:
    """Whether a module computes what one of the classes does: a subclass may have its own forward."""
    return type(module).forward in [known.forward for known in classes] and "forward" not in module.__dict__


def _from_function(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    if node.target in _CONVS:
        arguments = bind(node, _CONV)
        if set(arguments) <= set(_CONV):
            input, weight, bias = arguments.pop("input"), arguments.pop("weight"), arguments.pop("bias", None)
            return graph.call_function(runtime.conv2d, (input, weight, bias), arguments)
    elif node.target in _TRANSPOSED_CONVS:
        arguments = bind(node, _TRANSPOSED)
        input, weight, bias = arguments.pop("input"), arguments.pop("weight"), arguments.pop("bias", None)
        return graph.call_function(runtime.conv_transpose2d, (input, weight, bias), arguments)
    elif node.target in _LINEARS:
        arguments = bind(node, _LINEAR)
        return graph.call_function(runtime.linear, tuple(map(arguments.get, _LINEAR)))
    elif node.target in _NORMS:
        arguments = bind(node, _NORMS[node.target])
        mean, var = arguments.get("running_mean"), arguments.get("running_var")
        if arguments.get("training", False) is False and mean is not None and var is not None:
            norm = mean, var, arguments.get("weight"), arguments.get("bias"), arguments.get("eps", 1e-5)
            return graph.call_function(runtime.batch_norm, (arguments["input"], norm))
    elif node.target in _POOL_CALLS:
        pool, names = _POOL_CALLS[node.target]
        arguments = bind(node, names)
        if arguments.pop("return_indices", False) is False and set(arguments) <= set(names):
            return graph.call_function(pool, (arguments.pop("input"),), arguments)
    return None


def _take_flattening(graph: fx.Graph, node: fx.Node, modules: Modules) -> None:
    """Give a fully connected layer the maps that were flattened for it alone."""
    before = node.args[0]
    if not isinstance(before, fx.Node) or len(before.users) > 1:
        return
    if (maps := flattened(before, modules)) is not None:
        with graph.inserting_before(node):
            call = graph.call_function(runtime.linear_of_maps, (maps, *node.args[1:]))
        _replace(graph, [before, node], call)


# ---- What follows is fused in ----------------------------------------------------------------------------------------


def _absorb(graph: fx.Graph, head: fx.Node, modules: Modules) -> None:
    """Fuse what alone uses the result of ``head``, and so on along the chain."""
    chain, fused = [head], dict(head.kwargs)
    while len(chain[-1].users) == 1:
        (user,) = chain[-1].users
        step = _step(chain[-1], user, fused, head.target in _CONVOLUTIONS, modules)
        # Fusing moves the work to the place of ``user``: nothing may be overwritten in between.
        if step is None or _overwritten_between(chain[-1], user, modules):
            break
        fused.update(step)
        chain.append(user)
    if len(chain) > 1:
        with graph.inserting_before(chain[-1]):
            call = graph.call_function(head.target, head.args, fused)  # type: ignore[arg-type]
        _replace(graph, chain, call)


def _step(
    last: fx.Node, user: fx.Node, fused: dict[str, Any], convolution: bool, modules: Modules
) -> dict[str, Any] | None:
    """The arguments with which ``user`` becomes part of the call that ends in ``last``; None where it cannot."""
    if fused.get("activation") is not None:
        return None
    if user.target is runtime.batch_norm:
        free = convolution and "norm" not in fused and "residual" not in fused
        reads_once = user.args[0] is last and user.kwargs.get("residual") is not last
        return {"norm": user.args[1], **user.kwargs} if free and reads_once else None
    activation = activation_of(user, modules)
    if activation is not None and bind(user, ("input",)).get("input") is last:
        return {"activation": activation}
    terms = sum_of(user)
    if terms is None or "residual" in fused:
        return None
    first, second, in_place = terms
    other = second if first is last else first
    if not isinstance(other, fx.Node) or other is last or (in_place and first is not last):
        return None
    return {"residual": other}


def _overwritten_between(first: fx.Node, last: fx.Node, modules: Modules) -> bool:
    node = first.next
    while node is not last:
        if mutates(node, modules):
            return True
        node = node.next
    return False


def _replace(graph: fx.Graph, chain: list[fx.Node], call: fx.Node) -> None:
    chain[-1].replace_all_uses_with(call)
    for node in reversed(chain):
        graph.erase_node(node)


# ---- Layout ----------------------------------------------------------------------------------------------------------

_VIEWS = {"view": "reshape", "view_as": "reshape_as"}


def _free_views(graph: fx.Graph, modules: Modules) -> None:
    """Let a view copy where the values lie in another order than in the code's own run."""
    for node in graph.nodes:
        if any(mutates(user, modules) for user in node.users):
            continue
        if node.op == "call_method" and node.target in _VIEWS and not isinstance(node.args[-1], torch.dtype):
            node.target = _VIEWS[node.target]
        elif node.target is _aten.view.default:
            node.target = _aten.reshape.default


def _share_inputs(graph: fx.Graph, modules: Modules) -> None:
    """Reorder an input once that several of our calls read."""
    for node in [node for node in graph.nodes if node.op == "placeholder"]:
        readers = [user for user in node.users if user.target in _OF_IMAGES and user.args[0] is node]
        if len(readers) > 1 and not any(mutates(user, modules) for user in node.users):
            with graph.inserting_after(node):
                ordered = graph.call_function(runtime.channels_last, (node,))
            for reader in readers:
                reader.update_arg(0, ordered)


# ---- Enlarged and added ----------------------------------------------------------------------------------------------


def _add_enlarged(graph: fx.Graph, node: fx.Node, term: Any, other: Any, modules: Modules) -> bool:
    """Whether ``other`` is enlarged only to be added, in ``node``, to a result of ours that can take the sum."""
    coarse = _enlarged(other)
    if coarse is None or not isinstance(term, fx.Node) or term.target not in RESULTS:
        return False
    if not all(user is node or reads_shape(user) for user in term.users) or _overwritten_between(other, node, modules):
        return False
    with graph.inserting_before(node):
        call = graph.call_function(runtime.add_enlarged, (term, *coarse))
    _replace(graph, [other, node], call)
    return True


def _enlarged(value: Any) -> tuple[Any, Any] | None:
    """Of an enlargement to a size by nearest neighbours, read by its sum alone: what is enlarged, and the size."""
    if not isinstance(value, fx.Node) or value.target is not functional.interpolate or len(value.users) > 1:
        return None
    arguments = bind(value, ("input", "size", "scale_factor", "mode"))
    others = [value for name, value in arguments.items() if name not in ("input", "size", "mode")]
    plain = arguments.get("mode", "nearest") == "nearest" and not any(others)
    return (arguments["input"], arguments["size"]) if plain and arguments.get("size") is not None else None
