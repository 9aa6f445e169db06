import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade import ops
from tests.util.convolutions import DTYPES, has_format_of
from tests.util.deformable import CASES, FORMATS, tensors
from tests.util.threads import with_threads
from tests.util.tolerance import assert_close

torchvision = pytest.importorskip("torchvision")


def gradients(function, leaves, sizes, grad):
    """Those of input, offset, weight, bias and, where there is one, mask."""
    out = function(*leaves[:4], **sizes, mask=leaves[4] if len(leaves) > 4 else None)
    return torch.autograd.grad(out, leaves, grad.to(out))


def random_grad(inputs, sizes):
    shape = ops.deform_conv2d(*(t.detach().cpu() for t in inputs[:4]), **sizes).shape
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def assert_equals_torchvision(inputs, sizes, layout=torch.contiguous_format):
    grad = random_grad(inputs, sizes).to(inputs[0].dtype)
    twins = [t.detach().double().cpu().requires_grad_() for t in inputs]
    leaves = [t.detach().requires_grad_() for t in inputs]
    found = gradients(ops.deform_conv2d, leaves, sizes, grad.to(inputs[0].device).contiguous(memory_format=layout))
    expected = gradients(torchvision.ops.deform_conv2d, twins, sizes, grad)
    for mine, other, leaf in zip(found, expected, leaves, strict=True):
        assert mine.dtype == leaf.dtype
        assert_close(mine.cpu(), other, "reduction")
    for i in [0, 1, 4][: len(inputs) - 2]:
        assert has_format_of(inputs[i], found[i])
    return found


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_equals_torchvision(case, dtype, layout, device):
    # Where a sample lies exactly on a cell the derivative has two sides; halves do often.
    inputs, sizes = tensors(case, dtype, layout, device)
    assert_equals_torchvision(inputs, sizes, layout)
    assert_equals_torchvision(inputs[:4], sizes, layout)


@pytest.mark.parametrize("channels", [1, 3, 15, 17, 33])
@pytest.mark.parametrize("width", [1, 2, 7, 8, 17, 33])
def test_every_width(width, channels, device):
    for layout in FORMATS:
        case = (1, channels, 4, width), (18, channels, 3, 3), 1, 1, 1, 1
        assert_equals_torchvision(*tensors(case, layout=layout, device=device), layout)


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("spread", [10.0, 1e4, 1e30])
def test_offsets_far_outside(spread, layout, device):
    for name in ("3x3", "padding beyond the kernel"):
        assert_equals_torchvision(*tensors(CASES[name], layout=layout, device=device, spread=spread), layout)


@pytest.mark.parametrize("layout", FORMATS)
def test_whole_offsets_and_borders(layout, device):
    inputs, sizes = tensors(CASES["padding beyond the kernel"], layout=layout, device=device)
    inputs[1] = (inputs[1] * 2).round()
    assert_equals_torchvision(inputs, sizes, layout)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("layout", FORMATS)
def test_offsets_that_are_not_finite_have_no_gradient(layout, bad, device):
    inputs, sizes = tensors(CASES["offset groups"], layout=layout, device=device)
    grad = random_grad(inputs, sizes).to(device)
    wrong = torch.rand(inputs[1].shape, generator=torch.Generator().manual_seed(2)).to(device) < 0.2
    results = []
    for value in (bad, 1e4):
        leaves = [t.detach().requires_grad_() for t in inputs]
        leaves[1] = inputs[1].masked_fill(wrong, value).requires_grad_()
        results.append(gradients(ops.deform_conv2d, leaves, sizes, grad))
    for mine, other in zip(*results, strict=True):
        assert torch.equal(mine, other)
    assert not results[0][1][wrong].any()


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("name", ["3x3", "groups across offset groups"])
def test_only_what_is_needed(name, layout, device):
    inputs, sizes = tensors(CASES[name], layout=layout, device=device)
    grad = random_grad(inputs, sizes).to(device)
    all_five = gradients(ops.deform_conv2d, [t.requires_grad_() for t in inputs], sizes, grad)
    for needed in itertools.product([False, True], repeat=5):
        if not any(needed):
            continue
        leaves = [t.detach().requires_grad_(need) for t, need in zip(inputs, needed, strict=True)]
        out = ops.deform_conv2d(*leaves[:4], **sizes, mask=leaves[4])
        found = torch.autograd.grad(out, [t for t in leaves if t.requires_grad], grad.to(out))
        for mine, other in zip(found, (t for t, need in zip(all_five, needed, strict=True) if need), strict=True):
            assert torch.equal(mine, other)


def test_gradient_of_any_strides(device):
    inputs, sizes = tensors(CASES["offset groups"], torch.float64, device=device)
    leaves = [t.requires_grad_() for t in inputs]
    grad = torch.ones(1, device=device, dtype=torch.float64).expand(2, 10, 7, 8)
    expected = gradients(ops.deform_conv2d, leaves, sizes, grad.contiguous())
    apart = [torch.stack([t, t], -1)[..., 0].detach().requires_grad_() for t in inputs]
    for found in (gradients(ops.deform_conv2d, leaves, sizes, grad), gradients(ops.deform_conv2d, apart, sizes, grad)):
        for mine, other in zip(found, expected, strict=True):
            assert torch.equal(mine, other)


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_float32_bias_beside_halves(dtype, layout, device):
    inputs, sizes = tensors(CASES["3x3"], dtype, layout, device)
    bias = inputs[3].float().requires_grad_()
    out = ops.deform_conv2d(*inputs[:3], bias, **sizes, mask=inputs[4])
    (grad,) = torch.autograd.grad(out.sum(), bias)
    assert grad.dtype == torch.float32
    assert_close(grad.cpu(), torch.full((33,), 2.0 * 9 * 11), "reduction")


@pytest.mark.parametrize("layout", FORMATS)
def test_empty(layout, device):
    (x, offset, weight, bias, mask), sizes = tensors(CASES["3x3"], layout=layout, device=device)
    leaves = [t.detach().requires_grad_() for t in (x[:0], offset[:0], weight, bias, mask[:0])]
    grads = torch.autograd.grad(ops.deform_conv2d(*leaves[:4], **sizes, mask=leaves[4]).sum(), leaves)
    assert [g.shape for g in grads] == [leaf.shape for leaf in leaves]
    assert not any(g.any() for g in grads)
    leaves = [t.detach().requires_grad_() for t in (x[:, :0], offset, weight[:, :0], bias, mask)]
    grads = torch.autograd.grad(ops.deform_conv2d(*leaves[:4], **sizes, mask=leaves[4]).sum(), leaves)
    assert [g.shape for g in grads] == [leaf.shape for leaf in leaves]
    assert not any(grads[i].any() for i in (0, 1, 2, 4))
    assert grads[3].tolist() == [2 * 9 * 11] * 33


GEOMETRIES = [((3, 3), 1, 1, 1, 1, 1), ((2, 3), (2, 1), (0, 2), (1, 2), 1, 3), ((3, 3), 2, 1, 1, 3, 1),
              ((1, 1), 1, 0, 1, 1, 1)]  # fmt: skip


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "groups", "offset_groups"), GEOMETRIES)
def test_gradcheck_and_opcheck(kernel, stride, padding, dilation, groups, offset_groups, layout, device):
    case = (2, 3, 4, 5), (6, 3 // groups, *kernel), stride, padding, dilation, offset_groups
    inputs, sizes = tensors(case, torch.float64, layout, device)
    # Away from whole positions, where the derivative jumps.
    inputs[1] = inputs[1].floor() + 0.25 + 0.5 * torch.rand_like(inputs[1])
    leaves = [t.requires_grad_() for t in inputs]
    assert torch.autograd.gradcheck(lambda *t: ops.deform_conv2d(*t[:4], **sizes, mask=t[4]), leaves)
    assert torch.autograd.gradcheck(lambda *t: ops.deform_conv2d(*t, **sizes), leaves[:4])
    x, offset, weight, _, mask = (t.detach() for t in leaves)
    geometry = [list(size) for size in sizes.values()]
    grad = torch.ops.saccade.deform_conv2d(x, offset, weight, None, mask, None, *geometry)
    backward = torch.ops.saccade._deform_conv2d_backward
    for needed in ([True] * 5, [False, True, False, True, False], [True, False, True, False, True]):
        torch.library.opcheck(backward.default, (grad, x, offset, weight, mask, *geometry, needed))
        found = backward(grad, x, offset, weight, mask, *geometry, needed)
        assert [g.numel() > 0 for g in found] == needed
    torch.library.opcheck(backward.default, (grad, x, offset, weight, None, *geometry, [True, True, False, True, True]))


@pytest.mark.native
@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "case",
    [
        ((3, 64, 17, 21), (64, 64, 3, 3), 1, 1, 1, 1),
        ((2, 96, 13, 14), (80, 48, 3, 3), 1, 1, 1, 4),
        ((2, 70, 21, 23), (70, 1, 3, 3), 1, 1, 1, 7),
        ((1, 8, 40, 41), (8, 8, 1, 1), 1, 0, 1, 1),
    ],
)
def test_same_bits_for_any_number_of_threads(case, dtype, layout):
    inputs, sizes = tensors(case, dtype, layout)
    results = with_threads(lambda: assert_equals_torchvision(inputs, sizes, layout))
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


small = st.integers(1, 3)


@settings(max_examples=60, deadline=None)
@given(
    groups=st.sampled_from([1, 2, 6]), offset_groups=st.sampled_from([1, 2, 3, 4, 12]), kernel=st.tuples(small, small),
    stride=st.tuples(small, small), dilation=st.tuples(small, small), padding=st.tuples(small, small),
    masked=st.booleans(), spread=st.sampled_from([0.5, 3.0, 50.0]), layout=st.sampled_from(FORMATS),
)  # fmt: skip
def test_any_geometry_at_all(groups, offset_groups, kernel, stride, dilation, padding, masked, spread, layout):
    case = (2, 12, 9, 10), (6, 12 // groups, *kernel), stride, padding, dilation, offset_groups
    inputs, sizes = tensors(case, torch.float64, layout, spread=spread)
    assert_equals_torchvision(inputs if masked else inputs[:4], sizes, layout)
