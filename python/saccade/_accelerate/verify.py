"""Compares the rewritten parts of a model with the model's own, on what an example makes them compute."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

__all__ = ["TOLERANCES", "verify"]

# Of the largest magnitude in the model's own output, by the dtype that is computed in.
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}


def verify(
    model: nn.Module, fast: nn.Module, parts: list[str], example: tuple[Any, ...], dtype: torch.dtype | None
) -> None:
    """Run ``model`` on ``example``; each part's output must be that of the same part of ``fast``.

    Each part gets the model's own input, so that roundings of one part do not decide, by way of a suppression or a
    threshold, what another one has to compute.
    """
    expected: list[Any] = []
    handles = []
    for name in parts:

        def before(_: nn.Module, args: Any, kwargs: Any, name: str = name) -> None:
            expected.append(_run(name, fast.get_submodule(name), *copy.deepcopy((args, kwargs))))

        def after(_: nn.Module, args: Any, output: Any, name: str = name) -> None:
            _compare(name, output, expected.pop(), dtype)

        part = model.get_submodule(name)
        handles += [part.register_forward_pre_hook(before, with_kwargs=True), part.register_forward_hook(after)]
    try:
        with torch.no_grad():
            model(*copy.deepcopy(example))
    finally:
        for handle in handles:
            handle.remove()


def _run(name: str, part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return part(*args, **kwargs)
    except Exception as error:
        raise RuntimeError(
            f"accelerate: {name or 'the model'} must run on example_inputs once rewritten, but it raised "
            f"{type(error).__name__}: {error}"
        ) from error


def _compare(name: str, expected: Any, got: Any, dtype: torch.dtype | None) -> None:
    theirs, spec = pytree.tree_flatten(expected)
    ours, our_spec = pytree.tree_flatten(got)
    what = f"accelerate: {name or 'the model'} must give on example_inputs what it gave before it was rewritten"
    if spec != our_spec:
        raise RuntimeError(f"{what}, {spec}, got {our_spec}")
    for a, b in zip(theirs, ours, strict=True):
        if not isinstance(a, Tensor):
            same = type(a) is type(b) and (not isinstance(a, (int, float, str, bool)) or a == b)
        else:
            same = isinstance(b, Tensor) and a.shape == b.shape and a.dtype == b.dtype
        if not same:
            raise RuntimeError(f"{what}, {_describe(a)}, got {_describe(b)}")
        if isinstance(a, Tensor) and a.numel():
            _compare_values(what, a, b, dtype)


def _compare_values(what: str, expected: Tensor, got: Tensor, dtype: torch.dtype | None) -> None:
    if not expected.is_floating_point():
        if not torch.equal(expected, got):
            raise RuntimeError(f"{what}, got {int((expected != got).sum())} other values")
        return
    tolerance = max(TOLERANCES[dtype or expected.dtype], TOLERANCES[expected.dtype])
    wide, ours = expected.double(), got.double()
    finite = wide[wide.isfinite()]
    scale = float(finite.abs().max()) if finite.numel() else 0.0
    if not torch.allclose(ours, wide, rtol=0.0, atol=tolerance * scale, equal_nan=True):
        difference = float((ours - wide).abs().max())
        raise RuntimeError(
            f"{what}, to within {tolerance:g} of its largest magnitude {scale:.3g}, "
            f"got a difference of {difference:.3g}"
        )


def _describe(value: Any) -> str:
    return f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
