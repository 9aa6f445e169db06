"""What a benchmark case is, and how two results are compared."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Case", "Difference", "Work", "close", "exact", "reference"]


@dataclass(frozen=True)
class Difference:
    """How far two results are apart, and whether that is acceptable."""

    largest: float
    ok: bool


Verify = Callable[[Any, Any], Difference]


def exact(ours: Any, theirs: Any) -> Difference:
    """Accept only equal results; NaN equals NaN."""
    largest = _largest(ours, theirs)
    return Difference(largest, largest == 0)


def close(*, atol: float = 0.0, rtol: float = 0.0) -> Verify:
    """Accept results whose largest difference is at most ``atol + rtol × largest expected magnitude``."""

    def verify(ours: Any, theirs: Any) -> Difference:
        largest = _largest(ours, theirs)
        scale = max((_magnitude(part) for part in _arrays(theirs)), default=0.0)
        return Difference(largest, largest <= atol + rtol * scale)

    return verify


@dataclass(frozen=True)
class Work:
    """What one case runs.

    Attributes:
        ours: the call to time; its result is what ``verify`` gets first.
        references: by name, the call to compare with, or the reason why there is none.
        verify: ``(ours, theirs) -> Difference``.
        bytes: memory that has to be read and written at least, for GB/s.
        flops: floating-point operations, for GFLOP/s (an FMA counts two).
    """

    ours: Callable[[], Any]
    references: Mapping[str, Callable[[], Any] | str]
    verify: Verify = exact
    bytes: float | None = None
    flops: float | None = None


@dataclass(frozen=True)
class Case:
    """A named benchmark; see `saccade.benchmarking` for how to write one.

    Attributes:
        name: unique, ``operation/variant``.
        operation: what is timed.
        size: the size of the input, for the table.
        prepare: makes the input, returns the `Work`.
        group: cases whose geometric mean is taken together, and a group of pytest-benchmark; default: the operation.
        threads: the thread counts to run it with.
        bar: the ratio (theirs / ours) to the first reference that is asked for, one number or one per thread count.
        group_bar: the same for the geometric mean over the group.
        device: where it runs, "cpu" or "cuda". On CUDA a case whose input fits in the cache measures the cache.
    """

    name: str
    operation: str
    size: str
    prepare: Callable[[], Work]
    group: str = ""
    threads: tuple[int, ...] = (1,)
    bar: float | Mapping[int, float] | None = None
    group_bar: float | None = None
    device: str = "cpu"

    def bar_for(self, threads: int) -> float | None:
        """The bar that holds for a thread count."""
        return self.bar.get(threads) if isinstance(self.bar, Mapping) else self.bar


def reference(module: str, build: Callable[[ModuleType], Callable[[], Any] | str]) -> Callable[[], Any] | str:
    """Build a reference from a module that may be absent; then the reason is returned instead.

    ``build`` may return a reason too, where the module cannot do it.

    >>> reference("no_such_module", lambda module: module.function)
    'no_such_module is not installed'
    """
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        return f"{error.name} is not installed"
    except ImportError as error:
        return f"{module} does not load: {error}"
    return build(imported)


def _arrays(result: Any) -> Iterator[NDArray[Any]]:
    """The arrays of a result, however they are nested."""
    if isinstance(result, Mapping):
        for key in sorted(result):
            yield from _arrays(result[key])
    elif isinstance(result, (tuple, list)) and not all(isinstance(item, (int, float)) for item in result):
        for item in result:
            yield from _arrays(item)
    elif hasattr(result, "detach"):  # a torch tensor: NumPy has no bfloat16
        tensor = result.detach().cpu()
        yield (tensor.double() if tensor.is_floating_point() else tensor).numpy()
    elif result is not None:
        yield np.asarray(result)


def _largest(ours: Any, theirs: Any) -> float:
    """The largest absolute difference; infinite where shapes or the positions of NaN differ."""
    a, b = list(_arrays(ours)), list(_arrays(theirs))
    if len(a) != len(b):
        return float("inf")
    return max((_largest_of_pair(x, y) for x, y in zip(a, b, strict=True)), default=0.0)


def _largest_of_pair(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    if ours.shape != theirs.shape:
        return float("inf")
    different = ours != theirs
    if different.dtype == bool and np.issubdtype(ours.dtype, np.inexact) and np.issubdtype(theirs.dtype, np.inexact):
        different &= ~(np.isnan(ours) & np.isnan(theirs))
    if not np.any(different):
        return 0.0
    gap = np.abs(ours[different].astype(np.float64) - theirs[different].astype(np.float64))
    return float("inf") if np.isnan(gap).any() else float(gap.max())


def _magnitude(array: NDArray[Any]) -> float:
    finite = array[np.isfinite(array)] if np.issubdtype(array.dtype, np.inexact) else array
    return float(np.abs(finite.astype(np.float64)).max()) if finite.size else 0.0
