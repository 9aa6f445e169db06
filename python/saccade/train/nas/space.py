"""Search spaces, declared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

__all__ = ["Block", "Choice", "Float", "Int", "Repeat", "SearchSpace", "Suggests"]

Scalar = None | bool | int | float | str


class Suggests(Protocol):
    """What draws values: a trial of Optuna, or plain random numbers."""

    def suggest_categorical(self, name: str, choices: Any) -> Any: ...  # noqa: D102
    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int: ...  # noqa: D102
    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float: ...  # noqa: D102


class Choice:
    """One of some values: numbers, words, booleans or None.

    >>> Choice("relu", "elu")
    Choice('relu', 'elu')
    """

    def __init__(self, *options: Scalar) -> None:
        if not options or not all(option is None or isinstance(option, (bool, int, float, str)) for option in options):
            raise ValueError(f"Choice: options must be numbers, words, booleans or None, at least one, got {options}")
        if len({(type(option), option) for option in options}) < len(options):
            raise ValueError(f"Choice: options must differ, got {options}")
        self.options = options

    def __repr__(self) -> str:
        return f"Choice({', '.join(map(repr, self.options))})"

    def draw(self, name: str, trial: Suggests) -> Any:
        """A value for the parameter of this name."""
        return trial.suggest_categorical(name, list(self.options))


class Int:
    """A whole number from ``low`` to ``high``, both included, in steps of ``step``, or by its logarithm (``log``)."""

    def __init__(self, low: int, high: int, *, step: int = 1, log: bool = False) -> None:
        if low > high or step < 1 or (log and (low < 1 or step != 1)):
            raise ValueError(
                "Int: low <= high and step >= 1 must hold, and with log low >= 1 and step 1, "
                f"got low={low}, high={high}, step={step}, log={log}"
            )
        self.low, self.high, self.step, self.log = low, low + (high - low) // step * step, step, log

    def __repr__(self) -> str:
        return f"Int({self.low}, {self.high}, step={self.step}, log={self.log})"

    def draw(self, name: str, trial: Suggests) -> Any:
        """A value for the parameter of this name."""
        return trial.suggest_int(name, self.low, self.high, step=self.step, log=self.log)


class Float:
    """A number from ``low`` to ``high``, or by its logarithm (``log``)."""

    def __init__(self, low: float, high: float, *, log: bool = False) -> None:
        if not (math.isfinite(low) and math.isfinite(high) and low <= high) or (log and low <= 0):
            raise ValueError(
                f"Float: low <= high must hold, finite, and with log low > 0, got low={low}, high={high}, log={log}"
            )
        self.low, self.high, self.log = float(low), float(high), log

    def __repr__(self) -> str:
        return f"Float({self.low:g}, {self.high:g}, log={self.log})"

    def draw(self, name: str, trial: Suggests) -> Any:
        """A value for the parameter of this name."""
        return trial.suggest_float(name, self.low, self.high, log=self.log)


class Block:
    """One of several blocks, each with parameters of its own that exist only where it is chosen.

    In the architecture it is a dictionary: ``kind``, the block's name, and its parameters.

    >>> Block(plain={}, grouped={"groups": Choice(2, 4)})
    Block(plain={}, grouped={'groups': Choice(2, 4)})
    """

    def __init__(self, **blocks: Mapping[str, Parameter]) -> None:
        if not blocks:
            raise ValueError("Block: blocks must be at least one, got none")
        self.blocks = {name: _parameters("Block", block) for name, block in blocks.items()}

    def __repr__(self) -> str:
        return f"Block({', '.join(f'{name}={block}' for name, block in self.blocks.items())})"

    def draw(self, name: str, trial: Suggests) -> Any:
        """A value for the parameter of this name."""
        kind = trial.suggest_categorical(name, list(self.blocks))
        return {"kind": kind} | _draw(f"{name}.{kind}.", self.blocks[kind], trial)


class Repeat:
    """From ``low`` to ``high`` times the same parameters, each time with other values: a list of dictionaries."""

    def __init__(self, low: int, high: int, /, **parameters: Parameter) -> None:
        if not 0 <= low <= high:
            raise ValueError(f"Repeat: 0 <= low <= high must hold, got low={low}, high={high}")
        self.low, self.high, self.parameters = low, high, _parameters("Repeat", parameters)

    def __repr__(self) -> str:
        parts = [str(self.low), str(self.high), *(f"{name}={value}" for name, value in self.parameters.items())]
        return f"Repeat({', '.join(parts)})"

    def draw(self, name: str, trial: Suggests) -> Any:
        """A value for the parameter of this name."""
        count = trial.suggest_int(name, self.low, self.high, step=1, log=False)
        return [_draw(f"{name}.{number}.", self.parameters, trial) for number in range(count)]


Parameter = Choice | Int | Float | Block | Repeat


def _parameters(op: str, parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
    for name, parameter in parameters.items():
        if not isinstance(parameter, (Choice, Int, Float, Block, Repeat)):
            raise TypeError(f"{op}: {name} must be a Choice, Int, Float, Block or Repeat, got {parameter!r}")
        if name == "kind" or "." in name:
            raise ValueError(f"{op}: names must not be 'kind' nor hold a dot, got {name!r}")
    return dict(parameters)


def _draw(prefix: str, parameters: Mapping[str, Parameter], trial: Suggests) -> dict[str, Any]:
    return {name: parameter.draw(prefix + name, trial) for name, parameter in parameters.items()}


class SearchSpace:
    """The architectures among which to search: parameters by name.

    A drawn architecture is a dictionary of numbers, words, dictionaries (:class:`Block`) and lists of dictionaries
    (:class:`Repeat`), which a function of yours makes a model from.

    >>> space = SearchSpace(
    ...     stages=Repeat(1, 3, width=Int(8, 32, step=8), block=Block(plain={}, grouped={"groups": Choice(2, 4)})),
    ...     activation=Choice("relu", "elu"))
    >>> space.random(11)
    {'stages': [{'width': 8, 'block': {'kind': 'grouped', 'groups': 2}}], 'activation': 'elu'}
    """

    def __init__(self, **parameters: Parameter) -> None:
        self.parameters = _parameters("SearchSpace", parameters)

    def __repr__(self) -> str:
        return f"SearchSpace({', '.join(f'{name}={value}' for name, value in self.parameters.items())})"

    def draw(self, trial: Suggests) -> dict[str, Any]:
        """An architecture whose values a trial of Optuna chooses."""
        return _draw("", self.parameters, trial)

    def random(self, seed: int) -> dict[str, Any]:
        """An architecture at random, without Optuna."""
        return self.draw(_Random(np.random.default_rng(seed)))


class _Random:
    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return choices[int(self.generator.integers(len(choices)))]

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        if log:
            return int(np.exp(self.generator.uniform(np.log(low), np.log(high + 1))))
        return low + step * int(self.generator.integers((high - low) // step + 1))

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        if log:
            return float(np.exp(self.generator.uniform(np.log(low), np.log(high))))
        return float(self.generator.uniform(low, high))
