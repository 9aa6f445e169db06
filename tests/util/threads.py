"""Results with different numbers of threads, which must be the same bit for bit."""

import torch


def with_threads(compute):
    """What `compute()` gives with one, two and three threads."""
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(compute())
    finally:
        torch.set_num_threads(before)
    return results
