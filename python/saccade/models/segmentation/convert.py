"""Classifiers made fully convolutional: one class for each position instead of one for each image."""

from __future__ import annotations

import copy
import math
import operator
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from saccade.models.segmentation._graph import NotTraceable, shape_of, trace, with_shapes
from saccade.nn import AvgPool2d, BatchNorm2d, Conv2d, GaussianRBF, ScaledTanh, TanhSigmoid

__all__ = ["convert_to_fcn"]

_POINTWISE_MODULES = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Sigmoid, nn.Tanh, nn.Softplus,
    nn.Dropout, nn.Identity, ScaledTanh, TanhSigmoid,
)  # fmt: skip
_POINTWISE = {
    operator.neg, operator.add, operator.sub, operator.mul, operator.truediv, torch.relu, torch.tanh, torch.sigmoid,
    functional.relu, functional.leaky_relu, functional.elu, functional.gelu, functional.silu, functional.dropout,
    "relu", "relu_", "tanh", "sigmoid", "neg", "contiguous",
}  # fmt: skip
_FLATTEN = {torch.flatten, torch.squeeze, torch.reshape, operator.getitem, "flatten", "squeeze", "view", "reshape"}
_SOFTMAX = {torch.softmax, torch.log_softmax, functional.softmax, functional.log_softmax, "softmax", "log_softmax"}
_POOLINGS = {functional.adaptive_avg_pool2d}
_MEANS = {torch.mean, "mean"}
_REORDERED = {torch.permute, torch.transpose, "permute", "transpose", "movedim", "swapaxes"}


class _PerPosition(nn.Module):
    """A layer of vectors, applied to each position of maps."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, input: Tensor) -> Tensor:
        n, c, h, w = input.shape
        vectors: Tensor = self.layer(input.permute(0, 2, 3, 1).reshape(n * h * w, c))
        return vectors.reshape(n, h, w, -1).permute(0, 3, 1, 2)


def convert_to_fcn(
    model: nn.Module, example: Tensor, *, global_pooling: Literal["slide", "keep"] = "slide"
) -> fx.GraphModule:
    """A classifier as a fully convolutional network with the same weights, which slides over images of any size.

    The first fully connected layer after flattening maps of ``C x h x w`` becomes a convolution with a kernel of
    ``h x w``, those that follow become 1x1 convolutions. On an image of the example's size the result is the
    classifier's, in one position; larger images give a map, one position for each place of the window that the layers'
    strides let it take (borders differ: the window sees what lies around it, where the classifier saw padding).

    Args:
        model: stays as it is; its forward must be a fixed sequence of calls (torch.fx) on one input.
        example: images ``(N, C, H, W)`` of the size that the classifier is for.
        global_pooling: ``"slide"``: the mean over all positions (ResNet) becomes one over windows of the example's
            size, stride 1; ``"keep"``: it stays, and with it one answer for each image. Poolings to a fixed size above
            1 (AlexNet, VGG) become ordinary ones in either case.

    Returns:
        A network ``(N, C, H, W)`` to ``(N, classes, h, w)`` with copies of the weights under the same names; those of
        fully connected layers have two dimensions more. Its layers follow ``train()`` and ``eval()``; where the model's
        own code asks for ``self.training``, the answer stays that of evaluation.

    Raises:
        TypeError: for what is no module or tensor; ValueError: where the model cannot be traced, flattens nothing, or
            has a layer between flattening and output that is not known to work position by position; RuntimeError: if
            the result differs on the example.

    Source: Long, Shelhamer and Darrell, Fully Convolutional Networks for Semantic Segmentation, 2015, section 3.1.

    >>> fcn = convert_to_fcn(saccade.models.lenet5(), torch.rand(1, 1, 32, 32))
    >>> fcn(torch.rand(1, 1, 32, 32)).shape, fcn(torch.rand(1, 1, 48, 64)).shape
    (torch.Size([1, 10, 1, 1]), torch.Size([1, 10, 5, 9]))
    """
    _check(model, example, global_pooling)
    copied = copy.deepcopy(model)
    training = {name: module.training for name, module in copied.named_modules()}
    try:
        graph, _ = trace(copied.eval())
    except NotTraceable as reason:
        raise ValueError(
            f"convert_to_fcn: model must be a fixed sequence of calls, got {type(model).__name__}: {reason}"
        ) from reason
    with torch.no_grad():
        expected = copied(example)
        with_shapes(graph, example)
        _Conversion(graph, global_pooling == "slide").run()
        _verify(graph(example), expected)
    for name, module in graph.named_modules():
        module.training = training.get(name, training.get(name.removesuffix(".layer"), model.training))
    return graph


def _check(model: Any, example: Any, global_pooling: Any) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"convert_to_fcn: model must be a torch.nn.Module, got {type(model).__name__}")
    if not isinstance(example, Tensor):
        raise TypeError(f"convert_to_fcn: example must be a tensor, got {type(example).__name__}")
    if example.dim() != 4 or 0 in example.shape:
        raise ValueError(f"convert_to_fcn: example must have shape (N, C, H, W), got {tuple(example.shape)}")
    if global_pooling not in ("slide", "keep"):
        raise ValueError(f"convert_to_fcn: global_pooling must be 'slide' or 'keep', got {global_pooling!r}")


def _verify(found: Tensor, expected: Tensor) -> None:
    difference = (found.flatten(1) - expected.flatten(1)).abs().max().item()
    if not difference <= 1e-3 * max(expected.abs().max().item(), 1e-30):
        raise RuntimeError(f"convert_to_fcn: the result differs from the model's on the example, by {difference:.3g}")


class _Conversion:
    """Rewrites a graph node by node; ``flat`` has the maps ``(C, h, w)`` that each vector stands for."""

    def __init__(self, graph: fx.GraphModule, slide: bool) -> None:
        self.graph, self.slide = graph, slide
        self.modules = dict(graph.named_modules())
        self.flat: dict[fx.Node, tuple[int, int, int]] = {}
        self.new: set[str] = set()

    def run(self) -> None:
        nodes = list(self.graph.graph.nodes)
        for node in nodes:
            if node.op == "output":
                if not any(argument in self.flat for argument in node.all_input_nodes):
                    raise ValueError("convert_to_fcn: model must flatten maps into a vector for each image")
            elif node.op in ("call_module", "call_function", "call_method"):
                self._convert(node)
        self.graph.graph.eliminate_dead_code()
        self.graph.delete_all_unused_submodules()
        self.graph.graph.lint()
        self.graph.recompile()

    def _convert(self, node: fx.Node) -> None:
        inputs = [argument for argument in node.all_input_nodes if argument in self.flat]
        if inputs:
            self._after_flattening(node, inputs)
            return
        source = node.args[0] if node.args else None
        before, after = shape_of(source), shape_of(node)
        if before is None or after is None or len(before) != 4:
            return
        assert isinstance(source, fx.Node)
        what = self._what(node)
        if what in _REORDERED:
            raise ValueError(f"convert_to_fcn: model must keep channels before positions, got {_name(what)}")
        if what in _POOLINGS or isinstance(what, nn.AdaptiveAvgPool2d):
            self._pool(node, source, before[2:], after[2:])
        elif what in _MEANS and len(after) == 2 and after == before[:2]:
            self._pool(node, source, before[2:], (1, 1))
            self.flat[node] = before[1], 1, 1
        elif _flattens(what) and len(after) < 4 and after[0] == before[0] and math.prod(after) == math.prod(before):
            if len(after) == 2 or before[2:] == (1, 1):
                self._bypass(node, source)
                self.flat[source] = before[1], before[2], before[3]

    def _after_flattening(self, node: fx.Node, inputs: list[fx.Node]) -> None:
        channels, height, width = self.flat[inputs[0]]
        what = self._what(node)
        if any(self.flat[other] != self.flat[inputs[0]] for other in inputs):
            raise ValueError(f"convert_to_fcn: model must combine vectors of one origin, got {_name(what)}")
        if isinstance(what, nn.Linear):
            self._replace(node, what, lambda: _convolution(what, channels, height, width))
            self.flat[node] = what.out_features, 1, 1
        elif isinstance(what, _POINTWISE_MODULES) or what in _POINTWISE:
            self.flat[node] = channels, height, width
        elif _flattens(what) and math.prod(shape_of(node) or ()) == math.prod(shape_of(inputs[0]) or (0,)):
            self._bypass(node, inputs[0])
        elif what in ("size", "dim", getattr):  # whose results only flattening used, or nothing
            return
        elif (height, width) == (1, 1) and self._on_positions(node, what):
            after = shape_of(node)
            self.flat[node] = (after[1] if after else channels), 1, 1
        else:
            raise ValueError(
                "convert_to_fcn: model must have layers that work position by position after flattening, "
                f"got {_name(what)}"
            )

    def _on_positions(self, node: fx.Node, what: Any) -> bool:
        """Let a layer of vectors work on each position; whether that is known to be possible."""
        if isinstance(what, nn.BatchNorm1d):
            self._replace(node, what, lambda: _normalisation(what))
        elif isinstance(what, (nn.LayerNorm, GaussianRBF)):
            self._replace(node, what, lambda: _PerPosition(what))
        elif isinstance(what, (nn.Softmax, nn.LogSoftmax)):
            kind = type(what)
            self._replace(node, what, lambda: kind(1))
        elif what in _SOFTMAX:
            node.args, node.kwargs = node.args[:1], {**node.kwargs, "dim": 1}
        else:
            return False
        return True

    def _pool(self, node: fx.Node, source: fx.Node, before: tuple[int, ...], after: tuple[int, ...]) -> None:
        if after == (1, 1) and not self.slide:
            if self._what(node) in _MEANS:
                node.kwargs = {**node.kwargs, "keepdim": True}
            return
        if before == after:
            self._bypass(node, source)
            return
        if any(size % wanted for size, wanted in zip(before, after, strict=True)):
            raise ValueError(
                f"convert_to_fcn: example must give maps of a multiple of {after} for {node.name}, got {before}"
            )
        kernel = tuple(size // wanted for size, wanted in zip(before, after, strict=True))
        stride = 1 if after == (1, 1) else kernel
        path = f"{node.name}_sliding"
        self.graph.add_submodule(path, AvgPool2d(kernel, stride))  # type: ignore[arg-type]
        node.op, node.target, node.args, node.kwargs = "call_module", path, (source,), {}

    def _bypass(self, node: fx.Node, source: fx.Node) -> None:
        node.replace_all_uses_with(source)
        self.graph.graph.erase_node(node)

    def _replace(self, node: fx.Node, old: nn.Module, make: Any) -> None:
        path = str(node.target)
        if path in self.new:  # called more than once: the weights fit if the first maps did
            return
        fresh = make()
        weight = next(old.parameters(), None)
        if weight is not None:
            fresh.to(weight.device, weight.dtype)
        parent, _, name = path.rpartition(".")
        setattr(self.graph.get_submodule(parent), name, fresh)
        self.new.add(path)

    def _what(self, node: fx.Node) -> Any:
        return self.modules[str(node.target)] if node.op == "call_module" else node.target


def _flattens(what: Any) -> bool:
    return isinstance(what, nn.Flatten) or (not isinstance(what, nn.Module) and what in _FLATTEN)


def _name(what: Any) -> str:
    if isinstance(what, nn.Module):
        return type(what).__name__
    return what if isinstance(what, str) else getattr(what, "__name__", repr(what))


def _convolution(layer: nn.Linear, channels: int, height: int, width: int) -> Conv2d:
    convolution = Conv2d(channels, layer.out_features, (height, width), bias=layer.bias is not None)
    convolution.to(layer.weight.device, layer.weight.dtype)
    convolution.weight.copy_(layer.weight.reshape(convolution.weight.shape))
    convolution.weight.requires_grad_(layer.weight.requires_grad)
    if layer.bias is not None and convolution.bias is not None:
        convolution.bias.copy_(layer.bias)
        convolution.bias.requires_grad_(layer.bias.requires_grad)
    return convolution


def _normalisation(layer: nn.BatchNorm1d) -> BatchNorm2d:
    fresh = BatchNorm2d(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
    fresh.load_state_dict(layer.state_dict())
    return fresh.train(layer.training)
