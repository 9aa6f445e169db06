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


def test_two_processes_give_the_curve_of_one_with_the_doubled_batch(tmp_path):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, *launcher, str(SCRIPT), str(tmp_path / "two"), "3", "16"]
    finished = subprocess.run(command, env=environment, timeout=240, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    module = task(dropout=0.0)
    fit(module, data(32), epochs=3, out=tmp_path / "one", accelerator="cpu")
    one, two = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert len(one) == len(two) == 3
    for first, second in zip(one, two, strict=True):
        # Sums are taken in another order: 1e-4 of the value, after 24 steps with momentum.
        assert second == pytest.approx(first, rel=1e-4)
    shared = torch.load(tmp_path / "two" / "last.ckpt", weights_only=True)["state_dict"]
    assert set(shared) == set(module.state_dict())
    for name, value in module.state_dict().items():
        torch.testing.assert_close(shared[name], value, rtol=1e-3, atol=1e-4)
    assert torch.load(tmp_path / "two" / "last.ckpt", weights_only=True)["random_states"][1]["torch"].numel() > 0
