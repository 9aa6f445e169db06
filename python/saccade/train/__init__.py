"""What trains networks: losses, the update rule, schedules, regularisation, Lightning modules.

Everything is loaded when it is first used; nothing here needs torchvision or Lightning until then.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saccade.train import backprop, losses, optim
    from saccade.train.multitask import MultiTaskLoss
    from saccade.train.optim import AlexNetSGD, PolyLR
    from saccade.train.regularisation import EarlyStopping, l1_penalty, l2_penalty, weight_decay_groups
    from saccade.train.transfer import freeze, replace_head, unfreeze

__all__ = [
    "AlexNetSGD",
    "EarlyStopping",
    "MultiTaskLoss",
    "PolyLR",
    "backprop",
    "freeze",
    "l1_penalty",
    "l2_penalty",
    "losses",
    "optim",
    "replace_head",
    "unfreeze",
    "weight_decay_groups",
]

_MODULES = ("backprop", "losses", "optim")
_NAMES = {
    "AlexNetSGD": "optim",
    "EarlyStopping": "regularisation",
    "MultiTaskLoss": "multitask",
    "PolyLR": "optim",
    "freeze": "transfer",
    "l1_penalty": "regularisation",
    "l2_penalty": "regularisation",
    "replace_head": "transfer",
    "unfreeze": "transfer",
    "weight_decay_groups": "regularisation",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"saccade.train.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"saccade.train.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
