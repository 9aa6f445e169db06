"""A model of saccade.models as torch runs it: the same architecture and weights on torch's own modules."""

from __future__ import annotations

import copy
from types import MethodType
from typing import Any


def torch_twin(model: Any) -> Any:
    """A copy whose modules are torch's, and which adds and activates in place, as the published models do."""
    from torch import nn

    from saccade import nn as ours
    from saccade.models._fused import FusedSequential
    from saccade.models.residual import BasicBlock, Bottleneck

    kinds: dict[type, type] = {getattr(ours, name): getattr(nn, name) for name in _MODULES}
    kinds[FusedSequential] = nn.Sequential
    twin = copy.deepcopy(model)
    for module in twin.modules():
        module.__class__ = kinds.get(type(module), type(module))
        if isinstance(module, nn.ReLU):
            module.inplace = True
        elif isinstance(module, BasicBlock | Bottleneck):
            module.forward = MethodType(_block, module)
    left = {type(module).__name__ for module in twin.modules() if type(module).__module__.startswith("saccade.nn")}
    if left:
        raise TypeError(f"torch_twin: model must be made of {', '.join(_MODULES)}, got {', '.join(sorted(left))} too")
    return twin


_MODULES = ("Conv2d", "ConvTranspose2d", "BatchNorm2d", "MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d")


def _block(self: Any, input: Any) -> Any:
    """A residual block of saccade.models.residual, whose fused passes are torch's single ones here."""
    from torch.nn.functional import relu_

    out = input
    for number in (1, 2, 3):
        if not hasattr(self, f"conv{number}"):
            break
        if number > 1:
            out = relu_(out)
        out = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(out))
    if self.residual:
        out += input if self.downsample is None else self.downsample(input)
    return relu_(out)
