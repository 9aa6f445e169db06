"""``saccade info``."""

from __future__ import annotations

import os
import platform
from typing import Annotated, Any

import typer
from rich.table import Table

from saccade.cli._output import print_json, stdout

__all__ = ["info"]


def info(as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")] = False) -> None:
    """Say what is installed, which instruction set is in use, and what is not loaded, with the reason."""
    facts = collect()
    if as_json:
        print_json(facts)
    else:
        _print(facts)
    if not all(facts["modules"][name]["loaded"] for name in ("numpy", "torch")) or facts["isa"]["problem"]:
        raise typer.Exit(1)


def collect() -> dict[str, Any]:
    """All that the command reports."""
    from saccade import __version__
    from saccade.benchmarking.machine import REFERENCES, cpu_name, installed_version, usable_cores

    modules = {"numpy": _numpy_state(), "torch": _torch_state(), "cuda": _cuda_state()}
    return {
        "saccade": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "isa": _isa(),
        "compiler": _native("compiler"),
        "threads": _threads(),
        "modules": modules,
        "references": {name: installed_version(name) for name in REFERENCES},
    }


def _state(reason: str) -> dict[str, Any]:
    return {"loaded": not reason, "reason": reason}


def _numpy_state() -> dict[str, Any]:
    try:
        import saccade._native  # noqa: F401
    except ImportError as error:
        return _state(str(error))
    return _state("")


def _torch_state() -> dict[str, Any]:
    try:
        import saccade.ops  # noqa: F401
    except (ImportError, OSError) as error:
        return _state(str(error))
    return _state("")


def _cuda_state() -> dict[str, Any]:
    try:
        from saccade.ops._library import cuda_unavailable_reason
    except (ImportError, OSError):
        return _state("the torch operators are not loaded")
    return _state(cuda_unavailable_reason)


def _native(name: str) -> Any:
    try:
        from saccade._native import numpy_module
    except ImportError:
        return None
    return getattr(numpy_module, name)


def _isa() -> dict[str, Any]:
    active, detected = _native("active_isa"), _native("detected_isa")
    if active is None:
        return {"active": None, "detected": None, "forced": None, "problem": "the compiled module is not loaded"}
    forced = os.environ.get("SACCADE_ISA") or None
    try:
        return {"active": active(), "detected": detected(), "forced": forced, "problem": ""}
    except ValueError as error:
        return {"active": None, "detected": detected(), "forced": forced, "problem": str(error)}


def _threads() -> int | None:
    count = _native("get_num_threads")
    return None if count is None else count()


def _print(facts: dict[str, Any]) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("saccade", f"{facts['saccade']}, {facts['compiler'] or 'compiler unknown'}")
    table.add_row("python", f"{facts['python']} on {facts['system']}")
    table.add_row("processor", f"{facts['cpu']}, {facts['cores']} cores, {facts['threads']} threads in use")
    isa = facts["isa"]
    forced = f", forced by SACCADE_ISA={isa['forced']}" if isa["forced"] else ""
    table.add_row("instructions", isa["problem"] or f"{isa['active']} in use, {isa['detected']} detected{forced}")
    for name, state in facts["modules"].items():
        table.add_row(f"{name} module", "loaded" if state["loaded"] else f"not loaded: {state['reason']}")
    for name, version in facts["references"].items():
        table.add_row(name, version or "not installed")
    stdout.print(table)
