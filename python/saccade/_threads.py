"""The number of threads that the CPU kernels use."""

from saccade._native import numpy_module

__all__ = ["get_num_threads", "set_num_threads"]


def set_num_threads(count: int) -> None:
    """Use ``count`` threads in the CPU kernels, and in torch where it is loaded: both share one setting.

    Args:
        count: at least 1.

    >>> set_num_threads(2)
    >>> get_num_threads()
    2
    """
    numpy_module.set_num_threads(count)


def get_num_threads() -> int:
    """Return the number of threads that the CPU kernels use."""
    return int(numpy_module.get_num_threads())
