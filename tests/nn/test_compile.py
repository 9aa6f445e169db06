"""``torch.compile(model, backend="saccade")``: the same rewriting on the graphs that torch captures."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import saccade
from saccade._accelerate import runtime
from tests.util.tolerance import assert_close


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        y = functional.leaky_relu(self.bn(self.conv(x)) + x)
        return self.pool(y), y.view(y.size(0), -1)


@pytest.fixture
def calls(monkeypatch):
    """The options of each fused convolution that runs."""
    torch._dynamo.reset()
    seen = []
    fused = saccade.ops.conv2d_fused

    def record(input, *args, **options):
        with_norm = options["scale"] is not None
        seen.append((with_norm, options["residual"] is not None, options["activation"]))
        return fused(input, *args, **options)

    monkeypatch.setattr(runtime.ops, "conv2d_fused", record)
    return seen


def compiled(model, **options):
    return torch.compile(model, backend="saccade", **options)


def compare(actual, expected):
    for a, b in zip(actual, expected, strict=True):
        assert a.stride() == b.stride()
        assert_close(a, b, "reduction")


@pytest.mark.parametrize("grad", [False, True])
def test_inference(calls, grad):
    model = Block().eval()
    nn.init.uniform_(model.bn.running_mean)
    fast = compiled(model, fullgraph=True)
    for batch in (2, 2, 3):
        x = torch.randn(batch, 4, 6, 6)
        with torch.set_grad_enabled(grad):
            compare(fast(x), model(x))
    assert calls == [(True, True, "leaky_relu")] * 3
    with torch.no_grad():
        model.bn.running_mean.add_(1)  # the affine map is folded again
        compare(fast(x), model(x))


def test_training(calls):
    model, other = Block(), Block()
    other.load_state_dict(model.state_dict())
    x = torch.randn(2, 4, 6, 6)
    fast = compiled(model)
    for _ in range(2):
        ours, theirs = fast(x), other(x)
        compare(ours, theirs)
        gradients = [
            torch.autograd.grad(out[0].square().sum() + out[1].sum(), list(module.parameters()))
            for out, module in ((ours, model), (theirs, other))
        ]
        for a, b in zip(*gradients, strict=True):
            assert_close(a, b, "reduction")
    assert calls == [(False, False, None)] * 2
    assert_close(model.bn.running_var, other.bn.running_var, "reduction")


def test_channels_last_stays(calls):
    model = Block().eval()
    x = torch.randn(2, 4, 6, 6).contiguous(memory_format=torch.channels_last)

    def pooled(x):
        return model.pool(model.bn(model.conv(x)))

    with torch.no_grad():
        compare([compiled(pooled)(x)], [pooled(x)])
    assert calls == [(True, False, None)]


def test_graph_breaks(calls):
    model = Block().eval()

    def deciding(x):
        y = model(x)[0]
        return torch.relu(model.conv(y)) if y.sum() > 0 else y

    x = torch.randn(2, 4, 6, 6)
    with torch.no_grad():
        for sign in (1, -1):
            bias = model.bn.bias
            bias.fill_(sign * 50.0)
            compare([compiled(deciding)(x)], [deciding(x)])
    assert (False, False, "relu") in calls


def test_resnet(calls):
    models = pytest.importorskip("torchvision.models")
    model = models.resnet18(num_classes=7).eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        compare([compiled(model, fullgraph=True)(x)], [model(x)])
    assert len(calls) == 20
    assert sum(residual for _, residual, _ in calls) == 8
    assert all(norm for norm, _, _ in calls)
