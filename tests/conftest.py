"""Fixtures and rules shared by all tests."""

import os
import sys

import pytest
from hypothesis import settings

# A shared machine is slow at times; that is no failure.
settings.register_profile("saccade", deadline=None)
settings.load_profile("saccade")


def has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request):
    """Every device that the operators run on."""
    return request.param


@pytest.fixture(autouse=True)
def seeded():
    """The same random numbers in every run, whatever ran before."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


def pytest_runtest_setup(item):
    if item.get_closest_marker("native") and "_cuda_host" in os.environ.get("SACCADE_TORCH_LIBRARY", ""):
        pytest.skip("too large for CUDA kernels on the CPU")
    if item.get_closest_marker("cuda") and not has_cuda():
        if os.environ.get("SACCADE_REQUIRE_CUDA") == "1":
            pytest.fail("SACCADE_REQUIRE_CUDA=1, but torch sees no GPU")
        pytest.skip("no GPU")
