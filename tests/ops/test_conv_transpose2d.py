import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade import ops
from saccade.ops.conv_transpose2d import conv_transpose2d_fused
from saccade.reference import conv_transpose2d as reference
from tests.util.convolutions import DTYPES, FORMATS, has_format_of
from tests.util.opinfo import opinfo
from tests.util.threads import with_threads
from tests.util.tolerance import assert_close
from tests.util.transposed import CASES, tensors


def pair(size):
    return size if isinstance(size, tuple) else (size, size)


def in_double(inputs):
    return [t.detach().double().cpu() for t in inputs]


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_equals_reference(case, layout, device):
    inputs, sizes = tensors(case, layout=layout, device=device)
    arguments = [sizes["groups"] if name == "groups" else pair(size) for name, size in sizes.items()]
    expected = reference.conv_transpose2d(*(t.numpy() for t in in_double(inputs)), *arguments)
    ours = ops.conv_transpose2d(*inputs, **sizes)
    assert_close(ours.cpu(), torch.from_numpy(expected), "reduction")
    assert has_format_of(inputs[0], ours)


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_equals_torch(case, dtype, layout, device):
    inputs, sizes = tensors(case, dtype, layout, device)
    ours = ops.conv_transpose2d(*inputs, **sizes)
    assert ours.dtype == dtype
    assert_close(ours.cpu(), functional.conv_transpose2d(*in_double(inputs), **sizes), "reduction")
    without = ops.conv_transpose2d(*inputs[:2], **sizes)
    assert_close(without.cpu(), functional.conv_transpose2d(*in_double(inputs[:2]), **sizes), "reduction")


@pytest.mark.parametrize("channels", [1, 3, 16, 17])
@pytest.mark.parametrize("width", [1, 2, 5, 8, 9, 15, 16, 17, 33])
@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (2, 2), (6, 3), (8, 4), (16, 8), (3, 2)])
def test_every_width(kernel, stride, width, channels, device):
    for layout in FORMATS:
        for groups in (1, channels):
            case = (
                (1, channels, 2, width),
                (channels, 1 if groups > 1 else 9, kernel, kernel),
                stride,
                kernel // 4,
                0,
                groups,
                1,
            )
            inputs, sizes = tensors(case, layout=layout, device=device)
            expected = functional.conv_transpose2d(*in_double(inputs), **sizes)
            assert_close(ops.conv_transpose2d(*inputs, **sizes).cpu(), expected, "reduction")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("name", ["k4 s2", "k16 s8, groups", "k3 s2"])
def test_float32_bias_beside_halves(name, layout, dtype, device):
    (x, weight, bias), sizes = tensors(CASES[name], dtype, layout, device)
    precise = torch.linspace(1, 2, len(bias), device=device)
    ours = ops.conv_transpose2d(x, weight, precise, **sizes)
    assert_close(ours.cpu(), functional.conv_transpose2d(*in_double((x, weight, precise)), **sizes), "reduction")


ACTIVATIONS = {
    None: lambda x: x, "relu": functional.relu, "leaky_relu": functional.leaky_relu, "elu": functional.elu,
    "sigmoid": torch.sigmoid,
}  # fmt: skip


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", ["k4 s2", "k4 s2, groups", "k16 s8, groups", "k3 s2", "stride beyond the kernel"])
def test_fused(name, activation, layout, device):
    for dtype in (torch.float32, torch.bfloat16):
        (x, weight, bias), sizes = tensors(CASES[name], dtype, layout, device)
        scale, shift = torch.linspace(-1, 2, len(bias), device=device), torch.linspace(1, 0, len(bias), device=device)
        options = {"scale": scale.to(dtype), "shift": shift.to(dtype), "activation": activation}
        ours = conv_transpose2d_fused(x, weight, bias, **sizes, **options)
        columns = [t.double().cpu()[:, None, None] for t in (options["scale"], options["shift"])]
        plain = functional.conv_transpose2d(*in_double((x, weight, bias)), **sizes)
        expected = ACTIVATIONS[activation](plain * columns[0] + columns[1])
        assert_close(ours.cpu(), expected, "reduction")
        assert has_format_of(x, ours)
        steps = conv_transpose2d_fused(x.requires_grad_(), weight, bias, **sizes, **options)
        assert steps.requires_grad
        assert_close(steps.detach().cpu(), expected, "reduction")


def test_torch_samples(device):
    entry, seen = opinfo("nn.functional.conv_transpose2d"), 0
    for sample in entry.sample_inputs(device, torch.float64, requires_grad=True):
        leaves = [t for t in (sample.input, *sample.args) if t is not None]
        results = []
        for function in (ops.conv_transpose2d, functional.conv_transpose2d):
            out = function(sample.input, *sample.args, **sample.kwargs)
            grad = torch.linspace(-1, 1, out.numel(), device=device, dtype=out.dtype).reshape(out.shape)
            results.append([out.detach(), *torch.autograd.grad(out, leaves, grad)])
        for ours, theirs in zip(*results, strict=True):
            assert_close(ours.cpu(), theirs.cpu(), "reduction")
        seen += 1
    assert seen >= 12


def test_unbatched(device):
    (x, weight, bias), sizes = tensors(CASES["k4 s2"], device=device)
    expected = ops.conv_transpose2d(x, weight, bias, **sizes)
    assert torch.equal(ops.conv_transpose2d(x[1], weight, bias, **sizes), expected[1])


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["k4 s2", "k16 s8, groups"])
def test_any_strides(name, dtype, layout, device):
    (x, weight, bias), sizes = tensors(CASES[name], dtype, layout, device)
    expected = ops.conv_transpose2d(x, weight, bias, **sizes)
    parts = [torch.stack([t, t], -1)[..., 0] for t in (x, weight, bias)]
    assert_close(ops.conv_transpose2d(*parts, **sizes), expected, "exact")
    turned = weight.permute(1, 3, 2, 0).contiguous().permute(3, 0, 2, 1)
    assert_close(ops.conv_transpose2d(x, turned, bias, **sizes), expected, "exact")


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", ["k4 s2, whole registers", "k16 s8, groups", "k2 s2, depthwise", "k3 s2"])
def test_misaligned(name, dtype, layout, device):
    (x, weight, bias), sizes = tensors(CASES[name], dtype, layout, device)
    storage = torch.empty(x.numel() + 1, dtype=dtype, device=device)
    shifted = storage[1:].as_strided(x.shape, x.stride(), 1).copy_(x)
    assert has_format_of(x, shifted)
    expected = ops.conv_transpose2d(x, weight, bias, **sizes)
    assert_close(ops.conv_transpose2d(shifted, weight, bias, **sizes), expected, "exact")


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("name", ["k4 s2", "k3 s2", "k16 s8, groups", "k3 s2, depthwise", "dilated"])
def test_nan_and_infinity_stay_in_their_windows(name, layout, device):
    inputs, sizes = tensors(CASES[name], layout=layout, device=device)
    inputs[0][0, 1, 2, 3], inputs[0][0, 3, 3, 4] = float("nan"), float("inf")
    ours = ops.conv_transpose2d(*inputs, **sizes).cpu()
    theirs = functional.conv_transpose2d(*in_double(inputs), **sizes)
    assert torch.equal(ours.isnan(), theirs.isnan())
    assert torch.equal(ours.isinf(), theirs.isinf())
    finite = theirs.isfinite()
    assert_close(ours[finite], theirs[finite], "reduction")


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("name", ["k4 s2", "k3 s2"])
def test_empty(name, layout, device):
    (x, weight, bias), sizes = tensors(CASES[name], layout=layout, device=device)
    shape = ops.conv_transpose2d(x, weight, bias, **sizes).shape
    assert ops.conv_transpose2d(x[:0], weight, bias, **sizes).shape == (0, *shape[1:])
    nothing = ops.conv_transpose2d(x[:, :0], weight[:0], bias, **sizes)
    assert_close(nothing.cpu(), bias.cpu()[:, None, None].expand(shape), "exact")


def test_a_changed_weight_is_seen(device):
    (x, weight, bias), sizes = tensors(CASES["k4 s2"], device=device)
    before = ops.conv_transpose2d(x, weight, bias, **sizes)
    assert torch.equal(ops.conv_transpose2d(x, weight, bias, **sizes), before)
    weight[3] += 1
    after = ops.conv_transpose2d(x, weight, bias, **sizes)
    assert_close(after.cpu(), functional.conv_transpose2d(*in_double((x, weight, bias)), **sizes), "reduction")


@pytest.mark.parametrize("layout", FORMATS)
def test_a_kept_weight_serves_other_images(layout, device):
    # Smaller than the stride too: fewer phases have results then.
    for name in ("k4 s2", "k16 s8", "k3 s2", "stride beyond the kernel", "k16 s8, groups"):
        (x, weight, bias), sizes = tensors(CASES[name], layout=layout, device=device)
        sizes |= {"padding": 0, "output_padding": 0}
        for height, width in ((3, 4), (1, 1), (2, 1), x.shape[2:]):
            part = x[:, :, :height, :width].contiguous(memory_format=layout)
            expected = functional.conv_transpose2d(*in_double((part, weight, bias)), **sizes)
            assert_close(ops.conv_transpose2d(part, weight, bias, **sizes).cpu(), expected, "reduction")


@pytest.mark.parametrize("layout", FORMATS)
def test_a_stride_longer_than_any_image(layout, device):
    (x, weight, bias), _ = tensors(CASES["one pixel"], layout=layout, device=device)
    expected = functional.conv_transpose2d(*in_double((x, weight, bias)))
    assert_close(ops.conv_transpose2d(x, weight, bias, 2**31 - 1).cpu(), expected, "reduction")


@pytest.mark.native
@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "case",
    [
        ((3, 64, 17, 21), (64, 64, 4, 4), 2, 1, 0, 1, 1),
        ((1, 530, 9, 11), (530, 64, 4, 4), 2, 1, 0, 1, 1),
        ((2, 96, 28, 29), (96, 80, 2, 2), 2, 0, 0, 1, 1),
        ((1, 21, 33, 35), (21, 21, 16, 16), 8, 4, 0, 1, 1),
        ((2, 21, 33, 35), (21, 1, 16, 16), 8, 4, 0, 21, 1),
        ((2, 70, 41, 43), (70, 1, 4, 4), 2, 1, 0, 70, 1),
        ((3, 32, 37, 41), (32, 48, 3, 3), 2, 1, 1, 1, 1),
    ],
)
def test_same_bits_for_any_number_of_threads(case, dtype, layout):
    inputs, sizes = tensors(case, dtype, layout)
    results = with_threads(lambda: ops.conv_transpose2d(*inputs, **sizes))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert_close(results[0], functional.conv_transpose2d(*in_double(inputs), **sizes), "reduction")


small = st.integers(1, 4)


@settings(max_examples=100, deadline=None)
@given(
    kernel=st.tuples(small, small), stride=st.tuples(small, small), padding=st.tuples(st.integers(0, 2), small),
    dilation=st.tuples(small, small), groups=st.sampled_from([1, 2, 6]), outs=st.sampled_from([1, 3]),
    layout=st.sampled_from(FORMATS),
)  # fmt: skip
def test_is_the_adjoint_of_conv2d(kernel, stride, padding, dilation, groups, outs, layout):
    # <conv2d(y), x> = <y, conv_transpose2d(x)>
    case = (2, 6, 7, 8), (6, outs, *kernel), stride, padding, 0, groups, dilation
    (x, weight, _), sizes = tensors(case, torch.float64, layout)
    if any(6 * s + d * (k - 1) < 2 * p for k, s, p, d in zip(kernel, stride, padding, dilation, strict=True)):
        return
    up = ops.conv_transpose2d(x, weight, **sizes)
    y = torch.randn(up.shape, dtype=torch.float64).contiguous(memory_format=layout)
    del sizes["output_padding"]
    down = ops.conv2d(y, weight, **sizes)
    assert_close((down * x).sum(), (up * y).sum(), "reduction")


@settings(max_examples=60, deadline=None)
@given(
    channels=st.sampled_from([1, 3, 9]), outs=st.sampled_from([1, 4, 17]), kernel=st.tuples(small, small),
    stride=st.tuples(small, small), layout=st.sampled_from(FORMATS),
)  # fmt: skip
def test_linear(channels, outs, kernel, stride, layout):
    case = (2, channels, 5, 6), (channels, outs, *kernel), stride, 0, 0, 1, 1
    (x, weight, _), sizes = tensors(case, torch.float64, layout)
    ours = ops.conv_transpose2d(x, weight, **sizes)
    assert_close(ops.conv_transpose2d(2 * x - x.flip(0), weight, **sizes), 2 * ours - ours.flip(0), "reduction")
    assert_close(
        ops.conv_transpose2d(x, weight - 3, **sizes),
        ours + ops.conv_transpose2d(x, torch.full_like(weight, -3), **sizes),
        "reduction",
    )


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(4, 2, 1), (16, 8, 4)])
@pytest.mark.parametrize("layout", FORMATS)
def test_bilinear_upsampling(kernel, stride, padding, layout, device):
    # Away from the border the bilinear kernel of FCN interpolates: between the cells' centres.
    ramp = 1 - (torch.arange(kernel) - (kernel - 1) / 2).abs() / stride
    weight = torch.outer(ramp, ramp).expand(3, 1, kernel, kernel).contiguous()
    x = torch.randn(2, 3, 6, 7).contiguous(memory_format=layout)
    ours = ops.conv_transpose2d(x.to(device), weight.to(device), None, stride, padding, 0, 3).cpu()
    expected = functional.interpolate(x, scale_factor=stride, mode="bilinear", align_corners=False)
    inside = slice(stride, -stride)
    assert_close(ours[:, :, inside, inside], expected[:, :, inside, inside], "reduction")


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("name", ["k4 s2", "k16 s8, groups", "k3 s2"])
def test_opcheck(name, layout, device):
    (x, weight, bias), sizes = tensors(CASES[name], layout=layout, device=device)
    geometry = [sizes["groups"] if key == "groups" else list(pair(size)) for key, size in sizes.items()]
    operator, pack = torch.ops.saccade.conv_transpose2d, torch.ops.saccade._conv_transpose2d_pack
    torch.library.opcheck(operator.default, (x, weight, bias, None, *geometry))
    leaves = [t.clone().requires_grad_() for t in (x, weight, bias)]
    torch.library.opcheck(operator.default, (*leaves, None, *geometry))
    last = layout == torch.channels_last
    torch.library.opcheck(pack.default, (weight, list(x.shape), last, *geometry))
    packed = pack(weight, list(x.shape), last, *geometry)
    fused = torch.ops.saccade._conv_transpose2d_fused
    torch.library.opcheck(fused.default, (x, weight, bias, packed, *geometry, bias, bias, 3))
    assert torch.equal(operator(x, weight, bias, packed, *geometry), operator(x, weight, bias, None, *geometry))


@pytest.mark.parametrize("layout", FORMATS)
def test_compile(layout):
    (x, weight, bias), sizes = tensors(CASES["k4 s2"], layout=layout)
    leaves = [t.requires_grad_() for t in (x, weight, bias)]

    def run(x, weight, bias):
        return ops.conv_transpose2d(x, weight, bias, **sizes).sin()

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    for function in (compiled, torch.no_grad()(compiled)):
        assert_close(function(*leaves).detach(), run(*leaves).detach(), "reduction")
    for ours, theirs in zip(
        torch.autograd.grad(compiled(*leaves).sum(), leaves), torch.autograd.grad(run(*leaves).sum(), leaves),
        strict=True,
    ):  # fmt: skip
        assert_close(ours, theirs, "reduction")


def test_export():
    class Up(torch.nn.Module):
        def forward(self, x, weight):
            return ops.conv_transpose2d(x, weight, stride=2, padding=1)

    (x, weight, _), _ = tensors(CASES["k4 s2"])
    size = torch.export.Dim("size", min=2, max=64)
    exported = torch.export.export(Up(), (x, weight), dynamic_shapes=({2: size}, None))
    for image in (x, x[:, :, :5]):
        assert_close(exported.module()(image, weight), Up()(image, weight), "exact")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast(dtype):
    inputs, sizes = tensors(CASES["k4 s2"])
    with torch.autocast("cpu", dtype):
        ours = ops.conv_transpose2d(*inputs, **sizes)
    assert ours.dtype == dtype
    assert_close(ours, ops.conv_transpose2d(*(t.to(dtype) for t in inputs), **sizes), "exact")
