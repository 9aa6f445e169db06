"""The best values above a threshold, of which there are few."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.ops._library import call

__all__ = ["best_above", "best_above_by_sorting"]


def best_above(sections: Sequence[Tensor], threshold: float, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """In each row of each section, the ``most`` greatest values above ``threshold``.

    Args:
        sections: ``(N, R)`` each, float32 or float64: columns of a matrix that need not exist.
        threshold: NaN is not above it.
        most: at least 1.

    Returns:
        Values, rows and columns of the matrix: row after row and section after section, in descending order of value,
        ties to the lower column.
    """
    if not sections:
        raise ValueError("best_above: sections must not be empty")
    found: tuple[Tensor, Tensor, Tensor] = call(torch.ops.saccade._best_above, list(sections), threshold, most)
    return found


def best_above_by_sorting(sections: Sequence[Tensor], threshold: float, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same from torch's own operators, for devices without a kernel."""
    values = torch.cat(list(sections), 1)
    row, column = torch.where(values > threshold)
    ends = torch.tensor([section.shape[1] for section in sections], device=values.device).cumsum(0)
    group = row * len(sections) + torch.bucketize(column, ends, right=True)
    order = values[row, column].argsort(descending=True, stable=True)
    order = order[group[order].argsort(stable=True)]
    counts = torch.bincount(group, minlength=len(sections) * len(values))
    rank = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[group[order]]
    order = order[rank < most]
    row, column = row[order], column[order]
    return values[row, column], row, column


torch.library.impl("saccade::_best_above", "CUDA", best_above_by_sorting)


@torch.library.register_fake("saccade::_best_above")
def _(sections: list[Tensor], threshold: float, most: int) -> tuple[Tensor, Tensor, Tensor]:
    count = torch.library.get_ctx().new_dynamic_size()
    index = sections[0].new_empty(count, dtype=torch.int64)
    return sections[0].new_empty(count), index, torch.empty_like(index)
