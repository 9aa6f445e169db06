"""The best values above a threshold, beside a sort of all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import saccade
from saccade.ops._best_above import best_above, best_above_by_sorting

Best = list[tuple[float, int, int]]


def _expected(values: torch.Tensor, sections: list[int], threshold: float, most: int) -> Best:
    best: Best = []
    for row, numbers in enumerate(values.numpy()):
        start = 0
        for length in sections:
            part = numbers[start : start + length]
            order = [int(i) for i in np.argsort(-part, kind="stable") if part[i] > threshold]
            best += [(float(part[i]), row, start + i) for i in order[:most]]
            start += length
    return best


def _best(found: tuple[torch.Tensor, ...]) -> Best:
    return list(zip(*(part.tolist() for part in found), strict=True))


def _check(values: torch.Tensor, sections: list[int], threshold: float, most: int) -> None:
    expected = _expected(values, sections, threshold, most)
    for find in (best_above, best_above_by_sorting):
        assert _best(find(values.split(sections, 1), threshold, most)) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("most", [1, 7, 1000, 10**6])
@pytest.mark.parametrize("threshold", [-5.0, 0.0, 2.5, 50.0])
def test_agrees_with_a_sort(dtype: torch.dtype, most: int, threshold: float) -> None:
    values = torch.randn(2, 5003, generator=torch.Generator().manual_seed(0), dtype=dtype)
    _check(values, [4000, 0, 1000, 3], threshold, most)


def test_equal_values_come_by_index_and_nan_never() -> None:
    values = torch.randint(0, 3, (3, 700), generator=torch.Generator().manual_seed(0)).float()
    values[:, ::5] = float("nan")
    values[0, 3] = float("inf")
    values[1, :9] = -float("inf")
    _check(values, [300, 400], 0.5, 50)
    _check(values, [700], -float("inf"), 699)


@pytest.mark.cuda
def test_on_cuda() -> None:
    values = torch.randn(2, 5003, generator=torch.Generator().manual_seed(0))
    found = best_above(values.cuda().split([4000, 0, 1003], 1), 0.5, 100)
    assert _best(found) == _expected(values, [4000, 0, 1003], 0.5, 100)


def test_several_pieces_of_a_section() -> None:
    values = torch.randn(1, 3 * 2**18 + 11, generator=torch.Generator().manual_seed(0))
    rising = values.sort(dim=1).values  # the worst order: every value is better than all before
    for numbers in (values, rising):
        _check(numbers, [2**19 + 5, 2**18 + 6], 1.0, 100)


def test_any_number_of_threads_gives_the_same() -> None:
    values = torch.randn(2, 2**19, generator=torch.Generator().manual_seed(0))
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            saccade.set_num_threads(count)
            results.append(best_above([values], 1.0, 1000)[2])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(results[0], other) for other in results[1:])


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_sections(data: st.DataObject) -> None:
    sections = data.draw(st.lists(st.integers(0, 90), min_size=1, max_size=4))
    rows = data.draw(st.integers(0, 3))
    seed, most = data.draw(st.integers(0, 99)), data.draw(st.integers(1, 100))
    values = torch.randn(rows, sum(sections), generator=torch.Generator().manual_seed(seed)).round(decimals=1)
    _check(values, sections, data.draw(st.floats(-2, 2)), most)


def test_values_need_not_be_contiguous() -> None:
    values = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).T
    _check(values, [40], 0.0, 10)


def test_compiles() -> None:
    values = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))

    def found(values: torch.Tensor) -> torch.Tensor:
        value, row, column = best_above(values.split([20, 30], 1), 0.0, 5)
        return value.sum() + values[row, column].sum()

    torch.testing.assert_close(torch.compile(found, fullgraph=True, backend="eager")(values), found(values))


@pytest.mark.parametrize(
    ("sections", "most", "error", "message"),
    [
        ([], 1, ValueError, "sections must not be empty"),
        ([torch.zeros(3)], 1, ValueError, "a section must have shape (N, R), got (3,)"),
        ([torch.zeros(1, 3).half()], 1, TypeError, "sections must be float32 or float64, got float16"),
        (
            [torch.zeros(1, 3), torch.zeros(1, 3).double()],
            1,
            TypeError,
            "all sections and the first must have the same dtype, got float64 and float32",
        ),
        (
            [torch.zeros(1, 3), torch.zeros(2, 3)],
            1,
            ValueError,
            "sections must have the same number of rows, got 1 and 2",
        ),
        ([torch.zeros(1, 3)], 0, ValueError, "most must be at least 1, got 0"),
    ],
)
def test_errors(sections: list[torch.Tensor], most: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        best_above(sections, 0.0, most)
    assert str(raised.value) == f"best_above: {message}"
