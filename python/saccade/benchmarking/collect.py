"""Finds and loads case files."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

from saccade.benchmarking.case import Case

__all__ = ["CaseError", "default_directory", "load_cases"]

_PACKAGE = "saccade_benchmark_cases"


class CaseError(Exception):
    """A case file cannot be read; the message names it."""


def default_directory() -> Path:
    """The project's own cases: of the source tree that this module runs from, else the installed copy."""
    package = Path(__file__).resolve().parent.parent
    checkout = package.parent.parent / "benchmarks" / "cases"
    return checkout if (checkout.parent.parent / "pyproject.toml").exists() else package / "benchmarks" / "cases"


def load_cases(
    files: Sequence[Path] = (),
    *,
    quick: bool = False,
    name_filter: str = "",
    threads: Sequence[int] | None = None,
    device: str = "cpu",
) -> list[tuple[Case, int]]:
    """Load cases, each with the thread counts to run it with.

    Args:
        files: case files; default: all of `default_directory`.
        quick: passed on to the files, which then give fewer and smaller cases.
        name_filter: keep cases whose name contains it.
        threads: keep these thread counts; default: all that the cases name.
        device: keep the cases of this device.

    Raises:
        CaseError: where a file is missing, fails to import, or two cases share a name.
    """
    paths = list(files) or sorted(p for p in default_directory().glob("*.py") if not p.name.startswith("_"))
    if not paths:
        raise CaseError(f"no case files in {default_directory()}")
    found: dict[str, Case] = {}
    for path in paths:
        for case in _cases_of(path, quick):
            if case.name in found:
                raise CaseError(f"{path}: two cases are called {case.name}")
            found[case.name] = case
    chosen = (case for case in found.values() if name_filter in case.name and case.device == device)
    return [(case, count) for case in chosen for count in case.threads if threads is None or count in threads]


def _cases_of(path: Path, quick: bool) -> Iterable[Case]:
    module = _load(path)
    if not callable(getattr(module, "cases", None)):
        raise CaseError(f"{path}: there is no function cases(quick)")
    try:
        return list(module.cases(quick))
    except Exception as error:
        raise CaseError(f"{path}: cases({quick}) raised {type(error).__name__}: {error}") from error


def _load(path: Path) -> ModuleType:
    """Import a case file; it may import its neighbours (``from . import _data``)."""
    if not path.is_file():
        raise CaseError(f"{path}: no such file")
    folder = path.resolve().parent
    package_name = f"{_PACKAGE}_{abs(hash(folder)):x}"
    if package_name not in sys.modules:
        package = ModuleType(package_name)
        package.__path__ = [str(folder)]
        sys.modules[package_name] = package
    name = f"{package_name}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CaseError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise CaseError(f"{path}: {type(error).__name__}: {error}") from error
    return module
