"""Back-propagation written out: the delta rule of the notes, for reading beside them.

A multi-layer perceptron in NumPy and float64, with the notes' symbols::

    a_l = W_l h_{l-1} + b_l         h_l = sigma(a_l)         h_0 = x

    delta_L = dL / da_L
    delta_{l,i} = (sum_k delta_{l+1,k} w_{l+1,ki}) sigma'(a_{l,i})

    dL / dW_l = delta_l h_{l-1}^T         dL / db_l = delta_l

Samples are rows here, so products with W stand on the other side. It equals torch's autograd, which is what to train
with.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ACTIVATIONS", "MLP", "Activation"]

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Activation:
    """A function and its derivative, both of ``a``."""

    function: Callable[[Array], Array]
    derivative: Callable[[Array], Array]


def _sigmoid(a: Array) -> Array:
    return np.exp(-np.logaddexp(0, -a))


LEAK = 0.01
ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(lambda a: a, np.ones_like),
    "sigmoid": Activation(_sigmoid, lambda a: _sigmoid(a) * _sigmoid(-a)),
    "tanh_sigmoid": Activation(lambda a: np.tanh(a) / 2 + 0.5, lambda a: (1 - np.tanh(a) ** 2) / 2),
    "relu": Activation(lambda a: np.where(a > 0, a, 0), lambda a: np.where(a > 0, 1.0, 0.0)),
    "leaky_relu": Activation(lambda a: np.where(a > 0, a, LEAK * a), lambda a: np.where(a > 0, 1.0, LEAK)),
    "elu": Activation(lambda a: np.where(a > 0, a, np.expm1(np.minimum(a, 0))), lambda a: np.exp(np.minimum(a, 0))),
}
LOSSES = ("mse", "binary_cross_entropy", "cross_entropy")


class MLP:
    """A multi-layer perceptron with its gradients by the delta rule.

    Args:
        weights: ``W_l``, ``(d_l, d_{l-1})``, first layer first.
        biases: ``b_l``, ``(d_l,)``.
        activation: of the hidden layers: a name in ``ACTIVATIONS``.
        loss: of the last layer's ``a_L``, averaged over the samples: ``"mse"`` (the sum over outputs of squared errors,
            halved), ``"binary_cross_entropy"`` (of the sigmoids, summed over outputs), or ``"cross_entropy"`` (of the
            softmax).

    Raises:
        ValueError: for shapes that do not fit each other, or unknown names.

    Source: the notes, back-propagation; Rumelhart, Hinton, Williams, Learning representations by back-propagating
    errors, Nature 1986.

    >>> mlp = MLP([[[1.0, -1.0]], [[2.0]]], [[0.0], [1.0]], activation="relu", loss="mse")
    >>> mlp.loss([[3.0, 1.0]], [[4.0]])
    0.5
    >>> mlp.deltas([[3.0, 1.0]], [[4.0]])
    [array([[2.]]), array([[1.]])]
    >>> mlp.gradients([[3.0, 1.0]], [[4.0]])
    [(array([[6., 2.]]), array([2.])), (array([[2.]]), array([1.]))]
    """

    def __init__(
        self,
        weights: Sequence[ArrayLike],
        biases: Sequence[ArrayLike],
        *,
        activation: str = "sigmoid",
        loss: str = "mse",
    ) -> None:
        self.weights = [np.array(w, np.float64) for w in weights]
        self.biases = [np.array(b, np.float64) for b in biases]
        if activation not in ACTIVATIONS:
            raise ValueError(f"MLP: activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        if loss not in LOSSES:
            raise ValueError(f"MLP: loss must be one of {', '.join(LOSSES)}, got {loss!r}")
        self.activation, self.loss_name = activation, loss
        self._sigma = ACTIVATIONS[activation]
        self._check()

    @classmethod
    def random(cls, widths: Sequence[int], *, seed: int = 0, **options: Any) -> MLP:
        """Layers of these widths, inputs first, with Xavier's normal initialisation and biases of 0.

        >>> [w.shape for w in MLP.random([4, 8, 3], loss="cross_entropy").weights]
        [(8, 4), (3, 8)]
        """
        rng = np.random.default_rng(seed)
        sizes = list(itertools.pairwise(widths))
        weights = [rng.normal(0, np.sqrt(2 / (before + after)), (after, before)) for before, after in sizes]
        return cls(weights, [np.zeros(after) for _, after in sizes], **options)

    def _check(self) -> None:
        if not self.weights or len(self.weights) != len(self.biases):
            raise ValueError(
                f"MLP: weights and biases must be of as many layers, got {len(self.weights)} and {len(self.biases)}"
            )
        before = None
        for number, (w, b) in enumerate(zip(self.weights, self.biases, strict=True), 1):
            if w.ndim != 2 or b.shape != w.shape[:1] or before not in (None, w.shape[-1]):
                raise ValueError(
                    f"MLP: layers must fit each other, got weights {w.shape} and biases {b.shape} in layer {number}"
                    + ("" if before is None else f" after {before} units")
                )
            before = w.shape[0]

    def forward(self, x: ArrayLike) -> tuple[list[Array], list[Array]]:
        """``a_1 .. a_L`` and ``h_0 .. h_{L-1}`` for rows ``x``, ``(N, d)``; the last ``a`` is the output."""
        h = np.atleast_2d(np.asarray(x, np.float64))
        if h.shape[1] != self.weights[0].shape[1]:
            raise ValueError(f"MLP: x must have shape (N, {self.weights[0].shape[1]}), got {np.shape(x)}")
        outputs, inputs = [], []
        for w, b in zip(self.weights, self.biases, strict=True):
            inputs.append(h)
            outputs.append(h @ w.T + b)
            h = self._sigma.function(outputs[-1])
        return outputs, inputs

    def predict(self, x: ArrayLike) -> Array:
        """``(N, d_L)``: values for ``"mse"``, otherwise probabilities."""
        a = self.forward(x)[0][-1]
        return {"mse": lambda a: a, "binary_cross_entropy": _sigmoid, "cross_entropy": _softmax}[self.loss_name](a)

    def loss(self, x: ArrayLike, y: ArrayLike) -> float:
        """The mean loss of rows ``x`` against ``y``: ``(N, d_L)``, or labels ``(N,)`` for the cross-entropy."""
        a = self.forward(x)[0][-1]
        target = self._target(y, a)
        if self.loss_name == "mse":
            each = ((a - target) ** 2).sum(1) / 2
        elif self.loss_name == "binary_cross_entropy":  # -y log p - (1 - y) log(1 - p)
            each = (np.logaddexp(0, a) - target * a).sum(1)
        else:
            each = np.logaddexp.reduce(a, axis=1) * target.sum(1) - (target * a).sum(1)
        return float(each.mean())

    def deltas(self, x: ArrayLike, y: ArrayLike) -> list[Array]:
        """``delta_1 .. delta_L``: the derivative of the loss by every ``a_l``, ``(N, d_l)``."""
        outputs, _ = self.forward(x)
        target = self._target(y, outputs[-1])
        # With each of the three losses: what came out less what should have.
        total = target.sum(1, keepdims=True) if self.loss_name == "cross_entropy" else 1.0
        delta = (self.predict(x) * total - target) / len(target)
        deltas = [delta]
        for a, w in zip(outputs[-2::-1], self.weights[:0:-1], strict=True):
            delta = (delta @ w) * self._sigma.derivative(a)
            deltas.append(delta)
        return deltas[::-1]

    def gradients(self, x: ArrayLike, y: ArrayLike) -> list[tuple[Array, Array]]:
        """The derivatives of the loss by ``(W_l, b_l)``, layer by layer."""
        _, inputs = self.forward(x)
        return [(delta.T @ h, delta.sum(0)) for delta, h in zip(self.deltas(x, y), inputs, strict=True)]

    def step(self, x: ArrayLike, y: ArrayLike, lr: float) -> None:
        """One step of gradient descent."""
        for w, b, (grad_w, grad_b) in zip(self.weights, self.biases, self.gradients(x, y), strict=True):
            w -= lr * grad_w
            b -= lr * grad_b

    def _target(self, y: ArrayLike, a: Array) -> Array:
        target = np.asarray(y)
        if self.loss_name == "cross_entropy" and target.ndim == 1 and target.dtype.kind in "iu":
            if target.size and not (0 <= target.min() and target.max() < a.shape[1]):
                raise ValueError(
                    f"MLP: y must be labels from 0 to {a.shape[1] - 1}, got {target.min()} to {target.max()}"
                )
            target = np.eye(a.shape[1])[target]
        if target.shape != a.shape:
            raise ValueError(f"MLP: y must have shape {a.shape}, got {target.shape}")
        return target.astype(np.float64)


def _softmax(a: Array) -> Array:
    return np.exp(a - np.logaddexp.reduce(a, axis=1, keepdims=True))
