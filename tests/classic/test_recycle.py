"""Large outputs use memory again, and only memory that nothing refers to."""

import gc
import threading
from pathlib import Path

import numpy as np
import pytest

from saccade import classic

MEGABYTE = 1 << 20


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_of_a_dropped_array_is_used_again():
    image = np.ones((700, 701), np.uint8)
    first = classic.integral_image(image)
    where = address(first)
    del first
    gc.collect()
    assert address(classic.integral_image(image)) == where


def test_memory_in_use_is_left_alone():
    image = np.ones((700, 701), np.uint8)
    first = classic.integral_image(image)
    view = first[5:9]
    kept = first.copy()
    del first
    others = [classic.integral_image(image * i) for i in (2, 3, 4)]
    assert len({address(other) for other in others}) == 3
    np.testing.assert_array_equal(view, kept[5:9])


def test_outputs_are_ordinary_arrays():
    sums = classic.integral_image(np.ones((700, 701), np.uint8))
    assert sums.flags.writeable
    assert sums.flags.c_contiguous
    sums += 1
    assert sums[0, 0] == 1


STATUS = Path("/proc/self/statm")


def resident():
    return int(STATUS.read_text().split()[1]) * 4096


@pytest.mark.skipif(not STATUS.exists(), reason="Linux's account of the process's memory")
def test_what_waits_is_bounded():
    before = resident()
    for i in range(40):  # 40 sizes, 40 MB or so each
        classic.integral_image(np.ones((3000, 3000 + 200 * i), np.uint8))
    assert resident() - before < 400 * MEGABYTE


def test_from_many_threads():
    image = np.random.default_rng(0).integers(0, 256, (600, 601)).astype(np.uint8)
    expected = classic.integral_image(image)
    wrong = []

    def work():
        wrong.extend(i for i in range(30) if not np.array_equal(classic.integral_image(image), expected))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
