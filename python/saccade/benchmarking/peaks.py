"""What the machine can do at best, measured: the yardstick that each case's speed is held against."""

from __future__ import annotations

import functools
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

__all__ = ["Peak", "measure_cuda_peak", "measure_peak", "peak_of"]

_COPY_BYTES = 128 << 20  # per thread; far beyond the caches of one core
_ROUNDS = 5


@dataclass(frozen=True)
class Peak:
    """Best rates seen: memory read plus written by a copy, and float32 fused multiply-adds (two operations each)."""

    copy_gb_s: float
    fma_gflop_s: float


@functools.cache
def peak_of(device: str, threads: int) -> Peak:
    """The peak of a device, "cpu" with this many threads or "cuda", measured once per process."""
    return measure_cuda_peak() if device == "cuda" else measure_peak(threads)


def measure_peak(threads: int) -> Peak:
    """Measure with this many threads; takes about half a second."""
    return Peak(copy_gb_s=_copy_rate(threads) / 1e9, fma_gflop_s=_fma_rate(threads) / 1e9)


def measure_cuda_peak() -> Peak:
    """The same of the current CUDA device: a copy of 2 GiB, and a float32 matrix product without reduced precision."""
    import torch

    from saccade.benchmarking.timing import interleave

    source = torch.rand(1 << 29, device="cuda")
    target, matrix = torch.empty_like(source), source[: 1 << 26].view(1 << 13, 1 << 13)
    functions = {"copy": lambda: target.copy_(source), "product": lambda: matrix @ matrix}
    times = interleave(functions, 0.3, device="cuda")
    size = source.numel() * source.element_size()
    return Peak(2 * size / times["copy"].q1 / 1e9, 2 * (1 << 39) / times["product"].q1 / 1e9)


def _copy_rate(threads: int) -> float:
    """Bytes per second; NumPy's copy is memcpy, which writes around the cache at this size."""
    pairs = [(np.zeros(_COPY_BYTES, np.uint8), np.ones(_COPY_BYTES, np.uint8)) for _ in range(threads)]
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            list(pool.map(lambda pair: np.copyto(*pair), pairs))
            best = min(best, time.perf_counter() - start)
    return 2 * _COPY_BYTES * threads / best


def _fma_rate(threads: int) -> float:
    from saccade._native import numpy_module

    steps, best = 1 << 21, float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            flops = sum(pool.map(numpy_module.fma_chains, [steps] * threads))
            best = min(best, time.perf_counter() - start)
    return float(flops / best)
