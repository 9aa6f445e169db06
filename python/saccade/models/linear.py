"""The linear model, the logistic model, the perceptron and the multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from saccade.models._checks import features_of, positive
from saccade.models._registry import register
from saccade.nn.activations import ACTIVATIONS
from saccade.nn.dropout import Dropout

__all__ = ["MLP", "Linear", "Logistic", "Perceptron", "linear", "logistic", "mlp", "perceptron"]


class _OneLayer(nn.Module):
    """``W x + b`` of whatever shape a sample has."""

    def __init__(self, op: str, in_features: int | tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        positive(op, num_classes=num_classes)
        self.fc = nn.Linear(features_of(op, in_features), num_classes)

    def _sums(self, samples: Tensor) -> Tensor:
        return self.fc(_flat(type(self).__name__, samples, self.fc.in_features))

    def _training_set(self, samples: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        op = f"{type(self).__name__}.fit"
        flat = _flat(op, samples, self.fc.in_features).to(self.fc.weight)
        if len(flat) == 0 or len(labels) != len(flat):
            raise ValueError(f"{op}: one label is needed for each sample, got {len(labels)} for {len(flat)}")
        return flat, labels.to(flat.device)

    def _classes(self, samples: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        op = f"{type(self).__name__}.fit"
        flat, labels = self._training_set(samples, labels)
        classes = max(self.fc.out_features, 2)
        if labels.dim() != 1 or labels.is_floating_point():
            raise TypeError(f"{op}: labels must be integers, (N,), got {labels.dtype}, {tuple(labels.shape)}")
        if labels.min() < 0 or labels.max() >= classes:
            wrong = labels[(labels < 0) | (labels >= classes)][0].item()
            raise ValueError(f"{op}: labels must be from 0 to {classes - 1}, got {wrong}")
        return flat, labels


class Linear(_OneLayer):
    """``y = W x + b``: a continuous value for each output.

    Args:
        in_features: of a sample, or its shape; samples are flattened.
        num_classes: values to predict.

    >>> model = saccade.models.linear(in_features=1, num_classes=1)
    >>> _ = model.fit(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[1.0], [3.0], [5.0]]))
    >>> model(torch.tensor([[10.0]])).detach().round()
    tensor([[21.]])
    """

    def __init__(self, in_features: int | tuple[int, ...], num_classes: int = 1) -> None:
        super().__init__("linear", in_features, num_classes)

    def forward(self, samples: Tensor) -> Tensor:
        """``(N, ...)`` to ``(N, num_classes)``."""
        return self._sums(samples)

    @torch.no_grad()
    def fit(self, samples: Tensor, targets: Tensor, *, ridge: float = 0.0) -> Linear:
        """Least squares in closed form: the weights that minimise ``sum |W x + b - y|^2 + ridge * |W|^2``.

        Args:
            samples: ``(N, ...)``.
            targets: ``(N, num_classes)`` or, for one value, ``(N,)``.
            ridge: weight of the penalty, which leaves the bias alone. Without it, of several solutions the smallest.

        >>> x = torch.randn(20, 3)
        >>> y = x @ torch.tensor([1.0, 2.0, 3.0]) - 1
        >>> saccade.models.linear(in_features=3).fit(x, y).fc.weight.detach().round(decimals=3)
        tensor([[1., 2., 3.]])
        """
        flat, targets = self._training_set(samples, targets)
        targets = targets.reshape(len(flat), -1).double()
        if targets.shape[1] != self.fc.out_features:
            raise ValueError(
                f"Linear.fit: targets must have shape (N, {self.fc.out_features}), got {tuple(targets.shape)}"
            )
        if not ridge >= 0:
            raise ValueError(f"Linear.fit: ridge must not be negative, got {ridge!r}")
        flat = flat.double()
        mean, target_mean = flat.mean(0), targets.mean(0)
        left, right = flat - mean, targets - target_mean
        if ridge > 0:  # the penalty as samples of its own
            left = torch.cat([left, ridge**0.5 * torch.eye(left.shape[1], dtype=left.dtype, device=left.device)])
            right = torch.cat([right, right.new_zeros(len(left) - len(right), right.shape[1])])
        weight = (torch.linalg.pinv(left) @ right).T
        self.fc.weight.copy_(weight)
        self.fc.bias.copy_(target_mean - weight @ mean)
        return self


class Logistic(_OneLayer):
    """The linear model with its values mapped to probabilities: sigmoid for one output, softmax for several.

    ``forward`` gives the logits, which the cross-entropies of torch expect; :meth:`probabilities` maps them.
    The arguments are :class:`Linear`'s.

    >>> model = saccade.models.logistic(in_features=(1, 8, 8), num_classes=10)
    >>> model.probabilities(torch.rand(2, 1, 8, 8)).sum(1).detach()
    tensor([1.0000, 1.0000])
    """

    def __init__(self, in_features: int | tuple[int, ...], num_classes: int = 1) -> None:
        super().__init__("logistic", in_features, num_classes)

    def forward(self, samples: Tensor) -> Tensor:
        """Logits, ``(N, num_classes)``."""
        return self._sums(samples)

    def probabilities(self, samples: Tensor) -> Tensor:
        """``(N, num_classes)``; for one output the probability of class 1."""
        logits = self(samples)
        return logits.sigmoid() if self.fc.out_features == 1 else logits.softmax(1)

    def fit(self, samples: Tensor, labels: Tensor, *, l2: float = 1.0, iterations: int = 200) -> Logistic:
        """Minimise ``sum of cross-entropies + l2 / 2 * |W|^2`` by its gradient (L-BFGS on all samples).

        Args:
            samples: ``(N, ...)``, features of about one magnitude.
            labels: ``(N,)``, integers; 0 and 1 for one output.
            l2: weight of the penalty, the inverse of scikit-learn's ``C``.
            iterations: at most.

        >>> x = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]])
        >>> model = saccade.models.logistic(in_features=1).fit(x, torch.tensor([0, 0, 1, 1]))
        >>> (model(x) > 0).flatten().tolist()
        [False, False, True, True]
        """
        flat, labels = self._classes(samples, labels)
        if not l2 >= 0:
            raise ValueError(f"Logistic.fit: l2 must not be negative, got {l2!r}")
        positive("Logistic.fit", iterations=iterations)
        fc = self.fc
        optimizer = torch.optim.LBFGS(
            [fc.weight, fc.bias], max_iter=iterations, tolerance_grad=1e-6, tolerance_change=0,
            line_search_fn="strong_wolfe",
        )  # fmt: skip

        def loss() -> Tensor:
            optimizer.zero_grad()
            logits = fc(flat)
            if fc.out_features == 1:
                entropy = functional.binary_cross_entropy_with_logits(logits[:, 0], labels.to(flat), reduction="sum")
            else:
                entropy = functional.cross_entropy(logits, labels.long(), reduction="sum")
            # A mean, so that the tolerances mean the same for any number of samples.
            total: Tensor = (entropy + l2 / 2 * fc.weight.square().sum()) / len(flat)
            total.backward()
            return total

        with torch.enable_grad():
            optimizer.step(loss)
        optimizer.zero_grad()
        return self


class Perceptron(_OneLayer):
    """``y = sigma(W x + b)``: one layer of units with an activation.

    Args:
        in_features, num_classes: as for :class:`Linear`; 1 output tells two classes apart.
        activation: a name of :data:`saccade.nn.activations.ACTIVATIONS`.

    Source: Rosenblatt, The Perceptron: A Probabilistic Model for Information Storage and Organization, 1958.
    """

    def __init__(
        self, in_features: int | tuple[int, ...], num_classes: int = 1, activation: str = "sigmoid"
    ) -> None:  # fmt: skip
        super().__init__("perceptron", in_features, num_classes)
        self.activation = _activation("perceptron", activation)()

    def forward(self, samples: Tensor) -> Tensor:
        """Activations, ``(N, num_classes)``."""
        return self.activation(self._sums(samples))

    @torch.no_grad()
    def fit(self, samples: Tensor, labels: Tensor, *, epochs: int = 100, rate: float = 1.0) -> Perceptron:
        """Rosenblatt's rule: after each mistake, the sample is added to the right unit and taken off the wrong one.

        Ends after an epoch without mistakes, which comes where a hyperplane separates the classes.

        Args:
            samples: ``(N, ...)``, taken in their order.
            labels: ``(N,)``, integers; 0 and 1 for one output.
            epochs: at most.
            rate: share of the sample.

        >>> x, y = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]), torch.tensor([0, 0, 0, 1])
        >>> (saccade.models.perceptron(in_features=2).fit(x, y)(x) > 0.5).flatten().int().tolist()
        [0, 0, 0, 1]
        """
        flat, labels = self._classes(samples, labels)
        positive("Perceptron.fit", epochs=epochs)
        weight, bias = self.fc.weight, self.fc.bias
        for _ in range(epochs):
            mistakes = 0
            for sample, label in zip(flat, labels.tolist(), strict=True):
                sums = weight @ sample + bias
                guess = int(sums[0] > 0) if len(sums) == 1 else int(sums.argmax())
                if guess != label:
                    mistakes += 1
                    for unit, sign in [(0, label - guess)] if len(sums) == 1 else [(label, 1), (guess, -1)]:
                        weight[unit] += sign * rate * sample
                        bias[unit] += sign * rate
            if mistakes == 0:
                break
        return self


class MLP(nn.Module):
    """The multi-layer perceptron: hidden layers ``h_l = sigma(W_l h_(l-1) + b_l)``, then ``W h + b``.

    Args:
        in_features: of a sample, or its shape; samples are flattened.
        num_classes: size of the output.
        hidden: width of each hidden layer.
        activation: a name of :data:`saccade.nn.activations.ACTIVATIONS`.
        dropout: probability with which a hidden unit is silent in training.
        batch_norm: normalise before each activation.

    Output: logits, ``(N, num_classes)``.

    Source: Rumelhart, Hinton and Williams, Learning representations by back-propagating errors, 1986.
    """

    def __init__(
        self,
        in_features: int | tuple[int, ...],
        num_classes: int = 10,
        hidden: Sequence[int] = (128,),
        activation: str = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        positive("mlp", num_classes=num_classes)
        act = _activation("mlp", activation)
        width = self.in_features = features_of("mlp", in_features)
        self.hidden = nn.ModuleList()
        for size in hidden:
            positive("mlp", hidden=size)
            parts: list[nn.Module] = [nn.Linear(width, size), act()]
            if batch_norm:
                parts.insert(1, nn.BatchNorm1d(size))
            self.hidden.append(nn.Sequential(*parts, Dropout(dropout)))
            width = size
        self.fc = nn.Linear(width, num_classes)

    def forward(self, samples: Tensor) -> Tensor:
        """Logits, ``(N, num_classes)``."""
        values = _flat("MLP", samples, self.in_features)
        for layer in self.hidden:
            values = layer(values)
        return self.fc(values)


def _flat(op: str, samples: Tensor, in_features: int) -> Tensor:
    if issubclass(type(samples), fx.Proxy):  # a stand-in, see check_images
        return samples.flatten(1)
    if samples.dim() < 2 or samples[0:0].flatten(1).shape[1] != in_features:
        raise ValueError(f"{op}: samples must have {in_features} features each, got shape {tuple(samples.shape)}")
    return samples.flatten(1)


def _activation(op: str, name: str) -> Callable[[], nn.Module]:
    if name not in ACTIVATIONS:
        raise ValueError(f"{op}: activation must be one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]


@register
def linear(in_features: int | tuple[int, ...], num_classes: int = 1) -> Linear:
    """The linear model: :class:`Linear`."""
    return Linear(in_features, num_classes)


@register
def logistic(in_features: int | tuple[int, ...], num_classes: int = 1) -> Logistic:
    """The logistic model: :class:`Logistic`."""
    return Logistic(in_features, num_classes)


@register
def perceptron(in_features: int | tuple[int, ...], num_classes: int = 1, activation: str = "sigmoid") -> Perceptron:
    """The perceptron: :class:`Perceptron`."""
    return Perceptron(in_features, num_classes, activation)


@register
def mlp(
    in_features: int | tuple[int, ...],
    num_classes: int = 10,
    hidden: Sequence[int] = (128,),
    activation: str = "relu",
    dropout: float = 0.0,
    batch_norm: bool = False,
) -> MLP:
    """The multi-layer perceptron: :class:`MLP`.

    >>> model = saccade.models.mlp(in_features=(1, 8, 8), hidden=(64, 32), activation="tanh_sigmoid", dropout=0.5)
    >>> model(torch.rand(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    """
    return MLP(in_features, num_classes, hidden, activation, dropout, batch_norm)
