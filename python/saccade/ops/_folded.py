"""Batch normalisation with fixed statistics as one affine map per channel, made once and kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

# Running variance -> (what it was made from, scale, shift).
_kept: Any = WeakTensorKeyDictionary()


def folded_batch_norm(
    mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    """``scale`` and ``shift`` such that ``x * scale + shift`` is the normalised ``x``; float32 beside halves.

    They are computed again when one of the tensors changes (its version or its address), and each time where a
    gradient has to flow into weight or bias.
    """
    tensors = tuple(tensor for tensor in (mean, var, weight, bias) if tensor is not None)
    if torch.compiler.is_compiling() or (torch.is_grad_enabled() and any(t.requires_grad for t in tensors)):
        return _fold(mean, var, weight, bias, eps)
    try:
        state = (eps, weight is None, *((t._version, t.data_ptr(), t.dtype) for t in tensors))
    except RuntimeError:  # no version (inference tensors) or no storage (functorch's, fake ones)
        return _fold(mean, var, weight, bias, eps)
    kept = _kept.get(var)
    if kept is None or kept[0] != state:
        with torch.no_grad():
            kept = (state, *_fold(mean, var, weight, bias, eps))
        _kept[var] = kept
    return kept[1], kept[2]


def _fold(mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(var.dtype, torch.float32)
    scale = (var.to(wide) + eps).rsqrt()
    if weight is not None:
        scale = scale * weight.to(wide)
    shift = -mean.to(wide) * scale
    return scale, shift if bias is None else shift + bias.to(wide)
