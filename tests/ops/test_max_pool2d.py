import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade import ops
from saccade.reference import pool2d as reference
from tests.util.opinfo import opinfo
from tests.util.threads import with_threads
from tests.util.tolerance import assert_close

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
FORMATS = [torch.contiguous_format, torch.channels_last]
# kernel_size, stride, padding, dilation, ceil_mode
WINDOWS = {
    "3x3 stride 2": (3, 2, 1, 1, False),
    "3x3 stride 1": (3, 1, 1, 1, False),
    "2x2": (2, 2, 0, 1, False),
    "ceil": (3, 2, 0, 1, True),
    "stride 3": ((2, 4), (1, 3), (1, 2), 1, True),
    "dilated": ((3, 2), (2, 1), (1, 1), (2, 3), False),
    "dilated, stride 2": (3, 2, 1, 2, True),
    "one cell": (1, 2, 0, 1, False),
    "large": (7, 1, 3, 1, False),
}


def torch_min_pool2d(x, *arguments, **more):
    result = functional.max_pool2d(-x, *arguments, **more)
    return (-result[0], result[1]) if isinstance(result, tuple) else -result


PAIRS = {"max_pool2d": functional.max_pool2d, "min_pool2d": torch_min_pool2d}


def images(*shape, dtype=torch.float32, layout=torch.contiguous_format, device="cpu"):
    # Few distinct values: ties, where the first in row order must win.
    generator = torch.Generator().manual_seed(shape[-1])
    return torch.randint(-9, 9, shape, generator=generator).to(device, dtype).contiguous(memory_format=layout)


def with_gradient(function, x, *arguments, **more):
    leaf = x.detach().requires_grad_()
    values, indices = function(leaf, *arguments, return_indices=True, **more)
    grad = torch.randn(values.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(values)
    return values.detach(), indices, torch.autograd.grad(values, leaf, grad)[0]


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_equals_reference_exactly(window, name, dtype, layout, device):
    x = images(2, 3, 11, 23, dtype=dtype, layout=layout, device=device)
    *sizes, ceil_mode = window
    pairs = [size if isinstance(size, tuple) else (size, size) for size in sizes]
    values, indices = getattr(ops, name)(x, *window, return_indices=True)
    theirs, where = getattr(reference, name)(x.double().cpu().numpy(), *pairs, ceil_mode)
    assert_close(values.cpu(), torch.from_numpy(theirs).to(dtype), "exact")
    assert_close(indices.cpu(), torch.from_numpy(where), "exact")
    assert values.is_contiguous(memory_format=layout)
    assert indices.is_contiguous(memory_format=layout)
    assert torch.equal(getattr(ops, name)(x, *window), values)


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("channels", [1, 15, 17, 64, 71])
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_equals_torch(window, name, channels, layout, device):
    for height, width in [(8, 7), (13, 33)]:
        x = images(2, channels, height, width, layout=layout)
        ours = with_gradient(getattr(ops, name), x.to(device), *window)
        theirs = with_gradient(PAIRS[name], x, *window)
        for mine, other in zip(ours, theirs, strict=True):
            assert_close(mine.cpu(), other, "reduction" if mine is ours[2] else "exact")
        assert ours[2].is_contiguous(memory_format=layout)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 127])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_every_width(width, stride, device):
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        x = images(1, 2, 5, width, dtype=dtype)
        ours = with_gradient(ops.max_pool2d, x.to(device), 3, stride, 1, ceil_mode=True)
        theirs = with_gradient(functional.max_pool2d, x, 3, stride, 1, ceil_mode=True)
        for mine, other in zip(ours, theirs, strict=True):
            assert_close(mine.cpu(), other, "reduction" if mine is ours[2] else "exact")
        assert torch.equal(ops.max_pool2d(x.to(device), 3, stride, 1, ceil_mode=True).cpu(), theirs[0])


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_gradient_of_every_dtype(window, dtype, layout, device):
    x = images(2, 19, 12, 21, dtype=dtype, layout=layout, device=device)
    _, _, ours = with_gradient(ops.max_pool2d, x, *window)
    leaf = x.double().requires_grad_()
    values = ops.max_pool2d(leaf, *window)
    grad = torch.randn(values.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (theirs,) = torch.autograd.grad(values, leaf, grad.to(dtype).to(values))
    assert ours.dtype == dtype
    assert_close(ours.cpu(), theirs.cpu(), "reduction")


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_nan_and_infinity(window, layout, device):
    x = images(1, 18, 12, 21)
    choice = torch.randint(0, 12, x.shape, generator=torch.Generator().manual_seed(3))
    x[choice == 0], x[choice == 1], x[:, :, 6:] = float("nan"), float("inf"), -float("inf")
    x[0, 0] = float("nan")
    x = x.contiguous(memory_format=layout)
    for name, theirs in PAIRS.items():
        values, indices = getattr(ops, name)(x.to(device), *window, return_indices=True)
        expected, where = theirs(x, *window, return_indices=True)
        assert_close(values.cpu(), expected, "exact")
        assert_close(getattr(ops, name)(x.to(device), *window).cpu(), expected, "exact")
        assert_close(indices.cpu(), where, "exact")


def test_a_window_without_a_cell(device):
    x = torch.ones(1, 1, 1, 1, device=device, requires_grad=True)
    values, indices = ops.max_pool2d(x, 2, 1, 1, 2, return_indices=True)
    assert values.flatten().tolist() == [-float("inf")]
    assert indices.flatten().tolist() == [-1]
    assert torch.autograd.grad(values.sum(), x)[0].item() == 0


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("kernel", [2, 3, 7])
def test_same_bits_for_any_number_of_threads(kernel, layout):
    x = torch.randn(2, 40, 37, 41).contiguous(memory_format=layout)
    results = with_threads(lambda: [*with_gradient(ops.max_pool2d, x, kernel, 1, 1), ops.max_pool2d(x, kernel, 1, 1)])
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


def test_torch_samples(device):
    entry, seen = opinfo("nn.functional.max_pool2d"), 0
    for sample in itertools.islice(entry.sample_inputs("cpu", torch.float64, requires_grad=True), 0, None, 7):
        expected = functional.max_pool2d(sample.input, *sample.args, **sample.kwargs)
        leaf = sample.input.detach().to(device).requires_grad_()
        ours = ops.max_pool2d(leaf, *sample.args, **sample.kwargs)
        if isinstance(expected, tuple):
            assert torch.equal(ours[1].cpu(), expected[1])
            ours, expected = ours[0], expected[0]
        assert_close(ours.detach().cpu(), expected.detach(), "exact")
        (theirs_grad,) = torch.autograd.grad(expected.sum(), sample.input)
        assert_close(torch.autograd.grad(ours.sum(), leaf)[0].cpu(), theirs_grad, "reduction")
        seen += 1
    assert seen > 20
    for sample in entry.error_inputs("cpu") if entry.error_inputs_func else ():
        with pytest.raises((ValueError, TypeError)):
            ops.max_pool2d(sample.sample_input.input, *sample.sample_input.args, **sample.sample_input.kwargs)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"input": torch.rand(3, 4)}, ValueError, "input must have shape (N, C, H, W) or (C, H, W), got (3, 4)"),
        ({"input": [1]}, TypeError, "input must be a torch.Tensor, got list"),
        ({"input": torch.zeros(1, 1, 4, 4).long()}, TypeError,
         "input must be float16, bfloat16, float32 or float64, got int64"),
        ({"input": torch.rand(2, 0, 4, 4)}, ValueError,
         "input must have no dimension of 0 but the first, got (2, 0, 4, 4)"),
        ({"kernel_size": (1, 2, 3)}, ValueError, "kernel_size must be an int or a pair of ints, got (1, 2, 3)"),
        ({"kernel_size": (2, 0)}, ValueError, "kernel_size must be positive, got (2, 0)"),
        ({"stride": 0}, ValueError, "stride must be positive, got (0, 0)"),
        ({"dilation": (1, -1)}, ValueError, "dilation must be positive, got (1, -1)"),
        ({"padding": -1}, ValueError, "padding must not be negative, got (-1, -1)"),
        ({"padding": 2}, ValueError, "padding must be at most half of kernel_size, got (2, 2) for (3, 3)"),
        ({"kernel_size": 9}, ValueError,
         "input must be at least as large as the padded kernel, got (2, 3, 4, 4) for (9, 9)"),
        ({"stride": 2**40}, ValueError, "stride must be less than 2**31, got (1099511627776, 1099511627776)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", PAIRS)
def test_errors(name, changes, error, message):
    arguments = {"input": torch.rand(2, 3, 4, 4), "kernel_size": 3} | changes
    with pytest.raises(error) as caught:
        getattr(ops, name)(**arguments)
    assert str(caught.value) == f"{name}: {message}"


def test_unbatched_and_empty_batch(device):
    x = images(3, 9, 8, device=device).requires_grad_()
    values, indices = ops.max_pool2d(x, 3, 2, 1, return_indices=True)
    expected, where = ops.max_pool2d(x[None], 3, 2, 1, return_indices=True)
    assert torch.equal(values, expected[0])
    assert torch.equal(indices, where[0])
    assert torch.autograd.grad(values.sum(), x)[0].shape == x.shape
    empty = torch.zeros(0, 3, 9, 8, device=device, requires_grad=True)
    values = ops.min_pool2d(empty, 3, [2])
    assert values.shape == (0, 3, 4, 3)
    assert torch.autograd.grad(values.sum(), empty)[0].shape == empty.shape


def test_a_stride_longer_than_the_input(device):
    x = images(1, 2, 5, 6, device=device)
    assert torch.equal(ops.max_pool2d(x, 5, 2**31 - 1), functional.max_pool2d(x, 5, 2**31 - 1))


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("operator", [torch.ops.saccade.max_pool2d, torch.ops.saccade.min_pool2d])
def test_opcheck_and_gradcheck(operator, layout, device):
    generator = torch.Generator().manual_seed(0)
    x = torch.randperm(2 * 3 * 30, generator=generator).double().reshape(2, 3, 5, 6).to(device)
    x = x.contiguous(memory_format=layout).requires_grad_()
    sizes = [3, 2], [2, 1], [1, 1], [1, 2], True
    assert torch.autograd.gradcheck(lambda t: operator(t, *sizes, True)[0], x)
    torch.library.opcheck(operator.default, (x, *sizes, True))
    torch.library.opcheck(operator.default, (x.detach(), *sizes, False))
    values, indices = operator(x.detach(), *sizes, True)
    arguments = (values, indices, x.shape, *sizes, layout == torch.channels_last)
    torch.library.opcheck(torch.ops.saccade._max_pool2d_backward.default, arguments)
    with pytest.raises(RuntimeError, match="max_pool2d: a gradient needs return_indices=True"):
        operator(x, *sizes, False)[0].sum().backward()


def test_gradient_of_indices_from_elsewhere(device):
    grad, indices = torch.ones(1, 1, 2, 2, device=device), torch.tensor([[[[-5, 3], [10**12, 10]]]], device=device)
    for window in ([2, 2], [8, 8]):
        padding = [(window[0] - 2) // 2] * 2
        sizes = window, [2, 2], padding, [1, 1], False
        for last in (False, True):
            result = torch.ops.saccade._max_pool2d_backward(grad, indices, [1, 1, 4, 4], *sizes, last)
            assert result.flatten().nonzero().flatten().tolist() == [3, 10]


@pytest.mark.parametrize("layout", FORMATS)
def test_compile_and_autocast(layout):
    x = images(1, 5, 9, 10, layout=layout).requires_grad_()
    compiled = torch.compile(lambda t: ops.max_pool2d(t, 3, 2, 1, 1, True), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), ops.max_pool2d(x, 3, 2, 1, 1, True))
    (grad,) = torch.autograd.grad(compiled(x).square().sum(), x)
    assert torch.equal(grad, torch.autograd.grad(ops.max_pool2d(x, 3, 2, 1, 1, True).square().sum(), x)[0])
    with torch.autocast("cpu", torch.bfloat16):
        for dtype in (torch.float32, torch.bfloat16):
            assert ops.max_pool2d(x.to(dtype), 2).dtype == functional.max_pool2d(x.to(dtype), 2).dtype


@settings(max_examples=150, deadline=None)
@given(data=st.data(), layout=st.sampled_from(FORMATS), name=st.sampled_from(list(PAIRS)), ceil_mode=st.booleans())
def test_any_window_at_all(data, layout, name, ceil_mode):
    kernel, stride, dilation = (
        data.draw(st.tuples(st.integers(1, top), st.integers(1, top)), label) for label, top in
        (("kernel", 5), ("stride", 6), ("dilation", 3))
    )  # fmt: skip
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    height, width = (data.draw(st.integers(max(1, s - 2 * p), 20)) for s, p in zip(spans, padding, strict=True))
    x = images(1, 3, height, width, dtype=torch.float64, layout=layout)
    sizes = kernel, stride, padding, dilation
    values, indices, grad = with_gradient(getattr(ops, name), x, *sizes, ceil_mode)
    theirs, where = getattr(reference, name)(x.numpy(), *sizes, ceil_mode)
    assert_close(values, torch.from_numpy(theirs), "exact")
    assert_close(indices, torch.from_numpy(where), "exact")
    weights = torch.randn(values.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).numpy()
    sums = np.zeros(x.shape).reshape(3, -1)
    for c in range(3):
        held = where[0, c] >= 0
        np.add.at(sums[c], where[0, c][held], weights[0, c][held])
    assert_close(grad, torch.from_numpy(sums.reshape(x.shape)), "reduction")
