import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade import ops
from saccade.reference import pool2d as reference
from tests.util.opinfo import opinfo
from tests.util.tolerance import assert_close

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
FORMATS = [torch.contiguous_format, torch.channels_last]
# kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
WINDOWS = {
    "2x2": (2, 2, 0, False, True, None),
    "3x3 stride 1": (3, 1, 1, False, True, None),
    "3x3 stride 2": (3, 2, 1, False, False, None),
    "ceil": (3, 2, 1, True, True, None),
    "ceil, cells only": ((4, 3), 2, (2, 1), True, False, None),
    "stride 3": ((2, 4), (1, 3), (1, 2), True, False, None),
    "gaps": ((1, 2), (3, 4), 0, False, True, None),
    "stride 2, one column": ((2, 1), 2, 0, False, True, None),
    "divisor": (3, 2, 1, False, True, -7),
    "large": (7, 1, 3, False, True, None),
}
# Of maps of 13 x 33 cells.
OUTPUT_SIZES = {
    "global": 1,
    "whole": (None, None),
    "equal parts": (13, 11),
    "unequal parts": (5, 7),
    "more than there are": (14, 40),
    "one row": (1, 6),
    "one column": (3, 1),
}


def images(*shape, dtype=torch.float32, layout=torch.contiguous_format, device="cpu"):
    generator = torch.Generator().manual_seed(shape[-1])
    return torch.randn(shape, generator=generator).to(device, dtype).contiguous(memory_format=layout)


def with_gradient(function, x, *arguments):
    leaf = x.detach().requires_grad_()
    values = function(leaf, *arguments)
    grad = torch.randn(values.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(values)
    return values.detach(), torch.autograd.grad(values, leaf, grad)[0]


def assert_as_torch(name, x, device, *arguments):
    ours = with_gradient(getattr(ops, name), x.to(device), *arguments)
    theirs = with_gradient(getattr(functional, name), x, *arguments)
    for mine, other in zip(ours, theirs, strict=True):
        assert_close(mine.cpu(), other, "reduction")
    return ours


def in_double(name, x, *arguments):
    """torch's results for the same values, and for a gradient rounded to the dtype of x."""
    leaf = x.detach().cpu().double().requires_grad_()
    values = getattr(functional, name)(leaf, *arguments)
    grad = torch.randn(values.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return values.detach(), torch.autograd.grad(values, leaf, grad.to(x.dtype).double())[0]


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("channels", [1, 3, 15, 17, 64, 71, 150])
@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_equals_torch(window, channels, layout, device):
    for height, width in [(8, 7), (13, 33)]:
        x = images(2, channels, height, width, layout=layout)
        ours = assert_as_torch("avg_pool2d", x, device, *window)
        if channels > 1:
            assert all(tensor.is_contiguous(memory_format=layout) for tensor in ours)


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("channels", [1, 3, 15, 17, 64, 71, 150])
@pytest.mark.parametrize("size", OUTPUT_SIZES.values(), ids=OUTPUT_SIZES)
def test_adaptive_equals_torch(size, channels, layout, device):
    ours = assert_as_torch("adaptive_avg_pool2d", images(2, channels, 13, 33, layout=layout), device, size)
    if channels > 1:
        assert all(tensor.is_contiguous(memory_format=layout) for tensor in ours)


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_every_dtype(window, dtype, layout, device):
    x = images(2, 19, 12, 21, dtype=dtype, layout=layout, device=device)
    ours = with_gradient(ops.avg_pool2d, x, *window)
    for mine, other in zip(ours, in_double("avg_pool2d", x, *window), strict=True):
        assert mine.dtype == dtype
        assert_close(mine.cpu(), other, "reduction")
    *sizes, ceil_mode, count_include_pad, divisor = window
    pairs = [size if isinstance(size, tuple) else (size, size) for size in sizes]
    expected = reference.avg_pool2d(x.double().cpu().numpy(), *pairs, ceil_mode, count_include_pad, divisor)
    assert_close(ours[0].cpu(), torch.from_numpy(expected), "reduction")


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", OUTPUT_SIZES.values(), ids=OUTPUT_SIZES)
def test_adaptive_every_dtype(size, dtype, layout, device):
    x = images(2, 70, 13, 33, dtype=dtype, layout=layout, device=device)
    ours = with_gradient(ops.adaptive_avg_pool2d, x, size)
    for mine, other in zip(ours, in_double("adaptive_avg_pool2d", x, size), strict=True):
        assert mine.dtype == dtype
        assert_close(mine.cpu(), other, "reduction")
    pair = tuple(size) if isinstance(size, tuple) else (size, size)
    lengths = tuple(n if out is None else out for out, n in zip(pair, (13, 33), strict=True))
    expected = reference.adaptive_avg_pool2d(x.double().cpu().numpy(), lengths)
    assert_close(ours[0].cpu(), torch.from_numpy(expected), "reduction")


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 127])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_every_width(width, stride, device):
    for dtype in (torch.float32, torch.float64):
        x = images(1, 2, 5, width, dtype=dtype)
        assert_as_torch("avg_pool2d", x, device, 3, stride, 1, True, False)
        for out in (1, 2, 3, 7):
            assert_as_torch("adaptive_avg_pool2d", x, device, (stride, out))


def test_the_mean_of_equal_cells_is_exact(device):
    for value in (3.0, 7.0, 1e6):
        x = torch.full((1, 70, 9, 49), value, device=device)
        for layout in FORMATS:
            image = x.contiguous(memory_format=layout)
            assert (ops.avg_pool2d(image, (3, 7), 1) == value).all()
            assert (ops.adaptive_avg_pool2d(image, 1) == value).all()


@pytest.mark.parametrize("channels", [2, 70])
def test_many_cells_keep_their_precision(channels, device):
    x = torch.rand(1, channels, 300, 400, generator=torch.Generator().manual_seed(0)) + 100
    expected = x.double().mean((2, 3), keepdim=True)
    for layout in FORMATS:
        ours = ops.adaptive_avg_pool2d(x.contiguous(memory_format=layout).to(device), 1)
        # One float32 after the other: 1e-3.
        assert (ours.cpu() - expected).abs().max() < 1e-4


@pytest.mark.parametrize("layout", FORMATS)
def test_nan_and_infinity(layout, device):
    x = images(1, 18, 12, 21)
    choice = torch.randint(0, 40, x.shape, generator=torch.Generator().manual_seed(3))
    x[choice == 0], x[choice == 1], x[choice == 2] = float("nan"), float("inf"), -float("inf")
    x = x.contiguous(memory_format=layout)
    for window in WINDOWS.values():
        assert_close(ops.avg_pool2d(x.to(device), *window).cpu(), functional.avg_pool2d(x, *window), "reduction")
    for size in (1, (5, 6)):
        expected = functional.adaptive_avg_pool2d(x, size)
        assert_close(ops.adaptive_avg_pool2d(x.to(device), size).cpu(), expected, "reduction")


@pytest.mark.parametrize("layout", FORMATS)
def test_same_bits_for_any_number_of_threads(layout):
    x = torch.randn(2, 200, 37, 41).contiguous(memory_format=layout)
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found = [with_gradient(ops.adaptive_avg_pool2d, x, size) for size in (1, (4, 5))]
            found += [with_gradient(ops.avg_pool2d, x, kernel, stride) for kernel, stride in ((3, 2), (5, 1), (9, 9))]
            results.append([tensor for pair in found for tensor in pair])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


@pytest.mark.parametrize("name", ["avg_pool2d", "adaptive_avg_pool2d"])
def test_torch_samples(name, device):
    entry, seen = opinfo(f"nn.functional.{name}"), 0
    for sample in entry.sample_inputs("cpu", torch.float64, requires_grad=True):
        expected = getattr(functional, name)(sample.input, *sample.args, **sample.kwargs)
        leaf = sample.input.detach().to(device).requires_grad_()
        ours = getattr(ops, name)(leaf, *sample.args, **sample.kwargs)
        assert_close(ours.detach().cpu(), expected.detach(), "reduction")
        (theirs_grad,) = torch.autograd.grad(expected.square().sum(), sample.input)
        assert_close(torch.autograd.grad(ours.square().sum(), leaf)[0].cpu(), theirs_grad, "reduction")
        seen += 1
    for sample in entry.error_inputs("cpu"):
        with pytest.raises((ValueError, TypeError)):
            getattr(ops, name)(sample.sample_input.input, *sample.sample_input.args, **sample.sample_input.kwargs)
        seen += 1
    assert seen > 10


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
        ({"padding": -1}, ValueError, "padding must not be negative, got (-1, -1)"),
        ({"padding": 2}, ValueError, "padding must be at most half of kernel_size, got (2, 2) for (3, 3)"),
        ({"kernel_size": 9}, ValueError,
         "input must be at least as large as the padded kernel, got (2, 3, 4, 4) for (9, 9)"),
        ({"stride": 2**40}, ValueError, "stride must be less than 2**31, got (1099511627776, 1099511627776)"),
        ({"divisor_override": 0}, ValueError, "divisor_override must not be 0, got 0"),
    ],
)  # fmt: skip
def test_errors(changes, error, message):
    arguments = {"input": torch.rand(2, 3, 4, 4), "kernel_size": 3} | changes
    with pytest.raises(error) as caught:
        ops.avg_pool2d(**arguments)
    assert str(caught.value) == f"avg_pool2d: {message}"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"input": torch.rand(3, 4)}, ValueError, "input must have shape (N, C, H, W) or (C, H, W), got (3, 4)"),
        ({"input": None}, TypeError, "input must be a torch.Tensor, got NoneType"),
        ({"input": torch.zeros(1, 1, 4, 4).int()}, TypeError,
         "input must be float16, bfloat16, float32 or float64, got int32"),
        ({"input": torch.rand(2, 3, 0, 4)}, ValueError,
         "input must have no dimension of 0 but the first, got (2, 3, 0, 4)"),
        ({"output_size": (1,)}, ValueError, "output_size must be an int or a pair of ints, got (1,)"),
        ({"output_size": (1, None, 3)}, ValueError, "output_size must be an int or a pair of ints, got (1, None, 3)"),
        ({"output_size": (2, -1)}, ValueError, "output_size must not be negative, got (2, -1)"),
        ({"output_size": 2**31}, ValueError, "output_size must be less than 2**31, got (2147483648, 2147483648)"),
    ],
)  # fmt: skip
def test_adaptive_errors(changes, error, message):
    arguments = {"input": torch.rand(2, 3, 4, 4), "output_size": 3} | changes
    with pytest.raises(error) as caught:
        ops.adaptive_avg_pool2d(**arguments)
    assert str(caught.value) == f"adaptive_avg_pool2d: {message}"


@pytest.mark.parametrize("layout", FORMATS)
def test_a_gradient_of_another_shape(layout):
    last, grad = layout == torch.channels_last, torch.rand(2, 3, 2, 3)
    for name, arguments in (
        ("avg_pool2d", ([2, 2], [2, 2], [0, 0], False, True, None)),
        ("adaptive_avg_pool2d", ([2, 2],)),
    ):
        with pytest.raises(RuntimeError) as caught:
            getattr(torch.ops.saccade, f"_{name}_backward")(grad, [2, 3, 4, 4], *arguments, last)
        message = f"ValueError: {name}: grad must have shape (N, C, out_h, out_w), got (2, 3, 2, 3)"
        assert str(caught.value).startswith(message)


def test_unbatched_and_empty(device):
    x = images(3, 9, 8, device=device).requires_grad_()
    for name, arguments in (("avg_pool2d", (3, 2, 1)), ("adaptive_avg_pool2d", (4,))):
        function = getattr(ops, name)
        values = function(x, *arguments)
        assert torch.equal(values, function(x[None], *arguments)[0])
        assert torch.autograd.grad(values.sum(), x)[0].shape == x.shape
        empty = torch.zeros(0, 3, 9, 8, device=device, requires_grad=True)
        values = function(empty, *arguments)
        assert values.shape == getattr(functional, name)(empty, *arguments).shape
        assert torch.autograd.grad(values.sum(), empty)[0].shape == empty.shape
    for size in (0, (0, 3), (3, 0)):
        values = ops.adaptive_avg_pool2d(x, size)
        assert values.shape == functional.adaptive_avg_pool2d(x, size).shape
        assert torch.autograd.grad(values.sum(), x)[0].eq(0).all()


def test_a_stride_longer_than_the_input(device):
    x = images(1, 2, 5, 6, device=device)
    assert_close(ops.avg_pool2d(x, 5, 2**31 - 1).cpu(), functional.avg_pool2d(x.cpu(), 5, 2**31 - 1), "reduction")


@pytest.mark.parametrize("layout", FORMATS)
def test_a_map_that_is_no_whole_tensor(layout, device):
    x = images(2, 20, 12, 22, layout=layout, device=device)
    for part in (x[:, 2:17], x[:, :, 1:11, 3:20], x.transpose(2, 3), x[:, :1].expand(2, 5, 12, 22)):
        for name, arguments in (("avg_pool2d", (3, 2, 1)), ("adaptive_avg_pool2d", (5,))):
            assert_as_torch(name, part.cpu(), device, *arguments)


@pytest.mark.parametrize("layout", FORMATS)
def test_opcheck_and_gradcheck(layout, device):
    x = images(2, 3, 5, 6, dtype=torch.float64, layout=layout, device=device).requires_grad_()
    last = layout == torch.channels_last
    for name, arguments in (
        ("avg_pool2d", ([3, 2], [2, 1], [1, 1], True, False, None)),
        ("avg_pool2d", ([3, 2], [2, 3], [1, 0], False, True, 5)),
        ("adaptive_avg_pool2d", ([3, 4],)),
        ("adaptive_avg_pool2d", ([1, 1],)),
    ):
        operator = getattr(torch.ops.saccade, name)
        assert torch.autograd.gradcheck(operator, (x, *arguments))
        torch.library.opcheck(operator.default, (x, *arguments))
        grad = operator(x.detach(), *arguments)
        backward = getattr(torch.ops.saccade, f"_{name}_backward")
        torch.library.opcheck(backward.default, (grad, x.shape, *arguments, last))


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("name", ["avg_pool2d", "adaptive_avg_pool2d"])
def test_compile_and_autocast(name, layout):
    x = images(1, 5, 9, 10, layout=layout).requires_grad_()
    function = getattr(ops, name)
    compiled = torch.compile(lambda t: function(t, (2, 3)), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), function(x, (2, 3)))
    (grad,) = torch.autograd.grad(compiled(x).square().sum(), x)
    assert torch.equal(grad, torch.autograd.grad(function(x, (2, 3)).square().sum(), x)[0])
    with torch.autocast("cpu", torch.bfloat16):
        for dtype in (torch.float32, torch.bfloat16):
            assert function(x.to(dtype), 2).dtype == getattr(functional, name)(x.to(dtype), 2).dtype


@settings(max_examples=150, deadline=None)
@given(
    data=st.data(),
    layout=st.sampled_from(FORMATS),
    ceil_mode=st.booleans(),
    count_include_pad=st.booleans(),
    divisor=st.sampled_from([None, None, 3]),
)
def test_any_window_at_all(data, layout, ceil_mode, count_include_pad, divisor):
    kernel, stride = (
        data.draw(st.tuples(st.integers(1, top), st.integers(1, top)), label) for label, top in
        (("kernel", 6), ("stride", 7))
    )  # fmt: skip
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    height, width = (data.draw(st.integers(max(1, k - 2 * p), 40)) for k, p in zip(kernel, padding, strict=True))
    x = images(1, 3, height, width, dtype=torch.float64, layout=layout)
    arguments = kernel, stride, padding, ceil_mode, count_include_pad, divisor
    values, _ = assert_as_torch("avg_pool2d", x, "cpu", *arguments)
    assert_close(values, torch.from_numpy(reference.avg_pool2d(x.numpy(), *arguments)), "reduction")


@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    layout=st.sampled_from(FORMATS),
)
def test_any_output_size_at_all(shape, size, layout):
    x = images(1, 3, *shape, dtype=torch.float64, layout=layout)
    values, _ = assert_as_torch("adaptive_avg_pool2d", x, "cpu", size)
    assert_close(values, torch.from_numpy(reference.adaptive_avg_pool2d(x.numpy(), size)), "reduction")
