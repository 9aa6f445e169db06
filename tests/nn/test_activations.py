"""The activations of the lecture notes, and drop-out in both conventions."""

import math

import pytest
import torch

from saccade import nn
from saccade.nn import functional
from tests.util.tolerance import assert_close

FORMULAS = {
    "sigmoid": (nn.Sigmoid, lambda a: 1 / (1 + math.exp(-a))),
    "tanh_sigmoid": (nn.TanhSigmoid, lambda a: math.tanh(a) / 2.0 + 0.5),
    "relu": (nn.ReLU, lambda a: a if a >= 0 else 0.0),
    "leaky_relu": (nn.LeakyReLU, lambda a: a if a >= 0 else 0.01 * a),
    "elu": (nn.ELU, lambda a: a if a >= 0 else math.exp(a) - 1),
    "scaled_tanh": (nn.ScaledTanh, lambda a: 1.7159 * math.tanh(2 / 3 * a)),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formula_and_gradient(name):
    module, formula = FORMULAS[name]
    values = torch.linspace(-3, 3, 12, dtype=torch.float64, requires_grad=True)
    expected = torch.tensor([formula(value) for value in values.tolist()], dtype=torch.float64)
    assert_close(getattr(functional, name)(values).detach(), expected, "elementwise")
    assert_close(module()(values).detach(), expected, "elementwise")
    assert torch.autograd.gradcheck(module(), values)


def test_by_name():
    assert {name: type(make()) for name, make in nn.activations.ACTIVATIONS.items()} == {
        name: module for name, (module, _) in FORMULAS.items()
    }
    assert repr(nn.ScaledTanh()) == "ScaledTanh(amplitude=1.7159, slope=0.6667)"


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("scale_at", ["train", "test"])
def test_dropout_keeps_the_expected_sum(scale_at, inplace):
    drop = nn.Dropout(0.3, inplace, scale_at=scale_at)
    ones = torch.ones(100_000)
    trained = drop(ones.clone())
    kept = 1 / 0.7 if scale_at == "train" else 1.0
    assert_close(trained.unique(), torch.tensor([0.0, kept]), "elementwise")
    assert (trained == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    tested = drop.eval()(ones.clone())
    assert_close(tested, torch.full_like(ones, 1.0 if scale_at == "train" else 0.7), "elementwise")
    assert trained.mean().item() == pytest.approx(tested.mean().item(), abs=0.01 if scale_at == "train" else 0.31)
    given = ones.clone()
    assert (drop.train()(given) is given) == inplace or scale_at == "train"


def test_scaling_values_is_scaling_the_weights_that_read_them():
    drop, layer = nn.Dropout(0.25, scale_at="test").eval(), torch.nn.Linear(6, 2, dtype=torch.float64)
    x = torch.rand(3, 6, dtype=torch.float64)
    assert_close(layer(drop(x)).detach(), (x @ (0.75 * layer.weight).T + layer.bias).detach(), "reduction")


def test_dropout_at_the_ends_and_its_gradient():
    for scale_at in ("train", "test"):
        assert nn.Dropout(1.0, scale_at=scale_at)(torch.ones(5)).abs().sum() == 0
        assert torch.equal(nn.Dropout(0.0, scale_at=scale_at)(torch.ones(5)), torch.ones(5))
    x = torch.ones(1000, requires_grad=True)
    out = nn.Dropout(0.5, scale_at="test")(x)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"p": 1.5}, "Dropout: p must be from 0 to 1, got 1.5"),
        ({"scale_at": "never"}, "Dropout: scale_at must be 'train' or 'test', got 'never'"),
    ],
)
def test_dropout_errors(arguments, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        nn.Dropout(**arguments)
    assert str(error.value) == message
    assert repr(nn.Dropout(scale_at="test")) == "Dropout(p=0.5, inplace=False, scale_at='test')"
