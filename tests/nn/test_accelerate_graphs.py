"""Small models that a rewriting could get wrong: what is fused, what is not, and that results are torch's."""

import collections
import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

import saccade
from tests.util.tolerance import assert_close


class Net(nn.Module):
    """Two convolutions with batch normalisation, and a forward made of a function of them."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4, eps=1e-3)
        self.act, self.act_ = nn.ReLU(), nn.ReLU(inplace=True)
        for bn in (self.bn, self.bn2):
            nn.init.normal_(bn.running_mean)
            nn.init.uniform_(bn.running_var, 0.5, 2)
            nn.init.normal_(bn.weight)
            nn.init.normal_(bn.bias)
        self.function = function
        self.eval()

    def forward(self, x):
        return self.function(self, x)


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


def same(actual, expected):
    assert type(actual) is type(expected)
    if isinstance(expected, dict):
        assert list(actual) == list(expected)
        actual, expected = list(actual.values()), list(expected.values())
    if isinstance(expected, (list, tuple)):
        for a, b in zip(actual, expected, strict=True):
            same(a, b)
    elif isinstance(expected, torch.Tensor) and expected.is_floating_point():
        assert actual.dtype == expected.dtype
        assert_close(actual, expected, "reduction")
    elif not isinstance(expected, torch.Tensor):
        assert actual == expected


@pytest.mark.parametrize("size", [(2, 4, 6, 6), (4, 6, 6)])
def test_layout_of_outputs(size):
    fast = saccade.accelerate(Net(lambda m, x: (m.conv(x), [m.conv2(x)])))
    first, (second,) = fast(torch.rand(size))
    assert first.is_contiguous()
    assert second.is_contiguous()
    if len(size) == 4:
        out = fast(torch.rand(size).contiguous(memory_format=torch.channels_last))[0]
        assert out.is_contiguous(memory_format=torch.channels_last)


# ---- What cannot be traced keeps its code, and its parts are rewritten -----------------------------------------------


class Deciding(nn.Module):
    """Control flow that depends on the data."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.large = nn.Conv2d(4, 2, 1)
        self.blocks = nn.ModuleList([nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 3)])

    def forward(self, x):
        x = self.stem(x)
        if x.mean() > 10:
            return self.large(x)
        for block in self.blocks:
            x = block(x)
        return x.view(x.size(0), -1)


def test_control_flow():
    model = Deciding().eval()
    fast = saccade.accelerate(model, torch.rand(1, 3, 9, 9))
    for scale in (1, 1000):
        x = torch.rand(2, 3, 9, 9) * scale
        same(fast(x), model(x).detach())
    assert saccade.explain(fast) == (
        "stem (Sequential)\n"
        "  ours: 1× conv2d + batch_norm + relu\n"
        "large (Conv2d)\n"
        "  ours: 1× conv2d\n"
        "blocks.0 (Conv2d)\n"
        "  ours: 1× conv2d\n"
        "blocks.1 (Conv2d)\n"
        "  ours: 1× conv2d\n"
        "run as they are, their parts rewritten where listed above:\n"
        "  the model (Deciding): symbolically traced variables cannot be used as inputs to control flow"
    )


class Calls(nn.Module):
    """A forward made of a function; one convolution that is traced in any case."""

    def __init__(self, function):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.seen = []
        self.count = 0
        self.function = function

    def forward(self, x):
        return self.function(self, x)


def counting(m, x):
    m.count += 1
    return m.conv(x) * m.count


def appending(m, x):
    m.seen.append(x)
    return m.conv(x)


UNTRACEABLE = {
    "attribute": (counting, "its forward sets attributes, or makes a tensor that depends on no input"),
    "list": (appending, "its forward sets attributes, or makes a tensor that depends on no input"),
    "noise": (
        lambda m, x: m.conv(x) + torch.rand(3, 1, 1),
        "its forward sets attributes, or makes a tensor that depends on no input",
    ),
    "type": (
        lambda m, x: m.conv(x) if isinstance(x, torch.Tensor) else m.conv(torch.stack(x)),
        "tests.nn.test_accelerate_graphs asks for the type of a traced value",
    ),
    "strides": (lambda m, x: m.conv(x).as_strided((2, 2), (1, 1)), "it calls Tensor.as_strided"),
    "failure": (lambda m, x: m.conv(x) if float(x) else x, "__float__"),
}


@pytest.mark.parametrize("name", UNTRACEABLE)
def test_not_traced(name):
    function, reason = UNTRACEABLE[name]
    model = Calls(function).eval()
    fast = saccade.accelerate(model)
    assert "conv (Conv2d)\n  ours: 1× conv2d\n" in saccade.explain(fast)
    assert f"the model (Calls): {reason}" in saccade.explain(fast).replace("float() argument must", "__float__")
    assert fast.count == 0
    assert fast.seen == []
    if name != "failure":
        x = torch.rand(2, 3, 4, 4)
        for _ in range(2):
            torch.manual_seed(3)
            expected = model(x)
            torch.manual_seed(3)
            same(fast(x), expected.detach())


def test_hooks_are_called():
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()), nn.Conv2d(3, 3, 1)).eval()
    outputs = []
    model[0].register_forward_hook(lambda module, args, output: outputs.append(output))
    fast = saccade.accelerate(model)
    assert "the model (Sequential): 0 has hooks" in saccade.explain(fast)
    x = torch.rand(1, 3, 4, 4)
    same(fast(x), model(x).detach())
    same(outputs[0], outputs[1].detach())


def test_optional_arguments():
    class Optional(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x, skip, mask=None, *, twice=False):
            x = self.conv(x) if skip is None else self.conv(x) + skip
            x = x if mask is None else x * mask
            return x * 2 if twice else x

    model = Optional().eval()
    x, mask = torch.rand(1, 3, 4, 4), torch.rand(4, 4)
    fast = saccade.accelerate(model, (x, x))
    assert "conv2d + residual" in saccade.explain(fast)
    calls = [((x, x), {}), ((x, None), {}), ((x, x, mask), {}), ((x,), {"skip": x}), ((x, x), {"twice": True})]
    for args, kwargs in calls:
        same(fast(*args, **kwargs), model(*args, **kwargs).detach())
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'skip'"):
        fast(x)


def test_shared_modules_stay_shared():
    conv = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())

    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = conv, conv

        def forward(self, x):
            return self.second(self.first(x)) if x.sum() > 0 else self.first(x)

    model = Shared().eval()
    x = torch.rand(1, 3, 5, 5)
    fast = saccade.accelerate(model, x)
    assert fast.first is fast.second
    same(fast(x), model(x).detach())
    sequence = nn.Sequential(conv, conv).eval()
    fast = saccade.accelerate(sequence, x)
    assert saccade.explain(fast).count("2× conv2d + relu") == 1
    same(fast(x), sequence(x).detach())


def test_subclasses_keep_their_forward():
    class Scaled(nn.Conv2d):
        def forward(self, input):
            return super().forward(input) * 2

    class Standardised(nn.Conv2d):
        def _conv_forward(self, input, weight, bias):
            return super()._conv_forward(input, weight / weight.std(), bias)

    model = nn.Sequential(
        Scaled(3, 3, 1), Standardised(3, 3, 1), nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 1))
    )
    x = torch.rand(1, 3, 4, 4)
    fast = saccade.accelerate(model.eval(), x)
    same(fast(x), model(x).detach())
    model[2].parametrizations.weight.original0.data.mul_(2)
    fast[2].parametrizations.weight.original0.data.mul_(2)
    same(fast(x), model(x).detach())


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_transposed_convolutions(dtype):
    up = nn.ConvTranspose2d(4, 6, 4, 2, 1, output_padding=1), nn.BatchNorm2d(6), nn.ReLU()
    model = nn.Sequential(*up, nn.ConvTranspose2d(6, 3, 3, groups=3)).eval()
    x = torch.rand(1, 4, 5, 6)
    fast = saccade.accelerate(model, x, dtype=dtype)
    assert saccade.explain(fast).endswith("ours: 1× conv_transpose2d + batch_norm + relu, 1× conv_transpose2d")
    assert_close(fast(x).to(dtype or torch.float32), model(x).detach(), "reduction")


def test_other_padding_modes():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(4), nn.ReLU()).eval()
    x = torch.rand(1, 3, 4, 4)
    fast = saccade.accelerate(model, x)
    assert saccade.explain(fast).endswith("ours: 1× conv2d + batch_norm + relu\n  left to torch: 1× pad")
    same(fast(x), model(x).detach())


# ---- The check on example inputs -------------------------------------------------------------------------------------

scales = itertools.cycle([1.0, 2.0])


def test_mismatch_is_found():
    model = Net(lambda m, x: m.conv(x) * next(scales)).eval()
    with pytest.raises(
        RuntimeError,
        match=r"^accelerate: the model must give on example_inputs what it gave before it was rewritten, to within "
        r"0.001 of its largest magnitude [\d.]+, got a difference of [\d.]+$",
    ):
        saccade.accelerate(model, torch.rand(1, 4, 6, 6))


def test_wrong_type_is_found():
    kinds = itertools.cycle([list, tuple])
    model = Net(lambda m, x: next(kinds)([m.conv(x)])).eval()
    with pytest.raises(RuntimeError, match=r"what it gave before it was rewritten, "):
        saccade.accelerate(model, torch.rand(1, 4, 6, 6))


def test_part_is_named():
    model = Deciding().eval()
    model.stem.append(Net(lambda m, x: m.conv(x) * next(scales)))
    with pytest.raises(RuntimeError, match=r"^accelerate: stem must give on example_inputs"):
        saccade.accelerate(model, torch.rand(1, 3, 9, 9))


# ---- The copy --------------------------------------------------------------------------------------------------------


def test_original_and_copy_are_apart():
    model = Net(lambda m, x: m.act(m.bn(m.conv(x)) + x))
    before = copy.deepcopy(model.state_dict())
    fast = saccade.accelerate(model, dtype=torch.bfloat16)
    assert type(fast) is Net
    assert list(fast.state_dict()) == list(before)
    assert not any(parameter.requires_grad for parameter in fast.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
    for name, tensor in model.state_dict().items():
        assert_close(tensor, before[name], "exact")
    assert "forward" not in model.__dict__


def test_new_weights_take_effect():
    model, other = (Net(lambda m, x: m.act(m.bn(m.conv(x)) + m.bn2(m.conv2(x)))) for _ in range(2))
    x = torch.rand(1, 4, 6, 6)
    fast = saccade.accelerate(model, x)
    fast.load_state_dict(other.state_dict())
    same(fast(x), other(x).detach())
    another = copy.deepcopy(fast)
    another.load_state_dict(model.state_dict())
    same(another(x), model(x).detach())
    same(fast(x), other(x).detach())
    with torch.no_grad():
        fast.double()
        same(fast(x.double()), other.double()(x.double()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtype(dtype):
    model = Net(lambda m, x: (m.act(m.bn(m.conv(x)) + x), m.bn2(x), x.shape[0]))
    x = torch.randn(2, 4, 6, 6)
    fast = saccade.accelerate(model, x, dtype=dtype)
    first, second, number = fast(x)
    assert first.dtype == second.dtype == torch.float32
    assert number == 2
    assert fast.conv.weight.dtype == dtype
    expected = model.double()(x.double())[0].detach()
    difference = float((first - expected).abs().max() / expected.abs().max())
    assert difference < {torch.bfloat16: 3e-2, torch.float16: 4e-3, torch.float64: 1e-6}[dtype]
    assert dtype == torch.float64 or difference > 1e-5  # it did compute in halves


def test_gradient_of_the_input():
    model = Net(lambda m, x: m.act(m.bn(m.conv(x)) + x))
    fast = saccade.accelerate(model)
    x = torch.randn(1, 4, 6, 6, requires_grad=True)
    for ours, theirs in zip(torch.autograd.grad(fast(x).sum(), x), torch.autograd.grad(model(x).sum(), x), strict=True):
        assert_close(ours, theirs, "reduction")


def test_accelerated_part_of_a_larger_model():
    inner = saccade.accelerate(Net(lambda m, x: m.act(m.conv(x))))
    model = nn.Sequential(nn.Conv2d(4, 4, 1), inner).eval()
    x = torch.rand(1, 4, 6, 6)
    fast = saccade.accelerate(model, x)
    assert "ours: 1× conv2d, 1× conv2d + relu" in saccade.explain(fast)
    same(fast(x), model(x).detach())


def test_wrong_arguments():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Dropout())
    with pytest.raises(
        ValueError, match=r"^accelerate: model must be in evaluation mode .*, but it is in training mode$"
    ):
        saccade.accelerate(model)
    model.eval()[1].train()
    with pytest.raises(
        ValueError, match=r"^accelerate: model must be in evaluation mode .*, but 1 is in training mode$"
    ):
        saccade.accelerate(model)
    with pytest.raises(TypeError, match=r"^accelerate: model must be a torch.nn.Module, got function$"):
        saccade.accelerate(test_wrong_arguments)
    with pytest.raises(TypeError, match=r"^accelerate: dtype must be .* or None, got torch.int32$"):
        saccade.accelerate(model.eval(), dtype=torch.int32)
    with pytest.raises(ValueError, match=r"^accelerate: model must not be accelerated already$"):
        saccade.accelerate(saccade.accelerate(model))
    with pytest.raises(ValueError, match=r"^explain: model must come from saccade.accelerate, got Sequential$"):
        saccade.explain(model)


def test_nothing_to_do():
    fast = saccade.accelerate(nn.Linear(2, 3).eval(), torch.rand(1, 2))
    assert saccade.explain(fast) == "nothing to rewrite: no convolution, batch normalisation or pooling"
