"""Which kernels a test runs."""

import os


def runs_cuda_kernels(device: str) -> bool:
    """Whether operators on ``device`` run the CUDA kernels: on a GPU, or compiled for the CPU (tests/cuda_host)."""
    return device == "cuda" or "_cuda_host" in os.environ.get("SACCADE_TORCH_LIBRARY", "")
