"""Loads the compiled NumPy half, and says what to do when it cannot be loaded."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

__all__ = ["MODULE_FOLDER", "numpy_module"]


def _load() -> ModuleType:
    try:
        return importlib.import_module("saccade._numpy")
    except ModuleNotFoundError as error:
        raise ImportError(
            "saccade's compiled module is missing for this Python. Reinstall saccade with the Python you run: "
            "python -m pip install --force-reinstall saccade"
        ) from error
    except ImportError as error:
        # A machine without a compiler may lack the OpenMP runtime; torch brings one along. Loading that file does not
        # import torch.
        if "libgomp" not in str(error) or not _load_openmp_of_torch():
            raise ImportError(
                f"saccade's compiled module does not load: {error}. If libgomp.so.1 is missing, install the OpenMP "
                "runtime (Debian and Ubuntu: apt-get install libgomp1) or torch."
            ) from error
        return importlib.import_module("saccade._numpy")


def _load_openmp_of_torch() -> bool:
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    path = Path(spec.origin).parent / "lib" / "libgomp.so.1"
    if not path.exists():
        return False
    ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    return True


numpy_module = _load()
# Where all compiled modules lie: beside the Python files, except in an editable install.
MODULE_FOLDER = Path(str(numpy_module.__file__)).parent
