"""bfloat16, which some processors multiply as it is: exact products, sums in float32, one rounding of the result."""

import pytest
import torch
import torch.nn.functional as functional

from saccade import ops
from tests.util.convolutions import CASES, tensors

EPS_BFLOAT16, EPS_FLOAT32 = 2.0**-7, 2.0**-23  # between neighbours

# Input, weight, stride, padding, dilation, groups: an odd depth in every place where one can stand (a pixel, a row of
# taps taken as one, the last block of a long depth, a group), and columns that fill registers and do not.
ODD = {
    "one channel": ((2, 1, 9, 8), (5, 1, 3, 3), 1, 1, 1, 1),
    "one channel, 1x1": ((1, 1, 5, 7), (70, 1, 1, 1), 1, 0, 1, 1),
    "odd channels, 1x1": ((2, 33, 5, 7), (64, 33, 1, 1), 1, 0, 1, 1),
    "odd channels": ((1, 17, 7, 9), (48, 17, 3, 3), 1, 1, 1, 1),
    "rows of 21": ((1, 3, 17, 18), (64, 3, 7, 7), 2, 3, 1, 1),
    "rows of taps that are not neighbours": ((1, 3, 17, 18), (33, 3, 3, 3), 2, 2, 2, 1),
    "odd channels, two blocks": ((1, 1027, 4, 5), (17, 1027, 1, 1), 1, 0, 1, 1),
    "odd channels, blocks of taps": ((1, 301, 5, 6), (16, 301, 3, 3), 1, 1, 1, 1),
    "odd groups": ((1, 45, 6, 5), (51, 15, 3, 3), (2, 1), 1, 1, 3),
    "even channels, two blocks": ((1, 1026, 4, 5), (65, 1026, 1, 1), 1, 0, 1, 1),
}
LAST = torch.channels_last


@pytest.mark.parametrize("name", [*CASES, *ODD])
def test_error_of_one_rounding(name, device):
    (x, weight, bias), sizes = tensors({**CASES, **ODD}[name], torch.bfloat16, LAST, device)
    ours = ops.conv2d(x, weight, bias, **sizes).cpu().double()
    x, weight, bias = (t.cpu().double() for t in (x, weight, bias))
    exact = functional.conv2d(x, weight, bias, **sizes)
    magnitude = functional.conv2d(x.abs(), weight.abs(), bias.abs(), **sizes)
    sums = (weight[0].numel() + 2) * EPS_FLOAT32 * magnitude
    assert ((ours - exact).abs() <= EPS_BFLOAT16 / 2 * exact.abs() + 2 * sums).all()


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("activation", [None, "relu", "leaky_relu"])
def test_whole_numbers_are_exact(name, activation, device):
    # Every sum fits float32, so the one rounding is all that there may be.
    (x, weight, bias), sizes = tensors(ODD[name], torch.bfloat16, LAST, device)
    x, weight, bias = (x * 2).round(), (weight * weight[0].numel() ** 0.5 * 2).round(), (bias * 8).round()
    exact = functional.conv2d(*(t.cpu().double() for t in (x, weight, bias)), **sizes)
    residual = torch.arange(exact.numel(), dtype=torch.float64).reshape(exact.shape).remainder(61) - 30
    expected = exact * 2 + residual
    if activation == "relu":
        expected = expected.relu()
    if activation == "leaky_relu":
        expected = torch.where(expected > 0, expected, (expected.float() * 0.01).double())
    two = torch.full_like(bias, 2)
    ours = ops.conv2d_fused(
        x, weight, bias, **sizes, scale=two, residual=residual.to(device, torch.bfloat16), activation=activation
    )
    assert torch.equal(ours.cpu(), expected.float().bfloat16())


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_follows_an_odd_pixel_is_not_read(name, value, device):
    (x, weight, bias), sizes = tensors(ODD[name], torch.bfloat16, LAST, device)
    for place in ((0, 0, 2, 3), (0, x.shape[1] // 2, 0, 0), (0, x.shape[1] - 1, 3, 4)):
        changed = x.clone(memory_format=torch.preserve_format)
        changed[place] = value
        ours = ops.conv2d(changed, weight, bias, **sizes).cpu()
        theirs = functional.conv2d(*(t.cpu().double() for t in (changed, weight, bias)), **sizes)
        assert torch.equal(ours.isnan(), theirs.isnan())
        assert torch.equal(ours.isinf(), theirs.isinf())


@pytest.mark.native
@pytest.mark.parametrize("name", ["rows of 21", "odd channels, two blocks", "odd groups"])
def test_the_same_alone_and_among_others(name):
    (x, weight, bias), sizes = tensors(ODD[name], torch.bfloat16, LAST)
    several = torch.cat([x.flip(3), x, x * 2]).contiguous(memory_format=LAST)
    expected = ops.conv2d(several, weight, bias, **sizes)
    assert torch.equal(ops.conv2d(x, weight, bias, **sizes), expected[len(x) : 2 * len(x)])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_no_winograd(dtype):
    (x, weight, _), sizes = tensors(((1, 64, 30, 31), (64, 64, 3, 3), 1, 1, 1, 1), dtype, LAST)
    assert ops.explain_conv2d(x, weight, **sizes).startswith("gemm: ")
    with pytest.raises(ValueError, match=r"^conv2d: algorithm must be "):
        ops.conv2d(x, weight, **sizes, algorithm="winograd4")
