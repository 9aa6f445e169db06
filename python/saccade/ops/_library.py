"""Loads the compiled operators into torch and calls them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
from torch.autograd import forward_ad

from saccade._native import MODULE_FOLDER


def _load_cpu() -> None:
    # SACCADE_TORCH_LIBRARY: another build of the operators, e.g. the CUDA kernels for the CPU (tests/cuda_host).
    path = Path(os.environ.get("SACCADE_TORCH_LIBRARY") or MODULE_FOLDER / "_torch.so")
    if not path.exists():
        raise ImportError(
            f"saccade's torch operators are missing ({path}): this build was made with SACCADE_TORCH=OFF. "
            "Reinstall with: pip install --force-reinstall saccade"
        )
    torch.ops.load_library(str(path))


def _load_cuda() -> str:
    """Load the CUDA operators where they can work; otherwise return the reason why not."""
    path = MODULE_FOLDER / "_cuda.so"
    if not path.exists():
        return "not built (no CUDA compiler or no CUDA build of torch when saccade was installed)"
    if torch.version.cuda is None:
        return "torch is a CPU build"
    try:
        torch.ops.load_library(str(path))
    except OSError as error:
        return f"failed to load: {error}"
    return ""


_load_cpu()
cuda_unavailable_reason = _load_cuda()

library = torch.library.Library("saccade", "FRAGMENT")
_ERRORS: dict[str, type[Exception]] = {"ValueError: ": ValueError, "TypeError: ": TypeError}


def call(operator: Callable[..., Any], *args: Any) -> Any:
    """Call a compiled operator; its errors arrive as the ValueError or TypeError that NumPy callers get too."""
    if torch.compiler.is_compiling():
        return operator(*args)
    try:
        if _differentiated(args):
            return operator(*args)
        # torch.library's autograd is Python, and takes longer than a small operator.
        with torch._C._AutoDispatchBelowAutograd():
            return operator(*args)
    except RuntimeError as error:
        text = str(error)
        for prefix, kind in _ERRORS.items():
            if text.startswith(prefix):
                raise kind(text[len(prefix) :].split("\n")[0]) from None
        raise


def _differentiated(args: Sequence[Any]) -> bool:
    if torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0:
        return True  # torch.func and forward mode differentiate tensors that do not say so
    if not torch.is_grad_enabled():
        return False
    return any(
        arg.requires_grad if isinstance(arg, torch.Tensor) else isinstance(arg, (list, tuple)) and _differentiated(arg)
        for arg in args
    )


def refuse_second_derivative(op: str) -> None:
    """Have the gradient of an operation raise where it is differentiated: torch would warn and take zeros."""

    def refuse(ctx: Any, *grads: Any) -> None:
        raise RuntimeError(f"{op}: differentiable once, not twice")

    torch.library.register_autograd(f"saccade::_{op}_backward", refuse)


def require_tensor(op: str, **arguments: Any) -> None:
    """Raise TypeError unless every argument is a torch tensor."""
    for name, value in arguments.items():
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"{op}: {name} must be a torch.Tensor, got {type(value).__name__}")


Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def untraced(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """``torch.compiler.disable``, which would import the compiler (a second) where it is written, not used."""

    @functools.wraps(function)
    def outside(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if torch.compiler.is_compiling():
            return torch.compiler.disable(function)(*args, **kwargs)
        return function(*args, **kwargs)

    return outside
