"""The harness that runs CUDA kernels on the CPU: what it computes, and that it notices mistakes."""

import ctypes
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = Path(os.environ.get("SACCADE_TORCH_LIBRARY", ""))
HARNESS = LIBRARY.parent / "cuda_host_harness"

pytestmark = pytest.mark.skipif(not HARNESS.is_file(), reason="the host build of the CUDA kernels is not in use")


def run(case):
    options = os.environ.get("ASAN_OPTIONS", "") + ":log_path=stderr"
    environment = {**os.environ, "ASAN_OPTIONS": options}
    return subprocess.run([HARNESS, case], capture_output=True, text=True, timeout=60, check=False, env=environment)


@pytest.mark.parametrize(
    "case", ["barrier", "shuffle", "block_sum", "votes", "atomics", "shared_is_fresh", "missing_barrier"]
)
def test_computes_what_a_gpu_does(case):
    result = run(case)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            "exit_before_barrier",
            r"divergent barrier: thread \(0, 0, 0\) of block \(0, 0, 0\) waits in __syncthreads \(.*\), "
            r"but thread \(7, 0, 0\) of block \(0, 0, 0\) has returned",
        ),
        ("different_barriers", r"mismatched barriers: thread \(0, 0, 0\) .* thread \(16, 0, 0\) "),
        ("shuffle_from_outside", r"__shfl_sync .* reads lane 9, which is not in the mask"),
        ("too_many_threads", "invalid configuration argument"),
    ],
)
def test_reports_a_broken_rule(case, message):
    result = run(case)
    assert result.returncode == 1
    assert re.search(message, result.stderr), result.stderr


@pytest.mark.parametrize("case", ["write_past_end", "write_past_shared", "write_past_dynamic_shared"])
def test_reports_an_access_out_of_bounds(case):
    if b"__asan_init" not in HARNESS.read_bytes():
        pytest.skip("built without sanitizers")
    result = run(case)
    assert result.returncode != 0
    assert "heap-buffer-overflow" in result.stderr, result.stderr
    assert "harness_kernels.cu" in result.stderr, result.stderr


def test_runs_the_cuda_kernel_of_every_operator_that_has_one():
    import saccade.ops  # noqa: F401

    names = ctypes.CDLL(str(LIBRARY)).saccade_cuda_host_operators
    names.restype = ctypes.c_char_p
    bound = [m for f in ROOT.glob("cuda/bind/*.cpp") for m in re.findall(r'm\.impl\("(\w+)"', f.read_text())]
    assert sorted(names().decode().split()) == sorted(bound)
