"""Convolution weights in the order that the kernels read, made once and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

# Weight -> what it is packed for -> (version, address, packed).
_kept: Any = WeakTensorKeyDictionary()


def packed_weight(weight: Tensor, key: tuple[Any, ...], pack: Callable[[], Tensor]) -> Tensor | None:
    """``pack()``, or what it gave for this weight before; None where a weight cannot be kept.

    A weight is packed again once it changes: its version (every change in place that autograd sees) or its address.
    One that is being trained is not kept: it changes from call to call, often through ``.data``, which nothing counts.
    """
    if torch.is_grad_enabled() and weight.requires_grad:
        return None
    if torch.compiler.is_compiling() or weight.device.type != "cpu" or weight.is_inference():
        return None
    try:
        state = weight._version, weight.data_ptr()
    except RuntimeError:  # a tensor without storage: functorch's, a fake one
        return None
    kept = _kept.setdefault(weight, {})
    if key not in kept or kept[key][:2] != state:
        with torch.no_grad():
            kept[key] = (*state, pack())
    packed: Tensor = kept[key][2]
    return packed
