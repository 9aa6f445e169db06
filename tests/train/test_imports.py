"""What is not needed is not loaded, and named where it lacks."""

import subprocess
import sys

CODE = """
import sys
for name in ("torchvision", "lightning", "sklearn", "PIL", "optuna", "matplotlib"):
    sys.modules[name] = None
import saccade.data, saccade.train
saccade.train.optim, saccade.train.backprop, saccade.train.freeze, saccade.train.l1_penalty, saccade.train.MultiTaskLoss
import numpy, torch
train, test = saccade.data.split(saccade.data.ArrayDataset(numpy.zeros((8, 3))), [0.5, 0.5])
next(iter(saccade.data.loader(train, 2)))
saccade.data.transforms.MinMax().fit(train)
saccade.train.losses.mse_loss(torch.zeros(2), torch.zeros(2))
for call in (
    saccade.data.digits,
    saccade.data.transforms.augmentation,
    lambda: saccade.data.FolderDataset("."),
    lambda: saccade.data.CocoDataset(".", "."),
    lambda: saccade.data.VocDataset("."),
    lambda: saccade.data.transforms.Joint(None),
):
    try:
        call()
    except ImportError as error:
        print(error)
"""


def test_the_extras_are_optional():
    result = subprocess.run([sys.executable, "-P", "-c", CODE], capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        f"{op}: needs {package}, which is not installed: python -m pip install 'saccade[train]'"
        for op, package in (
            ("digits", "scikit-learn"),
            ("augmentation", "torchvision"),
            ("FolderDataset", "pillow"),
            ("CocoDataset", "pillow"),
            ("VocDataset", "pillow"),
            ("Joint", "torchvision"),
        )
    ]
