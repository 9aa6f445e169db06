"""What detectors share: loading of older checkpoints."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor, nn

from saccade.models.checkpoint import AFTERWARDS, RENAMINGS
from saccade.ops import FrozenBatchNorm2d

__all__ = ["Detector", "forget_eps", "renamed"]

# torchvision before 0.12; the files of its COCO weights of that time keep these names.
_OLD_NAMES = (
    (re.compile(r"(.*\bfpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)"), r"\1.0.\2"),
    (re.compile(r"(.*\brpn\.head\.conv)\.(weight|bias)"), r"\1.0.0.\2"),
    (re.compile(r"(.*\bhead\.(?:classification|regression)_head\.conv)\.([0246])\.(weight|bias)"), r"\1.{half}.0.\3"),
    (re.compile(r"(.*\bmask_head)\.mask_fcn([1-9])\.(weight|bias)"), r"\1.{before}.0.\3"),
)


def renamed(state: dict[str, Tensor], own: dict[str, Any]) -> dict[str, Tensor]:
    """Give old names of a detector's weights their present ones, where the model ``own`` has those."""
    return {_present(key, own): value for key, value in state.items()}


def _present(key: str, own: dict[str, Any]) -> str:
    for pattern, name in _OLD_NAMES:
        match = pattern.fullmatch(key)
        if match and key not in own:
            number = int(match[2]) if match[2].isdigit() else 0
            new = match.expand(name).format(half=number // 2, before=number - 1)
            return new if new in own else key
    return key


def forget_eps(model: nn.Module) -> None:
    """Set ``eps`` of frozen batch normalisations to 0: those that old weights were trained with had none."""
    for module in model.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = 0.0


class Detector(nn.Module):
    """Base class of detectors: loads torchvision's old names, and then has frozen batch norms without ``eps``."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        own = {f"{prefix}{key}": None for key in self.state_dict()}
        new = renamed(state_dict, own)
        if list(new) != list(state_dict):
            state_dict.clear()
            state_dict.update(new)
            forget_eps(self)
        super()._load_from_state_dict(state_dict, prefix, *args)


RENAMINGS["torchvision detection 1"] = renamed
AFTERWARDS["torchvision detection 1"] = forget_eps
