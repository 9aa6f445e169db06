"""Vision kernels: C++ and CUDA underneath, NumPy and PyTorch on top.

``saccade.ops`` holds the operators for torch tensors, ``saccade.nn`` modules built on them, ``saccade.models`` whole
networks, ``saccade.data`` and ``saccade.train`` what trains them, ``saccade.analysis`` what looks into them,
``saccade.classic`` the functions for NumPy arrays; ``saccade.accelerate`` lets existing models run on the operators.
Importing ``saccade`` loads neither torch nor NumPy; each half loads what it needs on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saccade import analysis, classic, data, models, nn, ops, train

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "accelerate",
    "analysis",
    "classic",
    "data",
    "explain",
    "get_num_threads",
    "models",
    "nn",
    "ops",
    "patch_torchvision",
    "set_num_threads",
    "train",
]

_SUBMODULES = ("analysis", "classic", "data", "models", "nn", "ops", "train")
_FUNCTIONS = {
    "accelerate": "saccade._accelerate",
    "explain": "saccade._accelerate",
    "get_num_threads": "saccade._threads",
    "patch_torchvision": "saccade._patch",
    "set_num_threads": "saccade._threads",
}


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"saccade.{name}")
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name]), name)
    raise AttributeError(f"module 'saccade' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
