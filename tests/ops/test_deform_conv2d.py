import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade import ops
from saccade.reference import deform_conv2d as reference
from tests.util.convolutions import DTYPES, has_format_of
from tests.util.deformable import CASES, FORMATS, tensors
from tests.util.threads import with_threads
from tests.util.tolerance import assert_close

torchvision = pytest.importorskip("torchvision")


def theirs(x, offset, weight, bias, mask, **sizes):
    """torchvision's result in float64, on the CPU."""
    wide = [None if t is None else t.detach().cpu().double() for t in (x, offset, weight, bias, mask)]
    return torchvision.ops.deform_conv2d(*wide[:4], **sizes, mask=wide[4])


def ours(x, offset, weight, bias, mask, **sizes):
    return ops.deform_conv2d(x, offset, weight, bias, **sizes, mask=mask)


def assert_equals_torchvision(inputs, sizes):
    result = ours(*inputs, **sizes)
    assert result.dtype == inputs[0].dtype
    assert has_format_of(inputs[0], result)
    assert_close(result.cpu(), theirs(*inputs, **sizes), "reduction")


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_equals_reference(case, layout, device):
    inputs, sizes = tensors(case, layout=layout, device=device)
    x, offset, weight, bias, mask = (t.double().cpu().numpy() for t in inputs)
    expected = reference.deform_conv2d(x, offset, weight, bias, **sizes, mask=mask)
    assert_close(ours(*inputs, **sizes).cpu(), torch.from_numpy(expected), "reduction")


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_equals_torchvision(case, dtype, layout, device):
    (x, offset, weight, bias, mask), sizes = tensors(case, dtype, layout, device)
    for parts in ((bias, mask), (bias, None), (None, mask), (None, None)):
        assert_equals_torchvision((x, offset, weight, *parts), sizes)


@pytest.mark.parametrize("channels", [1, 3, 15, 17, 33, 64])
@pytest.mark.parametrize("width", [1, 2, 7, 8, 15, 16, 17, 33])
def test_every_width(width, channels, device):
    for layout in FORMATS:
        case = (1, channels, 3, width), (18, channels, 3, 3), 1, 1, 1, 1
        assert_equals_torchvision(*tensors(case, layout=layout, device=device))


@pytest.mark.parametrize("layout", FORMATS)
def test_offsets_of_zero_are_a_convolution(layout, device):
    (x, offset, weight, bias, _), sizes = tensors(CASES["dilated, stride"], layout=layout, device=device)
    expected = torch.nn.functional.conv2d(x.cpu(), weight.cpu(), bias.cpu(), **sizes)
    assert_close(ours(x, torch.zeros_like(offset), weight, bias, None, **sizes).cpu(), expected, "reduction")


@pytest.mark.parametrize("spread", [0.25, 10.0, 1e4, 1e30])
@pytest.mark.parametrize("layout", FORMATS)
def test_offsets_far_outside(layout, spread, device):
    for name in ("3x3", "padding beyond the kernel"):
        assert_equals_torchvision(*tensors(CASES[name], layout=layout, device=device, spread=spread))


@pytest.mark.parametrize("layout", FORMATS)
def test_whole_offsets_and_borders(layout, device):
    # Positions on cells, and on -1 and the height or width exactly, where samples leave the image.
    inputs, sizes = tensors(CASES["padding beyond the kernel"], layout=layout, device=device)
    inputs[1] = (inputs[1] * 2).round()
    assert_equals_torchvision(inputs, sizes)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("layout", FORMATS)
def test_offsets_that_are_not_finite_lie_outside(layout, bad, device):
    (x, offset, weight, bias, mask), sizes = tensors(CASES["offset groups"], layout=layout, device=device)
    wrong = torch.rand(offset.shape, generator=torch.Generator().manual_seed(2)).to(device) < 0.2
    result = ours(x, offset.masked_fill(wrong, bad), weight, bias, mask, **sizes)
    # An offset of one coordinate is enough to leave.
    assert_close(result.cpu(), theirs(x, offset.masked_fill(wrong, 1e4), weight, bias, mask, **sizes), "reduction")


@pytest.mark.parametrize("layout", FORMATS)
def test_values_that_are_not_finite(layout, device):
    (x, offset, weight, bias, mask), sizes = tensors(CASES["3x3"], layout=layout, device=device)
    x[0, 1, 2, 3], x[1, 3, 4, 4] = float("nan"), float("inf")
    mask[1, 5, 6, 7] = float("nan")
    result, expected = (
        ours(x, offset, weight, bias, mask, **sizes).cpu(),
        theirs(x, offset, weight, bias, mask, **sizes),
    )
    assert torch.equal(result.isnan(), expected.isnan())
    assert torch.equal(result.isinf(), expected.isinf())
    finite = expected.isfinite()
    assert 0 < finite.sum() < finite.numel()
    assert_close(result[finite], expected[finite], "reduction")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", FORMATS)
def test_float32_bias_beside_halves(layout, dtype, device):
    (x, offset, weight, bias, mask), sizes = tensors(CASES["3x3"], dtype, layout, device)
    precise = torch.linspace(1, 2, len(bias), device=device)
    expected = theirs(x, offset, weight, precise, mask, **sizes)
    assert_close(ours(x, offset, weight, precise, mask, **sizes).cpu(), expected, "reduction")


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_strides(dtype, layout, device):
    inputs, sizes = tensors(CASES["offset groups"], dtype, layout, device)
    expected = ours(*inputs, **sizes)
    assert_close(ours(*(torch.stack([t, t], -1)[..., 0] for t in inputs), **sizes), expected, "exact")
    other = FORMATS[layout == FORMATS[0]]
    x, offset, weight, bias, mask = inputs
    for changed in (
        (x, offset.contiguous(memory_format=other), weight, bias, mask),
        (x, offset, weight, bias, mask.contiguous(memory_format=other)),
    ):
        assert_close(ours(*changed, **sizes), expected, "exact")
    turned = x.contiguous(memory_format=other)
    assert_close(ours(turned, offset, weight, bias, mask, **sizes).cpu(), theirs(*inputs, **sizes), "reduction")


@pytest.mark.parametrize("layout", FORMATS)
def test_empty(layout, device):
    (x, offset, weight, bias, mask), sizes = tensors(CASES["3x3"], layout=layout, device=device)
    assert ours(x[:0], offset[:0], weight, bias, mask[:0], **sizes).shape == (0, 33, 9, 11)
    nothing = ours(x[:, :0], offset, weight[:, :0], bias, mask, **sizes)
    assert_close(nothing.cpu(), bias.cpu()[:, None, None].expand(2, 33, 9, 11), "exact")


def test_a_changed_weight_is_seen(device):
    (x, offset, weight, bias, mask), sizes = tensors(CASES["3x3"], device=device)
    before = ours(x, offset, weight, bias, mask, **sizes)
    assert torch.equal(ours(x, offset, weight, bias, mask, **sizes), before)
    weight[3] += 1
    assert_equals_torchvision((x, offset, weight, bias, mask), sizes)


@pytest.mark.native
@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "case",
    [
        ((3, 64, 37, 41), (64, 64, 3, 3), 1, 1, 1, 1),
        ((2, 96, 13, 14), (80, 48, 3, 3), 1, 1, 1, 4),
        ((2, 70, 21, 23), (70, 1, 3, 3), 1, 1, 1, 7),
    ],
)
def test_same_bits_for_any_number_of_threads(case, dtype, layout):
    inputs, sizes = tensors(case, dtype, layout)
    results = with_threads(lambda: ours(*inputs, **sizes))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert_close(results[0], theirs(*inputs, **sizes), "reduction")


small = st.integers(1, 4)


@settings(max_examples=80, deadline=None)
@given(
    groups=st.sampled_from([1, 2, 6]), offset_groups=st.sampled_from([1, 2, 3, 4, 12]), kernel=st.tuples(small, small),
    stride=st.tuples(small, small), dilation=st.tuples(small, small), padding=st.tuples(small, small),
    masked=st.booleans(), spread=st.sampled_from([0.5, 3.0, 50.0]), layout=st.sampled_from(FORMATS),
)  # fmt: skip
def test_any_geometry_at_all(groups, offset_groups, kernel, stride, dilation, padding, masked, spread, layout):
    case = (2, 12, 13, 14), (6, 12 // groups, *kernel), stride, padding, dilation, offset_groups
    (x, offset, weight, bias, mask), sizes = tensors(case, torch.float64, layout, spread=spread)
    assert_equals_torchvision((x, offset, weight, bias, mask if masked else None), sizes)


def test_module_equals_torchvisions():
    arguments = {"kernel_size": (3, 2), "stride": 2, "padding": (1, 0), "dilation": (1, 2), "groups": 2}
    for bias in (True, False):
        torch.manual_seed(0)
        module = ops.DeformConv2d(6, 8, **arguments, bias=bias)
        torch.manual_seed(0)
        twin = torchvision.ops.DeformConv2d(6, 8, **arguments, bias=bias)
        assert list(module.state_dict()) == list(twin.state_dict())
        for name, value in twin.state_dict().items():
            assert torch.equal(module.state_dict()[name], value)
        module.load_state_dict(twin.state_dict())
        x, offset, mask = torch.randn(2, 6, 9, 9), torch.randn(2, 24, 5, 4), torch.rand(2, 12, 5, 4)
        assert_close(module(x, offset, mask), twin(x, offset, mask).double(), "reduction")
        assert_close(module(x, offset), twin(x, offset).double(), "reduction")
    assert repr(module) == (
        "DeformConv2d(6, 8, kernel_size=(3, 2), stride=(2, 2), padding=(1, 0), dilation=(1, 2), groups=2, bias=False)"
    )


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("name", ["stride 2", "groups within offset groups"])
def test_opcheck(name, layout, device):
    inputs, sizes = tensors(CASES[name], layout=layout, device=device)
    geometry = [list(size) for size in sizes.values()]
    x, offset, weight, bias, mask = inputs
    operators = torch.ops.saccade
    for part in (mask, None):
        torch.library.opcheck(operators.deform_conv2d.default, (x, offset, weight, bias, part, None, *geometry))
    leaves = [t.clone().requires_grad_() for t in inputs]
    torch.library.opcheck(operators.deform_conv2d.default, (*leaves, None, *geometry))
    groups = x.shape[1] // weight.shape[1]
    torch.library.opcheck(operators._deform_conv2d_pack.default, (weight, groups))
    packed = operators._deform_conv2d_pack(weight, groups)
    plain = operators.deform_conv2d(*inputs, None, *geometry)
    assert torch.equal(operators.deform_conv2d(*inputs, packed, *geometry), plain)


@pytest.mark.parametrize("layout", FORMATS)
def test_compile(layout):
    inputs, sizes = tensors(CASES["3x3"], layout=layout)
    leaves = [t.requires_grad_() for t in inputs]

    def run(*leaves):
        return ours(*leaves, **sizes).relu() + ours(*leaves[:4], None, **sizes)

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    for function in (compiled, torch.no_grad()(compiled)):
        assert_close(function(*leaves).detach(), run(*leaves).detach(), "reduction")
    for mine, other in zip(
        torch.autograd.grad(compiled(*leaves).sum(), leaves), torch.autograd.grad(run(*leaves).sum(), leaves),
        strict=True,
    ):  # fmt: skip
        assert_close(mine, other, "reduction")


def test_export():
    (x, offset, _, _, mask), _ = tensors(CASES["3x3"])
    module = ops.DeformConv2d(17, 33, 3, padding=1).eval()
    program = torch.export.export(module, (x, offset, mask))
    assert_close(program.module()(x, offset, mask), module(x, offset, mask).detach(), "reduction")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_computes_in_float32(dtype):
    inputs, sizes = tensors(CASES["3x3"])
    expected = ours(*inputs, **sizes)
    with torch.autocast("cpu", dtype):
        assert torch.equal(ours(*inputs, **sizes), expected)
        narrow = inputs[0].to(dtype)
        result = ours(narrow, *inputs[1:], **sizes)
        assert result.dtype == dtype
        assert torch.equal(result, ours(narrow.float(), *inputs[1:], **sizes).to(dtype))
        double = [t.double() for t in inputs]
        assert ours(*double, **sizes).dtype == torch.float64
