"""Times several functions in turns."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

__all__ = ["Timing", "interleave", "use_threads"]

# A sample lasts at least this long: shorter calls are repeated within it, so that the clock does not matter.
_SAMPLE_SECONDS = 0.002
_MIN_ROUNDS, _MAX_ROUNDS = 3, 200
# Workers spin for a while after a parallel region: OpenMP's and OpenCV's for some milliseconds, ONNX Runtime's longer.
# Before each turn they are waited for, or one library would steal the other's second core.
_PAUSE_SECONDS = 0.004
_MOST_PAUSES = 100


@dataclass(frozen=True)
class Timing:
    """Seconds per call: the median and the quartiles of ``samples`` samples."""

    median: float
    q1: float
    q3: float
    samples: int

    @classmethod
    def of(cls, seconds: list[float]) -> Timing:
        """Summarise samples."""
        if len(seconds) == 1:
            return cls(seconds[0], seconds[0], seconds[0], 1)
        q1, median, q3 = statistics.quantiles(seconds, n=4, method="inclusive")
        return cls(median, q1, q3, len(seconds))

    @property
    def spread(self) -> float:
        """Interquartile range relative to the median."""
        return (self.q3 - self.q1) / self.median if self.median else 0.0


def interleave(
    functions: Mapping[str, Callable[[], Any]], budget: float, threads: int = 1, device: str = "cpu"
) -> dict[str, Timing]:
    """Time functions in turns (A B A B ...), each several times, for about ``budget`` seconds.

    Runs taken one after the other see different machines: clocks and neighbours drift by 10-25 %. In turns, the drift
    hits all alike. At least three rounds are made, whatever the budget.
    """
    start = time.perf_counter()
    sample = _sample_cuda if device == "cuda" else _sample
    repeats = {name: _repeats(function, sample) for name, function in functions.items()}
    samples: dict[str, list[float]] = {name: [] for name in functions}
    for rounds in range(1, _MAX_ROUNDS + 1):
        for name, function in functions.items():
            if threads > 1:
                _wait_for_idle_threads()
            samples[name].append(sample(function, repeats[name]))
        if rounds >= _MIN_ROUNDS and time.perf_counter() - start > budget:
            break
    return {name: Timing.of(seconds) for name, seconds in samples.items()}


def _wait_for_idle_threads() -> None:
    """Pause until the process hardly uses the processor while this thread sleeps."""
    for _ in range(_MOST_PAUSES):
        before = time.process_time()
        time.sleep(_PAUSE_SECONDS)
        if time.process_time() - before < 0.25 * _PAUSE_SECONDS:
            return


def _sample(function: Callable[[], Any], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - start) / repeats


def _sample_cuda(function: Callable[[], Any], repeats: int) -> float:
    """Between two events of the device, which does not stand still between the calls."""
    import torch

    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    for _ in range(repeats):
        function()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3 / repeats


def _repeats(function: Callable[[], Any], sample: Callable[[Callable[[], Any], int], float]) -> int:
    """Calls per sample; also the warm-up."""
    once = sample(function, 1)
    if once < _SAMPLE_SECONDS:
        once = min(once, sample(function, 3))
    return max(1, round(_SAMPLE_SECONDS / max(once, 1e-7)))


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Run everything that is loaded (saccade, torch, OpenCV) with this many threads."""
    import saccade

    settings: list[tuple[Callable[[], int], Callable[[int], None]]] = []
    if torch := sys.modules.get("torch"):
        settings.append((torch.get_num_threads, torch.set_num_threads))
    if cv2 := sys.modules.get("cv2"):
        settings.append((cv2.getNumThreads, cv2.setNumThreads))
    settings.append((saccade.get_num_threads, saccade.set_num_threads))
    before = [get() for get, _ in settings]
    for _, set_count in settings:
        set_count(count)
    try:
        yield
    finally:
        for (_, set_count), old in zip(settings, before, strict=True):
            set_count(old)
