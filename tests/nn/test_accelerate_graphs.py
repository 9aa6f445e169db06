"""Small models that a rewriting could get wrong: what is fused, what is not, and that results are torch's."""

import collections

import pytest
import torch
from torch import nn
from torch.nn import functional

import saccade
from tests.util.networks import Net, same
from tests.util.tolerance import assert_close


def unusual(x):
    """Adds 1 in place, which a graph cannot know."""
    return x.add_(1)


torch.fx.wrap("unusual")

FULL = "conv2d + batch_norm + residual + relu"
# Forward -> what becomes of it.
FORWARDS = {
    "residual": (lambda m, x: m.act(m.bn(m.conv(x)) + x), FULL),
    "residual first": (lambda m, x: m.act(x + m.bn(m.conv(x))), FULL),
    "torch.add, functional": (lambda m, x: functional.relu(torch.add(x, m.bn(m.conv(x)))), FULL),
    "methods": (lambda m, x: m.bn(m.conv(x)).add(x).relu(), FULL),
    "in place": (lambda m, x: m.act_(m.bn(m.conv(x)).add_(x)), FULL),
    "two branches": (
        lambda m, x: m.act(m.bn(m.conv(x)) + m.bn2(m.conv2(x))),
        f"1× conv2d + batch_norm, 1× {FULL}",
    ),
    "branch in place": (
        lambda m, x: m.act(m.bn(m.conv(x)) + m.act_(m.bn2(m.conv2(x)))),
        f"1× conv2d + batch_norm + relu, 1× {FULL}",
    ),
    "activation, then sum": (lambda m, x: m.act(m.conv(x)) + x, "conv2d + relu"),
    "two sums": (lambda m, x: m.conv(x) + x + x, "conv2d + residual"),
    "batch_norm after the sum": (lambda m, x: m.bn(m.conv(x) + x), "1× conv2d + residual, 1× batch_norm"),
    "two batch_norms": (lambda m, x: m.bn2(m.bn(m.conv(x))), "1× conv2d + batch_norm, 1× batch_norm"),
    "batch_norm first": (
        lambda m, x: m.conv(m.act(m.bn(x) + x)),
        "1× batch_norm + residual + relu, 1× conv2d",
    ),
    "convolution of a convolution": (lambda m, x: m.conv2(m.act(m.conv(x))), "1× conv2d + relu, 1× conv2d"),
    # Intermediate values with more than one use.
    "used twice": (lambda m, x: (lambda y: m.act(y) * y)(m.bn(m.conv(x))), "conv2d + batch_norm"),
    "returned too": (lambda m, x: (lambda y: (y, m.act(y)))(m.conv(x)), "conv2d"),
    "doubled": (lambda m, x: (lambda y: m.act(y + y))(m.conv(x)), "conv2d"),
    "normalised plus itself": (lambda m, x: (lambda y: m.bn(y) + y)(m.conv(x)), "1× conv2d, 1× batch_norm + residual"),
    "in place, used twice": (lambda m, x: (lambda y: m.act_(y) * y)(m.conv(x)), "conv2d"),
    "in place, its base used later": (
        lambda m, x: (lambda y: (functional.relu(y, inplace=True), y + x)[1])(m.conv(x)),
        "conv2d",
    ),
    # Values that are overwritten.
    "into the residual": (lambda m, x: (lambda y: y.add_(m.conv(y)))(x * 2), "conv2d"),
    "into the residual, used later": (lambda m, x: (lambda y: (y.add_(m.conv(y)), y)[1])(x * 2), "conv2d"),
    "residual overwritten before": (
        lambda m, x: (lambda y, z: z + y.mul_(3))(x * 2, m.conv(x)),
        "conv2d",
    ),
    "input overwritten before the sum": (
        lambda m, x: (lambda y: (lambda c: (y.zero_(), c + x)[1])(m.conv(y)))(x * 2),
        "conv2d",
    ),
    "residual overwritten by a function": (
        lambda m, x: (lambda y, z: (unusual(y), z + y)[1])(x * 2, m.conv(x)),
        "conv2d",
    ),
    "residual overwritten by indexing": (
        lambda m, x: (lambda y, z: (y.__setitem__(0, 1.0), z + y)[1])(x * 2, m.conv(x)),
        "conv2d",
    ),
    "residual overwritten by inplace=True": (
        lambda m, x: (lambda y, z: (functional.hardtanh(y, 0, 1, True), z + y)[1])(x * 2, m.conv(x)),
        "conv2d",
    ),
    "the input overwritten": (lambda m, x: (lambda y: (x.mul_(2), y + x)[1])(m.conv(x)), "conv2d"),
    "input of two, overwritten between": (
        lambda m, x: m.conv(x) + m.conv2(x.mul_(2)),
        "1× conv2d, 1× conv2d + residual",
    ),
    "a view of the result": (lambda m, x: m.act_(m.conv(x)[:, 1:]), "conv2d"),
    # Sums that are none of equal shapes and dtypes: decided when they run.
    "broadcast residual": (lambda m, x: m.act(m.conv(x) + x.mean((2, 3), True)), "conv2d + residual + relu"),
    "residual is larger": (lambda m, x: m.conv(x[:1]) + x, "conv2d + residual"),
    "batch_norm's residual is larger": (lambda m, x: m.act(m.bn(x[:1]) + x), "batch_norm + residual + relu"),
    "residual of another dtype": (lambda m, x: (m.conv(x) + x.double()).float(), "conv2d + residual"),
    "residual is a number": (lambda m, x: m.conv(x) + 3.5, "conv2d"),
    "residual is a size": (lambda m, x: m.act(m.conv(x) + x.shape[2]), "conv2d + residual + relu"),
    "scaled residual": (lambda m, x: torch.add(m.conv(x), x, alpha=2), "conv2d"),
    # Activations, by their parameters.
    "leaky": (lambda m, x: functional.leaky_relu(m.conv(x)), "conv2d + leaky_relu"),
    "leakier": (lambda m, x: functional.leaky_relu(m.conv(x), 0.2), "conv2d"),
    "elu": (lambda m, x: functional.elu(m.conv(x), 1.0), "conv2d + elu"),
    "other elu": (lambda m, x: functional.elu(m.conv(x), alpha=0.5), "conv2d"),
    "sigmoid": (lambda m, x: torch.sigmoid(m.conv(x)), "conv2d + sigmoid"),
    "sigmoid as a method": (lambda m, x: m.conv(x).sigmoid_(), "conv2d + sigmoid"),
    # Functions instead of modules.
    "functional": (
        lambda m, x: functional.batch_norm(
            functional.conv2d(x, m.conv.weight, stride=2), m.bn.running_mean, m.bn.running_var, eps=0.1
        ),
        "conv2d + batch_norm",
    ),
    "functional, batch statistics": (
        lambda m, x: functional.batch_norm(m.conv(x), None, None, training=True),
        "conv2d",
    ),
    "aten": (
        lambda m, x: torch.ops.aten.relu.default(
            torch.ops.aten.add.Tensor(torch.ops.aten.conv2d.default(x, m.conv2.weight), x)
        ),
        "conv2d + residual + relu",
    ),
    "transposed convolution": (
        lambda m, x: m.act(m.bn(functional.conv_transpose2d(x, m.conv.weight, m.conv.bias, 2, padding=1))),
        "conv_transpose2d + batch_norm + relu",
    ),
    "transposed convolution, residual": (
        lambda m, x: torch.sigmoid(functional.conv_transpose2d(x, m.conv.weight, stride=1, padding=1) + x),
        "conv_transpose2d + residual + sigmoid",
    ),
    "transposed convolution, aten": (
        lambda m, x: functional.elu(torch.ops.aten.conv_transpose2d.input(x, m.conv.weight, m.conv.bias, [2, 3])),
        "conv_transpose2d + elu",
    ),
    "poolings": (
        lambda m, x: functional.adaptive_avg_pool2d(
            functional.avg_pool2d(functional.max_pool2d(x, 3, 1, ceil_mode=True), 2, count_include_pad=False), (2, 1)
        ),
        "1× max_pool2d, 1× avg_pool2d, 1× adaptive_avg_pool2d",
    ),
    "pooling with indices": (
        lambda m, x: functional.max_pool2d(m.conv(x), 2, return_indices=True),
        "conv2d",
    ),
    "fully connected": (
        lambda m, x: m.act(functional.linear(x, m.square, m.bn.bias[:1].expand(6)) + x),
        "linear + residual + relu",
    ),
    "fully connected, aten": (
        lambda m, x: torch.sigmoid(torch.ops.aten.linear.default(x, m.square)), "linear + sigmoid",
    ),
    "fully connected, normalised": (lambda m, x: m.bn(functional.linear(x, m.square)), "1× linear, 1× batch_norm"),
    "fully connected, broadcast residual": (
        lambda m, x: functional.linear(x, m.square) + x.mean(0), "linear + residual",
    ),
    # Code that expects values in the order of a contiguous tensor.
    "view": (lambda m, x: m.conv(x).view(x.size(0), -1), "conv2d"),
    "view_as": (lambda m, x: m.conv(x).view_as(x.flatten(1)), "conv2d"),
    "view of another dtype": (lambda m, x: m.conv(x).view(torch.int32), "conv2d"),
    "channels moved": (
        lambda m, x: m.conv2(m.conv(x).view(2, 2, 2, 6, 6).transpose(1, 2).reshape(2, 4, 6, 6)),
        "2× conv2d",
    ),
    # Structured outputs.
    "outputs": (
        lambda m, x: collections.OrderedDict(a=m.conv(x), b=[m.conv2(x), (x.shape[0], None)]),
        "2× conv2d",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "memory_format"),
    [(name, torch.contiguous_format) for name in FORWARDS]
    # torch's own views of channels_last results fail.
    + [(name, torch.channels_last) for name in FORWARDS if name not in ("view", "view_as")],
)
def test_forward(name, memory_format):
    forward, becomes = FORWARDS[name]
    model = Net(forward)
    x = torch.randn(2, 4, 6, 6).contiguous(memory_format=memory_format)
    fast = saccade.accelerate(model, x)
    ours, theirs = x.clone(), x.clone()
    with torch.no_grad():
        same(fast(ours), model(theirs))
    same(ours, theirs)  # what eager code writes into its input is written
    assert saccade.explain(fast).splitlines()[1].removeprefix("  ours: ") == (
        becomes if becomes[1] == "×" else f"1× {becomes}"
    )


@pytest.mark.parametrize("size", [(2, 4, 6, 6), (4, 6, 6)])
def test_layout_of_outputs(size):
    fast = saccade.accelerate(Net(lambda m, x: (m.conv(x), [m.conv2(x)])))
    first, (second,) = fast(torch.rand(size))
    assert first.is_contiguous()
    assert second.is_contiguous()
    if len(size) == 4:
        out = fast(torch.rand(size).contiguous(memory_format=torch.channels_last))[0]
        assert out.is_contiguous(memory_format=torch.channels_last)


def test_normalisation_over_processes():
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.SyncBatchNorm(4), nn.ReLU(), saccade.nn.SyncBatchNorm(4)).eval()
    x = torch.rand(1, 4, 6, 6)
    fast = saccade.accelerate(model, x)
    assert saccade.explain(fast).splitlines()[1] == "  ours: 1× conv2d + batch_norm + relu, 1× batch_norm"
    same(fast(x), model(x).detach())
    assert "1× batch_norm" in saccade.explain(saccade.accelerate(nn.SyncBatchNorm(4).eval(), x))


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_transposed_convolutions(dtype):
    up = nn.ConvTranspose2d(4, 6, 4, 2, 1, output_padding=1), nn.BatchNorm2d(6), nn.ReLU()
    model = nn.Sequential(*up, nn.ConvTranspose2d(6, 3, 3, groups=3)).eval()
    x = torch.rand(1, 4, 5, 6)
    fast = saccade.accelerate(model, x, dtype=dtype)
    assert saccade.explain(fast).endswith("ours: 1× conv_transpose2d + batch_norm + relu, 1× conv_transpose2d")
    assert_close(fast(x).to(dtype or torch.float32), model(x).detach(), "reduction")


class Called(torch.nn.Module):
    """Our batch normalisation, called with what it is to do in the same pass."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.bn2 = saccade.nn.Conv2d(4, 4, 1), saccade.nn.BatchNorm2d(4), saccade.nn.BatchNorm2d(4)
        for norm in (self.bn, self.bn2):
            torch.nn.init.normal_(norm.running_mean)

    def forward(self, x):
        y = self.bn(self.conv(x), x, "relu")
        return self.bn2(y, activation="elu", residual=x)


def test_batch_norm_called_with_residual_and_activation():
    model, x = Called().eval(), torch.randn(2, 4, 5, 6)
    fast = saccade.accelerate(model, x)
    assert saccade.explain(fast).endswith(
        "ours: 1× conv2d + batch_norm + residual + relu, 1× batch_norm + residual + elu"
    )
    expected = torch.nn.functional.elu(model.bn2(model.bn(model.conv(x), x, "relu")) + x)
    assert_close(fast(x), expected.detach(), "reduction")
    # Hooks of a normalisation see its call.
    seen = []
    model.bn2.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    model(x)
    assert seen == [x.shape]
