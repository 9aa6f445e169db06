"""The time to import the package in a new process. The reference is NumPy's, and 50 ms on top."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

from saccade.benchmarking import Case, Work

ALLOWANCE_SECONDS = 0.05


def cases(quick: bool) -> Iterator[Case]:
    if quick:
        return
    for module in ("saccade", "saccade.classic"):
        yield Case(
            name=f"import/{module}",
            operation="import",
            size=module,
            bar=1.0,
            prepare=partial(_prepare, module),
        )


def _prepare(module: str) -> Work:
    return Work(ours=lambda: _import(module), references={"numpy + 50 ms": _numpy})


def _import(module: str) -> int:
    return subprocess.run([sys.executable, "-c", f"import {module}"], check=False).returncode


def _numpy() -> int:
    time.sleep(ALLOWANCE_SECONDS)
    return _import("numpy")
