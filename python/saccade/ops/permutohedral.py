"""Gaussian filtering of scattered points in several dimensions."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from saccade.ops._library import call, require_tensor

__all__ = ["Lattice", "build_lattice", "filter_moving", "filter_rows", "permutohedral_filter"]


class Lattice(NamedTuple):
    """What `permutohedral_filter` builds from the features (csrc/ops/permutohedral.h says what each tensor holds)."""

    vertices: Tensor
    weights: Tensor
    points: Tensor
    point_weights: Tensor
    segments: Tensor
    parts: Tensor
    starts: Tensor
    neighbours: Tensor


def build_lattice(features: Tensor) -> Lattice:
    """The lattice of ``(B, N, d)`` features, one for each of the B sets."""
    return Lattice(*call(torch.ops.saccade._permutohedral_lattice, features))


def filter_rows(values: Tensor, lattice: Lattice) -> Tensor:
    """Filter ``(B * N, C)`` values."""
    return call(torch.ops.saccade._permutohedral_filter, values, *lattice, False)


def filter_moving(values: Tensor, lattice: Lattice, features: Tensor) -> Tensor:
    """:func:`filter_rows`, with a gradient in the ``(B * N, d)`` features that the lattice was built of, too.

    It is that of the Gaussian which the lattice stands for: what is added has the value 0 and the derivative
    ``-k(p, q) (features[p] - features[q]) values[q]``, whose sums are filtered values again (Krähenbühl and Koltun,
    Parameter learning and convergent inference for dense random fields, ICML 2013).
    """
    here = features.detach()
    step = features - here  # zero, with a gradient
    here_columns, step_columns = here.split(1, 1), step.split(1, 1)
    d = len(here_columns)
    stacked = [values, (here * step).sum(1, keepdim=True) * values]
    stacked += [column * values for column in (*here_columns, *step_columns)]
    plain, both, *others = filter_rows(torch.cat(stacked, 1), lattice).chunk(2 * d + 2, 1)
    moved = plain - both
    for at, by, of_here, of_step in zip(here_columns, step_columns, others[:d], others[d:], strict=True):
        moved = moved + by * (of_here - at * plain) + at * of_step
    return moved


def permutohedral_filter(features: Tensor, values: Tensor) -> Tensor:
    """Filter values at points with a Gaussian of the distance between the points' features.

    ``out[p] = sum over q of exp(-|features[p] - features[q]|² / 2) * values[q]``, p itself included, approximately: on
    the permutohedral lattice, in time that grows linearly with the number of points. Sums may fall short by a third
    where points are sparse, for vertices that no point reaches pass nothing on; means, filtered values divided by
    filtered ones, are within some per cent.

    Args:
        features: ``(N, d)`` or ``(B, N, d)``, 1 to 8 dimensions, in units of the Gaussian's standard deviation.
        values: ``(N, C)`` or ``(B, N, C)``. Both float16, bfloat16, float32 or float64; they must have the same dtype,
            halves are computed in float32.

    Returns:
        The filtered values, like ``values``. Differentiable in ``values``, any number of times; not in ``features``.

    Raises:
        ValueError: for wrong shapes or devices, and for features that are not finite, too large, or require a gradient.
        TypeError: for other dtypes.

    Source: Adams, Baek and Davis, Fast high-dimensional filtering using the permutohedral lattice, 2010.

    >>> position = torch.tensor([[0.0], [1.0], [9.0]])
    >>> permutohedral_filter(position, torch.tensor([[1.0], [1.0], [4.0]]))
    tensor([[1.4226],
            [1.4981],
            [3.0155]])
    """
    require_tensor("permutohedral_filter", features=features, values=values)
    if features.requires_grad and torch.is_grad_enabled():
        raise ValueError("permutohedral_filter: features must not require a gradient, got some that do")
    if features.ndim not in (2, 3):
        raise ValueError(
            f"permutohedral_filter: features must have shape (N, d) or (B, N, d), got {tuple(features.shape)}"
        )
    if values.ndim != features.ndim or values.shape[:-1] != features.shape[:-1]:
        rule = "(N, C)" if features.ndim == 2 else "(B, N, C)"
        raise ValueError(
            f"permutohedral_filter: values must have shape {rule} beside features of shape {tuple(features.shape)}, "
            f"got {tuple(values.shape)}"
        )
    if values.dtype != features.dtype:
        names = str(features.dtype).removeprefix("torch."), str(values.dtype).removeprefix("torch.")
        raise TypeError(
            f"permutohedral_filter: features and values must have the same dtype, got {names[0]} and {names[1]}"
        )
    dtype = values.dtype
    if dtype in (torch.float16, torch.bfloat16):
        features, values = features.float(), values.float()
    lattice = build_lattice(features if features.ndim == 3 else features[None])
    return filter_rows(values.flatten(0, -2), lattice).to(dtype).view(values.shape)


@torch.library.register_fake("saccade::_permutohedral_lattice")
def _(features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    count, corners = features.shape[0] * features.shape[1], features.shape[2] + 1
    segments, vertices = torch.library.get_ctx().new_dynamic_size(), torch.library.get_ctx().new_dynamic_size()
    return (
        features.new_empty((count, corners), dtype=torch.int32),
        features.new_empty((count, corners)),
        features.new_empty((count * corners,), dtype=torch.int32),
        features.new_empty((count * corners,)),
        features.new_empty((segments + 1,), dtype=torch.int32),
        features.new_empty((segments,), dtype=torch.int32),
        features.new_empty((vertices + 1,), dtype=torch.int32),
        features.new_empty((corners, vertices, 2), dtype=torch.int32),
    )


@torch.library.register_fake("saccade::_permutohedral_filter")
def _(
    values: Tensor, vertices: Tensor, weights: Tensor, points: Tensor, point_weights: Tensor, segments: Tensor,
    parts: Tensor, starts: Tensor, neighbours: Tensor, reverse: bool,
) -> Tensor:  # fmt: skip
    return values.new_empty(values.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, *lattice, ctx.reverse = inputs
    ctx.save_for_backward(*lattice)


def _transpose(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    # Splat is the transpose of slice, and blurs along single axes are symmetric: only their order turns round.
    gradient = torch.ops.saccade._permutohedral_filter(grad, *ctx.saved_tensors, not ctx.reverse)
    return gradient, *(None,) * 9


torch.library.register_autograd("saccade::_permutohedral_filter", _transpose, setup_context=_save)

for _device in ("cpu", "cuda"):
    torch.library.register_autocast("saccade::_permutohedral_filter", _device, torch.float32)
    torch.library.register_autocast("saccade::_permutohedral_lattice", _device, torch.float32)
