"""The best values above a threshold, of which there are few."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.ops._library import call

__all__ = ["best_above", "best_above_by_sorting"]


def best_above(values: Tensor, sections: Sequence[int], threshold: float, most: int) -> tuple[Tensor, Tensor]:
    """In each section of each row, the ``most`` greatest values above ``threshold``.

    Args:
        values: ``(N, R)``, float32 or float64.
        sections: lengths of the sections of a row; they add up to R.
        threshold: NaN is not above it.
        most: at least 1.

    Returns:
        Indices into ``values.flatten()``, section after section, in descending order of value, ties to the lower
        index; and how many each section has, ``(N * len(sections),)``. Both int64.
    """
    found: tuple[Tensor, Tensor] = call(torch.ops.saccade._best_above, values, list(sections), threshold, most)
    return found


def best_above_by_sorting(
    values: Tensor, sections: Sequence[int], threshold: float, most: int
) -> tuple[Tensor, Tensor]:
    """The same from torch's own operators, for devices without a kernel."""
    index = torch.where(values.flatten() > threshold)[0]
    lengths = torch.tensor(sections, device=values.device)
    ends = lengths.repeat(values.shape[0]).cumsum(0)
    group = torch.bucketize(index, ends, right=True)
    order = values.flatten()[index].argsort(descending=True, stable=True)
    order = order[group[order].argsort(stable=True)]
    counts = torch.bincount(group, minlength=len(ends))
    rank = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[group[order]]
    return index[order[rank < most]], counts.clamp(max=most)


torch.library.impl("saccade::_best_above", "CUDA", best_above_by_sorting)


@torch.library.register_fake("saccade::_best_above")
def _(values: Tensor, sections: list[int], threshold: float, most: int) -> tuple[Tensor, Tensor]:
    count = torch.library.get_ctx().new_dynamic_size()
    groups = values.shape[0] * len(sections)
    return values.new_empty(count, dtype=torch.int64), values.new_empty(groups, dtype=torch.int64)
