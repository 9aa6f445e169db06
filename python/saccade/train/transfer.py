"""Learning from a trained network: parts of it kept as they are, a head for other classes."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

__all__ = ["freeze", "replace_head", "unfreeze"]


def freeze(module: nn.Module, names: str | Sequence[str] = "*", *, keep: str | Sequence[str] = ()) -> list[str]:
    """Keep parameters as they are, and the statistics of batch normalisations too.

    Frozen parameters need no gradient. A normalisation in a frozen part stays in evaluation whatever ``train()`` says:
    otherwise its running statistics would move, and every batch would be normalised by its own. Drop-out goes on.

    Args:
        module: a model or a part of one.
        names: parameters and submodules to freeze: a submodule stands for all that is in it; ``*`` and ``?`` match
            anything.
        keep: names that stay as they are all the same, e.g. ``keep="fc"`` to train only the head.

    Returns:
        The names of the parameters that were frozen.

    Raises:
        ValueError: for a name that matches nothing.

    Give the optimiser what is left: ``[w for w in model.parameters() if w.requires_grad]``.

    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 2, 1))
    >>> saccade.train.freeze(model, keep="2")
    ['0.weight', '0.bias', '1.weight', '1.bias']
    >>> model.train()[1].training
    False
    """
    return _set("freeze", module, names, keep, frozen=True)


def unfreeze(module: nn.Module, names: str | Sequence[str] = "*", *, keep: str | Sequence[str] = ()) -> list[str]:
    """Undo :func:`freeze`; arguments, result and errors as there.

    Normalisations follow ``train()`` again, and are now in the mode that ``module`` is in.
    """
    return _set("unfreeze", module, names, keep, frozen=False)


def replace_head(
    model: nn.Module,
    num_classes: int,
    *,
    name: str | Sequence[str] | None = None,
    init: Callable[[nn.Module], Any] | None = None,
) -> nn.Module:
    """Put a fresh last layer with ``num_classes`` outputs in the place of the model's: a linear layer or convolution.

    Args:
        model: changed in place.
        num_classes: outputs of the new layer, whose other settings, dtype and device are the old one's.
        name: of the layer, or of several (auxiliary heads); None: the last layer with parameters, in the order in
            which the model was put together.
        init: called with the new layer; None leaves torch's initialisation.

    Returns:
        The model (the new layer itself, if the model was nothing else).

    Raises:
        ValueError: if the layer is neither linear nor a convolution, there is none of that name, or the classes do not
            fit its groups.

    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Flatten(), torch.nn.Linear(4, 1000))
    >>> saccade.train.replace_head(model, 10)[2]
    Linear(in_features=4, out_features=10, bias=True)
    """
    if num_classes < 1:
        raise ValueError(f"replace_head: num_classes must be at least 1, got {num_classes}")
    modules = dict(model.named_modules())
    if name is None:
        leaves = [key for key, m in modules.items() if any(True for _ in m.parameters(recurse=False))]
        leaves = [key for key in leaves if not any(True for _ in modules[key].children())]
        if not leaves:
            raise ValueError(f"replace_head: model must have a layer with parameters, got {type(model).__name__}")
        names = [leaves[-1]]
    else:
        names = [name] if isinstance(name, str) else list(name)
    for key in names:
        if key not in modules:
            raise ValueError(f"replace_head: name must be a layer of the model, got {key!r}")
        fresh = _like(modules[key], num_classes, key)
        if init is not None:
            init(fresh)
        if not key:
            return fresh
        parent, _, own = key.rpartition(".")
        setattr(modules[parent], own, fresh)
    return model


def _like(old: nn.Module, outputs: int, name: str) -> nn.Module:
    transposed = getattr(old, "transposed", False)
    if not isinstance(old, nn.Linear | _ConvNd) or transposed:
        raise ValueError(
            f"replace_head: the last layer must be linear or a convolution, got {type(old).__name__} at {name!r}; "
            "name the layer to replace"
        )
    place: dict[str, Any] = {"bias": old.bias is not None, "device": old.weight.device, "dtype": old.weight.dtype}
    fresh: nn.Module
    if isinstance(old, nn.Linear):
        fresh = nn.Linear(old.in_features, outputs, **place)
    else:
        if outputs % old.groups:
            raise ValueError(f"replace_head: num_classes must be a multiple of {old.groups} groups, got {outputs}")
        kind: Any = type(old)
        fresh = kind(
            old.in_channels,
            outputs,
            old.kernel_size,
            stride=old.stride,
            padding=old.padding,
            dilation=old.dilation,
            groups=old.groups,
            padding_mode=old.padding_mode,
            **place,
        )
    return fresh.train(old.training)


def _set(
    op: str, module: nn.Module, names: str | Sequence[str], keep: str | Sequence[str], *, frozen: bool
) -> list[str]:
    parameters, modules = dict(module.named_parameters()), dict(module.named_modules())
    known = [*parameters, *(name for name in modules if name)]
    wanted = _matching(op, "names", names, known) - _matching(op, "keep", keep, known)
    for name, part in modules.items():
        # A model that is nothing but a normalisation has no name: it counts if all of its parameters do.
        inside = name in wanted if name else set(parameters) <= wanted
        if inside and isinstance(part, _NormBase):
            _hold(part) if frozen else _release(part, module.training)
    changed = [name for name in parameters if name in wanted]
    for name in changed:
        parameters[name].requires_grad_(not frozen)
    return changed


def _matching(op: str, argument: str, patterns: str | Sequence[str], known: list[str]) -> set[str]:
    """The names that match, and all that lie inside them."""
    found: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        hits = {name for name in known if fnmatch.fnmatchcase(name, pattern)}
        if not hits and pattern != "*":
            raise ValueError(f"{op}: {argument} must match parameters or submodules, got {pattern!r}")
        found |= {name for name in known if any(name == hit or name.startswith(f"{hit}.") for hit in hits)}
    return found


def _hold(norm: nn.Module) -> None:
    norm.eval()
    # On the object, so that train() of everything around it passes it by; survives deepcopy and pickle. A hook before
    # forward would be missed by modules that call the normalisation's own parts (saccade.nn.ConvBNAct).
    norm.__dict__["train"] = functools.partial(_stay, norm)


def _stay(norm: nn.Module, mode: bool = True) -> nn.Module:
    return norm


def _release(norm: nn.Module, mode: bool) -> None:
    if norm.__dict__.pop("train", None) is not None:
        norm.train(mode)
