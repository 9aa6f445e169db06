"""The examples in docstrings and guides run and print what they say."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import numpy as np
import pytest
import torch

import saccade

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(saccade.__path__, "saccade.")
    if not info.name.rsplit(".", 1)[-1].startswith(("_numpy", "_torch", "_cuda", "__main__"))
)
GUIDES = [*sorted(ROOT.glob("docs/*.md")), ROOT / "README.md"]
NAMES = {"np": np, "torch": torch, "saccade": saccade}


@pytest.fixture(autouse=True)
def _same_threads_and_random_numbers():
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module, extraglobs=NAMES, optionflags=doctest.ELLIPSIS).failed == 0


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_guides(path):
    result = doctest.testfile(str(path), module_relative=False, globs=dict(NAMES), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
