"""What scikit-learn expects of an estimator, without importing it."""

from __future__ import annotations

import inspect
from typing import Any

__all__ = ["Estimator", "check_fitted", "named"]


class Estimator:
    """Parameters as scikit-learn's estimators have them: ``clone``, ``Pipeline`` and grid searches take it."""

    @classmethod
    def _names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments; with ``deep`` also those of estimators among them, as ``name__theirs``."""
        params = {name: getattr(self, name) for name in self._names()}
        if deep:
            for name, value in list(params.items()):
                if hasattr(value, "get_params") and not isinstance(value, type):
                    params.update({f"{name}__{key}": inner for key, inner in value.get_params().items()})
        return params

    def set_params(self, **params: Any) -> Any:
        """Change constructor arguments; takes effect with the next ``fit``. Returns the estimator."""
        for key, value in params.items():
            name, nested, inner = key.partition("__")
            if name not in self._names():
                raise ValueError(f"{type(self).__name__}: parameters are {', '.join(self._names())}, got {name!r}")
            if nested:
                getattr(self, name).set_params(**{inner: value})
            else:
                setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        changed = [
            f"{name}={value!r}"
            for name, value in self.get_params(deep=False).items()
            if value is not defaults[name].default and not _same(value, defaults[name].default)
        ]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_tags__(self) -> Any:
        from sklearn.base import BaseEstimator

        return BaseEstimator.__sklearn_tags__(self)


def _same(value: Any, default: Any) -> bool:
    return isinstance(value, (bool, int, float, str, tuple)) and type(value) is type(default) and value == default


def check_fitted(estimator: Any, attribute: str) -> None:
    """Raise as scikit-learn does, without its class, where ``fit`` has not run."""
    if not hasattr(estimator, attribute):
        name = type(estimator).__name__
        raise RuntimeError(f"{name}: it has not been fitted; call fit first")


def named(op: str, argument: str, value: Any, choices: tuple[str, ...]) -> None:
    """Check an argument that is one of a few words."""
    if value not in choices:
        *front, last = (repr(choice) for choice in choices)
        raise ValueError(f"{op}: {argument} must be {', '.join(front)} or {last}, got {value!r}")
