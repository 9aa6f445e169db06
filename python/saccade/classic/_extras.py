"""Packages that only a part of saccade.classic needs are imported where it needs them."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["require"]

PACKAGES = {"sklearn": "scikit-learn", "skimage": "scikit-image"}


def require(module: str, op: str) -> Any:
    """Import a module of the extra ``classic``; what lacks it is named in the error."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        top = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != top:
            raise
        raise ImportError(
            f"{op}: needs {PACKAGES.get(top, top)}, which is not installed: python -m pip install 'saccade[classic]'"
        ) from error
