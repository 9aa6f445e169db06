import math

import numpy as np
import pytest
import torch

from saccade.benchmarking import Case, Work, close, exact, reference

ARRAY = np.array([1.0, 2.0, 3.0], np.float32)


@pytest.mark.parametrize(
    ("ours", "theirs", "largest"),
    [
        (ARRAY, ARRAY.copy(), 0.0),
        (ARRAY, ARRAY + np.float32(0.5), 0.5),
        (ARRAY, ARRAY[:2], math.inf),
        ((ARRAY, 1), (ARRAY, 3), 2.0),
        ((ARRAY, ARRAY), (ARRAY,), math.inf),
        ([1, 2], np.array([1, 2]), 0.0),
        (torch.tensor([1.0, 2.0], dtype=torch.bfloat16), torch.tensor([1.0, 2.25]), 0.25),
        (torch.tensor([float("nan")]), torch.tensor([float("nan")]), 0.0),
        (torch.tensor([float("nan")]), torch.tensor([0.0]), math.inf),
        (np.array([np.inf]), np.array([np.inf]), 0.0),
        (np.uint8([0]), np.uint8([255]), 255.0),
        ({"b": ARRAY, "a": 1.0}, {"a": 1.0, "b": ARRAY}, 0.0),
        (np.zeros((0, 4)), np.zeros((0, 4)), 0.0),
        (True, False, 1.0),
    ],
)
def test_exact(ours, theirs, largest):
    difference = exact(ours, theirs)
    assert difference.largest == largest
    assert difference.ok == (largest == 0)


def test_close_scales_with_the_expected_magnitude():
    assert close(atol=0.1)(ARRAY, ARRAY + np.float32(0.09)).ok
    assert not close(atol=0.1)(ARRAY, ARRAY + np.float32(0.11)).ok
    assert close(rtol=0.1)(ARRAY, ARRAY + np.float32(0.29)).ok
    assert not close(rtol=0.1)(ARRAY, ARRAY + np.float32(0.45)).ok
    assert not close(rtol=0.1)(ARRAY, ARRAY * np.float32("nan")).ok


def test_absent_reference_gives_the_reason():
    assert reference("saccade_no_such_module.ops", lambda module: module.f) == "saccade_no_such_module is not installed"
    assert reference("math", lambda module: lambda: module.sqrt(4))() == 2


def test_bar_by_threads():
    work = Work(ours=lambda: 0, references={})
    assert Case("a", "a", "", lambda: work, bar={1: 2.0, 2: 4.0}).bar_for(2) == 4
    assert Case("a", "a", "", lambda: work, bar=3.0).bar_for(2) == 3
    assert Case("a", "a", "", lambda: work).bar_for(1) is None
