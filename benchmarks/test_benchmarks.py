"""The cases as pytest-benchmark groups: ``pytest benchmarks --benchmark-only``."""

import functools

import pytest

from saccade.benchmarking import load_cases, use_threads

CASES = load_cases()


@functools.lru_cache(maxsize=1)
def prepared(case):
    return case.prepare()


@pytest.mark.parametrize(("case", "threads"), CASES, ids=[f"{case.name}-{threads}t" for case, threads in CASES])
@pytest.mark.parametrize(
    "implementation",
    [
        "saccade",
        "torchvision",
        "torch",
        "torch.compile",
        "onnxruntime",
        "openvino",
        "cv2",
        "skimage",
        "numpy",
        "PyMaxflow",
    ],
)
def test_time(benchmark, case, threads, implementation):
    work = prepared(case)
    function = work.ours if implementation == "saccade" else work.references.get(implementation)
    if function is None:
        pytest.skip(f"{case.name} has no reference in {implementation}")
    if isinstance(function, str):
        pytest.skip(function)
    benchmark.group = f"{case.name}, {threads} threads"
    with use_threads(threads):
        if implementation != "saccade":
            assert work.verify(work.ours(), function()).ok
        benchmark(function)
