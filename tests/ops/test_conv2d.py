import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade import ops
from saccade.ops._conv import ALGORITHMS
from saccade.reference import conv2d as reference
from tests.util.convolutions import CASES, DTYPES, FORMATS, has_format_of, tensors
from tests.util.devices import runs_cuda_kernels
from tests.util.opinfo import opinfo
from tests.util.threads import with_threads
from tests.util.tolerance import assert_close

ACTIVATIONS = {
    None: lambda x: x,
    "relu": functional.relu,
    "leaky_relu": lambda x: functional.leaky_relu(x, 0.01),
    "elu": functional.elu,
    "sigmoid": torch.sigmoid,
}


def pair(size):
    return size if isinstance(size, tuple) else (size, size)


def in_double(inputs):
    return [t.detach().double().cpu() for t in inputs]


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_equals_reference(case, layout, device):
    inputs, sizes = tensors(case, layout=layout, device=device)
    top, left = pair(sizes["padding"])
    expected = reference.conv2d(
        *(t.numpy() for t in in_double(inputs)),
        pair(sizes["stride"]), (top, top, left, left), pair(sizes["dilation"]), sizes["groups"],
    )  # fmt: skip
    ours = ops.conv2d(*inputs, **sizes)
    assert_close(ours.cpu(), torch.from_numpy(expected), "reduction")
    assert has_format_of(inputs[0], ours)


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_equals_torch(case, dtype, layout, device):
    inputs, sizes = tensors(case, dtype, layout, device)
    ours = ops.conv2d(*inputs, **sizes)
    assert ours.dtype == dtype
    assert_close(ours.cpu(), functional.conv2d(*in_double(inputs), **sizes), "reduction")
    without = ops.conv2d(*inputs[:2], **sizes)
    assert_close(without.cpu(), functional.conv2d(*in_double(inputs[:2]), **sizes), "reduction")


@pytest.mark.parametrize("channels", [1, 3, 15, 17, 33, 64])
@pytest.mark.parametrize("width", [1, 2, 5, 7, 8, 9, 15, 16, 17, 31, 33, 65])
def test_every_width(width, channels, device):
    for layout in FORMATS:
        for kernel, out_channels in ((3, 18), (1, 16)):
            case = (1, channels, 3, width), (out_channels, channels, kernel, kernel), 1, kernel // 2, 1, 1
            inputs, sizes = tensors(case, layout=layout, device=device)
            expected = functional.conv2d(*in_double(inputs), **sizes)
            assert_close(ops.conv2d(*inputs, **sizes).cpu(), expected, "reduction")


@pytest.mark.parametrize("dilation", [1, 2, (3, 1)])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 4), (4, 3)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_padding_by_name(padding, kernel, dilation, device):
    inputs, sizes = tensors(((2, 9, 11, 12), (10, 9, *kernel), 1, padding, dilation, 1), device=device)
    expected = functional.conv2d(*in_double(inputs), **sizes)
    assert_close(ops.conv2d(*inputs, **sizes).cpu(), expected, "reduction")


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("parts", [(), ("scale", "shift"), ("residual",), ("scale", "shift", "residual")])
@pytest.mark.parametrize("name", ["3x3", "1x1", "3x3 stride 2", "groups", "depthwise", "first layer"])
def test_fused(name, parts, activation, layout, device):
    for dtype in (torch.float32, torch.float16):
        (x, weight, bias), sizes = tensors(CASES[name], dtype, layout, device)
        plain = functional.conv2d(*in_double((x, weight, bias)), **sizes)
        generator = torch.Generator().manual_seed(1)
        shapes = {"scale": bias.shape, "shift": bias.shape, "residual": plain.shape}
        more = {part: torch.randn(shapes[part], generator=generator).to(device, dtype) for part in parts}
        scale, shift, residual = (more.get(part) for part in ("scale", "shift", "residual"))
        expected = plain if scale is None else plain * scale.double().cpu()[:, None, None]
        expected = expected if shift is None else expected + shift.double().cpu()[:, None, None]
        expected = expected if residual is None else expected + residual.double().cpu()
        ours = ops.conv2d_fused(x, weight, bias, **sizes, **more, activation=activation)
        assert ours.dtype == dtype
        assert has_format_of(x, ours)
        assert_close(ours.cpu(), ACTIVATIONS[activation](expected), "reduction")


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_fused_equals_reference(activation, device):
    case = (2, 9, 6, 7), (10, 9, 3, 2), (1, 2), (1, 0), 1, 1
    inputs, sizes = tensors(case, device=device)
    plain = ops.conv2d(*inputs, **sizes)
    more = torch.randn(10), torch.randn(10), torch.randn(plain.shape)
    expected = reference.conv2d_fused(
        *(t.numpy() for t in in_double(inputs)), (1, 2), (1, 1, 0, 0), (1, 1), 1,
        *(t.double().numpy() for t in more), activation,
    )  # fmt: skip
    scale, shift, residual = (t.to(device) for t in more)
    ours = ops.conv2d_fused(*inputs, **sizes, scale=scale, shift=shift, residual=residual, activation=activation)
    assert_close(ours.cpu(), torch.from_numpy(expected), "reduction")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", FORMATS)
def test_float32_parameters_beside_halves(layout, dtype, device):
    (x, weight, bias), sizes = tensors(CASES["3x3"], dtype, layout, device)
    precise = torch.linspace(1, 2, len(bias), device=device)
    ours = ops.conv2d_fused(x, weight, precise, **sizes, scale=precise, shift=precise)
    wide = in_double((x, weight, precise))
    column = wide[2][:, None, None]
    assert_close(ours.cpu(), functional.conv2d(*wide, **sizes) * column + column, "reduction")


def test_torch_samples(device):
    entry, seen = opinfo("nn.functional.conv2d"), 0
    for sample in entry.sample_inputs(device, torch.float64, requires_grad=True):
        leaves = [t for t in (sample.input, *sample.args) if t is not None]
        results = []
        for function in (ops.conv2d, functional.conv2d):
            out = function(sample.input, *sample.args, **sample.kwargs)
            grad = torch.linspace(-1, 1, out.numel(), device=device, dtype=out.dtype).reshape(out.shape)
            results.append([out.detach(), *torch.autograd.grad(out, leaves, grad)])
        for ours, theirs in zip(*results, strict=True):
            assert_close(ours.cpu(), theirs.cpu(), "reduction")
        seen += 1
    assert seen > 20
    for sample in entry.error_inputs("cpu"):
        with pytest.raises((ValueError, TypeError)):
            ops.conv2d(sample.sample_input.input, *sample.sample_input.args, **sample.sample_input.kwargs)


def test_unbatched(device):
    (x, weight, bias), sizes = tensors(CASES["3x3"], device=device)
    expected = ops.conv2d(x[1:], weight, bias, **sizes)[0]
    assert torch.equal(ops.conv2d(x[1], weight, bias, **sizes), expected)
    residual = torch.rand_like(expected)
    fused = ops.conv2d_fused(x[1], weight, bias, **sizes, residual=residual, activation="relu")
    assert_close(fused, (expected + residual).relu(), "reduction")


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_strides(dtype, layout, device):
    (x, weight, bias), sizes = tensors(CASES["3x3 stride 2"], dtype, layout, device)
    parts = [torch.stack([t, t], -1)[..., 0] for t in (x, weight, bias)]
    expected = ops.conv2d(*(part.contiguous() for part in parts), **sizes)
    assert_close(ops.conv2d(*parts, **sizes), expected, "exact")
    expected = ops.conv2d(x, weight, bias, **sizes)
    turned = weight.permute(1, 3, 2, 0).contiguous().permute(3, 0, 2, 1)
    assert_close(ops.conv2d(x, turned, bias, **sizes), expected, "exact")
    residual = torch.rand_like(expected)
    one = ops.conv2d_fused(x, weight, bias, **sizes, residual=residual)
    other = ops.conv2d_fused(x, weight, bias, **sizes, residual=torch.stack([residual, residual], -1)[..., 1])
    assert_close(one, other, "exact")


def test_misaligned(device):
    # Whole registers and tiles of channels, at addresses that are no multiple of 16 bytes.
    for dtype in DTYPES:
        (x, weight, bias), sizes = tensors(CASES["3x3, whole registers"], dtype, torch.channels_last, device)
        storage = torch.empty(x.numel() + 1, dtype=dtype, device=device)
        shifted = storage[1:].view(x.permute(0, 2, 3, 1).shape).permute(0, 3, 1, 2).copy_(x)
        assert shifted.is_contiguous(memory_format=torch.channels_last)
        expected = functional.conv2d(*in_double((x, weight, bias)), **sizes)
        assert_close(ops.conv2d(shifted, weight, bias, **sizes).cpu(), expected, "reduction")


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("name", ["3x3 stride 2", "1x1", "depthwise", "dilated, stride"])
def test_nan_and_infinity_stay_in_their_windows(name, layout, device):
    inputs, sizes = tensors(CASES[name], layout=layout, device=device)
    inputs[0][0, 1, 2, 3], inputs[0][0, 3, 4, 4] = float("nan"), float("inf")
    ours = ops.conv2d(*inputs, **sizes, algorithm="gemm").cpu()
    theirs = functional.conv2d(*in_double(inputs), **sizes)
    assert torch.equal(ours.isnan(), theirs.isnan())
    assert torch.equal(ours.isinf(), theirs.isinf())
    finite = theirs.isfinite()
    assert_close(ours[finite], theirs[finite], "reduction")


@pytest.mark.parametrize("layout", FORMATS)
def test_empty(layout, device):
    (x, weight, bias), sizes = tensors(CASES["3x3"], layout=layout, device=device)
    assert ops.conv2d(x[:0], weight, bias, **sizes).shape == (0, 33, 9, 11)
    assert ops.explain_conv2d(x[:0], weight, bias, **sizes).startswith("gemm: ")
    nothing = ops.conv2d(x[:, :0], weight[:, :0], bias, **sizes)
    assert_close(nothing.cpu(), bias.cpu()[:, None, None].expand(2, 33, 9, 11), "exact")
    padded = ops.conv2d(x[:, :, :0], weight, bias, padding=2)
    assert_close(padded.cpu(), bias.cpu()[:, None, None].expand(2, 33, 2, 13), "exact")


def test_a_changed_weight_is_seen(device):
    (x, weight, bias), sizes = tensors(CASES["3x3"], device=device)
    before = ops.conv2d(x, weight, bias, **sizes)
    assert torch.equal(ops.conv2d(x, weight, bias, **sizes), before)
    weight[3] += 1
    after = ops.conv2d(x, weight, bias, **sizes)
    assert_close(after.cpu(), functional.conv2d(*in_double((x, weight, bias)), **sizes), "reduction")
    # The same storage, another shape.
    grouped = weight.view(17 * 33, 1, 3, 3)[: 4 * 17]
    ours = ops.conv2d(x, grouped, None, 1, 1, 1, 17)
    assert_close(ours.cpu(), functional.conv2d(*in_double((x, grouped)), None, 1, 1, 1, 17), "reduction")


def test_a_stride_longer_than_any_image(device):
    (x, weight, bias), _ = tensors(CASES["3x3"], device=device)
    expected = functional.conv2d(*in_double((x[:, :, :3, :3], weight, bias)))
    assert_close(ops.conv2d(x, weight, bias, 2**31 - 1).cpu(), expected, "reduction")


# By algorithm: a case that it serves and the memory formats that it serves it in.
SERVED = {
    "gemm": ("dilated, stride", FORMATS),
    "planar": ("3x3", FORMATS[:1]),
    "winograd2": ("3x3", FORMATS),
    "winograd4": ("3x3", FORMATS),
    "winograd6": ("3x3", FORMATS),
    "depthwise": ("depthwise", FORMATS),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_algorithm_by_name(algorithm, device):
    name, formats = SERVED[algorithm]
    for layout in formats:
        inputs, sizes = tensors(CASES[name], layout=layout, device=device)
        ours = ops.conv2d(*inputs, **sizes, algorithm=algorithm).cpu()
        theirs = functional.conv2d(*in_double(inputs), **sizes)
        assert ((ours - theirs).norm() / theirs.norm()).item() < 3e-5
        fused = ops.conv2d_fused(*inputs, **sizes, activation="relu", algorithm=algorithm)
        assert torch.equal(fused.cpu(), ours.relu())


ERRORS = {"gemm": 1e-6, "planar": 1e-6, "winograd2": 2e-6, "winograd4": 5e-6, "winograd6": 3e-5}


@pytest.mark.native
@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name in ERRORS])
def test_error_bounds(algorithm):
    for layout in SERVED[algorithm][1]:
        inputs, sizes = tensors(((1, 64, 30, 31), (64, 64, 3, 3), 1, 1, 1, 1), layout=layout)
        ours = ops.conv2d(*inputs, **sizes, algorithm=algorithm)
        theirs = functional.conv2d(*in_double(inputs), **sizes)
        assert ((ours - theirs).norm() / theirs.norm()).item() <= ERRORS[algorithm]


WINOGRAD_CASES = {
    "lines longer than a strip": ((1, 17, 7, 1500), (20, 17, 3, 3), 1, 1, 1, 1),
    "several chunks": ((3, 64, 57, 61), (70, 64, 3, 3), 1, 1, 1, 1),
    "phases": ((2, 33, 23, 29), (18, 33, 3, 3), 1, 2, (2, 3), 1),
    "phases in lines longer than a strip": ((1, 16, 20, 600), (20, 16, 3, 3), 1, 9, 9, 1),
    "more phases than results": ((1, 8, 20, 21), (16, 8, 3, 3), 1, 0, (9, 10), 1),
    "padding beyond a tile": ((2, 5, 9, 11), (17, 5, 3, 3), 1, (12, 9), 1, 1),
    "groups": ((2, 18, 30, 31), (34, 9, 3, 3), 1, 0, 1, 2),
}


@pytest.mark.native
@pytest.mark.parametrize("algorithm", ["winograd2", "winograd4", "winograd6"])
@pytest.mark.parametrize("case", WINOGRAD_CASES.values(), ids=WINOGRAD_CASES)
def test_winograd(case, algorithm):
    (x, weight, bias), sizes = tensors(case)
    plain = functional.conv2d(*in_double((x, weight, bias)), **sizes)
    residual = torch.randn(plain.shape, generator=torch.Generator().manual_seed(1))
    expected = functional.elu(plain * bias.double()[:, None, None] + residual)
    results = []
    for layout in FORMATS:
        inputs, more = (t.contiguous(memory_format=layout) for t in (x, residual))
        fused = {"scale": bias, "residual": more, "activation": "elu", "algorithm": algorithm}
        results += with_threads(lambda fused=fused, x=inputs: ops.conv2d_fused(x, weight, bias, **sizes, **fused))
    assert ((results[0] - expected).norm() / expected.norm()).item() <= ERRORS[algorithm]
    assert all(torch.equal(result, results[0]) for result in results)


NOT_SERVED = {"winograd4": "1x1", "winograd2": "3x3 stride 2", "winograd6": "dilated, stride", "depthwise": "3x3"}


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name in NOT_SERVED])
def test_an_algorithm_that_cannot_serve(algorithm, device):
    if runs_cuda_kernels(device):
        pytest.skip("the CPU kernels' choice")
    inputs, sizes = tensors(CASES[NOT_SERVED[algorithm]], layout=SERVED[algorithm][1][0], device=device)
    with pytest.raises(ValueError, match=r"^conv2d: algorithm must be "):
        ops.conv2d(*inputs, **sizes, algorithm=algorithm)


def test_an_algorithm_that_does_not_exist():
    inputs, sizes = tensors(CASES["3x3"])
    for function in (ops.conv2d, ops.conv2d_fused):
        with pytest.raises(ValueError, match=f"^{function.__name__}: algorithm must be .*, got 'fourier'$"):
            function(*inputs, **sizes, algorithm="fourier")


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("name", CASES)
def test_explain(name, layout):
    inputs, sizes = tensors(CASES[name], layout=layout)
    algorithm = ops.explain_conv2d(*inputs, **sizes).split(":")[0]
    assert torch.equal(ops.conv2d(*inputs, **sizes, algorithm=algorithm), ops.conv2d(*inputs, **sizes))


@pytest.mark.parametrize("layout", FORMATS)
def test_precision(layout):
    inputs, sizes = tensors(((1, 64, 30, 31), (64, 64, 3, 3), 1, 1, 1, 1), layout=layout)
    assert ops.explain_conv2d(*inputs, **sizes).startswith("winograd")
    try:
        ops.set_conv_precision("exact")
        assert ops.explain_conv2d(*inputs, **sizes).startswith("gemm")
    finally:
        ops.set_conv_precision("fast")
    with pytest.raises(ValueError, match=r"^set_conv_precision: precision must be 'fast' or 'exact', got 'slow'$"):
        ops.set_conv_precision("slow")


@pytest.mark.native
@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "case",
    [
        ((3, 64, 57, 61), (64, 64, 3, 3), 1, 1, 1, 1),
        ((2, 96, 28, 29), (80, 96, 1, 1), 1, 0, 1, 1),
        ((2, 3, 97, 99), (64, 3, 7, 7), 2, 3, 1, 1),
        ((2, 70, 41, 43), (70, 1, 3, 3), 1, 1, 1, 70),
    ],
)
def test_same_bits_for_any_number_of_threads(case, dtype, layout):
    inputs, sizes = tensors(case, dtype, layout)
    results = with_threads(lambda: ops.conv2d_fused(*inputs, **sizes, activation="elu"))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    expected = functional.elu(functional.conv2d(*in_double(inputs), **sizes))
    assert ((results[0] - expected).norm() / expected.norm()).item() < (3e-5 if dtype == torch.float32 else 1e-2)


small = st.integers(1, 4)


@settings(max_examples=60, deadline=None)
@given(
    channels=st.sampled_from([1, 3, 9]), out_channels=st.sampled_from([1, 4, 17]), kernel=st.tuples(small, small),
    stride=st.tuples(small, small), dilation=st.tuples(small, small), layout=st.sampled_from(FORMATS),
)  # fmt: skip
def test_linear(channels, out_channels, kernel, stride, dilation, layout):
    case = (2, channels, 13, 14), (out_channels, channels, *kernel), stride, 1, dilation, 1
    (x, weight, _), sizes = tensors(case, torch.float64, layout)
    ours = ops.conv2d(x, weight, **sizes)
    assert_close(ops.conv2d(2 * x - x.flip(0), weight, **sizes), 2 * ours - ours.flip(0), "reduction")
    assert_close(ops.conv2d(x, weight - 3, **sizes), ours + ops.conv2d(x, torch.full_like(weight, -3), **sizes),
                 "reduction")  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    down=st.integers(0, 3), right=st.integers(0, 3), stride=st.tuples(small, small), groups=st.sampled_from([1, 9]),
    layout=st.sampled_from(FORMATS),
)  # fmt: skip
def test_a_shifted_image_gives_a_shifted_result(down, right, stride, groups, layout):
    case = (1, 9, 24, 26), (18, 9 // groups, 3, 2), stride, 0, 1, groups
    (x, weight, bias), sizes = tensors(case, torch.float64, layout)
    shifted = x.roll((down * stride[0], right * stride[1]), (2, 3))
    ours, moved = ops.conv2d(x, weight, bias, **sizes), ops.conv2d(shifted, weight, bias, **sizes)
    rows, columns = ours.shape[2] - down, ours.shape[3] - right
    assert_close(moved[:, :, down:, right:], ours[:, :, :rows, :columns], "reduction")


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("name", ["3x3 stride 2", "depthwise"])
def test_opcheck(name, layout, device):
    (x, weight, bias), sizes = tensors(CASES[name], layout=layout, device=device)
    stride, dilation = [sizes["stride"]] * 2, [sizes["dilation"]] * 2
    geometry = stride, [sizes["padding"]] * 4, dilation, sizes["groups"]
    torch.library.opcheck(torch.ops.saccade.conv2d.default, (x, weight, bias, None, *geometry, 0))
    leaves = [t.clone().requires_grad_() for t in (x, weight, bias)]
    torch.library.opcheck(torch.ops.saccade.conv2d.default, (*leaves, None, *geometry, 0))
    last = layout == torch.channels_last
    torch.library.opcheck(torch.ops.saccade._conv2d_pack.default, (weight, list(x.shape), last, *geometry, 0))
    packed = torch.ops.saccade._conv2d_pack(weight, list(x.shape), last, *geometry, 0)
    out = torch.ops.saccade.conv2d(x, weight, bias, packed, *geometry, 0)
    assert torch.equal(out, torch.ops.saccade.conv2d(x, weight, bias, None, *geometry, 0))
    more = bias, bias, torch.rand_like(out), 3
    torch.library.opcheck(torch.ops.saccade.conv2d_fused.default, (x, weight, bias, packed, *geometry, 0, *more))


@pytest.mark.parametrize("layout", FORMATS)
def test_compile(layout):
    (x, weight, bias), sizes = tensors(CASES["3x3"], layout=layout)
    leaves = [t.requires_grad_() for t in (x, weight, bias)]

    def run(x, weight, bias):
        return ops.conv2d_fused(ops.conv2d(x, weight, bias, **sizes), weight.transpose(0, 1), activation="relu")

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    for function in (compiled, torch.no_grad()(compiled)):
        assert_close(function(*leaves).detach(), run(*leaves).detach(), "reduction")
    for ours, theirs in zip(
        torch.autograd.grad(compiled(*leaves).sum(), leaves), torch.autograd.grad(run(*leaves).sum(), leaves),
        strict=True,
    ):  # fmt: skip
        assert_close(ours, theirs, "reduction")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast(dtype):
    inputs, sizes = tensors(CASES["3x3"])
    with torch.autocast("cpu", dtype):
        ours = ops.conv2d(*inputs, **sizes)
    assert ours.dtype == dtype
    assert_close(ours, ops.conv2d(*(t.to(dtype) for t in inputs), **sizes), "exact")


@pytest.mark.native
@pytest.mark.parametrize("layout", FORMATS)
def test_kept_weights_serve_images_of_any_size(layout):
    weight = torch.randn(8, 1, 3, 3)
    for size in ((5, 6), (3, 40000), (200, 210)):
        x = torch.randn(1, 8, *size).contiguous(memory_format=layout)
        expected = functional.conv2d(x.double(), weight.double(), padding=1, groups=8)
        assert_close(ops.conv2d(x, weight, padding=1, groups=8), expected, "reduction")
