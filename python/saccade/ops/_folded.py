"""Batch normalisation with fixed statistics as one affine map per channel, made once and kept."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.ops._kept import Kept

_folded = Kept[tuple[Tensor, Tensor]]()


def folded_batch_norm(
    mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    """``scale`` and ``shift`` such that ``x * scale + shift`` is the normalised ``x``; float32 beside halves.

    They are computed again when one of the tensors changes, and each time where a gradient has to flow into weight or
    bias.
    """

    def fold() -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(var.dtype, torch.float32)
        scale = (var.to(wide) + eps).rsqrt()
        if weight is not None:
            scale = scale * weight.to(wide)
        shift = -mean.to(wide) * scale
        return scale, shift if bias is None else shift + bias.to(wide)

    tensors = tuple(tensor for tensor in (var, mean, weight, bias) if tensor is not None)
    kept = _folded.get((eps, weight is None, bias is None), tensors, fold)
    return fold() if kept is None else kept
