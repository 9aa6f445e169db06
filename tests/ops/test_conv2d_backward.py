import itertools
from functools import partial

import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade import ops
from tests.util.convolutions import CASES, DTYPES, FORMATS, has_format_of, tensors
from tests.util.threads import with_threads
from tests.util.tolerance import assert_close


def in_double(inputs):
    return [t.detach().double().cpu().requires_grad_() for t in inputs]


def gradients(function, leaves, sizes, grad):
    out = function(*leaves, **sizes)
    return torch.autograd.grad(out, leaves, grad.to(out).reshape(out.shape))


def random_grad(inputs, sizes):
    shape = functional.conv2d(*in_double(inputs[:2]), **sizes).shape
    grad = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    return grad.to(inputs[0].dtype)


def assert_equals_torch(case, dtype, layout, device):
    inputs, sizes = tensors(case, dtype, layout, device)
    grad = random_grad(inputs, sizes)
    leaves = [t.requires_grad_() for t in inputs]
    ours = gradients(ops.conv2d, leaves, sizes, grad.to(device).contiguous(memory_format=layout))
    theirs = gradients(functional.conv2d, in_double(inputs), sizes, grad)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == dtype
        assert_close(mine.cpu(), other, "reduction")
    assert has_format_of(inputs[0], ours[0])
    assert ours[1].is_contiguous()


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_equals_torch(case, dtype, layout, device):
    assert_equals_torch(case, dtype, layout, device)


@pytest.mark.parametrize("channels", [1, 3, 15, 17, 33])
@pytest.mark.parametrize("width", [1, 2, 7, 8, 15, 17, 33])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_every_width(width, channels, stride, device):
    for layout in FORMATS:
        case = (1, channels, 4, width), (18, channels, 3, 3), stride, 1, 1, 1
        assert_equals_torch(case, torch.float32, layout, device)


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("name", ["3x3", "depthwise", "dilated, stride"])
def test_only_what_is_needed(name, layout, device):
    inputs, sizes = tensors(CASES[name], layout=layout, device=device)
    grad = random_grad(inputs, sizes).to(device)
    all_three = gradients(ops.conv2d, [t.requires_grad_() for t in inputs], sizes, grad)
    for needed in itertools.product([False, True], repeat=3):
        if not any(needed):
            continue
        leaves = [t.detach().requires_grad_(need) for t, need in zip(inputs, needed, strict=True)]
        wanted = [t for t in leaves if t.requires_grad]
        found = torch.autograd.grad(ops.conv2d(*leaves, **sizes), wanted, grad)
        for ours, theirs in zip(found, (t for t, need in zip(all_three, needed, strict=True) if need), strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "name", ["3x3, whole registers", "3x3 stride 2", "first layer", "groups", "depthwise", "even kernel"]
)
def test_weight_of_any_strides(name, dtype, layout, device):
    """The same bits whatever the order of the weight in memory; a channels_last weight has such a gradient."""
    (x, weight, bias), sizes = tensors(CASES[name], dtype, layout, device)
    grad = random_grad((x, weight), sizes).to(device)
    orders = [weight, weight.contiguous(memory_format=torch.channels_last), weight.permute(2, 3, 1, 0).contiguous()]
    orders[2] = orders[2].permute(3, 2, 0, 1)
    outs, grads = [], []
    for order in orders:
        leaves = [t.detach().requires_grad_() for t in (x, order, bias)]
        out = ops.conv2d(*leaves, **sizes)
        outs.append(out)
        grads.append(torch.autograd.grad(out, leaves, grad))
    for out, other in zip(outs[1:], grads[1:], strict=True):
        assert torch.equal(out, outs[0])
        assert all(map(torch.equal, other, grads[0]))
    assert grads[1][1].is_contiguous(memory_format=torch.channels_last)
    assert grads[2][1].is_contiguous()


def test_gradient_of_any_strides(device):
    inputs, sizes = tensors(CASES["3x3"], torch.float64, device=device)
    leaves = [t.requires_grad_() for t in inputs]
    expected = gradients(functional.conv2d, leaves, sizes, torch.ones(1).expand(2 * 33 * 9 * 11))
    ours = torch.autograd.grad(ops.conv2d(*leaves, **sizes).sum(), leaves)  # an expanded gradient
    turned = torch.autograd.grad(ops.conv2d(*leaves, **sizes).permute(3, 1, 0, 2).contiguous().sum(), leaves)
    for mine, other, theirs in zip(ours, turned, expected, strict=True):
        assert_close(mine.cpu(), theirs.cpu(), "reduction")
        assert torch.equal(mine, other)


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_float32_bias_beside_halves(dtype, layout, device):
    (x, weight, bias), sizes = tensors(CASES["3x3"], dtype, layout, device)
    bias = bias.float().requires_grad_()
    (grad,) = torch.autograd.grad(ops.conv2d(x, weight, bias, **sizes).sum(), bias)
    assert grad.dtype == torch.float32
    assert_close(grad.cpu().to(dtype), torch.full((33,), 2 * 9 * 11, dtype=torch.float64), "reduction")


@pytest.mark.parametrize("activation", [None, "relu", "leaky_relu", "elu", "sigmoid"])
@pytest.mark.parametrize("layout", FORMATS)
def test_fused(layout, activation, device):
    (x, weight, bias), sizes = tensors(CASES["3x3"], torch.float64, layout, device)
    plain = ops.conv2d(x, weight, bias, **sizes)
    scale, shift, residual = torch.randn_like(bias), torch.randn_like(bias), torch.randn_like(plain)
    leaves = [t.detach().requires_grad_() for t in (x, weight, bias, scale, shift, residual)]
    grad = torch.randn_like(plain)
    fused = ops.conv2d_fused(*leaves[:3], **sizes, scale=leaves[3], shift=leaves[4], residual=leaves[5],
                             activation=activation)  # fmt: skip
    twins = in_double(leaves)
    result = functional.conv2d(*twins[:3], **sizes) * twins[3][:, None, None] + twins[4][:, None, None] + twins[5]
    expected = (
        result if activation is None else getattr(torch, activation, getattr(functional, activation, None))(result)
    )
    assert_close(fused.detach().cpu(), expected.detach(), "reduction")
    found = torch.autograd.grad(fused, leaves, grad)
    for mine, other in zip(found, torch.autograd.grad(expected, twins, grad.cpu()), strict=True):
        assert_close(mine.cpu(), other, "reduction")


@pytest.mark.parametrize("layout", FORMATS)
def test_empty(layout, device):
    (x, weight, bias), sizes = tensors(CASES["3x3"], layout=layout, device=device)
    leaves = [t.requires_grad_() for t in (x[:0], weight, bias)]
    grads = torch.autograd.grad(ops.conv2d(*leaves, **sizes).sum(), leaves)
    assert [g.shape for g in grads] == [leaf.shape for leaf in leaves]
    assert not any(g.any() for g in grads)
    leaves = [t.detach().requires_grad_() for t in (x[:, :0], weight[:, :0], bias)]
    grads = torch.autograd.grad(ops.conv2d(*leaves, **sizes).sum(), leaves)
    assert [g.shape for g in grads] == [leaf.shape for leaf in leaves]
    assert grads[2].tolist() == [2 * 9 * 11] * 33


def test_a_stride_longer_than_any_image(device):
    (x, weight, bias), _ = tensors(CASES["3x3"], torch.float64, device=device)
    leaves = [t.requires_grad_() for t in (x, weight, bias)]
    ours = torch.autograd.grad(ops.conv2d(*leaves, 2**31 - 1).sum(), leaves)
    theirs = torch.autograd.grad(functional.conv2d(*leaves, 100).sum(), leaves)
    for mine, other in zip(ours, theirs, strict=True):
        assert_close(mine.cpu(), other.cpu(), "reduction")


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "groups"),
    [((3, 3), 1, 1, 1, 1), ((2, 3), (2, 1), (0, 2), (1, 2), 1), ((3, 3), 2, 1, 1, 3), ((1, 1), 1, 0, 1, 1)],
)
def test_gradcheck_and_opcheck(kernel, stride, padding, dilation, groups, layout, device):
    case = (2, 3, 5, 6), (6, 3 // groups, *kernel), stride, padding, dilation, groups
    inputs, sizes = tensors(case, torch.float64, layout, device)
    leaves = [t.requires_grad_() for t in inputs]
    assert torch.autograd.gradcheck(lambda *t: ops.conv2d(*t, **sizes), leaves)
    x, weight, _ = (t.detach() for t in leaves)
    steps, (top, left), dilations = (list(s) if isinstance(s, tuple) else [s, s] for s in (stride, padding, dilation))
    geometry = steps, [top, top, left, left], dilations, groups
    grad = torch.ops.saccade.conv2d(x, weight, None, None, *geometry, 0)
    for needed in ([True, True, True], [False, True, False], [True, False, False]):
        torch.library.opcheck(torch.ops.saccade._conv2d_backward.default, (grad, x, weight, *geometry, needed, 0))
        last = weight.contiguous(memory_format=torch.channels_last)
        torch.library.opcheck(torch.ops.saccade._conv2d_backward.default, (grad, x, last, *geometry, needed, 0))
        found = torch.ops.saccade._conv2d_backward(grad, x, weight, *geometry, needed, 0)
        assert [g.numel() > 0 for g in found] == needed


WINOGRAD = {
    **{name: case for name, case in CASES.items() if case[1][2:] == (3, 3) and case[2] == 1},
    "several chunks of tiles": ((2, 65, 66, 63), (64, 65, 3, 3), 1, 1, 1, 1),
    "several chunks, dilated": ((2, 64, 66, 63), (64, 64, 3, 3), 1, (2, 3), (2, 3), 1),
    "several blocks of outputs": ((1, 200, 9, 8), (150, 200, 3, 3), 1, 1, 1, 1),
}


@pytest.mark.native
@pytest.mark.parametrize("case", WINOGRAD.values(), ids=WINOGRAD)
def test_winograd_gradient_of_the_weight(case):
    """As the plain gradient within 5e-6 of its norm; the same bits from both formats and any number of threads."""
    inputs, sizes = tensors(case)
    steps, margins = (list(size) if isinstance(size, tuple) else [size] * 2 for size in (case[4], case[3]))
    sides = [margins[0], margins[0], margins[1], margins[1]]
    grad = random_grad(inputs, sizes)

    def gradient(layout):
        ordered = [t.contiguous(memory_format=layout) for t in (grad, inputs[0])]
        backward = torch.ops.saccade._conv2d_backward
        return backward(*ordered, inputs[1], [1, 1], sides, steps, case[5], [False, True, False], 2)[1]

    found = [bits for layout in FORMATS for bits in with_threads(partial(gradient, layout))]
    leaves = in_double(inputs[:2])
    (expected,) = torch.autograd.grad(functional.conv2d(*leaves, **sizes), leaves[1], grad.double())
    assert (found[0] - expected).norm() <= 5e-6 * expected.norm()
    assert all(torch.equal(found[0], other) for other in found[1:])


@pytest.mark.native
def test_winograd_gradient_is_taken_where_it_is_faster():
    x, weight = torch.randn(2, 64, 28, 28), torch.randn(64, 64, 3, 3, requires_grad=True)
    grad = torch.randn(2, 64, 28, 28)
    plain, winograd = (
        torch.ops.saccade._conv2d_backward(grad, x, weight, [1, 1], [1] * 4, [1, 1], 1, [False, True, False], n)[1]
        for n in (0, 2)
    )
    assert torch.equal(torch.autograd.grad(ops.conv2d(x, weight, padding=1), weight, grad)[0], winograd)
    ops.set_conv_precision("exact")
    try:
        assert torch.equal(torch.autograd.grad(ops.conv2d(x, weight, padding=1), weight, grad)[0], plain)
    finally:
        ops.set_conv_precision("fast")


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("dilation", [1, (2, 1)])
@pytest.mark.parametrize("padding", [0, (1, 2)])
@pytest.mark.parametrize("stride", [1, (1, 2), 3])
def test_gradcheck_of_every_geometry(stride, padding, dilation, groups, layout):
    case = (1, 4, 4, 5), (4, 4 // groups, 2, 3), stride, padding, dilation, groups
    inputs, sizes = tensors(case, torch.float64, layout)
    assert torch.autograd.gradcheck(lambda *t: ops.conv2d(*t, **sizes), [t.requires_grad_() for t in inputs])


@pytest.mark.native
@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "case",
    [
        ((3, 64, 37, 41), (64, 64, 3, 3), 1, 1, 1, 1),
        ((2, 96, 28, 29), (80, 96, 1, 1), 2, 0, 1, 1),
        ((2, 3, 97, 99), (64, 3, 7, 7), 2, 3, 1, 1),
        ((2, 70, 41, 43), (70, 1, 3, 3), 1, 1, 1, 70),
    ],
)
def test_same_bits_for_any_number_of_threads(case, dtype, layout):
    inputs, sizes = tensors(case, dtype, layout)
    leaves = [t.requires_grad_() for t in inputs]
    grad = random_grad(inputs, sizes).contiguous(memory_format=layout)
    results = with_threads(lambda: gradients(ops.conv2d, leaves, sizes, grad))
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))
    expected = gradients(functional.conv2d, in_double(inputs), sizes, grad)
    for i, (mine, other) in enumerate(zip(results[0], expected, strict=True)):
        if i < 2 and dtype == torch.float32:  # perhaps by Winograd's algorithm, whose error is bounded in norm
            assert ((mine - other).norm() / other.norm()).item() < 3e-5
        else:
            assert_close(mine, other, "reduction")


@settings(max_examples=100, deadline=None)
@given(data=st.data(), layout=st.sampled_from(FORMATS), groups=st.sampled_from([1, 2, 6]))
def test_any_geometry_at_all(data, layout, groups):
    kernel, stride, dilation, padding = (
        data.draw(st.tuples(st.integers(low, high), st.integers(low, high)), label)
        for label, low, high in (("kernel", 1, 4), ("stride", 1, 5), ("dilation", 1, 4), ("padding", 0, 5))
    )
    height, width = (
        data.draw(st.integers(max(1, d * (k - 1) + 1 - 2 * p), 16))
        for k, d, p in zip(kernel, dilation, padding, strict=True)
    )
    channels, out_channels = data.draw(st.sampled_from([(6, 6), (12, 18), (24, 6)]), "channels")
    case = (2, channels, height, width), (out_channels, channels // groups, *kernel), stride, padding, dilation, groups
    inputs, sizes = tensors(case, torch.float64, layout)
    leaves, twins = [t.requires_grad_() for t in inputs], in_double(inputs)
    ours, theirs = ops.conv2d(*leaves, **sizes), functional.conv2d(*twins, **sizes)
    assert_close(ours.detach(), theirs.detach(), "reduction")
    grad = torch.linspace(-1, 1, theirs.numel(), dtype=torch.float64).reshape(theirs.shape)
    for mine, other in zip(
        torch.autograd.grad(ours, leaves, grad), torch.autograd.grad(theirs, twins, grad), strict=True
    ):
        assert_close(mine, other, "reduction")


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize(
    "case",
    [
        ((3, 64, 20, 31), (48, 64, 3, 3), 1, 1, 1, 1),
        ((2, 40, 29, 30), (48, 20, 3, 3), 1, (0, 3), (2, 3), 2),
        ((1, 64, 20, 21), (64, 64, 3, 3), 1, (3, 4), 1, 1),
    ],
)
def test_precision_of_the_gradient(case, layout):
    inputs, sizes = tensors(case, layout=layout)
    leaves = [t.requires_grad_() for t in inputs]
    grad = random_grad(inputs, sizes)
    exact = gradients(functional.conv2d, in_double(inputs), sizes, grad)[0]
    errors = {}
    try:
        for precision in ("fast", "exact"):
            ops.set_conv_precision(precision)
            ours = gradients(ops.conv2d, leaves, sizes, grad)[0]
            assert has_format_of(inputs[0], ours)
            errors[precision] = ((ours - exact).norm() / exact.norm()).item()
    finally:
        ops.set_conv_precision("fast")
    assert errors["fast"] <= 3e-5
    assert errors["exact"] <= 1e-6
