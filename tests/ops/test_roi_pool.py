import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade import ops
from saccade.reference import roi as reference
from tests.util import strategies
from tests.util.rois import random_rois
from tests.util.tolerance import assert_close

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
FORMATS = [torch.contiguous_format, torch.channels_last]


def feature_map(channels, dtype=torch.float32, layout=torch.contiguous_format, images=2, height=16, width=13):
    # Few distinct values: ties, where the first maximum in row order must win.
    generator = torch.Generator().manual_seed(channels)
    x = torch.randint(-20, 20, (images, channels, height, width), generator=generator)
    return x.to(dtype).contiguous(memory_format=layout)


def torchvision_roi_pool(*arguments):
    return pytest.importorskip("torchvision").ops.roi_pool(*arguments)


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_equals_reference_exactly(dtype, layout, device):
    x, rois = (
        feature_map(19, dtype, layout),
        random_rois(30).to(torch.float64 if dtype == torch.float64 else torch.float32),
    )
    values, where = torch.ops.saccade.roi_pool(x.to(device), rois.to(device), 0.5, 3, 5)
    theirs, their_where = reference.roi_pool(x.double().numpy(), rois.double().numpy(), (3, 5), 0.5)
    assert values.dtype == dtype
    assert values.is_contiguous(memory_format=layout)
    assert where.is_contiguous(memory_format=layout)
    assert_close(values.cpu(), torch.from_numpy(theirs).to(dtype), "exact")
    assert_close(where.cpu(), torch.from_numpy(their_where), "exact")


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("channels", [1, 17, 64, 131])
@pytest.mark.parametrize("size", [1, 7, 14])
@pytest.mark.parametrize("count", [0, 2, 80])
def test_equals_torchvision(channels, size, count, layout, device):
    x, rois = feature_map(channels, layout=layout).requires_grad_(), random_rois(count)
    theirs = torchvision_roi_pool(x, rois, size, 0.5)
    grad = torch.randn_like(theirs)
    (theirs_grad,) = torch.autograd.grad(theirs, x, grad)
    on_device = x.detach().to(device).requires_grad_()
    ours = ops.roi_pool(on_device, rois.to(device), size, 0.5)
    (ours_grad,) = torch.autograd.grad(ours, on_device, grad.to(device))
    assert_close(ours.cpu(), theirs, "exact")
    assert_close(ours_grad.cpu(), theirs_grad, "reduction")
    assert ours_grad.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_of_every_dtype(dtype, layout, device):
    x, rois = feature_map(70, dtype, layout).to(device).requires_grad_(), random_rois(20).to(device)
    rois = rois.double() if dtype == torch.float64 else rois
    out = ops.roi_pool(x, rois, 4, 0.5)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(device, dtype)
    (ours,) = torch.autograd.grad(out, x, grad)
    double = x.detach().double().requires_grad_()
    (theirs,) = torch.autograd.grad(ops.roi_pool(double, rois.double(), 4, 0.5), double, grad.double())
    assert ours.dtype == dtype
    assert_close(ours.cpu(), theirs.cpu(), "reduction")


@pytest.mark.parametrize("layout", FORMATS)
def test_same_bits_for_any_number_of_threads(layout):
    x, rois = torch.randn(2, 150, 20, 24).contiguous(memory_format=layout).requires_grad_(), random_rois(200)
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            out = ops.roi_pool(x, rois, 7, 0.5)
            results.append((out, *torch.autograd.grad(out.square().sum(), x)))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert torch.equal(results[0][0], other[0])
        assert torch.equal(results[0][1], other[1])


def test_nan_is_never_the_maximum(device):
    x = torch.full((1, 2, 4, 4), float("nan"), device=device)
    x[0, 0, 2, 1] = -3
    x[0, 1] = -float("inf")
    values, where = torch.ops.saccade.roi_pool(x, torch.tensor([[0.0, 0, 0, 3, 3]], device=device), 1.0, 1, 1)
    assert values.flatten().tolist() == [-3, torch.finfo(torch.float32).min]
    assert where.flatten().tolist() == [9, -1]


def test_coordinates_round_half_away_from_zero(device):
    x = torch.arange(8.0, device=device).reshape(1, 1, 1, 8)
    rois = torch.tensor([[0, 0, 0, 2.5, 0], [0, 0, 0, 3.5, 0], [0, 0, 0, 2.49, 0]], device=device)
    assert ops.roi_pool(x, rois, 1).flatten().tolist() == [3, 4, 2]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"input": torch.rand(3, 4)}, ValueError, "input must have shape (N, C, H, W), got (3, 4)"),
        ({"boxes": torch.rand(7, 4)}, ValueError, "boxes must have shape (K, 5), got (7, 4)"),
        ({"output_size": (2, -1)}, ValueError, "output_size must be positive, got (2, -1)"),
        ({"input": torch.zeros(2, 1, 4, 4).long()}, TypeError,
         "input must be float16, bfloat16, float32 or float64, got int64"),
    ],
)  # fmt: skip
def test_errors(changes, error, message):
    arguments = {"input": torch.rand(2, 3, 4, 4), "boxes": torch.zeros(1, 5), "output_size": 2} | changes
    with pytest.raises(error) as caught:
        ops.roi_pool(**arguments)
    assert str(caught.value) == f"roi_pool: {message}"


@pytest.mark.parametrize("layout", FORMATS)
def test_opcheck_and_gradcheck(layout, device):
    generator = torch.Generator().manual_seed(0)
    x = torch.randperm(2 * 2 * 20, generator=generator).double().reshape(2, 2, 4, 5).to(device)
    x, rois = (
        x.contiguous(memory_format=layout).requires_grad_(),
        random_rois(6, size=10, dtype=torch.float64).to(device),
    )
    assert torch.autograd.gradcheck(lambda t: ops.roi_pool(t, rois, 2, 0.5), x)
    torch.library.opcheck(torch.ops.saccade.roi_pool.default, (x, rois, 0.5, 2, 3))
    values, where = torch.ops.saccade.roi_pool(x.detach(), rois, 0.5, 2, 3)
    arguments = (values, rois, where, x.shape, 0.5, layout == torch.channels_last)
    torch.library.opcheck(torch.ops.saccade._roi_pool_backward.default, arguments)


def test_compile_and_module():
    x, rois, module = feature_map(5).requires_grad_(), random_rois(6), ops.RoIPool((2, 3), 0.5)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, rois), ops.roi_pool(x, rois, (2, 3), 0.5))
    (grad,) = torch.autograd.grad(compiled(x, rois).sum(), x)
    assert torch.equal(grad, torch.autograd.grad(module(x, rois).sum(), x)[0])
    assert repr(module) == "RoIPool(output_size=(2, 3), spatial_scale=0.5)"
    exported = torch.export.export(module, (x.detach(), rois))
    assert torch.equal(exported.module()(x.detach(), rois), module(x, rois))


@settings(max_examples=150, deadline=None)
@given(
    boxes=strategies.boxes(),
    channels=st.integers(1, 4),
    height=st.integers(0, 6),
    width=st.integers(0, 6),
    output_size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    layout=st.sampled_from(FORMATS),
)
def test_any_boxes_at_all(boxes, channels, height, width, output_size, layout):
    x = feature_map(channels, torch.float64, layout, 1, height, width).requires_grad_()
    rois = torch.from_numpy(np.pad(boxes, ((0, 0), (1, 0)))).double()
    ours = ops.roi_pool(x, rois, output_size, 0.5)
    ours.sum().backward()
    assert x.grad.sum() == (ours != 0).sum() + (ours == 0).sum() - (torch.ops.saccade.roi_pool(
        x.detach(), rois, 0.5, *output_size)[1] < 0).sum()  # fmt: skip
    tame = (rois.abs() < 1e6).all(1) | ~rois.isfinite().all(1)
    theirs, _ = reference.roi_pool(x.detach().numpy(), rois[tame].numpy(), output_size, 0.5)
    assert_close(ours.detach()[tame], torch.from_numpy(theirs), "exact")
