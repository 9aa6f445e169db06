"""What needs no Lightning works without it; what does says what to install."""

import subprocess
import sys

SCRIPT = """
import sys
sys.modules["lightning"] = None  # as if it were not installed
import torch
from saccade import train
train.AlexNetSGD([torch.nn.Parameter(torch.zeros(1))])
for name in ("Classifier", "fit"):
    try:
        getattr(train, name)
    except ImportError as error:
        print(error)
from typer.testing import CliRunner
from saccade.cli import app
for command in (["train", "classify", "digits"], ["train", "segment", "scenes"], ["eval", "segment"]):
    result = CliRunner().invoke(app, command)
    print(result.exit_code, result.stderr.strip())
"""


def test_without_lightning():
    finished = subprocess.run([sys.executable, "-P", "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stderr
    needs = "needs lightning, which is not installed: python -m pip install 'saccade[train]'"
    assert finished.stdout.splitlines() == [
        f"saccade.train.Classifier: {needs}",
        f"saccade.train.fit: {needs}",
        f"2 train classify: {needs}",
        f"2 train segment: {needs}",
        f"2 eval segment: {needs}",
    ]
