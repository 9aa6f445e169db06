"""Small networks that tests of saccade.accelerate share, and how their outputs are compared."""

import torch
from torch import nn

from tests.util.tolerance import assert_close


class Net(nn.Module):
    """Two convolutions with batch normalisation, and a forward made of a function of them."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4, eps=1e-3)
        self.register_buffer("square", torch.randn(6, 6))  # for rows of six
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


def same(actual, expected):
    """Of one type and structure, and equal up to rounding."""
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
