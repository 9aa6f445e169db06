"""What a result depends on: machine, instruction set, compiler, versions, commit."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["REFERENCES", "cpu_name", "describe_machine", "installed_version", "usable_cores"]

# Distributions that the cases compare with, by the name they are imported under.
REFERENCES = {
    "torch": ("torch",),
    "torchvision": ("torchvision",),
    "cv2": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
    "skimage": ("scikit-image",),
    "numpy": ("numpy",),
}


def describe_machine() -> dict[str, Any]:
    """Everything that a reader needs to judge a time, ready for JSON."""
    import saccade
    from saccade._native import numpy_module

    return {
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "isa": numpy_module.active_isa(),
        "isa_detected": numpy_module.detected_isa(),
        "compiler": numpy_module.compiler,
        "python": platform.python_version(),
        "gpu": _gpu_name(),
        "versions": {"saccade": saccade.__version__, **{name: installed_version(name) for name in REFERENCES}},
        "commit": _commit(),
    }


def _gpu_name() -> str | None:
    """The CUDA device, where torch is loaded already and sees one."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None


def installed_version(module: str) -> str | None:
    """The version of a reference library, without importing it; None where it is not installed."""
    for distribution in REFERENCES.get(module, (module,)):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def usable_cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name() -> str:
    """The processor's model."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str | None:
    """The commit of the source tree that runs, with a plus sign where files differ from it; None for a wheel."""
    root = Path(__file__).resolve().parents[3]
    if not (root / "pyproject.toml").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        return commit + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()
