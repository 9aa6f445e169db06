"""The CUDA module: it loads without a GPU, registers what it should, and never takes the CPU operators with it."""

import json
import re
from pathlib import Path

import pytest
import torch

from saccade import ops
from saccade.ops import _library

ROOT = Path(__file__).resolve().parents[1]
BOUND = sorted(m for f in ROOT.glob("cuda/bind/*.cpp") for m in re.findall(r'm\.impl\("(\w+)"', f.read_text()))


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.setattr(_library, "MODULE_FOLDER", tmp_path)
    return tmp_path


@pytest.mark.skipif(not (_library.MODULE_FOLDER / "_cuda.so").exists(), reason="built without CUDA")
@pytest.mark.skipif(torch.version.cuda is None, reason="torch is a CPU build")
def test_registers_every_operator_without_a_gpu():
    assert _library.cuda_unavailable_reason == ""
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    assert [name for name in BOUND if not has_kernel(f"saccade::{name}", "CUDA")] == []


def test_says_that_it_is_not_built(elsewhere):
    assert _library._load_cuda().startswith("not built")


def test_a_cpu_torch_does_not_load_it(elsewhere, monkeypatch):
    (elsewhere / "_cuda.so").write_bytes(b"")
    monkeypatch.setattr(torch.version, "cuda", None)
    assert _library._load_cuda() == "torch is a CPU build"


def test_a_broken_module_leaves_the_cpu_operators(elsewhere, monkeypatch):
    (elsewhere / "_cuda.so").write_bytes(b"not a library")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert _library._load_cuda().startswith("failed to load: ")
    assert ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5).tolist() == [0]


def test_every_kernel_has_run_on_a_gpu_or_is_listed():
    kernels = {path.stem for path in ROOT.glob("cuda/kernels/*.cu")}
    readme = (ROOT / "cuda/README.md").read_text()
    listed = set(re.findall(r"^- `(\w+)`", readme.split("## Never run on a GPU")[1], re.MULTILINE))
    runs = [json.loads(path.read_text()) for path in ROOT.glob("benchmarks/results/gpu_check*.json")]
    recorded = {kernel for run in runs for kernel in run["kernels"]}
    assert listed == kernels - recorded
