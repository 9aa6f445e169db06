import itertools

import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade import ops
from tests.util.convolutions import DTYPES, FORMATS, has_format_of
from tests.util.threads import with_threads
from tests.util.tolerance import assert_close
from tests.util.transposed import CASES, tensors


def in_double(inputs):
    return [t.detach().double().cpu().requires_grad_() for t in inputs]


def gradients(function, leaves, sizes, grad):
    out = function(*leaves, **sizes)
    return torch.autograd.grad(out, leaves, grad.to(out).reshape(out.shape))


def random_grad(inputs, sizes):
    shape = functional.conv_transpose2d(*in_double(inputs[:2]), **sizes).shape
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(inputs[0].dtype)


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_equals_torch(case, dtype, layout, device):
    inputs, sizes = tensors(case, dtype, layout, device)
    grad = random_grad(inputs, sizes)
    leaves = [t.requires_grad_() for t in inputs]
    ours = gradients(ops.conv_transpose2d, leaves, sizes, grad.to(device).contiguous(memory_format=layout))
    theirs = gradients(functional.conv_transpose2d, in_double(inputs), sizes, grad)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == dtype
        assert_close(mine.cpu(), other, "reduction")
    assert has_format_of(inputs[0], ours[0])
    assert ours[1].is_contiguous()


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("name", ["k4 s2", "k16 s8, groups", "dilated"])
def test_only_what_is_needed(name, layout, device):
    inputs, sizes = tensors(CASES[name], layout=layout, device=device)
    grad = random_grad(inputs, sizes).to(device)
    all_three = gradients(ops.conv_transpose2d, [t.requires_grad_() for t in inputs], sizes, grad)
    for needed in itertools.product([False, True], repeat=3):
        if not any(needed):
            continue
        leaves = [t.detach().requires_grad_(need) for t, need in zip(inputs, needed, strict=True)]
        wanted = [t for t in leaves if t.requires_grad]
        found = torch.autograd.grad(ops.conv_transpose2d(*leaves, **sizes), wanted, grad)
        for ours, theirs in zip(found, (t for t, need in zip(all_three, needed, strict=True) if need), strict=True):
            assert torch.equal(ours, theirs)


def test_gradient_of_any_strides(device):
    inputs, sizes = tensors(CASES["k4 s2"], torch.float64, device=device)
    leaves = [t.requires_grad_() for t in inputs]
    grad = random_grad(inputs, sizes).to(device)
    expected = gradients(ops.conv_transpose2d, leaves, sizes, grad)
    strided = torch.stack([grad, grad], -1)[..., 0]
    for mine, other in zip(gradients(ops.conv_transpose2d, leaves, sizes, strided), expected, strict=True):
        assert_close(mine, other, "exact")
    ones = ops.conv_transpose2d(*leaves, **sizes).sum()  # its gradient has strides of 0
    twins = in_double(inputs)
    theirs = torch.autograd.grad(functional.conv_transpose2d(*twins, **sizes).sum(), twins)
    for mine, other in zip(torch.autograd.grad(ones, leaves), theirs, strict=True):
        assert_close(mine.cpu(), other, "reduction")


@pytest.mark.parametrize("layout", FORMATS)
def test_empty(layout, device):
    (x, weight, bias), sizes = tensors(CASES["k4 s2"], layout=layout, device=device)
    pixels = functional.conv_transpose2d(*in_double((x, weight)), **sizes)[:, 0].numel()
    leaves = [t.requires_grad_() for t in (x[:0], weight, bias)]
    grads = torch.autograd.grad(ops.conv_transpose2d(*leaves, **sizes).sum(), leaves)
    assert [g.shape for g in grads] == [leaf.shape for leaf in leaves]
    assert not any(g.any() for g in grads)
    leaves = [t.detach().requires_grad_() for t in (x[:, :0], weight[:0], bias)]
    grads = torch.autograd.grad(ops.conv_transpose2d(*leaves, **sizes).sum(), leaves)
    assert [g.shape for g in grads] == [leaf.shape for leaf in leaves]
    assert grads[2].tolist() == [pixels] * 33


GEOMETRIES = [
    (kernel, stride, padding, output_padding, groups, dilation)
    for kernel, stride, padding, output_padding, groups, dilation in itertools.product(
        [(4, 4), (2, 3)], [1, 2, (3, 2)], [0, (1, 2)], [0, (1, 1)], [1, 3], [1, (1, 2)]
    )
    if output_padding == 0 or stride != 1
]


@pytest.mark.parametrize(("kernel", "stride", "padding", "output_padding", "groups", "dilation"), GEOMETRIES)
def test_gradcheck(kernel, stride, padding, output_padding, groups, dilation, device):
    for layout in FORMATS:
        case = (2, 3, 2, 3), (3, 2, *kernel), stride, padding, output_padding, groups, dilation
        inputs, sizes = tensors(case, torch.float64, layout, device)
        leaves = [t.requires_grad_() for t in inputs]
        assert torch.autograd.gradcheck(
            lambda *t, sizes=sizes: ops.conv_transpose2d(*t, **sizes), leaves, fast_mode=True
        )


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("name", ["k4 s2", "k16 s8, groups"])
def test_opcheck(name, layout, device):
    (x, weight, _), sizes = tensors(CASES[name], torch.float64, layout, device)
    geometry = [size if key == "groups" else [size, size] for key, size in sizes.items()]
    grad = torch.ops.saccade.conv_transpose2d(x, weight, None, None, *geometry)
    operator = torch.ops.saccade._conv_transpose2d_backward
    for needed in ([True, True, True], [False, True, False], [True, False, False]):
        torch.library.opcheck(operator.default, (grad, x, weight, *geometry, needed))
        assert [g.numel() > 0 for g in operator(grad, x, weight, *geometry, needed)] == needed


@pytest.mark.native
@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "case",
    [
        ((3, 64, 17, 21), (64, 64, 4, 4), 2, 1, 0, 1, 1),
        ((2, 21, 9, 11), (21, 1, 16, 16), 8, 4, 0, 21, 1),
        ((3, 32, 17, 21), (32, 48, 3, 3), 2, 1, 1, 1, 1),
    ],
)
def test_same_bits_for_any_number_of_threads(case, dtype, layout):
    inputs, sizes = tensors(case, dtype, layout)
    leaves = [t.requires_grad_() for t in inputs]
    grad = random_grad(inputs, sizes).contiguous(memory_format=layout)
    results = with_threads(lambda: gradients(ops.conv_transpose2d, leaves, sizes, grad))
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))
    theirs = gradients(functional.conv_transpose2d, in_double(inputs), sizes, grad)
    for mine, other in zip(results[0], theirs, strict=True):
        assert_close(mine, other, "reduction")


@settings(max_examples=100, deadline=None)
@given(data=st.data(), layout=st.sampled_from(FORMATS), groups=st.sampled_from([1, 2, 6]))
def test_any_geometry_at_all(data, layout, groups):
    """What torch computes we compute, gradients too; what it refuses we refuse by a ValueError."""
    kernel, stride, dilation, padding, output_padding, size = (
        data.draw(st.tuples(st.integers(low, high), st.integers(low, high)), label)
        for label, low, high in (
            ("kernel", 1, 4), ("stride", 1, 5), ("dilation", 1, 4), ("padding", -1, 5), ("output_padding", 0, 3),
            ("size", 1, 7),
        )
    )  # fmt: skip
    outs = data.draw(st.sampled_from([1, 2, 9]), "out channels")
    case = (2, 12, *size), (12, outs, *kernel), stride, padding, output_padding, groups, dilation
    inputs, sizes = tensors(case, torch.float64, layout)
    leaves, twins = [t.requires_grad_() for t in inputs], in_double(inputs)
    try:
        theirs = functional.conv_transpose2d(*twins, **sizes)
    except RuntimeError:
        with pytest.raises(ValueError, match=r"^conv_transpose2d: (output_)?padding must "):
            ops.conv_transpose2d(*leaves, **sizes)
        return
    ours = ops.conv_transpose2d(*leaves, **sizes)
    assert_close(ours.detach(), theirs.detach(), "reduction")
    grad = torch.linspace(-1, 1, theirs.numel(), dtype=torch.float64).reshape(theirs.shape)
    for mine, other in zip(
        torch.autograd.grad(ours, leaves, grad), torch.autograd.grad(theirs, twins, grad), strict=True
    ):
        assert_close(mine, other, "reduction")
