"""The delta rule against numbers by hand and torch's autograd; batch normalisation's four steps by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from saccade import ops
from saccade.train.backprop import ACTIVATIONS, MLP

TORCH = {
    "identity": lambda a: a,
    "sigmoid": torch.sigmoid,
    "tanh_sigmoid": lambda a: torch.tanh(a) / 2 + 0.5,
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
}
LOSSES = {
    "mse": lambda a, y: (a - y).square().sum(1).mean() / 2,
    "binary_cross_entropy": lambda a, y: F.binary_cross_entropy_with_logits(a, y, reduction="none").sum(1).mean(),
    "cross_entropy": F.cross_entropy,
}


def test_the_delta_rule_by_hand():
    # a1 = (0.5 - 0.5, 1 - 1) = 0, h1 = sigmoid(0) = 0.5; a2 = 2/2 - 4/2 + 1 = 0; L = (0 - 3)^2 / 2
    # delta2 = 0 - 3; sigmoid'(0) = 1/4: delta1 = (-3 * 2 / 4, -3 * -4 / 4) = (-1.5, 3)
    mlp = MLP([[[0.5, -0.25], [1.0, 0.0]], [[2.0, -4.0]]], [[0.0, -1.0], [1.0]], activation="sigmoid", loss="mse")
    x, y = [[1.0, 2.0]], [[3.0]]
    assert mlp.loss(x, y) == 4.5
    first, second = mlp.deltas(x, y)
    np.testing.assert_allclose(first, [[-1.5, 3.0]], rtol=1e-15)
    np.testing.assert_allclose(second, [[-3.0]], rtol=1e-15)
    (w1, b1), (w2, b2) = mlp.gradients(x, y)
    np.testing.assert_allclose(w1, [[-1.5, -3.0], [3.0, 6.0]], rtol=1e-15)
    np.testing.assert_allclose(b1, [-1.5, 3.0], rtol=1e-15)
    np.testing.assert_allclose(w2, [[-1.5, -1.5]], rtol=1e-15)
    np.testing.assert_allclose(b2, [-3.0], rtol=1e-15)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("widths", [[3, 4], [5, 7, 3], [4, 6, 1, 5, 2]], ids=str)
def test_equals_autograd(activation, loss, widths):
    mlp = MLP.random(widths, seed=3, activation=activation, loss=loss)
    for b in mlp.biases:
        b += np.random.default_rng(1).normal(size=b.shape)
    x, y = torch.randn(9, widths[0], dtype=torch.float64), torch.rand(9, widths[-1], dtype=torch.float64)
    pairs = zip(mlp.weights, mlp.biases, strict=True)
    parameters = [torch.tensor(p, requires_grad=True) for pair in pairs for p in pair]
    h, outputs = x, []
    for w, b in zip(parameters[::2], parameters[1::2], strict=True):
        a = F.linear(h, w, b)
        a.retain_grad()
        outputs.append(a)
        h = TORCH[activation](a)
    value = LOSSES[loss](outputs[-1], y)
    value.backward()
    assert mlp.loss(x, y) == pytest.approx(value.item(), rel=1e-12)
    for delta, a in zip(mlp.deltas(x, y), outputs, strict=True):
        np.testing.assert_allclose(delta, a.grad.numpy(), rtol=1e-9, atol=1e-13)
    flat = [gradient for pair in mlp.gradients(x, y) for gradient in pair]
    for gradient, p in zip(flat, parameters, strict=True):
        np.testing.assert_allclose(gradient, p.grad.numpy(), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_derivatives_of_large_values_are_finite(activation):
    a = np.array([-1000.0, -30, 0, 30, 1000])
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(ACTIVATIONS[activation].function(a)).all()
        assert np.isfinite(ACTIVATIONS[activation].derivative(a)).all()


def test_it_learns_digits():
    images, labels = load_digits(return_X_y=True)
    images = images / 16
    mlp = MLP.random([64, 32, 10], activation="relu", loss="cross_entropy")
    for _ in range(100):
        mlp.step(images[:500], labels[:500], 0.5)
    assert (mlp.predict(images[500:]).argmax(1) == labels[500:]).mean() > 0.85
    np.testing.assert_allclose(mlp.predict(images).sum(1), 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MLP([], []), "MLP: weights and biases must be of as many layers, got 0 and 0"),
        (
            lambda: MLP([np.ones((3, 2)), np.ones((1, 4))], [np.ones(3), np.ones(1)]),
            "MLP: layers must fit each other, got weights (1, 4) and biases (1,) in layer 2 after 3 units",
        ),
        (
            lambda: MLP([np.ones((3, 2))], [np.ones(2)]),
            "MLP: layers must fit each other, got weights (3, 2) and biases (2,) in layer 1",
        ),
        (
            lambda: MLP([np.ones((3, 2))], [np.ones(3)], activation="gelu"),
            "MLP: activation must be one of identity, sigmoid, tanh_sigmoid, relu, leaky_relu, elu, got 'gelu'",
        ),
        (
            lambda: MLP([np.ones((3, 2))], [np.ones(3)], loss="mae"),
            "MLP: loss must be one of mse, binary_cross_entropy, cross_entropy, got 'mae'",
        ),
        (lambda: MLP.random([2, 3]).forward(np.ones((4, 5))), "MLP: x must have shape (N, 2), got (4, 5)"),
        (
            lambda: MLP.random([2, 3]).loss(np.ones((4, 2)), np.ones(4)),
            "MLP: y must have shape (4, 3), got (4,)",
        ),
        (
            lambda: MLP.random([2, 3], loss="cross_entropy").loss(np.ones((2, 2)), [0, 3]),
            "MLP: y must be labels from 0 to 2, got 0 to 3",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the whole message is compared
        call()
    assert str(error.value) == message


def test_batch_normalisations_four_steps_by_hand():
    # 1. mean (1 + 2 + 3 + 6) / 4 = 3         2. variance (4 + 1 + 0 + 9) / 4 = 3.5
    # 3. (x - 3) / sqrt(3.5 + 0.5) = (-1, -0.5, 0, 1.5)         4. times 2, plus 1: (-1, 0, 1, 4)
    x = torch.tensor([1.0, 2.0, 3.0, 6.0]).reshape(4, 1, 1, 1).requires_grad_()
    gamma, beta = nn.Parameter(torch.tensor([2.0])), nn.Parameter(torch.tensor([1.0]))
    mean, variance = torch.zeros(1), torch.ones(1)
    y = ops.batch_norm(x, mean, variance, gamma, beta, True, 0.1, 0.5)
    torch.testing.assert_close(y.flatten(), torch.tensor([-1.0, 0, 1, 4]))
    # Running statistics, 0.9 old + 0.1 new, the variance with 14 / 3.
    torch.testing.assert_close(mean, torch.tensor([0.3]))
    torch.testing.assert_close(variance, torch.tensor([0.9 + 1.4 / 3]))
    # With dy = (1, 0, 0, 0): dbeta = 1, dgamma = -1, dx = gamma / (N sigma) (N dy - 1 + xhat).
    y[0].sum().backward()
    torch.testing.assert_close(beta.grad, torch.tensor([1.0]))
    torch.testing.assert_close(gamma.grad, torch.tensor([-1.0]))
    torch.testing.assert_close(x.grad.flatten(), torch.tensor([0.5, -0.375, -0.25, 0.125]))
    # In use: the running statistics, (x - 0.3) / sqrt(1.3667 + 0.5) * 2 + 1.
    used = ops.batch_norm(x.detach(), mean, variance, gamma, beta, False, 0.1, 0.5)
    assert used[3].item() == pytest.approx(5.7 / (0.9 + 1.4 / 3 + 0.5) ** 0.5 * 2 + 1, rel=1e-6)
