"""Initial weights: fans counted, variances measured."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import saccade
from saccade.nn import init
from tests.util.tolerance import assert_close

LAYERS = {
    "linear": lambda: nn.Linear(40, 30),
    "conv": lambda: nn.Conv2d(8, 12, (3, 5), padding=(1, 2)),
    "conv, groups": lambda: nn.Conv2d(8, 12, 3, padding=1, groups=4),
    "conv, strided": lambda: nn.Conv2d(8, 12, 4, stride=2, padding=1),
    "transposed": lambda: nn.ConvTranspose2d(8, 12, 3, padding=1),
    "transposed, strided": lambda: nn.ConvTranspose2d(8, 12, 4, stride=2, padding=1),
    "transposed, groups": lambda: nn.ConvTranspose2d(8, 12, 6, stride=3, padding=1, groups=4),
    "transposed, ours": lambda: saccade.nn.ConvTranspose2d(8, 12, 4, stride=2, padding=1),
}


def counted(layer):
    """How many inputs a middle output sums up and how many outputs a middle input goes into, by derivatives of ones."""
    shape = (1, layer.in_features) if isinstance(layer, nn.Linear) else (1, layer.in_channels, 24, 24)
    x = torch.ones(shape, dtype=torch.float64, requires_grad=True)
    layer = layer.double()
    with torch.no_grad():
        layer.weight.fill_(1)
        layer.bias.fill_(0)
    out = layer(x)
    (back,) = torch.autograd.grad(out.sum(), x)
    if x.dim() == 4:
        out, back = out[..., 12:-12, 12:-12] if out.shape[-1] > 30 else out[..., 4:-4, 4:-4], back[..., 8:-8, 8:-8]
    return out.mean().item(), back.mean().item()


@pytest.mark.parametrize("name", LAYERS)
def test_fans(name):
    assert init.fans(LAYERS[name]()) == counted(LAYERS[name]())


def test_fans_of_a_weight_as_torch():
    weight = torch.empty(6, 4, 3, 5)
    assert init.fans(weight) == nn.init._calculate_fan_in_and_fan_out(weight)


@pytest.mark.parametrize("name", LAYERS)
def test_he_keeps_the_variance(name):
    layer = LAYERS[name]()
    shape = (4000, 40) if name == "linear" else (40, 8, 24, 24)
    ratios = []
    for method in (init.he_normal_, init.he_uniform_):
        for _ in range(5):
            out = method(layer)(torch.randn(shape).relu())
            out = out if out.dim() == 2 else out[..., 4:-4, 4:-4]
            ratios.append(out.square().mean().item())
            assert layer.bias.abs().max() == 0
    # An input of variance 1 before its ReLU gives an output of variance 1.
    assert sum(ratios) / len(ratios) == pytest.approx(1, abs=0.12)


STANDARD = {
    "normal_": (init.normal_, {"std": 0.3}, lambda fan_in, fan_out: 0.3),
    "uniform_": (init.uniform_, {"bound": 0.3}, lambda fan_in, fan_out: 0.3 / math.sqrt(3)),
    "xavier_normal_": (init.xavier_normal_, {"gain": 2}, lambda fan_in, fan_out: 2 * math.sqrt(2 / (fan_in + fan_out))),
    "xavier_uniform_": (init.xavier_uniform_, {}, lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out))),
    "he_normal_": (init.he_normal_, {"negative_slope": 0.5}, lambda fan_in, fan_out: math.sqrt(2 / 1.25 / fan_in)),
    "he_uniform_": (init.he_uniform_, {"mode": "fan_out"}, lambda fan_in, fan_out: math.sqrt(2 / fan_out)),
}


@pytest.mark.parametrize("name", STANDARD)
def test_standard_deviation(name):
    method, options, expected = STANDARD[name]
    layer = nn.Conv2d(32, 64, 5)
    assert method(layer, **options) is layer
    assert layer.weight.std().item() == pytest.approx(expected(32 * 25, 64 * 25), rel=0.02)
    assert layer.weight.mean().abs() < 0.02 * layer.weight.std()
    again = [method(torch.empty(5, 4), **options, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*again)


def test_as_torch_where_torch_is_right():
    torch.manual_seed(4)
    ours = [method(nn.Conv2d(3, 8, 3).weight) for method in (init.he_normal_, init.xavier_uniform_)]
    torch.manual_seed(4)
    theirs = []
    for method in (lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"), nn.init.xavier_uniform_):
        theirs.append(method(nn.Conv2d(3, 8, 3).weight))
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a.detach(), b.detach(), "elementwise")


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(("size", "stride", "padding"), [(4, 2, 1), (3, 2, 1), (16, 8, 4), (5, 3, 1), (6, 3, 2)])
def test_bilinear(size, stride, padding, groups):
    up = init.bilinear_(nn.ConvTranspose2d(3, 3, size, stride, padding, groups=groups).double())
    image = torch.rand(1, 3, 6, 7, dtype=torch.float64)
    out = up(image).detach()
    if size == 2 * stride - stride % 2:
        # Away from the borders, where interpolation repeats the edge.
        inner = slice(stride, -stride - stride % 2)
        expected = functional.interpolate(image, scale_factor=stride, mode="bilinear", align_corners=False)
        assert_close(out[..., inner, inner], expected[..., inner, inner][..., : out[..., inner, inner].shape[-2],
                     : out[..., inner, inner].shape[-1]], "elementwise")  # fmt: skip
    else:
        # Any other tent is symmetric and acts on each channel by itself.
        weight = up.weight.detach()
        assert_close(weight, weight.flip(2, 3), "elementwise")
    if groups == 1:
        assert up.weight[0, 1:].abs().max() == 0


def test_whole_models():
    model = init.initialize(saccade.models.lenet5(), "xavier", gain=0.5)
    assert model.c5.weight.std().item() == pytest.approx(0.5 * math.sqrt(2 / (400 + 3000)), rel=0.03)
    assert model.c3.weight[0, 5].abs().max() == 0  # a connection that is absent
    assert model.s2.weight.unique().tolist() == [0.25]
    for method in ("random", "uniform", "xavier_uniform", "he", "he_uniform"):
        before = model.f6.weight.clone()
        assert init.initialize(model, method) is model
        assert not torch.equal(model.f6.weight, before)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: init.fans(nn.BatchNorm2d(3)),
            "fans: layer must have a weight of at least 2 dimensions, got (3,)",
        ),
        (lambda: init.he_normal_(nn.ReLU()), "fans: layer must have a weight of at least 2 dimensions, got ReLU"),
        (
            lambda: init.normal_(torch.zeros(3)),
            "normal_: layer must have a weight of at least 2 dimensions, got (3,)",
        ),
        (
            lambda: init.he_uniform_(nn.Linear(2, 2), "fan_avg"),
            "he_uniform_: mode must be 'fan_in' or 'fan_out', got 'fan_avg'",
        ),
        (
            lambda: init.bilinear_(nn.ConvTranspose2d(2, 3, 4)),
            "bilinear_: layer must have as many outputs as inputs, got a weight (2, 3, 4, 4)",
        ),
        (
            lambda: init.initialize(nn.ReLU(), "zeros"),
            "initialize: method must be one of random, uniform, xavier, xavier_uniform, he, he_uniform, got 'zeros'",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        call()
    assert str(error.value) == message
