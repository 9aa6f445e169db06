"""Packages that only a part of saccade needs are imported where it needs them."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["require"]

PACKAGES = {"sklearn": "scikit-learn", "skimage": "scikit-image", "PIL": "pillow", "cv2": "opencv-python-headless"}


def require(module: str, op: str, extra: str) -> Any:
    """Import a module of an extra (``classic``, ``train``, ...); what lacks it is named in the error."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        top = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != top:
            raise
        raise ImportError(
            f"{op}: needs {PACKAGES.get(top, top)}, which is not installed: python -m pip install 'saccade[{extra}]'"
        ) from error
