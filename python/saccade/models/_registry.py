"""Models by name."""

from __future__ import annotations

import difflib
import inspect
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

__all__ = ["build", "list_models", "register"]

Constructor = TypeVar("Constructor", bound=Callable[..., nn.Module])
# What constructors call the number of classes; the last two in the layouts of milesial's and fyu's networks.
_CLASSES = ("num_classes", "n_classes", "classes")
_CONSTRUCTORS: dict[str, Callable[..., nn.Module]] = {}


def register(constructor: Constructor) -> Constructor:
    """Make a function known to :func:`build` by its own name.

    Options that it takes as ``**options`` are the keyword-only ones of the class that it is annotated to return, and of
    its base class where that takes ``**options`` too.
    """
    _CONSTRUCTORS[constructor.__name__] = constructor
    return constructor


def list_models() -> list[str]:
    """The names that :func:`build` knows, sorted.

    >>> "resnet18" in saccade.models.list_models()
    True
    """
    return sorted(_CONSTRUCTORS)


def build(name: str, *, num_classes: int | None = None, **options: Any) -> nn.Module:
    """Build a model, with initial weights as its reference draws them (torch's generator decides).

    Args:
        name: one of :func:`list_models`.
        num_classes: size of the output; None leaves the model's own, which is 1000 where ImageNet's weights exist.
        options: what the constructor of that name takes.

    Raises:
        ValueError: for unknown names (close ones are named) and values out of range; TypeError: for options that the
            model does not take, or lacks.

    >>> model = saccade.models.build("resnet18", num_classes=10)
    >>> model(torch.rand(2, 3, 64, 64)).shape
    torch.Size([2, 10])
    """
    if not isinstance(name, str) or name not in _CONSTRUCTORS:
        raise ValueError(f"build: name must be a known model{_did_you_mean(name)}, got {name!r}")
    constructor = _CONSTRUCTORS[name]
    known = _parameters(constructor)
    if num_classes is not None:
        own = next((option for option in _CLASSES if option in known), None)
        if own is None:
            raise TypeError(f"build: {name} has no classes, got num_classes={num_classes!r}")
        options[own] = num_classes
    for option in options:
        if option not in known:
            raise TypeError(f"build: {name} takes {', '.join(known)}; got {option!r}")
    lacking = [option for option, required in known.items() if required and option not in options]
    if lacking:
        raise TypeError(f"build: {name} needs {', '.join(lacking)}")
    return constructor(**options)


def _did_you_mean(name: Any) -> str:
    close = difflib.get_close_matches(str(name), _CONSTRUCTORS, n=3)
    return f" (close: {', '.join(close)})" if close else " (saccade.models.list_models() names them)"


def _parameters(constructor: Callable[..., nn.Module]) -> dict[str, bool]:
    """The names of the options of a constructor, sorted, and whether each is required."""
    found: dict[str, inspect.Parameter] = {}
    for parameter in inspect.signature(constructor).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            found |= _options(typing.get_type_hints(constructor)["return"])
        else:
            found[parameter.name] = parameter
    return {name: found[name].default is inspect.Parameter.empty for name in sorted(found)}


def _options(returned: type) -> dict[str, inspect.Parameter]:
    """Keyword-only parameters of a class, and of the classes before it as long as one hands on ``**options``."""
    found: dict[str, inspect.Parameter] = {}
    for level in returned.__mro__:
        parameters = inspect.signature(level).parameters.values()
        found = {option.name: option for option in parameters if option.kind is option.KEYWORD_ONLY} | found
        if not any(option.kind is option.VAR_KEYWORD for option in parameters):
            break
    return found
