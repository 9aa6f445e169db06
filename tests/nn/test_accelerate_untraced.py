"""What cannot be traced keeps its code, and its parts are rewritten."""

import pytest
import torch
from torch import nn

import saccade
from tests.util.networks import Deciding, same


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
        "tests.nn.test_accelerate_untraced asks for the type of a traced value",
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


def test_other_padding_modes():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(4), nn.ReLU()).eval()
    x = torch.rand(1, 3, 4, 4)
    fast = saccade.accelerate(model, x)
    assert saccade.explain(fast).endswith("ours: 1× conv2d + batch_norm + relu\n  left to torch: 1× pad")
    same(fast(x), model(x).detach())
