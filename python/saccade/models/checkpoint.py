"""Weights from files, whatever wraps or renames them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["AFTERWARDS", "READERS", "RENAMINGS", "CheckpointError", "LoadReport", "load_checkpoint"]

State = dict[str, Tensor]
# Under which keys files keep a state dict beside other things, and what is put before its keys: by
# DataParallel, by Lightning modules that hold the network as ``model`` or ``net``, and by torch.compile.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
_NO_WEIGHTS = ("mask_values",)  # which milesial's U-Net keeps among them: the grey value of each class
_SHOWN = 20


@dataclass(frozen=True)
class LoadReport:
    """What a checkpoint and a model did not have in common; empty lists where it fits.

    ``mis_shaped`` maps a key to its shapes in the checkpoint and in the model. ``renamed`` names the layouts whose keys
    were translated, prefixes included.
    """

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mis_shaped: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    renamed: list[str] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        """Whether every weight of the model was in the checkpoint, and nothing else."""
        return not (self.missing or self.unexpected or self.mis_shaped)

    def __str__(self) -> str:
        """One line for each kind of difference."""
        shapes = [
            f"{key} {found} in the checkpoint, {wanted} in the model"
            for key, (found, wanted) in self.mis_shaped.items()
        ]
        lists = ("missing", self.missing, ", "), ("unexpected", self.unexpected, ", "), ("mis-shaped", shapes, "; ")
        lines = [f"{kind} ({len(keys)}): {_shortened(keys, separator)}" for kind, keys, separator in lists if keys]
        return "\n".join(lines) or "everything fits"


class CheckpointError(ValueError):
    """A checkpoint that does not fit the model; ``report`` has the whole lists."""

    def __init__(self, message: str, report: LoadReport) -> None:
        super().__init__(message)
        self.report = report


def load_checkpoint(
    model: nn.Module, source: str | os.PathLike[str] | Mapping[str, Any], *, strict: bool = True
) -> LoadReport:
    """Copy the weights of a checkpoint into a model.

    A state dict may be wrapped (``{"state_dict": ...}``, Lightning's checkpoints) and its keys prefixed (``module.``,
    ``model.``, ``_orig_mod.``). Other layouts are recognised: torchvision's ViT with ``mlp.linear_1``, batch
    normalisations without ``num_batches_tracked`` or with, where the model's are frozen, fyu/drn's segmentation networks
    (``base.3``) for the backbone of a classifier and the reverse, torchvision's VGG-16 for an FCN, milesial's U-Net with
    biases before normalisations, torchvision's first detectors (``rpn.head.conv.weight``), whose frozen batch
    normalisations have no ``eps``. Darknet's ``.weights`` are read for its models. Values are converted to the dtype and
    device of the model's.

    Args:
        model: what to load into; it stays as it is where this raises.
        source: a file that ``torch.save`` wrote, or what it would hold. Files are read with ``weights_only=True``: no
            code of theirs runs.
        strict: whether any difference is an error; otherwise what fits is copied, and the rest reported.

    Raises:
        CheckpointError: (a ValueError) with ``strict``, for missing, unexpected and mis-shaped keys, which it lists.
        ValueError: for files that hold more than tensors and plain values, or no state dict. FileNotFoundError.

    >>> weights = saccade.models.resnet_small(num_classes=7).state_dict()
    >>> model = saccade.models.resnet_small(num_classes=10)
    >>> report = saccade.models.load_checkpoint(model, weights, strict=False)
    >>> print(report)
    mis-shaped (2): fc.weight (7, 64) in the checkpoint, (10, 64) in the model; fc.bias (7,) in the checkpoint, (10,) in the model
    """  # noqa: E501
    state = _unwrapped(source if isinstance(source, Mapping) else _read(model, source))
    own: State = model.state_dict()
    state, renamed = _translated(state, own)
    report = _compare(state, own, renamed)
    if strict and not report.fits:
        raise CheckpointError(f"load_checkpoint: the checkpoint does not fit {type(model).__name__}:\n{report}", report)
    _copy(model, {key: value for key, value in state.items() if key in own and key not in report.mis_shaped})
    for name in renamed:
        if name in AFTERWARDS:
            AFTERWARDS[name](model)
    return report


def _read(model: nn.Module, path: str | os.PathLike[str]) -> Mapping[str, Any]:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"load_checkpoint: source must be a path or a dict, got {type(path).__name__}")
    if not Path(path).exists():
        raise FileNotFoundError(f"load_checkpoint: there is no file {os.fspath(path)}")
    if Path(path).suffix in READERS:
        return READERS[Path(path).suffix](model, path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise whatever the unpickler stumbles over
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(
            f"load_checkpoint: {os.fspath(path)} must be a file of tensors and plain values written by torch.save, "
            f"got: {reason}"
        ) from error
    if not isinstance(content, Mapping):
        raise ValueError(f"load_checkpoint: {os.fspath(path)} must hold a dict, got {type(content).__name__}")
    return content


def _unwrapped(content: Mapping[str, Any]) -> State:
    for _ in range(2):
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    content = {key: value for key, value in content.items() if key not in _NO_WEIGHTS}
    for key, value in content.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"load_checkpoint: {key} must be a tensor, got {type(value).__name__}")
    if not content:
        raise ValueError("load_checkpoint: source must hold weights, got an empty dict")
    return dict(content)


# ---- Layouts ---------------------------------------------------------------------------------------------------------


def _torchvision_vit_1(state: State, own: State) -> State:
    """torchvision before 0.14: ``mlp.linear_1`` and ``mlp.linear_2`` for what is ``mlp.0`` and ``mlp.3``."""
    return {
        key.replace(".mlp.linear_1.", ".mlp.0.").replace(".mlp.linear_2.", ".mlp.3."): value
        for key, value in state.items()
    }


def _drn_segmentation(state: State, own: State) -> State:
    """fyu/drn's segmentation networks, which number the parts of a classifier: ``base.3`` for what is ``layer1``."""
    if not any(key.startswith("base.") for key in state) or any(key.startswith("base.") for key in own):
        return state
    stages = sorted({key.split(".")[0] for key in own if key.startswith("layer")})
    # Before the stages come conv1, bn1 and relu, and in a network of four stages a pooling.
    stem = [] if stages[:1] == ["layer0"] else ["conv1", "bn1", "relu", *(["maxpool"] if len(stages) == 4 else [])]
    names = dict(enumerate([*stem, *stages]))
    renamed = {}
    for key, value in state.items():
        first, _, rest = key.partition(".")
        number, _, end = rest.partition(".")
        known = first == "base" and number.isdigit() and int(number) in names
        renamed[f"{names[int(number)]}.{end}" if known else key] = value
    return renamed


# By the name of the layout: what gives the keys of a state dict their present names. Called with the checkpoint's
# state dict and the model's; one that changes nothing was not met. Families of models add theirs here.
RENAMINGS: dict[str, Callable[[State, State], State]] = {
    "torchvision ViT 1": _torchvision_vit_1,
    "fyu/drn segmentation": _drn_segmentation,
}
# By the ending of a file: what reads those that torch did not write, for a model.
READERS: dict[str, Callable[[nn.Module, str | os.PathLike[str]], State]] = {}
# What else a layout asks for, done to the model once its weights are copied.
AFTERWARDS: dict[str, Callable[[nn.Module], None]] = {}


def _translated(state: State, own: State) -> tuple[State, list[str]]:
    renamed = []
    stripped = True
    while stripped:  # "module." may stand before "model."
        stripped = False
        for prefix in _PREFIXES:
            if all(key.startswith(prefix) for key in state) and not any(key.startswith(prefix) for key in own):
                state = {key.removeprefix(prefix): value for key, value in state.items()}
                renamed.append(prefix)
                stripped = True
    for name, rename in RENAMINGS.items():
        after = rename(state, own)
        if list(after) != list(state):
            state = after
            renamed.append(name)
    return state, renamed


# ---- Comparison ------------------------------------------------------------------------------------------------------


def _compare(state: State, own: State, renamed: list[str]) -> LoadReport:
    counters = {key for key in own if key.endswith("num_batches_tracked")}  # files of before 2018 lack them
    return LoadReport(
        missing=[key for key in own if key not in state and key not in counters],
        unexpected=[key for key in state if key not in own and not _counter_of_frozen(key, own)],
        mis_shaped={
            key: (tuple(value.shape), tuple(own[key].shape))
            for key, value in state.items()
            if key in own and value.shape != own[key].shape
        },
        renamed=renamed,
    )


def _counter_of_frozen(key: str, own: State) -> bool:
    """Whether a frozen batch normalisation, which counts no batches, stands where the checkpoint's did."""
    before, _, name = key.rpartition(".")
    return name == "num_batches_tracked" and f"{before}.running_var" in own


def _copy(model: nn.Module, state: State) -> None:
    """torch's own loading, so that modules with rules of their own apply them; keys and shapes are known to fit."""
    model.load_state_dict(state, strict=False)


def _shortened(keys: list[str], separator: str) -> str:
    more = len(keys) - _SHOWN
    return separator.join(keys[:_SHOWN]) + (f"{separator}and {more} more" if more > 0 else "")
