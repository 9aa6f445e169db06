"""Two processes with half the batch each give the curve of one."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from saccade.train import fit
from tests.train.training import data, task

SCRIPT = Path(__file__).with_name("training.py")


def rows(folder):
    with (folder / "metrics.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def torchrun(out, stop=-1):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, *launcher, str(SCRIPT), str(out), "16", str(stop)]
    return subprocess.run(command, env=environment, timeout=240, capture_output=True, text=True)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    out = tmp_path_factory.mktemp("two")
    finished = torchrun(out)
    assert finished.returncode == 0, finished.stderr
    return out


def test_two_processes_give_the_curve_of_one_with_the_doubled_batch(two, tmp_path):
    module = task(dropout=0.0)
    fit(module, data(32), epochs=3, out=tmp_path / "one", accelerator="cpu")
    expected, found = rows(tmp_path / "one"), rows(two)
    assert len(expected) == len(found) == 3
    for first, second in zip(expected, found, strict=True):
        # Sums are taken in another order: 1e-4 of the value, after 24 steps with momentum.
        assert second == pytest.approx(first, rel=1e-4)
    shared = torch.load(two / "last.ckpt", weights_only=True)["state_dict"]
    assert set(shared) == set(module.state_dict())
    for name, value in module.state_dict().items():
        torch.testing.assert_close(shared[name], value, rtol=1e-3, atol=1e-4)


def test_two_processes_resume_within_an_epoch(two, tmp_path):
    assert torchrun(tmp_path, stop=12).returncode != 0
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 10
    resumed = torchrun(tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert rows(tmp_path) == rows(two)
    states = torch.load(tmp_path / "last.ckpt", weights_only=True)["random_states"]
    assert not torch.equal(states[0]["torch"], states[1]["torch"])  # drop-out would differ between processes
