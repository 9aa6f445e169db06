"""Running a model to look into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import keystr, tree_flatten_with_path

__all__ = ["evaluation", "example_image", "find_layer", "named_outputs", "watched"]


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, each module's own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def example_image(op: str, model: nn.Module, input_size: Sequence[int] | Tensor) -> Tensor:
    """One image as the model takes it: the tensor given, or zeros of a size ``(channels, height, width)``."""
    if isinstance(input_size, Tensor):
        if input_size.dim() not in (3, 4) or not input_size.is_floating_point() or 0 in input_size.shape:
            raise ValueError(
                f"{op}: input_size must be (channels, height, width) or floats of shape (1, C, H, W), "
                f"got a tensor of {input_size.dtype} and shape {tuple(input_size.shape)}"
            )
        return (input_size if input_size.dim() == 4 else input_size[None])[:1].detach()
    if len(input_size) != 3 or not all(isinstance(size, int) and size > 0 for size in input_size):
        raise ValueError(
            f"{op}: input_size must be (channels, height, width) or floats of shape (1, C, H, W), got {input_size!r}"
        )
    first = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    return torch.zeros(1, *input_size, dtype=first.dtype, device=first.device)


def find_layer(op: str, model: nn.Module, name: str) -> nn.Module:
    """A module by its name, ``""`` for the model itself."""
    for known, module in model.named_modules():
        if known == name:
            return module
    raise ValueError(f"{op}: layer must be a name in model.named_modules(), got {name!r}")


def named_outputs(name: str, output: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors that a module returned; those inside tuples and dictionaries with their path behind the name."""
    for path, value in tree_flatten_with_path(output)[0]:
        if isinstance(value, Tensor):
            yield name + keystr(path), value


@contextmanager
def watched(model: nn.Module, see: Callable[[str, nn.Module, Any], None]) -> Iterator[None]:
    """Call ``see`` with name, module, output of each module that runs; the names of further calls end in ``#2``..."""
    calls: dict[str, int] = {}

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def after(module: nn.Module, inputs: Any, output: Any) -> None:
            calls[name] = calls.get(name, 0) + 1
            see(name if calls[name] == 1 else f"{name}#{calls[name]}", module, output)

        return after

    handles = [module.register_forward_hook(hook(name)) for name, module in model.named_modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
