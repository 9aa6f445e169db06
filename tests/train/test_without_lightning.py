"""What needs no Lightning works without it; what does says what to install."""

import subprocess
import sys

SCRIPT = """
import sys
sys.modules["lightning"] = None  # as if it were not installed
import torch
from saccade import train
train.AlexNetSGD([torch.nn.Parameter(torch.zeros(1))])
import saccade.train.detection_weights  # what saccade detect needs
train.draw_detections, train.precision_recall
for name in ("Classifier", "fit"):
    try:
        getattr(train, name)
    except ImportError as error:
        print(error)
from typer.testing import CliRunner
from saccade.cli import app
COMMANDS = ["train classify digits", "train detect scenes", "eval detect", "train segment scenes", "eval segment"]
for command in COMMANDS:
    result = CliRunner().invoke(app, command.split())
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
        f"2 train detect: {needs}",
        f"2 eval detect: {needs}",
        f"2 train segment: {needs}",
        f"2 eval segment: {needs}",
    ]
