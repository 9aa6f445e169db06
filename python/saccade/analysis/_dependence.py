"""Follows, while a model runs, which pixels each element of each tensor depends on.

Every storage has a shadow of rectangles (see ``_rectangles``), one for each of its elements. So views and writes into
views need no rules of their own; each operation that makes new memory has one in ``_rules``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from saccade.analysis._rectangles import NOTHING, lined_up

__all__ = ["Call", "Dependence", "Shadow", "union"]

Jump = tuple[float, float]


class Shadow(NamedTuple):
    """The rectangles ``(8, *shape)`` of a tensor, and the pixels from one of its cells to the next, down and right."""

    rectangles: Tensor
    jump: Jump


class Call(NamedTuple):
    """One call of an operation."""

    name: str
    arguments: dict[str, Any]  # by the names of the schema
    shadows: dict[int, Shadow]  # of the tensors among the arguments that depend on the image, by id
    outputs: list[Tensor]
    operator: Any

    def shadow(self, name: str) -> Shadow | None:
        """That of a tensor argument, None where it depends on nothing."""
        return self.shadows.get(id(self.arguments.get(name)))

    def jump(self) -> Jump:
        """The largest among the inputs."""
        jumps = [shadow.jump for shadow in self.shadows.values()]
        return max(jump[0] for jump in jumps), max(jump[1] for jump in jumps)


def union(parts: list[Tensor], dim: int) -> Tensor:
    """Of rectangles that broadcast as tensors with up to ``dim`` axes do."""
    result = lined_up(parts[0], dim)
    for part in parts[1:]:
        result = torch.minimum(result, lined_up(part, dim))
    return result


# They take from a tensor no more than its shape, or change only how it is read.
_VALUELESS = {
    "fill_", "zero_", "new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided", "zeros_like", "ones_like",
    "full_like", "empty_like", "rand_like", "randn_like", "random_", "uniform_", "normal_", "bernoulli_",
}  # fmt: skip
_RESHAPING = {"as_strided_", "resize_", "detach_", "squeeze_", "unsqueeze_", "transpose_", "t_"}


class Dependence(TorchDispatchMode):
    """The mode in which a model runs; :meth:`shadow` says what a tensor depends on, at any time in between."""

    def __init__(self) -> None:
        super().__init__()
        self._shadows: dict[int, tuple[StorageWeakRef, Tensor, Jump]] = {}
        self.assumed: set[str] = set()  # operations without a rule: everything depends on all of their inputs

    def watch(self, image: Tensor, rectangles: Tensor) -> None:
        """Say what a tensor depends on before the model runs."""
        self._write(image, Shadow(rectangles, (1.0, 1.0)))

    def shadow(self, tensor: Tensor) -> Shadow | None:
        """What a tensor depends on, or None: nothing."""
        key = StorageWeakRef(tensor.untyped_storage()).cdata
        if key not in self._shadows or tensor.numel() == 0:
            return None
        _, flat, jump = self._shadows[key]
        if flat.shape[1] * tensor.element_size() != tensor.untyped_storage().nbytes():  # complex numbers as pairs
            everything = lined_up(flat.amin(1), tensor.dim())
            return Shadow(everything.expand(8, *tensor.shape), jump)
        strides = (flat.shape[1], *tensor.stride())
        return Shadow(flat.as_strided((8, *tensor.shape), strides, tensor.storage_offset()), jump)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and note what its results depend on."""
        kwargs = kwargs or {}
        inputs = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        result = func(*args, **kwargs)
        name = func._schema.name.split("::")[1]
        if func.namespace == "prim" or not inputs or name in _RESHAPING:
            return result
        shadows = {id(tensor): found for tensor in inputs if (found := self.shadow(tensor)) is not None}
        arguments = {argument.name: value for argument, value in zip(func._schema.arguments, args, strict=False)}
        arguments |= {a.name: a.default_value for a in func._schema.arguments if a.name not in arguments} | kwargs
        written = [
            arguments[argument.name]
            for argument in func._schema.arguments
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        outputs = [value for value in tree_leaves(result) if isinstance(value, Tensor)]
        if written:
            outputs = [value for value in tree_leaves(written) if isinstance(value, Tensor)]
        elif shadows:
            there = {StorageWeakRef(tensor.untyped_storage()).cdata for tensor in inputs}
            outputs = [tensor for tensor in outputs if StorageWeakRef(tensor.untyped_storage()).cdata not in there]
        outputs = [tensor for tensor in outputs if tensor.numel()]
        if outputs and (shadows or written):
            self._note(Call(name, arguments, shadows, outputs, func))
        return result

    def _note(self, call: Call) -> None:
        from saccade.analysis._rules import find_rule, see_everything

        if not call.shadows or call.name in _VALUELESS or (call.name == "copy_" and call.shadow("src") is None):
            for tensor in call.outputs:
                if self.shadow(tensor) is not None:
                    self._write(tensor, Shadow(torch.full((8, *tensor.shape), NOTHING), (0.0, 0.0)))
            return
        rule = find_rule(call)
        if rule is None:
            self.assumed.add(call.name)
            rule = see_everything
        for tensor, shadow in zip(call.outputs, rule(call), strict=False):
            self._write(tensor, shadow)

    def _write(self, tensor: Tensor, shadow: Shadow) -> None:
        storage = tensor.untyped_storage()
        reference = StorageWeakRef(storage)
        elements = storage.nbytes() // tensor.element_size()
        old = self._shadows.get(reference.cdata)
        whole = old is None or tensor.numel() == elements
        flat = torch.full((8, elements), NOTHING) if whole else old[1].clone()  # type: ignore[index]
        strides = (elements, *tensor.stride())
        flat.as_strided((8, *tensor.shape), strides, tensor.storage_offset()).copy_(shadow.rectangles)
        jump = shadow.jump if whole else tuple(map(max, shadow.jump, old[2]))  # type: ignore[index]
        for key in [key for key, entry in self._shadows.items() if entry[0].expired()]:
            del self._shadows[key]
        self._shadows[reference.cdata] = (reference, flat, jump)
